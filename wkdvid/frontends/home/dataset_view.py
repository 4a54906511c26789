"""What the page of a dataset shows of one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import Box
from wkdvid.core.layers import Layer
from wkdvid.core.pictures import Tone
from wkdvid.errors import BackendError
from wkdvid.frontends.home.facts import kind_of, whole_extent
from wkdvid.frontends.home.histogram import BINS, HEIGHT, Histogram, outlines, place_of, tone_of
from wkdvid.frontends.home.levels import LevelRow, computed_mags, level_rows
from wkdvid.frontends.home.look import Look, place, query_of
from wkdvid.frontends.home.neuroglancer import demo_link, viewer_address
from wkdvid.frontends.home.planes import PlaneView, planes
from wkdvid.frontends.home.slices import AXES, whole_of
from wkdvid.frontends.home.ways_in import WayIn

NOTHING = "Wherever it was looked, all voxels are 0."
NOT_YET = "The values are being counted; reload the page in a moment."


@dataclass(frozen=True, slots=True)
class Tab:
    name: str
    kind: str
    query: str
    """Of the page that shows this layer at the same position."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A histogram as it is drawn."""

    width: int
    height: float
    paths: Sequence[str]
    """Of SVG, one for each channel."""
    marks: Sequence[float]
    """Where black and white stand."""
    label: str
    low: str
    high: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetView:
    tabs: Sequence[Tab]
    layer: str
    format: str
    kind: str
    notes: Sequence[str]
    """What is odd about the source."""
    planes: Sequence[PlaneView]
    position: Sequence[tuple[str, int, int, int]]
    """Axis, position, first and last one."""
    has_contrast: bool
    low: str
    high: str
    plot: Plot | None
    no_plot: str
    """Why there is none."""
    levels: Sequence[LevelRow]
    computed: str
    viewer: str | None
    """Its address, relative to the server's root; None: it can show no layer."""
    viewer_over_dvid: str | None
    ways: Sequence[WayIn]


def view_of(
    dataset: Dataset,
    layer: Layer,
    look: Look,
    values: Histogram | BackendError | None,
    ways: Sequence[WayIn],
    base: str,
) -> DatasetView:
    """
    Args:
        values: Of the layer; None: not yet known; or why they cannot be.
        base: Where the caller found us.
    """
    info, position, whole = layer.info, place(layer, look), whole_of(layer)
    histogram = values if isinstance(values, Histogram) else None
    tone = _filled(look.tone, tone_of(histogram, info))
    return DatasetView(
        tabs=[Tab(name, kind_of(one.info), query_of(name, position, Tone())) for name, one in dataset.layers.items()],
        layer=info.name,
        format=info.format,
        kind=kind_of(info),
        notes=info.notes,
        planes=planes(dataset, layer, look, tone),
        position=list(zip(AXES, position, whole.start, (stop - 1 for stop in whole.stop), strict=True)),
        has_contrast=info.category == "color",
        low=_short(tone.low),
        high=_short(tone.high),
        plot=_plot(histogram, tone) if histogram is not None and histogram.voxels else None,
        no_plot=str(values) if isinstance(values, BackendError) else NOT_YET if values is None else NOTHING,
        levels=level_rows(layer),
        computed=computed_mags(layer),
        viewer=_viewer(dataset, base, {info.name: tone}, over_dvid=False),
        viewer_over_dvid=_viewer(dataset, base, {info.name: tone}, over_dvid=True),
        ways=[*ways, *_demo(dataset, base, {info.name: tone})],
    )


def _viewer(dataset: Dataset, base: str, tones: Mapping[str, Tone], *, over_dvid: bool) -> str | None:
    return viewer_address(dataset, _whole(dataset), base, tones, over_dvid=over_dvid)


def _demo(dataset: Dataset, base: str, tones: Mapping[str, Tone]) -> Sequence[WayIn]:
    link = demo_link(dataset, _whole(dataset), base, tones)
    return [WayIn("Neuroglancer elsewhere", link, "where this server is seen from outside by https")] if link else []


def _whole(dataset: Dataset) -> Box:
    return whole_extent(layer.info for layer in dataset.layers.values())


def _filled(chosen: Tone, otherwise: Tone) -> Tone:
    low = otherwise.low if chosen.low is None else chosen.low
    return Tone(low, otherwise.high if chosen.high is None else chosen.high)


def _plot(histogram: Histogram, tone: Tone) -> Plot:
    marks = [place_of(histogram, value) for value in (tone.low, tone.high) if value is not None]
    label = f"values of {histogram.voxels:,} voxels that are not 0"
    return Plot(BINS, HEIGHT, outlines(histogram), marks, label, _short(histogram.low), _short(histogram.high))


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
