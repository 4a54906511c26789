"""Where the signatures of datasets are, and those that are open."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from wkdvid.signatures.index import META, SignatureIndex, open_index

OPEN = 16
"""Indexes that are kept open."""
_State: TypeAlias = tuple[int, int]


class SignatureFolders:
    """``ORGANIZATION/DATASET`` below one folder. Not for the event loop: it looks at files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: OrderedDict[Path, tuple[_State, SignatureIndex]] = OrderedDict()

    def folder(self, key: tuple[str, str]) -> Path:
        """Of organization and dataset."""
        return self.root.joinpath(*(quote(name, safe=" $@") for name in key))

    @property
    def is_empty(self) -> bool:
        """Whether no dataset has any."""
        return next(self.root.glob(f"[!.]*/*/{META}"), None) is None

    def index(self, key: tuple[str, str]) -> SignatureIndex | None:
        """The index as it is now; None: there is none.

        Raises:
            CorruptChunk: it cannot be read.
        """
        folder = self.folder(key)
        state = _state(folder / META)
        known = self._open.pop(folder, None)
        if state is None:
            return None
        if known is None or known[0] != state:
            index = open_index(folder)
            if index is None:
                return None
            known = (state, index)
        self._open[folder] = known
        if len(self._open) > OPEN:
            self._open.popitem(last=False)
        return known[1]


def _state(meta: Path) -> _State | None:
    """Differs after each replacement."""
    try:
        found = meta.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
