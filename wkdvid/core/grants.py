"""Under which name roles on a dataset are held (decisions.md 7): ``organization/dataset``, whatever clients call it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from wkdvid.core.entries import DatasetKey


class Named(Protocol):
    @property
    def key(self) -> DatasetKey: ...

    @property
    def clio_name(self) -> str | None:
        """What its entry says that clio's clients call it."""
        ...


def clio_names(datasets: Iterable[Named]) -> Mapping[str, str]:
    """Clio's name of each dataset -> ``organization/dataset``.

    The name that the entry gives, else the dataset's own where no other has it, else ``organization/dataset``.
    Whatever has none of its own is known by that too.
    """
    known = list(datasets)
    chosen = {one.clio_name: str(one.key) for one in known if one.clio_name is not None}
    plain = [one for one in known if one.clio_name is None]
    counts: dict[str, int] = {}
    for one in plain:
        counts[one.key.dataset] = counts.get(one.key.dataset, 0) + 1
    own = {one.key.dataset: str(one.key) for one in plain if counts[one.key.dataset] == 1}
    return {**{str(one.key): str(one.key) for one in known}, **own, **chosen}
