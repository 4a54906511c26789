"""The ``info`` file as values: strict on what is used, silent on the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wkdvid.backends.numbers import is_count, is_number, is_size
from wkdvid.backends.quoting import plain
from wkdvid.core.geometry import Box, Float3, Vec3
from wkdvid.core.volume import Category
from wkdvid.errors import InvalidRequest
from wkdvid.extras import install

READABLE = frozenset({"raw", "jpeg", "png", "compressed_segmentation"})
"""Encodings that TensorStore decodes."""
LABEL_BLOCK = "compressed_segmentation_block_size"
DATA_TYPES = frozenset({"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32"})


@dataclass(frozen=True, slots=True)
class Foreign:
    """An encoding that TensorStore does not know."""

    package: str
    """Which decodes it."""
    data_types: frozenset[str]
    channels: range


_LABELS = frozenset({"uint8", "uint16", "uint32", "uint64"})
_FLOATS = frozenset({"float32"})
_ONE, _ANY = range(1, 2), range(1, 2**31)
FOREIGN: Mapping[str, Foreign] = {
    "jxl": Foreign("imagecodecs", frozenset({"uint8"}), range(1, 5)),
    "compresso": Foreign("compresso", _LABELS, _ONE),
    "crackle": Foreign("crackle", _LABELS | {"int8", "int16", "int32"}, _ONE),
    "fpzip": Foreign("fpzip", _FLOATS, _ANY),
    "kempressed": Foreign("fpzip", _FLOATS, _ANY),
    "zfpc": Foreign("zfpc", _FLOATS, _ANY),
}


@dataclass(frozen=True, slots=True)
class ScaleMetadata:
    index: int | None
    """Position in the ``scales`` of the info that TensorStore is given; None of one whose encoding it does not know."""
    key: str
    resolution_nm: Float3
    extent: Box
    """From ``voxel_offset`` and ``size``, in voxels of the scale."""
    chunk_size: Vec3
    encoding: str
    label_block: Vec3 | None
    """As ``LevelInfo`` has it."""
    sharding: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Info:
    category: Category
    num_channels: int
    scales: tuple[ScaleMetadata, ...]
    """Finest first, those that can be read."""
    mesh: str | None
    """The folder of the meshes, relative to the volume's; None: there are none."""
    skeletons: str | None
    """As ``mesh``, the folder of the skeletons."""
    segment_properties: str | None
    """As ``mesh``, the folder of their properties."""
    document: dict[str, Any]
    """The info that TensorStore is given: names in its spelling, without the scales that it cannot read."""
    notes: tuple[str, ...]


def parse_info(document: Mapping[str, Any], what: str, is_installed: Callable[[str], bool]) -> Info:
    """
    Args:
        document: The info file.
        what: The source, for messages.
        is_installed: Whether a package is there, which some encodings need.
    Raises:
        InvalidRequest: a member that is missing or wrong, by its path; or no scale can be read, with what would help.
    """
    data_type = _text(document, "data_type", what).lower()
    if data_type not in DATA_TYPES:
        raise InvalidRequest(f"{what}: data_type {data_type!r} is not one of {', '.join(sorted(DATA_TYPES))}")
    num_channels = _positive(document.get("num_channels", 1), f"{what}: num_channels")
    raw = document.get("scales")
    if not isinstance(raw, list) or not raw:
        raise InvalidRequest(f"{what}: scales: expected a list of at least one scale")
    normalised = [_normalised(scale, i, what) for i, scale in enumerate(raw)]
    hindrances = [hindrance(scale["encoding"], data_type, num_channels, is_installed) for scale in normalised]
    if None not in hindrances:
        raise InvalidRequest(f"{what}: every scale is stored as {hindrances[0]}")
    given = [i for i, scale in enumerate(normalised) if scale["encoding"] in READABLE]
    scales = [
        _scale(scale, given.index(i) if i in given else None, f"{what}: scales[{i}]")
        for i, scale in enumerate(normalised)
        if hindrances[i] is None
    ]
    return Info(
        category="segmentation" if document.get("type") == "segmentation" else "color",
        num_channels=num_channels,
        scales=tuple(sorted(scales, key=lambda scale: scale.resolution_nm)),
        mesh=_folder(document.get("mesh")),
        skeletons=_folder(document.get("skeletons")),
        segment_properties=_folder(document.get("segment_properties")),
        document={**document, "data_type": data_type, "scales": [normalised[i] for i in given]},
        notes=tuple(
            f"Scale {i} ({plain(scale.get('key'))}) is stored as {hindered}; the others are served."
            for i, (scale, hindered) in enumerate(zip(normalised, hindrances, strict=True))
            if hindered is not None
        ),
    )


