"""Versions of the datastore's API, as the begin of a path says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

VERSIONS = range(10, 17)
"""Of the modern API; all are answered by the same handlers."""
OLD_VERSIONS = range(5, 10)
"""Those that know datasets by their names alone."""
PREFIXES: Mapping[str, int] = {
    "/data": VERSIONS[-1],
    **{f"/data/v{version}": version for version in (*OLD_VERSIONS, *VERSIONS)},
}
"""Without a version the newest is meant."""
ALL: Sequence[str] = tuple(PREFIXES)
MODERN: Sequence[str] = tuple(prefix for prefix, version in PREFIXES.items() if version in VERSIONS)
ADDRESSINGS: Mapping[str, Sequence[str]] = {"<organization>/<name>": ALL, "<dataset_id>": MODERN}
"""How a path names a dataset, below which prefixes."""


def version_of(path: str) -> int:
    part = path.split("/", 3)[2]
    return PREFIXES.get(f"/data/{part}", PREFIXES["/data"])
