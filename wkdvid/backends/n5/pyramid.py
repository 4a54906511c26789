"""How large the voxels of each N5 level are, and where the level begins, in the dialects of N5's writers.

* n5-viewer: ``downsamplingFactors`` on each level or, as a list of them (or ``scales``), on the group;
  ``pixelResolution`` or ``resolution`` with ``units``, of the finest level.
* COSEM: ``transform`` on each level, or in ``multiscales`` of the group; its axes in C order, dimensions reversed.
* BigDataViewer: as n5-viewer, with levels two folders below their factors (``setupN/timepointM``).
* Paintera: as n5-viewer, with ``resolution`` and ``offset`` on the group's ``data``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkdvid.backends.array_layer import SIZE_NOTE, UNIT_NOTE, UNKNOWN_SIZE
from wkdvid.backends.axes import axes_of_names, half_inward, nm_per_unit
from wkdvid.backends.numbers import is_number, is_size
from wkdvid.backends.quoting import plain
from wkdvid.core.geometry import Float3, Vec3
from wkdvid.errors import InvalidRequest

FACTORS = ("downsamplingFactors", "scales")


@dataclass(frozen=True, slots=True)
class Place:
    """One level in space."""

    voxel_size_nm: Float3
    voxel_offset: Vec3
    axes: str | None
    """As the level's ``transform`` names them, first the fastest."""


def listed_paths(group: Mapping[str, Any]) -> list[str] | None:
    """The levels that COSEM's ``multiscales`` names."""
    datasets = _datasets(group)
    paths = [dataset.get("path") for dataset in datasets]
    return [str(path) for path in paths] if paths and all(isinstance(path, str) for path in paths) else None


def count_of_levels(group: Mapping[str, Any]) -> int | None:
    """How many levels the group has factors of; None if it has no list of them."""
    counts = [len(group[name]) for name in FACTORS if _is_list_of_factors(group.get(name))]
    return max(counts, default=None)


def _is_list_of_factors(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(factors, list) for factors in value)


def place_levels(
    group: Mapping[str, Any], levels: Sequence[Mapping[str, Any]], what: str
) -> tuple[list[Place], tuple[str, ...]]:
    """
    Args:
        group: Attributes of the group, with those it inherits.
        levels: Attributes of each level, s0 first.
    Returns:
        A place per level, and notes.
    Raises:
        InvalidRequest: attributes that are wrong, or a level whose factors nobody says.
    """
    transforms = [_transform(level) or _group_transform(group, i) for i, level in enumerate(levels)]
    known = [transform for transform in transforms if transform is not None]
    if len(known) == len(levels):
        return [_transformed(transform, what) for transform in known], ()
    size, notes = _resolution({**group, **levels[0]}, what)
    factors = [_factors(group, level, i, what) for i, level in enumerate(levels)]
    offset = _triple(group["offset"], f"{what}: offset") if "offset" in group else (0.0, 0.0, 0.0)
    return [_place(size, factor, offset) for factor in factors], notes


def _place(size: Float3, factor: Float3, offset: Float3) -> Place:
    x, y, z = (a * b for a, b in zip(size, factor, strict=True))
    return Place((x, y, z), (half_inward(offset[0] / x), half_inward(offset[1] / y), half_inward(offset[2] / z)), None)


def _factors(group: Mapping[str, Any], level: Mapping[str, Any], index: int, what: str) -> Float3:
    own = level.get("downsamplingFactors")
    if own is not None:
        return _positive(own, f"{what}: downsamplingFactors of level {index}")
    for name in FACTORS:
        listed = group.get(name)
        if isinstance(listed, list) and index < len(listed) and isinstance(listed[index], list):
            return _positive(listed[index], f"{what}: {name}[{index}]")
    if index == 0:
        return (1.0, 1.0, 1.0)
    raise InvalidRequest(f"{what}: level {index} does not say its downsamplingFactors, nor does the group")


