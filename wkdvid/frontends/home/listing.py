"""Which datasets a page of the list shows: searched, filtered and cut into pages, without opening any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from wkdvid.core.catalog import Dataset, State
from wkdvid.core.geometry import ceil_div
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.home.facts import formats_of

PER_PAGE = 24
LONGEST = 200
"""Characters of what is searched for."""
MOST_CHOICES = 200
"""Organizations that are offered to choose from; others are found by the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    text: str = ""
    """Words, all of which are in the name, the organization or the names of layers."""
    organization: str = ""
    format: str = ""
    state: str = ""
    page: int = 1

    @property
    def is_narrowed(self) -> bool:
        return bool(self.text or self.organization or self.format or self.state)

    def query(self, page: int) -> str:
        """The same search on another page, as the query of an address."""
        given = {"q": self.text, "organization": self.organization, "format": self.format, "state": self.state}
        return urlencode({**{name: value for name, value in given.items() if value}, "page": page})


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter, and what it may be set to."""

    label: str
    name: str
    any: str
    values: Sequence[str]
    chosen: str


@dataclass(frozen=True, slots=True)
class Listing:
    shown: Sequence[Dataset]
    found: int
    all: int
    """That the caller may see."""
    page: int
    pages: int
    choices: Sequence[Choice]

    @property
    def summary(self) -> str:
        many = f"{self.all:,} dataset{'' if self.all == 1 else 's'}"
        return many if self.found == self.all else f"{self.found:,} of {many}"


def parse_search(args: Mapping[str, Any]) -> Search:
    """
    Raises:
        InvalidRequest: a page that is no number from 1 on, or a text that is too long.
    """
    text, page = str(args.get("q", "")).strip(), str(args.get("page", "1"))
    if len(text) > LONGEST:
        raise InvalidRequest(f"q: expected up to {LONGEST} characters, got {len(text)}")
    if not (page.isascii() and page.isdigit() and 0 < len(page) < 10 and int(page)):
        raise InvalidRequest(f"page: expected a whole number from 1 on, got {page[:20]!r}")
    names = ("organization", "format", "state")
    return Search(text=text, page=int(page), **{name: str(args.get(name, "")) for name in names})


def select(datasets: Sequence[Dataset], search: Search) -> Listing:
    """The page of the list that is searched for, by organization and name; behind the last one, the last."""
    found = sorted((dataset for dataset in datasets if _is_like(dataset, search)), key=_order)
    pages = max(ceil_div(len(found), PER_PAGE), 1)
    page = min(search.page, pages)
    shown = found[(page - 1) * PER_PAGE : page * PER_PAGE]
    return Listing(shown, len(found), len(datasets), page, pages, _choices(datasets, search))


def _order(dataset: Dataset) -> tuple[str, str]:
    return dataset.key.organization.lower(), dataset.key.dataset.lower()


def _is_like(dataset: Dataset, search: Search) -> bool:
    return (
        (not search.organization or dataset.key.organization == search.organization)
        and (not search.state or dataset.state.value == search.state)
        and (not search.format or search.format in formats_of(dataset))
        and (not search.text or _has_words(dataset, search.text))
    )


def _has_words(dataset: Dataset, text: str) -> bool:
    layers = [layer.name for layer in dataset.entry.layers] + list(dataset.layers)
    name = " ".join((str(dataset.key), *layers)).casefold()
    return all(word in name for word in text.casefold().split())


def _choices(datasets: Sequence[Dataset], search: Search) -> Sequence[Choice]:
    organizations = sorted({dataset.key.organization for dataset in datasets}, key=str.lower)[:MOST_CHOICES]
    formats = sorted({name for dataset in datasets for name in formats_of(dataset)})
    return [
        Choice("Organization", "organization", "All", organizations, search.organization),
        Choice("Format", "format", "All", formats, search.format),
        Choice("State", "state", "All", [state.value for state in State], search.state),
    ]
