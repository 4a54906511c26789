"""OME-Zarr's ``multiscales`` as values: NGFF 0.1 to 0.5, and what 0.6 shares with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkdvid.backends.array_layer import SIZE_NOTE, UNIT_NOTE
from wkdvid.backends.axes import LETTERS, half_inward, nm_per_unit
from wkdvid.backends.numbers import is_number, is_size
from wkdvid.backends.quoting import plain
from wkdvid.core.geometry import Float3, Vec3
from wkdvid.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class OmeLevel:
    voxel_size_nm: Float3
    voxel_offset: Vec3


@dataclass(frozen=True, slots=True)
class OmeImage:
    levels: tuple[OmeLevel, ...]
    """In the order of ``datasets``."""
    notes: tuple[str, ...]


def dataset_paths(multiscale: Mapping[str, Any], what: str) -> list[str]:
    """
    Raises:
        InvalidRequest: ``datasets`` is missing or wrong.
    """
    datasets = multiscale.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise InvalidRequest(f"{what}: multiscales[0].datasets: expected a list of at least one dataset")
    paths = [dataset.get("path") if isinstance(dataset, dict) else None for dataset in datasets]
    if not all(isinstance(path, str) for path in paths):
        raise InvalidRequest(f"{what}: multiscales[0].datasets: expected objects with a path")
    return [str(path) for path in paths]


def named_axes(multiscale: Mapping[str, Any]) -> str | None:
    """Axes by name, else by type (0.4), or None where there are none (0.1, 0.2).

    An axis of neither a known name nor a known type gets the next free letter from ``a`` on.
    """
    axes = _axes_documents(multiscale)
    if axes is None:
        return None
    letters: list[str] = []
    for axis in axes:
        letter = _letter(axis)
        free = (chr(code) for code in range(ord("a"), ord("z")) if chr(code) not in {*letters, *"cxyzt"})
        letters.append(letter if letter and letter not in letters else next(free))
    return "".join(letters)


def _axes_documents(multiscale: Mapping[str, Any]) -> list[Any] | None:
    """``axes``; since 0.6 those of the coordinate system that the first transformation leads to, else of any."""
    axes = multiscale.get("axes")
    systems = multiscale.get("coordinateSystems")
    if axes is None and isinstance(systems, list):
        transformations = multiscale["datasets"][0].get("coordinateTransformations") or [{}]
        output = transformations[0].get("output") if isinstance(transformations[0], dict) else None
        known = [system for system in systems if isinstance(system, dict)]
        axes = next((system.get("axes") for system in sorted(known, key=lambda s: s.get("name") != output)), None)
    return axes if isinstance(axes, list) else None


def _letter(axis: object) -> str | None:
    """0.3 writes the name alone."""
    name, kind = (axis.get("name"), axis.get("type")) if isinstance(axis, dict) else (axis, None)
    text = str(name).lower()
    if LETTERS.get(text, text) in {"x", "y", "z", "c", "t"}:
        return LETTERS.get(text, text)
    return LETTERS.get(str(kind))


def parse_image(multiscale: Mapping[str, Any], axes: str, what: str) -> OmeImage:
    """
    Args:
        multiscale: One member of ``multiscales``; its paths are good.
        axes: One letter per dimension of the arrays.
    Raises:
        InvalidRequest: a coordinate transformation that is wrong, or none of identity, scale and translation.
    """
    factors, unit_notes = _nm_factors(_axes_documents(multiscale), axes)
    common = multiscale.get("coordinateTransformations")
    levels: list[OmeLevel] = []
    told = False
    for i, dataset in enumerate(multiscale["datasets"]):
        where = f"{what}: multiscales[0].datasets[{i}].coordinateTransformations"
        own = dataset.get("coordinateTransformations")
        told = told or bool(own) or bool(common)
        scale, shift = _place(_list(own, where), _list(common, where), len(axes), where)
        levels.append(
            OmeLevel(
                _xyz(axes, [a * nm for a, nm in zip(scale, factors, strict=True)], 1.0),
                _voxels(_xyz(axes, [b / a for a, b in zip(scale, shift, strict=True)], 0.0)),
            )
        )
    return OmeImage(tuple(levels), unit_notes if told else (SIZE_NOTE,))


def _nm_factors(documents: object, axes: str) -> tuple[list[float], tuple[str, ...]]:
    """Nanometres in the unit of each axis."""
    whole = documents if isinstance(documents, list) and len(documents) == len(axes) else [None] * len(axes)
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in whole]
    factors = [nm_per_unit(unit) for unit in units]
    odd = [letter for letter, factor in zip(axes, factors, strict=True) if factor is None and letter in "xyz"]
    notes: tuple[str, ...] = ()
    if odd:
        written = sorted({plain(unit) for letter, unit in zip(axes, units, strict=True) if letter in odd})
        notes = (UNIT_NOTE.format(which=f"The unit of {', '.join(odd)} is {', '.join(written)}"),)
    return [factor or 1.0 for factor in factors], notes


def _list(value: object, where: str) -> list[Any]:
    if value is None or isinstance(value, list):
        return value or []
    raise InvalidRequest(f"{where}: expected a list")


def _place(own: Sequence[object], common: Sequence[object], rank: int, where: str) -> tuple[list[float], list[float]]:
    """Size of a voxel and place of the first, per dimension in its unit. The image's follow the dataset's own."""
    scale, shift = [1.0] * rank, [0.0] * rank
    for transformation in (*own, *common):
        kind = transformation.get("type") if isinstance(transformation, dict) else None
        if kind == "scale":
            factors = [n if is_size(n) else 1.0 for n in _numbers(transformation, "scale", rank, where)]
            scale = [a * b for a, b in zip(scale, factors, strict=True)]
            shift = [a * b for a, b in zip(shift, factors, strict=True)]
        elif kind == "translation":
            shift = [a + b for a, b in zip(shift, _numbers(transformation, "translation", rank, where), strict=True)]
        elif kind != "identity":
            raise InvalidRequest(
                f"{where}: a transformation of type {kind!r} cannot be shown; identity, scale and translation can"
            )
    return scale, shift


def _numbers(transformation: object, member: str, rank: int, where: str) -> list[float]:
    """One per dimension. Writers leave the list empty; that stands for no change."""
    values = transformation.get(member) if isinstance(transformation, dict) else None
    if values == []:
        return [1.0 if member == "scale" else 0.0] * rank
    if isinstance(values, list) and len(values) == rank and all(is_number(n) for n in values):
        return [float(n) for n in values]
    raise InvalidRequest(f"{where}: {member}: expected {rank} numbers, one per axis, got {values!r}")


def _xyz(axes: str, values: Sequence[float], otherwise: float) -> Float3:
    by_letter = dict(zip(axes, values, strict=True))
    return (by_letter.get("x", otherwise), by_letter.get("y", otherwise), by_letter.get("z", otherwise))


def _voxels(offset: Float3) -> Vec3:
    return (half_inward(offset[0]), half_inward(offset[1]), half_inward(offset[2]))