def _resolution(attributes: Mapping[str, Any], what: str) -> tuple[Float3, tuple[str, ...]]:
    """Size of a voxel of the finest level, from ``pixelResolution`` (an object or a list) or ``resolution``."""
    value: Any = attributes.get("pixelResolution")
    unit: Any = attributes.get("units")
    if isinstance(value, dict):
        value, unit = value.get("dimensions"), value.get("unit")
    if value is None:
        value = attributes.get("resolution")
    if value is None:
        return UNKNOWN_SIZE, (SIZE_NOTE,)
    units = unit[:3] if isinstance(unit, list) else [unit] * 3
    return _in_nm(_positive(value, f"{what}: resolution"), units)


def _in_nm(size: Float3, units: Sequence[object]) -> tuple[Float3, tuple[str, ...]]:
    factors = [nm_per_unit(unit) for unit in (*units, None, None, None)[:3]]
    x, y, z = (length * (factor or 1.0) for length, factor in zip(size, factors, strict=True))
    if None not in factors:
        return (x, y, z), ()
    written = sorted({plain(unit) for unit, factor in zip(units, factors, strict=False) if factor is None})
    return (x, y, z), (UNIT_NOTE.format(which=f"The unit of the voxel size is {', '.join(written)}"),)


# COSEM


def _datasets(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    multiscales = group.get("multiscales")
    first = multiscales[0] if isinstance(multiscales, list) and multiscales else None
    datasets = first.get("datasets") if isinstance(first, dict) else None
    return [dataset for dataset in datasets if isinstance(dataset, dict)] if isinstance(datasets, list) else []


def _group_transform(group: Mapping[str, Any], index: int) -> dict[str, Any] | None:
    datasets = _datasets(group)
    return _transform(datasets[index]) if index < len(datasets) else None


def _transform(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """COSEM's; Paintera and others use the same name for a list."""
    transform = attributes.get("transform")
    return transform if isinstance(transform, dict) and "scale" in transform and "axes" in transform else None


def _transformed(transform: Mapping[str, Any], what: str) -> Place:
    names = transform["axes"]
    axes = axes_of_names(names) if isinstance(names, list) else None
    if axes is None:
        raise InvalidRequest(f"{what}: transform.axes {names!r} cannot be shown; expected names of x, y, z, c")
    scale = _by_axis(transform.get("scale"), axes, 1.0, f"{what}: transform.scale")
    shift = _by_axis(transform.get("translate", [0.0] * len(axes)), axes, 0.0, f"{what}: transform.translate")
    written = transform.get("units")
    units = dict(zip(axes, written if isinstance(written, list) else (), strict=False))
    nm = [nm_per_unit(units.get(letter)) or 1.0 for letter in "xyz"]
    if not all(is_size(n) for n in scale):
        raise InvalidRequest(f"{what}: transform.scale: expected positive numbers, got {transform['scale']!r}")
    offset = [half_inward(b / a) for a, b in zip(scale, shift, strict=True)]
    reverse = transform.get("ordering", "C") == "C"
    return Place(
        (scale[0] * nm[0], scale[1] * nm[1], scale[2] * nm[2]),
        (offset[0], offset[1], offset[2]),
        axes[::-1] if reverse else axes,
    )


def _by_axis(values: object, axes: str, otherwise: float, what: str) -> Float3:
    if not isinstance(values, list) or len(values) != len(axes) or not all(is_number(n) for n in values):
        raise InvalidRequest(f"{what}: expected {len(axes)} numbers, one per axis, got {values!r}")
    by_letter = dict(zip(axes, values, strict=True))
    x, y, z = (float(by_letter.get(letter, otherwise)) for letter in "xyz")
    return (x, y, z)


def _positive(value: object, what: str) -> Float3:
    triple = _triple(value, what)
    if not all(is_size(n) for n in triple):
        raise InvalidRequest(f"{what}: expected three positive numbers [x, y, z], got {value!r}")
    return triple


def _triple(value: object, what: str) -> Float3:
    """x, y, z; what follows is of other axes, and an array of two has no z."""
    if isinstance(value, list) and len(value) >= 2 and all(is_number(n) for n in value):
        x, y, z = (float(n) for n in (*value[:3], 1)[:3])
        return (x, y, z)
    raise InvalidRequest(f"{what}: expected three numbers [x, y, z], got {value!r}")
