"""Under which name roles on a dataset are held (decisions.md 7): ``organization/dataset``, whatever clients call it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from wkdvid.core.catalog import Catalog
from wkdvid.core.entries import DatasetKey
from wkdvid.core.users import User


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


class Names:
    """Clio's names of datasets and the names under which things are held (decisions.md 7)."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._generation = -1
        self._held: Mapping[str, str] = {}
        self._shown: Mapping[str, str] = {}
        self._public: frozenset[str] = frozenset()

    def held(self, name: str) -> str:
        """``organization/dataset`` of a registered dataset, whatever it is called; another name stays as it is."""
        self._look()
        return self._held.get(name, name)

    def holder(self, user: User) -> User:
        """The user with the roles that were given under another of a dataset's names, before it was registered."""
        self._look()
        if all(self._held.get(name, name) == name for name in user.datasets):
            return user
        roles: dict[str, tuple[str, ...]] = {}
        for name, some in user.datasets.items():
            held = self._held.get(name, name)
            roles[held] = tuple(dict.fromkeys([*roles.get(held, ()), *some]))
        return replace(user, datasets=roles)

    def shown(self, held: str) -> str:
        """What clio's clients call it."""
        self._look()
        return self._shown.get(held, held)

    def is_registered(self, held: str) -> bool:
        self._look()
        return held in self._shown

    def public(self) -> frozenset[str]:
        """Registered datasets whose entries say that they are public, by the names under which things are held."""
        self._look()
        return self._public

    def _look(self) -> None:
        if self._generation != self._catalog.generation:
            self._held = clio_names(self._catalog.datasets())
            self._shown = {held: name for name, held in self._held.items()}  # the last, which is the chosen one
            self._public = frozenset(str(one.key) for one in self._catalog.datasets() if one.said_public)
            self._generation = self._catalog.generation
