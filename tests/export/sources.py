"""Small sources of every backend, as other libraries wrote them, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
import tifffile

from tests.backends import bosses, test_n5, test_ome_zarr, test_tensorstore_spec
from tests.backends.arrays import Array, grey, labels, noise, sampled
from tests.backends.test_zarr import create_array
from tests.backends.tiffs import pages_of
from tests.backends.wkw_files import write_layer
from tests.mesh_files import SHARDING, add_to_info, write_legacy, write_multi_lod
from tests.skeleton_files import write_skeletons
from tests.volumes import write_precomputed
from wkdvid.core.geometry import Vec3, divide_down
from wkdvid.testing.bossdb import BossDouble
from wkdvid.testing.volume_suite import StoredLevel, StoredVolume

Entries = dict[str, Any]
"""A datasets.json."""

SEGMENTS = (3, 77, 2**60 + 7)
PROPERTIES = {"@type": "neuroglancer_segment_properties", "inline": {"ids": ["3"], "properties": []}}
MAGS: Sequence[Vec3] = ((1, 1, 1), (2, 2, 1), (4, 4, 2))
VOXEL_NM = (4.5, 4, 40)
WIDE_NM = (9, 16, 40)
"""Twice and four times as large along x and y, as an entry says it."""


@dataclass(frozen=True, kw_only=True)
class Source:
    levels: Sequence[StoredLevel]
    """Finest first."""
    entry: Mapping[str, Any]
    """Of its layer, with its backend."""
    tolerance: int = 0
    """By which voxels of a lossy encoding may differ."""


def precomputed(
    folder: Path, array: Array, start: Vec3 = (0, 0, 0), mags: Sequence[Vec3] = MAGS, tolerance: int = 0, **how: Any
) -> Source:
    """
    Args:
        array: (c, x, y, z).
    """
    levels = [StoredLevel(array=sampled(array, mag), start=divide_down(start, mag), mag=mag) for mag in mags]
    stored = [(level.mag, level.array.transpose(1, 2, 3, 0)) for level in levels]
    write_precomputed(folder, stored, voxel_size_nm=VOXEL_NM, offsets=[level.start for level in levels], **how)
    return Source(levels=levels, entry={"backend": "precomputed", "source": folder.name}, tolerance=tolerance)


def with_holes(folder: Path) -> Source:
    """Two chunks were never written, one of each size; a small block of labels, as not every reader knows it."""
    array = labels("uint32")
    source = precomputed(folder, array, kind="segmentation", mags=MAGS[:1], encoding="compressed_segmentation")
    for name in ("0-64_0-64_0-41", "64-75_64-66_0-41"):
        (folder / "1-1-1" / name).unlink()
    array[:, :64, :64], array[:, 64:, 64:] = 0, 0
    return source


def by_spec(folder: Path, array: Array, **scale: Any) -> Source:
    """Labels, in a scale that has what other scales here have not."""
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {"type": "segmentation", "data_type": array.dtype.name, "num_channels": 1},
        "scale_metadata": {
            "size": array.shape[1:],
            "resolution": VOXEL_NM,
            "chunk_size": [32, 32, 32],
            "encoding": "compressed_segmentation",
            "compressed_segmentation_block_size": [8, 8, 8],
            **scale,
        },
    }
    ts.open(spec, create=True).result().write(array.transpose(1, 2, 3, 0)).result()
    return Source(levels=[StoredLevel(array=array)], entry={"backend": "precomputed", "source": folder.name})


def stored(volume: StoredVolume, **entry: Any) -> Source:
    options = volume.options(f"{volume.folder.name}/")
    return Source(levels=volume.levels, entry={"backend": volume.backend, **options, **entry})


def specs(folder: Path) -> Source:
    volume = test_tensorstore_spec.zarr3(folder)
    entry = {"backend": volume.backend, **volume.options(f"file://{folder}/"), "voxel_size": [8, 8, 40]}
    return Source(levels=volume.levels, entry=entry)


def tiff(folder: Path, array: Array) -> Source:
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", pages_of(array), tile=(32, 16), compression="zlib")
    entry = {"backend": "tiff", "source": f"{folder.name}/a.tif", "voxel_size": [8, 8, 40]}
    return Source(levels=[StoredLevel(array=array)], entry=entry)


def wkw(folder: Path) -> Source:
    levels = write_layer(folder, grey(channels=3), start=(1, 2, 3), mags=MAGS[:2], encoding="lz4")
    return Source(levels=levels, entry={"backend": "wkw", "source": folder.name, "layer": "em"})


def zarr(folder: Path, array: Array, **entry: Any) -> Source:
    create_array(str(folder), data=np.ascontiguousarray(array[0].T), chunks=(20, 30, 40))
    where = {"backend": "zarr", "source": folder.name, "voxel_size": [8, 8, 40]}
    return Source(levels=[StoredLevel(array=array)], entry={**where, **entry})


def boss(double: BossDouble) -> Source:
    (channel,) = double.experiment.channels
    levels = bosses.stored_levels(channel.array, (11, 300, 5), ((1, 1, 1),))
    return Source(levels=levels, entry={"backend": "boss", **bosses.entry(double, channel=channel.name)})


@contextmanager
def every_source(folder: Path) -> Iterator[Mapping[str, Source]]:
    """By name; what they name lies below the folder."""
    channel = bosses.annotation("ids", (70, 40, 37))
    with BossDouble(bosses.experiment(channel, start=(11, 300, 5), levels=1)) as double:
        yield {
            "raw": precomputed(folder / "raw", noise("uint16"), (-70, -7, 5)),
            "jpeg": precomputed(folder / "jpeg", grey(), (64, 3, 0), encoding="jpeg", tolerance=8),
            "png": precomputed(folder / "png", noise("uint16"), encoding="png"),
            "rgb": precomputed(folder / "rgb", noise("uint8", channels=3)),
            "rgbjpeg": precomputed(folder / "rgbjpeg", grey(channels=3), encoding="jpeg", tolerance=30),
            "labels": precomputed(
                folder / "labels",
                labels("uint64"),
                (-3, -64, 12),
                kind="segmentation",
                encoding="compressed_segmentation",
            ),
            "holes": with_holes(folder / "holes"),
            "oddblocks": by_spec(folder / "oddblocks", labels("uint64"), compressed_segmentation_block_size=[8, 8, 4]),
            "sharded": by_spec(folder / "sharded", labels("uint64"), sharding=SHARDING),
            "int16": precomputed(folder / "int16", noise("int16"), mags=MAGS[:1]),
            "float32": precomputed(folder / "float32", noise("float32"), mags=MAGS[:1]),
            "ome": stored(test_ome_zarr.stored_image(folder / "ome", 2, shifted=True)),
            "zarrlabels": zarr(folder / "zarrlabels", labels("uint32"), type="segmentation"),
            "zarrids": zarr(folder / "zarrids", labels("uint8"), type="segmentation"),
            "float64": zarr(folder / "float64", noise("float64")),
            "int64": zarr(folder / "int64", noise("int64")),
            "n5": stored(test_n5.stored_pyramid(folder / "n5", test_n5.cosem)),
            "specs": specs(folder / "specs"),
            "stack": tiff(folder / "stack", noise("uint16", (45, 34, 5))),
            "plane": tiff(folder / "plane", noise("uint8", (275, 166, 1))),
            "wkw": wkw(folder / "wkw"),
            "boss": boss(double),
            "files": with_segments(folder / "files", "files"),
            "shards": with_segments(folder / "shards", "shards"),
            "legacy": with_segments(folder / "legacy", "legacy"),
            **{
                f"wide{kind}": with_segments(folder / f"wide{kind}", kind, voxel_size=WIDE_NM)
                for kind in ("shards", "legacy")
            },
        }


def with_segments(folder: Path, kind: str, **entry: Any) -> Source:
    """Of three segments it has meshes, skeletons and properties.

    Args:
        kind: ``files``, ``shards``, or ``legacy`` meshes beside skeletons in files.
    """
    source = precomputed(folder, np.ones((1, 8, 8, 8), np.uint64), mags=MAGS[:1], kind="segmentation")
    add_to_info(folder, mesh="m", skeletons="s/", segment_properties="p")
    if kind == "legacy":
        write_legacy(folder, SEGMENTS)
    else:
        write_multi_lod(folder / "m", SEGMENTS, sharded=kind == "shards")
    write_skeletons(folder / "s", SEGMENTS, sharded=kind == "shards")
    (folder / "p").mkdir()
    (folder / "p/info").write_text(json.dumps(PROPERTIES))
    return replace(source, entry={**source.entry, **entry})


def entries(sources: Mapping[str, Source]) -> Entries:
    """Each is the layer ``layer`` of a dataset of its own name."""
    found: Entries = {}
    for name, source in sources.items():
        backend = source.entry["backend"]
        options = {key: value for key, value in source.entry.items() if key != "backend"}
        found.setdefault(backend, {}).setdefault("lab", {})[name] = {"layers": {"layer": options}}
    return found
