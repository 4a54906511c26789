"""What the pages say of a dataset, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from wkdvid.core.catalog import Dataset, State
from wkdvid.core.entries import DatasetKey
from wkdvid.core.geometry import Box, Float3
from wkdvid.core.layers import Layer
from wkdvid.core.volume import LayerInfo
from wkdvid.errors import NotFound
from wkdvid.frontends.addresses import dataset_path

TIMES = " × "
STATE_NAMES = {
    "pending": "Being opened.",
    "unavailable": "Unavailable.",
    "credentials": "Its source refuses to be read.",
    "gone": "Its source is not there any more.",
    "stale": "Its source is down.",
}
CATEGORIES = {"color": "image", "segmentation": "segmentation"}


@dataclass(frozen=True, slots=True)
class LayerFacts:
    name: str
    category: str
    kind: str
    """Such as ``image, uint8``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A dataset in the list. What only its source tells is empty until it is open."""

    organization: str
    name: str
    address: str
    """Of its page, relative to the server's root."""
    state: str
    state_name: str
    note: str
    """Why it is not open, or what is wrong with it."""
    formats: str
    audience: str
    layers: Sequence[LayerFacts] = ()
    voxels: str = ""
    micrometres: str = ""
    voxel_size: str = ""
    levels: str = ""

    @property
    def is_open(self) -> bool:
        return bool(self.layers)


def make_card(dataset: Dataset, mode: str) -> Card:
    """
    Args:
        mode: Of access, as the configuration names it.
    """
    state, reason = dataset.status
    infos = [layer.info for layer in dataset.layers.values()]
    about: dict[str, str] = {}
    if infos:
        extent, size = whole_extent(infos), infos[0].voxel_size_nm
        levels = {len(info.levels) for info in infos}
        about = {
            "voxels": times(f"{n:,}" for n in extent.size),
            "micrometres": micrometres(extent, size),
            "voxel_size": times(f"{nm:g}" for nm in size),
            "levels": f"{min(levels)} to {max(levels)}" if len(levels) > 1 else str(max(levels)),
        }
    return Card(
        organization=dataset.key.organization,
        name=dataset.key.dataset,
        address=address_of(dataset.key),
        state=state,
        state_name=STATE_NAMES.get(state, ""),
        note=reason or ("Reload the page in a moment." if dataset.state is State.PENDING else ""),
        formats=", ".join(formats_of(dataset)),
        audience=audience(dataset, mode),
        layers=[LayerFacts(info.name, info.category, kind_of(info)) for info in infos],
        **about,
    )


def first_layer(dataset: Dataset) -> Layer:
    """What is shown of a dataset first: an image, if it has one.

    Raises:
        NotFound: it has no layers.
    """
    layers = sorted(dataset.layers.values(), key=lambda layer: layer.info.category != "color")
    if not layers:
        raise NotFound(f"dataset {dataset.key} has no layers")
    return layers[0]


def address_of(key: DatasetKey) -> str:
    """Of a dataset's page, relative to the server's root."""
    return f"datasets/{dataset_path(key)}"


def formats_of(dataset: Dataset) -> Sequence[str]:
    """As the layers say, once they are open; else as the entry does."""
    if dataset.layers:
        return sorted({layer.info.format for layer in dataset.layers.values()})
    return sorted({layer.backend for layer in dataset.entry.layers}) or [dataset.entry.backend]


def audience(dataset: Dataset, mode: str) -> str:
    """Who may see it.

    Args:
        mode: Of access, as the configuration names it.
    """
    if mode == "open" or (mode == "token" and dataset.public) or (mode == "clio" and dataset.said_public):
        return "everybody"
    others = {"token": "administrators", "webknossos": "whom webKnossos lets", "clio": "users with a role"}
    return others[mode]


def whole_extent(infos: Iterable[LayerInfo]) -> Box:
    """Around all layers, in voxels of mag 1."""
    return reduce(Box.join, (info.levels[0].extent.scaled_up(info.levels[0].mag) for info in infos))


def micrometres(extent: Box, voxel_size_nm: Float3) -> str:
    """
    Args:
        extent: In voxels of mag 1.
    """
    return times(_three_digits(n * nm / 1000) for n, nm in zip(extent.size, voxel_size_nm, strict=True))


def _three_digits(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def kind_of(info: LayerInfo) -> str:
    channels = "RGB " if info.num_channels == 3 else ""
    return f"{CATEGORIES[info.category]}, {channels}{info.dtype.name}"


def times(numbers: Iterable[str]) -> str:
    return TIMES.join(numbers)