def hindrance(encoding: str, data_type: str, num_channels: int, is_installed: Callable[[str], bool]) -> str | None:
    """Why a scale cannot be read, beginning with its encoding; None if it can."""
    if encoding in READABLE:
        return None
    if encoding not in FOREIGN:
        known = ", ".join(sorted(READABLE | FOREIGN.keys()))
        return f"{plain(encoding)}, which cannot be read; readable are {known}: convert it to one of them"
    foreign = FOREIGN[encoding]
    if data_type not in foreign.data_types or num_channels not in foreign.channels:
        return f"{encoding}, which has no {num_channels} x {data_type}: convert it to raw"
    if not is_installed(foreign.package):
        return f"{encoding}, which needs a package: {install('codecs')}"
    return None


def _folder(value: object) -> str | None:
    """Writers leave null or "" where there is none."""
    return value if isinstance(value, str) and value else None


def _normalised(scale: object, index: int, what: str) -> dict[str, Any]:
    if not isinstance(scale, dict):
        raise InvalidRequest(f"{what}: scales[{index}]: expected an object")
    return {**scale, "encoding": _text(scale, "encoding", f"{what}: scales[{index}]").lower()}


def _scale(scale: Mapping[str, Any], index: int | None, what: str) -> ScaleMetadata:
    chunk_sizes = scale.get("chunk_sizes")
    if not isinstance(chunk_sizes, list) or not chunk_sizes:
        raise InvalidRequest(f"{what}.chunk_sizes: expected a list of at least one size")
    return ScaleMetadata(
        index=index,
        key=_text(scale, "key", what),
        resolution_nm=_resolution(scale.get("resolution"), f"{what}.resolution"),
        extent=Box.at(
            _ints(scale.get("voxel_offset", [0, 0, 0]), f"{what}.voxel_offset"),
            _sizes(scale.get("size"), f"{what}.size"),
        ),
        chunk_size=_sizes(chunk_sizes[0], f"{what}.chunk_sizes[0]"),
        encoding=scale["encoding"],
        label_block=_label_block(scale, what),
        sharding=_sharding(scale.get("sharding"), f"{what}.sharding"),
    )


def _label_block(scale: Mapping[str, Any], what: str) -> Vec3 | None:
    if scale["encoding"] != "compressed_segmentation":
        return None
    return _sizes(scale.get(LABEL_BLOCK), f"{what}.{LABEL_BLOCK}")


def _sharding(value: object, what: str) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    raise InvalidRequest(f"{what}: expected an object, got {value!r}")


def _text(members: Mapping[str, Any], name: str, what: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{what}: {name}: expected text, got {value!r}")
    return value


def _positive(value: object, what: str) -> int:
    if is_count(value):
        return value
    raise InvalidRequest(f"{what}: expected a positive whole number, got {value!r}")


def _ints(value: object, what: str) -> Vec3:
    if isinstance(value, list) and len(value) == 3 and all(is_number(n) and n == int(n) for n in value):
        return (int(value[0]), int(value[1]), int(value[2]))
    raise InvalidRequest(f"{what}: expected three whole numbers [x, y, z], got {value!r}")


def _sizes(value: object, what: str) -> Vec3:
    size = _ints(value, what)
    if min(size) <= 0:
        raise InvalidRequest(f"{what}: expected three positive whole numbers [x, y, z], got {value!r}")
    return size


def _resolution(value: object, what: str) -> Float3:
    if isinstance(value, list) and len(value) == 3 and all(is_size(n) for n in value):
        return (float(value[0]), float(value[1]), float(value[2]))
    raise InvalidRequest(f"{what}: expected three positive numbers [x, y, z] in nanometres, got {value!r}")
