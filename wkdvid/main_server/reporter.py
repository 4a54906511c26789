"""Telling the main server which datasets there are (webknossos.md C.1, C.2 M1 and M2).

What is reported is what the catalog knows; nothing is read from the sources for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable, Sequence
from http import HTTPStatus
from typing import TypeAlias

from wkdvid.core.catalog import Catalog, Dataset, State
from wkdvid.core.concurrent import for_each
from wkdvid.core.entries import DatasetKey
from wkdvid.core.host_lock import Lock
from wkdvid.core.notice import Notice
from wkdvid.errors import BackendError, WkdvidError
from wkdvid.main_server.client import IS_PAGE, PAGE, Answer, Client, Json, MainServerUnavailable, log
from wkdvid.main_server.dataset_ids import DatasetIds

POLL_S = 0.5
"""Between two looks at the catalog."""
EVERY_S = 600.0
"""Between two reports where nothing changes."""
SETTLE_S = 10.0
"""How long a report waits for datasets that are being opened."""
REPORT_S = 60.0
"""For one answer of the main server, which may have to write many datasets."""
PAUSES_S = (1.0, 60.0)
"""After a report that failed: at first, and at most; each is twice the one before."""
LOOK_UPS = 8
"""Ids asked for at a time."""

Form: TypeAlias = Callable[[Dataset], Json]
"""A dataset as one generation of main servers reads it."""


class MainServerRefused(BackendError):
    """It does not understand us."""

    code = "main_server_refused"


class Reporter:
    """One worker, of whichever host, reports what changes; any may report at once when it is asked to."""

    def __init__(
        self, client: Client, ids: DatasetIds, catalog: Catalog, lock: Lock, forms: Sequence[Form], own_url: str
    ) -> None:
        """
        Args:
            lock: Held by the worker that reports.
            forms: Newest first.
            own_url: Where the main server reaches us.
        """
        self._client = client
        self._ids = ids
        self._catalog = catalog
        self._lock = lock
        self._forms = forms
        self._form = 0
        """Of those, the one that was taken last."""
        self._own_url = own_url
        self._reporting = asyncio.Lock()
        self._notice = Notice(log, "the main server of webKnossos takes our reports again")
        self._reported: Hashable = None
        """What ``_what_is_there`` was at the last report."""
        self._unlisted: frozenset[DatasetKey] = frozenset()

    async def watch(self) -> None:
        """Report at the start, at each change and every ten minutes, until cancelled."""
        pause_s, due = PAUSES_S[0], 0.0
        try:
            while True:
                await asyncio.sleep(POLL_S)
                with contextlib.suppress(WkdvidError, OSError):  # each request that needs the catalog says so
                    await self._catalog.catch_up()
                now = time.monotonic()
                if not self._lock.acquire():
                    due = 0.0  # who takes over reports at once
                elif now < due and (pause_s > PAUSES_S[0] or self._reported == self._what_is_there()):
                    continue
                elif await self._try():
                    pause_s, due = PAUSES_S[0], now + EVERY_S
                else:  # until it succeeds, whatever changes
                    pause_s = min(pause_s * 2, PAUSES_S[1])
                    due = time.monotonic() + pause_s
        finally:
            self._lock.release()

    async def _try(self) -> bool:
        try:
            await self.report()
        except WkdvidError:  # has been logged
            return False
        except Exception:  # a mistake of ours must not end the reports
            log.exception("report to the main server")
            return False
        return True

    def _what_is_there(self) -> Hashable:
        """Differs whenever the report would."""
        return tuple(
            (d.entry.dataset_id, d.key, d.state, d.reason, tuple(layer.info for layer in d.layers.values()))
            for d in self._catalog.datasets()
        )

    async def report(self) -> None:
        """Report now.

        Raises:
            MainServerUnavailable: there is no answer.
            MainServerRefused: there is another one than there should be.
        """
        async with self._reporting:
            await self._catalog.catch_up()
            await self._catalog.settle(SETTLE_S)
            what, datasets = self._what_is_there(), self._catalog.datasets()
            status = {"ok": True, "url": self._own_url}
            self._check(await self._client.ask("PATCH", "status", body=status, within_s=REPORT_S))
            self._check(await self._put(datasets))
            self._reported = what
            self._notice.well()
            with contextlib.suppress(MainServerUnavailable):
                await self._look_up([dataset.key for dataset in datasets if dataset.state is State.OPEN])

    async def _put(self, datasets: Sequence[Dataset]) -> Answer:
        """In the form that was taken last, else in the newest that is."""
        order = sorted(range(len(self._forms)), key=lambda i: i != self._form)
        for i in order:
            body = [self._forms[i](dataset) for dataset in datasets]
            answer = await self._client.ask("PUT", "datasources", body=body, within_s=REPORT_S)
            if answer.status != HTTPStatus.BAD_REQUEST:
                self._form = i
                break
        return answer

    def _check(self, answer: Answer) -> None:
        if answer.is_ok:
            return
        what = f"does not take our reports: it answers with status {answer.status}"
        error = MainServerRefused(f"the main server of webKnossos {IS_PAGE if answer.body is PAGE else what}")
        self._notice.trouble(str(error))
        raise error

    async def _look_up(self, keys: Sequence[DatasetKey]) -> None:
        """Learn the datasets' ids, and say which have none: nothing else tells that they are not shown."""
        if self._form == len(self._forms) - 1:
            return  # there the oldest servers, which give none
        found = await for_each(self._ids.find_id, keys, LOOK_UPS)
        unlisted = frozenset(key for key, dataset_id in zip(keys, found, strict=True) if dataset_id is None)
        for key in sorted(unlisted - self._unlisted):
            log.warning("the main server of webKnossos does not show %s: is there an organization %r?", key, key[0])
        self._unlisted = unlisted
