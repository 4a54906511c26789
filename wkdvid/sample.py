"""The sample: one synthetic volume with its segmentation and full pyramids, in three formats.

Vectors are (x, y, z), arrays (x, y, z) in Fortran order.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorstore as ts

from wkdvid.core.geometry import ZERO, Box, Vec3, ceil_div, divide_up
from wkdvid.core.pyramid import downsample
from wkdvid.core.volume import Category
from wkdvid.errors import InvalidRequest
from wkdvid.tissue import CHUNK, Grey, Labels, synthesize

Progress: TypeAlias = Callable[[int, int], None]

SIZE_RANGE: Final = (16, 4096)
"""Voxels along x, both inclusive."""
VOXEL_SIZE_NM: Final = 8
STAMP: Final = "sample.json"
"""Written last: a folder that holds it is a whole sample."""


def _dataset(format_name: str) -> dict[str, Any]:
    kinds = {"grey": "image", "segmentation": "segmentation"}
    layers = {layer: {"source": f"sample/{format_name}/{layer}", "type": kind} for layer, kind in kinds.items()}
    return {"sample": {format_name: {"layers": layers}}}


SAMPLE_ENTRY: Final[dict[str, Any]] = {name: _dataset(name) for name in ("precomputed", "zarr", "n5")}
"""What serves the sample, as in datasets.json; sources are relative to the data directory."""


# Shape


def sample_shape(size: int) -> Vec3:
    """Voxels (x, y, z) of a sample of ``size``: unequal sides, so that swapped axes show. 256 gives (256, 250, 200).

    Raises:
        InvalidRequest: ``size`` is outside ``SIZE_RANGE``.
    """
    low, high = SIZE_RANGE
    if not low <= size <= high:
        raise InvalidRequest(f"sample size {size}: must be from {low} to {high} voxels")
    return (size, size * 125 // 128, size * 25 // 32)


def level_shapes(size: int) -> list[Vec3]:
    """Voxels (x, y, z) of each level, finest first; level k has mag (2^k, 2^k, 2^k). The last fits into one chunk."""
    shapes = [sample_shape(size)]
    while max(shapes[-1]) > CHUNK:
        shapes.append(divide_up(shapes[-1], (2, 2, 2)))
    return shapes


def _boxes(shape: Vec3) -> Iterator[Box]:
    """The chunks of a level, cut at its end."""
    whole = Box((0, 0, 0), shape)
    for z, y, x in itertools.product(*(range(0, end, CHUNK) for end in reversed(shape))):
        box = Box.at((x, y, z), (CHUNK, CHUNK, CHUNK)).intersect(whole)
        if box is not None:
            yield box


# Levels


def halve(array: npt.NDArray[Any], category: Category) -> npt.NDArray[Any]:
    """The next coarser level of a whole (x, y, z) array, as the server computes one; odd sides are rounded up."""
    even = np.pad(array, [(0, side % 2) for side in array.shape])[None]
    x, y, z = array.shape
    coarser: npt.NDArray[Any] = downsample(even, ZERO, (2, 2, 2), Box(ZERO, (x, y, z)), category)[0]
    return coarser


# Formats. Each opens the array of one level for writing, as a view with axes (x, y, z).


def _create(folder: Path, spec: dict[str, Any]) -> ts.TensorStore:
    kvstore = {"driver": "file", "path": f"{folder}/"}
    return ts.open({**spec, "kvstore": kvstore}, create=True).result()


def _precomputed(folder: Path, level: int, shape: Vec3, dtype: str, encoding: str) -> ts.TensorStore:
    kind = "segmentation" if dtype == "uint64" else "image"
    scale = {"size": shape, "resolution": [VOXEL_SIZE_NM << level] * 3, "chunk_size": [CHUNK] * 3, "encoding": encoding}
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = [8, 8, 8]
    multiscale = {"type": kind, "data_type": dtype, "num_channels": 1}
    spec = {"driver": "neuroglancer_precomputed", "multiscale_metadata": multiscale, "scale_metadata": scale}
    return _create(folder, spec)[..., 0]


def _zarr(folder: Path, level: int, shape: Vec3, dtype: str) -> ts.TensorStore:
    metadata = {
        "shape": shape[::-1],
        "data_type": dtype,
        "dimension_names": ["z", "y", "x"],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [CHUNK] * 3}},
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": 3}},
        ],
    }
    return _create(folder / str(level), {"driver": "zarr3", "metadata": metadata}).T


def _n5(folder: Path, level: int, shape: Vec3, dtype: str) -> ts.TensorStore:
    metadata = {
        "dimensions": shape,
        "blockSize": [CHUNK] * 3,
        "dataType": dtype,
        "compression": {"type": "gzip", "level": 3},
        "downsamplingFactors": [1 << level] * 3,
        "pixelResolution": _pixel_resolution(),
    }
    return _create(folder / f"s{level}", {"driver": "n5", "metadata": metadata})


def _pixel_resolution() -> dict[str, Any]:
    """Of level 0, on every level: readers multiply it by ``downsamplingFactors`` (n5-universe, Neuroglancer)."""
    return {"unit": "nm", "dimensions": [float(VOXEL_SIZE_NM)] * 3}


def _write_groups(folder: Path, name: str, levels: int) -> None:
    """The documents that make multiscale groups of the arrays: OME-Zarr 0.5, and N5 as Neuroglancer reads it."""
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    datasets = [{"path": str(k), "coordinateTransformations": _ome_transforms(k)} for k in range(levels)]
    ome = {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}
    _write_json(
        folder / "zarr" / name / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    )
    factors = [[1 << level] * 3 for level in range(levels)]
    n5 = {"n5": "2.0.0", "downsamplingFactors": factors, "pixelResolution": _pixel_resolution()}
    _write_json(folder / "n5" / name / "attributes.json", n5)


def _ome_transforms(level: int) -> list[dict[str, Any]]:
    """OME places a voxel by its centre, so each coarser level is shifted until the corners of all levels meet."""
    scale = [float(VOXEL_SIZE_NM << level)] * 3
    shift = [VOXEL_SIZE_NM * ((1 << level) - 1) / 2] * 3
    return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


# Writing


def write_sample(folder: Path, size: int, progress: Progress | None = None) -> None:
    """Write the sample; what was at ``folder`` is replaced once the new one is whole, and untouched until then.

    Args:
        folder: Becomes ``precomputed/{grey,grey_jpeg,segmentation}``, ``zarr/{grey,segmentation}``, ``n5/{...}``.
        size: Voxels along x; the other sides follow (``sample_shape``).
        progress: Called with (done, total) after each box of at most 64^3 voxels.

    Raises:
        InvalidRequest: ``size`` is out of range.
        OSError: the folder cannot be written, or another run is writing beside it (BlockingIOError).
    """
    shapes = level_shapes(size)
    with _replacing(folder) as partial:
        _write_levels(partial, shapes, progress or (lambda done, total: None))
        for name in ("grey", "segmentation"):
            _write_groups(partial, name, len(shapes))
        _write_json(partial / STAMP, {"size": size, "shape": shapes[0]})


def existing_size(folder: Path) -> int | None:
    """The size of the sample at ``folder``, or None if there is no whole one."""
    try:
        return int(json.loads((folder / STAMP).read_text(encoding="utf-8"))["size"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of ``folder`` at the end, or vanishes if that is not reached.

    The names are fixed, so that the next run clears what a killed one left; the lock keeps it from doing so to a run
    that is still alive.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("partial", "old"))
    lock = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if old.exists() and not folder.exists():
            old.rename(folder)  # a run was killed between its two renames
        _remove(partial)
        _remove(old)
        partial.mkdir()
        try:
            yield partial
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
            _remove(old)
        finally:
            _remove(partial)
    finally:
        os.close(lock)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _write_levels(folder: Path, shapes: Sequence[Vec3], progress: Progress) -> None:
    finer: tuple[ts.TensorStore, ts.TensorStore] | None = None
    done, total = 0, sum(ceil_div(x, CHUNK) * ceil_div(y, CHUNK) * ceil_div(z, CHUNK) for x, y, z in shapes)
    for level, shape in enumerate(shapes):
        greys, labels = _open_level(folder, level, shape)
        for box in _boxes(shape):
            grey, ids = synthesize(box) if finer is None else _halve(finer, box)
            _write_box(box, [*((store, grey) for store in greys), *((store, ids) for store in labels)])
            done += 1
            progress(done, total)
        finer = greys[0], labels[0]


def _open_level(folder: Path, level: int, shape: Vec3) -> tuple[list[ts.TensorStore], list[ts.TensorStore]]:
    """The arrays that hold the grey values and those that hold the labels; the first of each is lossless."""
    precomputed, zarr, n5 = folder / "precomputed", folder / "zarr", folder / "n5"
    greys = [
        _precomputed(precomputed / "grey", level, shape, "uint8", "raw"),
        _precomputed(precomputed / "grey_jpeg", level, shape, "uint8", "jpeg"),
        _zarr(zarr / "grey", level, shape, "uint8"),
        _n5(n5 / "grey", level, shape, "uint8"),
    ]
    labels = [
        _precomputed(precomputed / "segmentation", level, shape, "uint64", "compressed_segmentation"),
        _zarr(zarr / "segmentation", level, shape, "uint64"),
        _n5(n5 / "segmentation", level, shape, "uint64"),
    ]
    return greys, labels


def _halve(finer: tuple[ts.TensorStore, ts.TensorStore], box: Box) -> tuple[Grey, Labels]:
    """Voxels of a level from the written ones of the next finer level."""
    grey, labels = finer
    x, y, z = grey.shape
    wanted = box.scaled_up((2, 2, 2)).intersect(Box((0, 0, 0), (x, y, z)))
    if wanted is None:
        raise ValueError(f"{box} has no voxels in the finer level of shape {grey.shape}")
    view = _slices(wanted)
    return (
        halve(grey[view].read(order="F").result(), "color"),
        halve(labels[view].read(order="F").result(), "segmentation"),
    )


def _write_box(box: Box, writes: Sequence[tuple[ts.TensorStore, npt.NDArray[Any]]]) -> None:
    pending = [store[_slices(box)].write(array) for store, array in writes]
    try:
        for write in pending:
            write.result()
    finally:
        # After an interruption the folder is removed: no write may be under way then.
        for write in pending:
            write.exception()


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
