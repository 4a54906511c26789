"""The results as pictures: how fast we are beside each peer, case by case.

Every colour is readable on white as on black, and the ground is transparent: one picture does for light and dark pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

Ratios: TypeAlias = Mapping[str, float]
"""Our speed by that of each peer: above 1 we are the faster one."""
Result: TypeAlias = Mapping[str, Any]
"""As ``table.as_json`` writes it."""

GREY = "#767676"
"""Its contrast is 4.5 with white and 4.6 with black (WCAG 2 asks for 4.5)."""
MARKS = (("#1f83c6", "o"), ("#d1681e", "D"))
"""Colour and form, so that who sees no colours tells them apart."""
NARROW = 300
"""A wider chart has no room for the numbers between the powers of ten."""
LIKE_A_PAGE: dict[Any, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "wkdvid",
    "font.family": "sans-serif",
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
}
"""Text stays text; equal results give equal files."""


@dataclass(frozen=True, slots=True)
class Chart:
    name: str
    """Of the file, behind ``benchmarks-``."""
    title: str
    ratios: Callable[[Result], Ratios]


def _under_load(row: Result) -> Ratios:
    shares = {
        "nginx, sending as many bytes": row["nginx_share"],
        "TensorStore in one process": row["tensorstore_share"],
    }
    return {peer: share for peer, share in shares.items() if share is not None}


def _cold(cold: Result) -> Ratios:
    return {"TensorStore in one process": cold["tensorstore_s"] / cold["seconds"]}


def _beside_library(versus: Result) -> Ratios:
    pairs = zip(("cold", "warm"), versus["ours_us"], versus["theirs_us"], strict=True)
    return {name: theirs / ours for name, ours, theirs in pairs}


def _written(posted: Result) -> Ratios:
    ours = posted["ours_mb_s"]
    return {"TensorStore": ours / posted["tensorstore_mb_s"], "zarr-python": ours / posted["zarr_mb_s"]}


CHARTS: Mapping[str, Chart] = {
    "row": Chart("load", "Requests a second under load, by those of", _under_load),
    "cold": Chart("cold", "Each request once, nothing cached: speed by that of", _cold),
    "versus": Chart("libraries", "One box at a time: speed by that of the library", _beside_library),
    "posted": Chart("writes", "Durable writes: speed by that of", _written),
}
"""By the kind of result. Figures have no peer, and problems no number."""


def draw(results: Iterable[Result], folder: Path) -> Sequence[Path]:
    """Draw an SVG for each kind of result that there is, in place of an older one.

    Returns:
        The files.
    """
    listed = list(results)
    drawn = []
    for kind, chart in CHARTS.items():
        found = [(_label(result), chart.ratios(result)) for result in listed if result["kind"] == kind]
        if found:
            drawn.append(folder / f"benchmarks-{chart.name}.svg")
            _draw_one(chart.title, found, drawn[-1])
    return drawn


def _label(result: Result) -> str:
    return f"{result['case']} ({result['library']})" if "library" in result else str(result["case"])


def _spread(cases: Sequence[tuple[str, Ratios]]) -> float:
    """The largest ratio by the smallest one, 1 among them."""
    ratios = [1, *(ratio for _, found in cases for ratio in found.values())]
    return max(ratios) / min(ratios)


def _draw_one(title: str, cases: Sequence[tuple[str, Ratios]], path: Path) -> None:
    with rc_context(LIKE_A_PAGE):
        figure = Figure(figsize=(8, 1.1 + 0.26 * len(cases)), layout="constrained")
        axes = figure.subplots()
        peers = list(dict.fromkeys(peer for _, ratios in cases for peer in ratios))
        for peer, (color, form) in zip(peers, MARKS, strict=False):
            places = [(ratios[peer], place) for place, (_, ratios) in enumerate(cases) if peer in ratios]
            axes.plot(*zip(*places, strict=True), form, color=color, label=peer, linestyle="none")
        axes.axvline(1, color=GREY, linewidth=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if _spread(cases) < NARROW else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g} x"))
        axes.set_yticks(range(len(cases)), [label for label, _ in cases])
        axes.invert_yaxis()
        axes.grid(axis="both", color=GREY, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(title, fontsize=10)
        figure.legend(loc="outside lower center", ncols=len(peers), frameon=False)
        figure.savefig(path, transparent=True, metadata={"Date": None, "Title": title})
