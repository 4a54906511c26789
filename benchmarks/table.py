"""What was measured, as lines of a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from benchmarks.load import Load

COLD_TARGET = 1.3
WIDTH = 52


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A case under load."""

    case: str
    load: Load
    nginx: Load
    nginx_share: float
    """Our rate as a share of nginx sending as many bytes."""
    cpu_us: float
    """Processor time of all our processes for one request."""
    nginx_cpu_us: float
    """Of nginx for as many bytes. Processor times suffer least from what else the machine does."""
    tensorstore_share: float | None
    """Our rate as a share of TensorStore reading the same boxes, decoded chunks cached, in one process."""
    peak_mb: float
    """Largest resident size of the worker during the case, in MB (10^6 bytes)."""
    target_share: float | None
    target_rate: float | None
    rival: str

    @property
    def met(self) -> bool | None:
        """None: there is no target."""
        if self.target_share is not None:
            return self.nginx_share >= self.target_share
        return None if self.target_rate is None else self.load.requests_per_s >= self.target_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Cold:
    """A case whose every request was sent once to a server that had nothing cached."""

    case: str
    requests: int
    seconds: float
    cpu_s: float
    """Of the processor, for all our processes."""
    tensorstore_s: float
    """TensorStore alone, in one process, with as many in flight."""
    tensorstore_cpu_s: float

    @property
    def ratio(self) -> float:
        return self.seconds / self.tensorstore_s

    @property
    def met(self) -> bool:
        return self.ratio <= COLD_TARGET


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A single number."""

    case: str
    value: float
    unit: str
    most: float | None = None
    """Target, in the same unit."""

    @property
    def met(self) -> bool | None:
        return None if self.most is None else self.value <= self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """Reads of one box by our backend and by the format's own library."""

    case: str
    library: str
    ours_us: tuple[float, float]
    """Microseconds a read: cold, warm."""
    theirs_us: tuple[float, float]

    @property
    def met(self) -> bool:
        """At least as fast, warm."""
        return self.ours_us[1] <= self.theirs_us[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """Voxels that are stored, one box at a time, in MB (10^6 bytes) a second."""

    case: str
    ours_mb_s: float
    tensorstore_mb_s: float
    zarr_mb_s: float

    @property
    def met(self) -> None:
        """There is no target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A case that could not be measured."""

    case: str
    text: str

    @property
    def met(self) -> bool:
        return False


Result: TypeAlias = Row | Cold | Figure | Versus | Posted | Problem

LOAD_HEADING = (
    f"{'case':{WIDTH}}{'requests/s':>11}{'MB/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'of nginx':>10}"
    f"{'CPU us':>9}{'and nginx':>10}{'of TensorStore':>16}{'peak MB':>9}"
    "  target"
)
COLD_HEADING = (
    f"{'each once, nothing cached':{WIDTH}}{'requests/s':>11}{'s':>9}{'TensorStore s':>15}{'ratio':>8}"
    f"{'of CPU s':>10}  target"
)
VERSUS_HEADING = (
    f"{'one box at a time':{WIDTH}}{'library':16}{'cold us: ours':>14}{'theirs':>9}{'ratio':>8}"
    f"{'warm us: ours':>16}{'theirs':>9}{'ratio':>8}  target"
)
POSTED_HEADING = (
    f"{'durable, one box at a time, MB/s':{WIDTH}}{'ours':>9}"
    f"{'TensorStore':>13}{'ratio':>8}{'zarr-python':>13}{'ratio':>8}"
)
FIGURE_HEADING = f"{'figure':{WIDTH}}{'value':>11}"


def line(result: Result) -> str:
    """One line of the table that the result belongs to."""
    match result:
        case Row():
            return _row(result)
        case Cold():
            return _cold(result)
        case Figure():
            target = "" if result.most is None else f"  <= {result.most:,.0f} {result.unit} {_verdict(result.met)}"
            return f"{result.case:{WIDTH}}{result.value:11,.2f} {result.unit}{target}"
        case Versus():
            return _versus(result)
        case Posted():
            return _posted(result)
        case Problem():
            return f"{result.case:{WIDTH}} FAILED: {result.text}"


def _row(row: Row) -> str:
    load = row.load
    measured = (
        f"{row.case:{WIDTH}}{load.requests_per_s:11,.0f}{load.mb_per_s:9,.0f}{load.p50_ms:9.2f}{load.p99_ms:9.2f}"
    )
    cpu = f"{row.cpu_us:9,.0f}{row.nginx_cpu_us:10,.0f}"
    others = f"{_percent(row.nginx_share):>10}{cpu}{_percent(row.tensorstore_share):>16}{row.peak_mb:9,.0f}"
    return f"{measured}{others}  {_target(row)}".rstrip()


def _cold(cold: Cold) -> str:
    measured = f"{cold.case:{WIDTH}}{cold.requests / cold.seconds:11,.0f}{cold.seconds:9.2f}{cold.tensorstore_s:15.2f}"
    ratios = f"{cold.ratio:8.2f}{cold.cpu_s / cold.tensorstore_cpu_s:10.2f}"
    return f"{measured}{ratios}  <= {COLD_TARGET} {_verdict(cold.met)}"


def _versus(versus: Versus) -> str:
    (cold, warm), (their_cold, their_warm) = versus.ours_us, versus.theirs_us
    colds = f"{cold:14,.0f}{their_cold:9,.0f}{cold / their_cold:8.2f}"
    warms = f"{warm:16,.0f}{their_warm:9,.0f}{warm / their_warm:8.2f}"
    return f"{versus.case:{WIDTH}}{versus.library:16}{colds}{warms}  warm <= 1 {_verdict(versus.met)}"


def _posted(posted: Posted) -> str:
    ours, theirs, zarrs = posted.ours_mb_s, posted.tensorstore_mb_s, posted.zarr_mb_s
    return f"{posted.case:{WIDTH}}{ours:9,.0f}{theirs:13,.0f}{ours / theirs:8.2f}{zarrs:13,.0f}{ours / zarrs:8.2f}"


def _target(row: Row) -> str:
    if row.target_share is not None:
        target = f">= {_percent(row.target_share)} {_verdict(row.met)}"
    elif row.target_rate is not None:
        target = f">= {row.target_rate:,.0f}/s {_verdict(row.met)}"
    else:
        target = ""
    return f"{target:<17}{f' ({row.rival})' if row.rival else ''}"


def _verdict(met: bool | None) -> str:
    return "met" if met else "MISSED"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.{0 if share >= 0.2 else 1}f} %"


def summary(results: Iterable[Result]) -> str:
    """How many targets were met, and which were not."""
    judged = [result for result in results if result.met is not None]
    missed = [result.case for result in judged if not result.met]
    return f"{len(judged) - len(missed)} of {len(judged)} targets met" + "".join(f"\n  not: {case}" for case in missed)


def as_json(results: Iterable[Result], about: dict[str, Any]) -> str:
    """All results with their kinds, and what they were measured with."""
    listed = [{"kind": type(result).__name__.lower(), "met": result.met, **asdict(result)} for result in results]
    return json.dumps({**about, "results": listed}, indent=2) + "\n"
