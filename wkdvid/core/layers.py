"""Open layers in their dataset: on one grid, under names that every protocol can use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from wkdvid.core.entries import DatasetEntry
from wkdvid.core.geometry import Float3, Vec3, multiply
from wkdvid.core.label_index import LabelIndex
from wkdvid.core.pyramid import Scale, halved_scales, mag_scales, plan_scale
from wkdvid.core.volume import LayerInfo, StoresChunks, TellsTrouble, Volume
from wkdvid.errors import InvalidEntry

MAG_TOLERANCE = 0.02
"""How far a ratio of voxel sizes may be from a whole number: sources round their nanometres."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A layer of an entry, open."""

    compression: str | None
    """What the entry chose DVID to be told."""
    volume: Volume
    index: LabelIndex | None = None
    notes: tuple[str, ...] = ()
    """What is odd about it, besides the volume's own."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """An open layer in its dataset."""

    info: LayerInfo
    """Mags are relative to the dataset's finest grid, ``voxel_size_nm`` is that grid's."""
    volume: Volume
    chunks: StoresChunks | None
    """The volume again, where its stored chunks can be handed on."""
    compression: str | None
    """What the entry chose DVID to be told; None = as the source is stored."""
    scales: dict[Vec3, Scale]
    """By mag: those that are offered, and what else was asked for."""
    mags: tuple[Vec3, ...]
    """The mags that are offered to clients that take any, finest first."""
    halvings: tuple[Scale, ...]
    """Index k: the finest level halved k times on every axis; of an image of a DVID's store, the stored level k."""
    lasting: bool = True
    """Whether what is read of it stays true, so that it may be kept."""
    index: LabelIndex | None = None
    """Of the labels of the finest level, if one was made."""
    teller: TellsTrouble | None = None
    """The volume again, where it tells whether its source can be read."""

    def scale(self, mag: Vec3) -> Scale | None:
        """The scale of exactly this mag, stored or computed; None if it cannot be made from a stored one."""
        found = self.scales.get(mag)
        if found is None:
            found = plan_scale(self.info.levels, mag)
            if found is not None:
                self.scales[mag] = found  # its id is part of cache keys, so it must stay the same
        return found


def arrange_layers(entry: DatasetEntry, opened: Sequence[Opened]) -> dict[str, Layer]:
    """Put the layers of a dataset on one grid: that of the finest voxel size among them.

    Raises:
        InvalidEntry: voxel sizes that are no whole multiples of the finest, or names that clash over DVID.
    """
    finest = _finest_size([one.volume.info for one in opened])
    problems: list[str] = []
    layers: dict[str, Layer] = {}
    for one in opened:
        compression, volume = one.compression, one.volume
        path = f"{entry.backend}.{entry.key.organization}.{entry.key.dataset}.layers.{volume.info.name}"
        ratio = _ratio(volume.info.voxel_size_nm, finest)
        if ratio is None:
            help_text = "; give its store a 'dataset' of its own" if entry.is_configured else ""
            size = volume.info.voxel_size_nm
            problems.append(f"{path}: voxel size {size} nm is no whole multiple of {finest} nm{help_text}")
        elif volume.info.name in layers:
            problems.append(f"{path}: a second layer of this name")
        elif (unfit := _unfit(volume.info, compression)) is not None:
            problems.append(f"{path}: {unfit}")
        else:
            layers[volume.info.name] = _layer(one, ratio, finest, entry.is_configured)
    problems += _clashing_names(entry, layers)
    if problems:
        raise InvalidEntry(problems)
    return layers


def _unfit(info: LayerInfo, compression: str | None) -> str | None:
    """Why a layer cannot be what its entry says."""
    if info.category == "segmentation" and (info.dtype.kind == "f" or info.num_channels > 1):
        return f"type: labels are whole numbers, one a voxel; the source has {info.num_channels} x {info.dtype.name}"
    if compression == "jpeg" and (info.dtype.str != "|u1" or info.num_channels > 1 or info.category == "segmentation"):
        return "compression: jpeg is for gray images of 8 bits alone"
    return None


def _finest_size(infos: Iterable[LayerInfo]) -> Float3:
    sizes = [info.voxel_size_nm for info in infos]
    return (min(s[0] for s in sizes), min(s[1] for s in sizes), min(s[2] for s in sizes))


def _ratio(size: Float3, finest: Float3) -> Vec3 | None:
    whole = [round(a / b) for a, b in zip(size, finest, strict=True)]
    if any(abs(a / b - w) > MAG_TOLERANCE * w for a, b, w in zip(size, finest, whole, strict=True)):
        return None
    return (whole[0], whole[1], whole[2])


def _layer(one: Opened, ratio: Vec3, finest: Float3, is_dvids: bool) -> Layer:
    """
    Args:
        is_dvids: Whether a DVID's configuration names it, whose clients know its images' levels as they are stored.
    """
    volume = one.volume
    levels = tuple(replace(level, mag=multiply(level.mag, ratio)) for level in volume.info.levels)
    notes = (*volume.info.notes, *one.notes)
    info = replace(volume.info, levels=levels, voxel_size_nm=finest, notes=notes)
    by_mag = mag_scales(levels)
    if is_dvids and info.category == "color":
        halvings = by_mag[: len(levels)]
    else:
        halvings = halved_scales(levels, 2 if info.category == "segmentation" else 1)
    scales = {scale.mag: scale for scale in (*halvings, *by_mag)}
    return Layer(
        info,
        volume,
        volume if isinstance(volume, StoresChunks) else None,
        one.compression,
        scales,
        tuple(scale.mag for scale in by_mag),
        tuple(scales[scale.mag] for scale in halvings),
        index=one.index,
        teller=volume if isinstance(volume, TellsTrouble) else None,
    )


def _clashing_names(entry: DatasetEntry, layers: Mapping[str, Layer]) -> list[str]:
    taken = {
        f"{name}_{k}": name
        for name, layer in layers.items()
        if layer.info.category == "color"
        for k in range(1, len(layer.halvings))
    }
    path = f"{entry.backend}.{entry.key.organization}.{entry.key.dataset}.layers"
    return [
        f"{path}.{name}: this is what a coarser level of layer {taken[name]!r} is called over DVID; choose another name"
        for name in layers
        if name in taken
    ]
