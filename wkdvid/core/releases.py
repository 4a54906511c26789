"""Datasets that are releases of one another, which DVID's clients see as the versions of one repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wkdvid.core.entries import DatasetEntry, DatasetKey


def release_chains(entries: Mapping[DatasetKey, DatasetEntry]) -> Mapping[DatasetKey, Sequence[DatasetKey]]:
    """For each dataset that has older or newer releases all of them, oldest first.

    An entry names its older releases, which may name theirs. What is not there is left out, and what two entries name
    belongs to the first of them that nobody names.
    """
    named = {older for entry in entries.values() for older in entry.releases}
    chains: dict[DatasetKey, Sequence[DatasetKey]] = {}
    for key, entry in entries.items():
        if entry.releases and key not in named:
            chain = [one for one in _with_older(key, entries) if one not in chains]
            chains |= dict.fromkeys(chain, chain)
    return chains


def _with_older(newest: DatasetKey, entries: Mapping[DatasetKey, DatasetEntry]) -> Sequence[DatasetKey]:
    """Depth first, so that each comes after all that are older than it."""
    chain: dict[DatasetKey, None] = {}
    seen = {newest}
    waiting = [(newest, iter(entries[newest].releases))]
    while waiting:
        key, older = waiting[-1]
        following = next((one for one in older if one in entries and one not in seen), None)
        if following is None:
            chain[key] = None
            waiting.pop()
        else:
            seen.add(following)
            waiting.append((following, iter(entries[following].releases)))
    return list(chain)
