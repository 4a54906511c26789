"""Whether a source is still there: chunks of one that is not look as if they had never been written."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial

import tensorstore as ts

from wkdvid.backends.beginnings import read_start
from wkdvid.backends.failures import translate_of
from wkdvid.backends.outcomes import FAILURES
from wkdvid.core.single_flight import SingleFlight
from wkdvid.core.source import Source
from wkdvid.errors import BackendError, SourceGone

LOOK_S = 10.0
"""For who shows what is read. Who keeps it looks after each read."""
PATIENCE_S = 2.0
"""A source that does not answer is not one that is gone: reads need not wait for that."""


class Presence:
    """Of the source of one entry, known by a document that was read when it was opened."""

    def __init__(self, context: ts.Context, look_s: float) -> None:
        """
        Args:
            look_s: So long a source that was there is taken to be there. 0: each read is followed by a look of its own,
                and fails where that does.
        """
        self._context = context
        self._look_s = look_s
        self.gone: SourceGone | None = None
        """For good, as far as those are concerned who have it open: what they have read meanwhile may be kept."""
        self._document: tuple[Source, str] | None = None
        self._look_again = 0.0
        self._looking: SingleFlight[None] = SingleFlight()

    def note(self, source: Source, key: str) -> None:
        """A document is there. The first one is what is looked for."""
        if self._document is None:
            self._document = source, key
            self._look_again = time.monotonic() + self._look_s

    async def check(self) -> None:
        """To be asked after reading: nothing is empty for want of the whole.

        Raises:
            SourceGone: the document is not there any more.
            BackendError: it cannot be seen, and each read is to be followed by a look.
        """
        if self.gone is None and self._document is not None and time.monotonic() >= self._look_again:
            look = partial(self._look, *self._document)
            await (self._looking.ask(self._document, look) if self._look_s else look())  # not one that began before
        if self.gone is not None:
            raise SourceGone(str(self.gone))  # another one, since each keeps where it was raised

    async def _look(self, source: Source, key: str) -> None:
        through = source.access.through
        itself = replace(source, access=replace(source.access, through=None))
        try:
            async with asyncio.timeout(PATIENCE_S if self._look_s else None):
                found = await read_start(itself, key, 1, self._context)
        except (BackendError, *FAILURES) as error:
            if not self._look_s:
                raise translate_of(error, source, key) from error
            found = b""  # reads tell by themselves what hinders them
        if found is None:
            self.gone = SourceGone(f"{source.name}: {key} is not there any more")
            if through is not None:
                through.doubt()
        self._look_again = time.monotonic() + self._look_s
