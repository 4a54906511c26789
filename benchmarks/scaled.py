"""The load balancer of deploy/ before one server and before two: what a second server brings.

With two cores nothing can double: the second server has the core on which the balancer and the load run too. The more
a server has to do for each request, the less that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import servers
from benchmarks.cases import BUCKET, Case, Check, datasets, is_decoded, is_gzipped_segmentation, is_voxels, raw
from benchmarks.load import Ask, fetch, run_wrk
from benchmarks.measure import ROUNDS, check
from benchmarks.table import Figure
from benchmarks.volumes import CHUNK, Volume


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    source: str
    side: int
    cache_mib: int
    is_right: Callable[[Volume], Check]
    query: str = ""


ZIPPED = "?compression=googlegzip"

KINDS = (
    Kind("behind the balancer: raw 32^3, cached", "grey", BUCKET, 1024, partial(is_voxels, source="grey")),
    Kind("behind the balancer: raw 64^3 of jpeg, not cached", "greyjpeg", CHUNK, 1, is_decoded),
    Kind(
        "behind the balancer: raw 64^3 of labels as gzip, not cached",
        "seg",
        CHUNK,
        1,
        partial(is_gzipped_segmentation, source="seg"),
        ZIPPED,
    ),
)


def figures(kind: Kind, volume: Volume, seconds: float, cores: tuple[int, int], work: Path) -> Iterator[Figure]:
    """
    Args:
        cores: Of the first server; of the second one, the balancer and the load.

    Raises:
        WrongAnswer: not the voxels, or a status from 400 on.
    """
    asks = [raw(kind.source, box, kind.query) for box in volume.grid((kind.side, kind.side, kind.side))]
    case = Case(name=kind.name, source=kind.source, asks=asks, is_right=kind.is_right(volume))
    catalog = datasets(lambda name: str(volume.folder / name))
    with ExitStack() as stack:
        places = [(work / f"server{n}", core) for n, core in enumerate(cores)]
        one, two = (
            stack.enter_context(
                servers.wkdvid(data, catalog, core=core, file_root=volume.folder, cache_mib=kind.cache_mib)
            )
            for data, core in places
        )
        alone, both = (
            stack.enter_context(servers.haproxy(work / f"haproxy{n}", behind, core=cores[1]))
            for n, behind in enumerate([(one, one), (one, two)])
        )
        for balancer in (alone, both):
            check(case, fetch(balancer.base, asks)[0])
        rounds = [
            [_rate(asks, base, seconds, cores[1], work) for base in (alone.base, both.base)] for _ in range(ROUNDS)
        ]
    rates = [max(found) for found in zip(*rounds, strict=True)]
    yield Figure(case=f"{kind.name}, 1 server", value=rates[0], unit="/s")
    yield Figure(case=f"{kind.name}, 2 servers", value=rates[1], unit="/s")
    yield Figure(case=f"{kind.name}, 2 against 1", value=rates[1] / rates[0], unit="times")


def _rate(asks: Sequence[Ask], base: str, seconds: float, core: int, work: Path) -> float:
    return run_wrk(base, asks, seconds / ROUNDS, core, work).requests_per_s
