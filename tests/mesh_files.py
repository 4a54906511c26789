"""Precomputed meshes, written as other programs write them, and read back by cloud-volume.

Manifests and shards are cloud-volume's, fragments DracoPy's, legacy meshes cloud-volume's. Nothing of ours is used.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import numpy.typing as npt
from cloudvolume import CloudVolume, Mesh
from cloudvolume.datasource.precomputed.mesh.multilod import MultiLevelPrecomputedMeshManifest
from cloudvolume.datasource.precomputed.sharding import ShardingSpecification, synthesize_shard_files

Corners = npt.NDArray[np.float64]
"""(n, 3, 3): triangles, their corners, their (x, y, z)."""

SHARDING: Mapping[str, Any] = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 1,
    "hash": "murmurhash3_x86_128",
    "minishard_bits": 2,
    "shard_bits": 3,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}
TRANSFORM = (8, 0, 0, 100, 0, 8, 0, -50, 0, 0, 40, 7)
"""From the stored model to nanometres, as rows of 4."""
BITS = 10
CHUNK_SHAPE, GRID_ORIGIN = (20.0, 16.0, 10.0), (3.0, -4.5, 2.0)
VERTEX_OFFSETS = ((0.0, 0.0, 0.0), (0.5, 0.25, -1.0), (0.0, 2.0, 0.0))
NODES: Sequence[Sequence[tuple[int, int, int]]] = (
    ((0, 0, 0), (1, 0, 0), (0, 1, 0), (3, 2, 1)),
    ((0, 0, 0), (1, 1, 0)),
    ((0, 0, 0),),
)
"""Of each level of detail, in Z-curve order."""


def write_multi_lod(folder: Path, segments: Sequence[int], *, sharded: bool) -> Path:
    """Meshes of three levels of detail; one fragment of each is empty, as writers make them."""
    info = {
        "@type": "neuroglancer_multilod_draco",
        "vertex_quantization_bits": BITS,
        "transform": TRANSFORM,
        "lod_scale_multiplier": 1,
    }
    folder.mkdir(parents=True)
    (folder / "info").write_text(json.dumps({**info, **({"sharding": SHARDING} if sharded else {})}))
    made = {segment: _manifest_and_data(segment) for segment in segments}
    if sharded:
        packed = {segment: gzip.compress(manifest) for segment, (manifest, _) in made.items()}
        values = {segment: data + packed[segment] for segment, (_, data) in made.items()}
        spec = ShardingSpecification.from_dict({**SHARDING, "data_encoding": "raw"})
        starts = {segment: len(manifest) for segment, manifest in packed.items()}
        for name, shard in synthesize_shard_files(spec, values, starts).items():
            (folder / name).write_bytes(shard)
    else:
        for segment, (manifest, data) in made.items():
            (folder / f"{segment}.index").write_bytes(manifest)
            (folder / str(segment)).write_bytes(data)
    return folder


def _manifest_and_data(segment: int) -> tuple[bytes, bytes]:
    rng = np.random.default_rng(segment % 1000)
    fragments = [[_fragment(rng) for _ in nodes] for nodes in NODES]
    fragments[1][1] = b""
    manifest = MultiLevelPrecomputedMeshManifest(
        segment_id=segment,
        chunk_shape=CHUNK_SHAPE,
        grid_origin=GRID_ORIGIN,
        num_lods=len(NODES),
        lod_scales=[2**level for level in range(len(NODES))],
        vertex_offsets=VERTEX_OFFSETS,
        num_fragments_per_lod=[len(nodes) for nodes in NODES],
        fragment_positions=NODES,
        fragment_offsets=[len(data) for level in fragments for data in level],
    )
    return manifest.to_binary(), b"".join(data for level in fragments for data in level)


def _fragment(rng: np.random.Generator) -> bytes:
    vertices = rng.integers(0, 2**BITS, (30, 3)).astype(np.uint32)
    return bytes(DracoPy.encode(vertices, rng.permutation(30).reshape(10, 3).astype(np.uint32)))


def write_legacy(volume: Path, segments: Sequence[int]) -> None:
    """Two fragments for each segment, by cloud-volume, into the folder that the volume's info names."""
    folder = volume / json.loads((volume / "info").read_text())["mesh"]
    folder.mkdir()
    (folder / "info").write_text(json.dumps({"@type": "neuroglancer_legacy_mesh"}))
    for segment in segments:
        rng = np.random.default_rng(segment % 1000)
        for i in range(2):
            vertices = rng.uniform(0, 1000, (30, 3)).astype(np.float32)
            faces = rng.permutation(30).reshape(10, 3).astype(np.uint32)
            (folder / f"{segment}:0:part{i}").write_bytes(Mesh(vertices, faces).to_precomputed())
        names = [f"{segment}:0:part{i}" for i in range(2)]
        (folder / f"{segment}:0").write_text(json.dumps({"fragments": names}))


def add_to_info(volume: Path, **members: Any) -> None:
    info = json.loads((volume / "info").read_text())
    (volume / "info").write_text(json.dumps({**info, **members}))


def read_by_cloud_volume(volume: Path | str, segment: int, level: int) -> Corners:
    """In nanometres.

    Args:
        volume: A folder, or an address.
    """
    mesh = CloudVolume(f"file://{volume}" if isinstance(volume, Path) else volume, use_https=True).mesh
    found = mesh.get(segment, lod=level) if "MultiLevel" in type(mesh).__name__ else mesh.get(segment)
    one = found[segment] if isinstance(found, dict) else found
    corners: Corners = np.asarray(one.vertices, np.float64)[one.faces]
    return corners


def in_order(triangles: npt.NDArray[Any]) -> Corners:
    """However a program orders triangles, and begins each."""
    corners = np.asarray(triangles, np.float64).reshape(-1, 3, 3)
    if not len(corners):
        return corners
    first = [np.lexsort(one.T[::-1])[0] for one in corners]
    turned = np.stack([np.roll(one, -i, axis=0) for one, i in zip(corners, first, strict=True)])
    return turned[np.lexsort(turned.reshape(-1, 9).round(3).T[::-1])]


def read_stl(data: bytes) -> Corners:
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    count = int.from_bytes(data[80:84], "little")
    assert len(data) == 84 + 50 * count
    return np.frombuffer(data, record, count, 84)["corners"].astype(np.float64)


def closed(triangles: npt.NDArray[Any]) -> bool:
    """Whether every side of a triangle is one of another's, the other way round."""
    sides: dict[tuple[bytes, bytes], int] = {}
    for a, b, c in np.asarray(triangles, "<f4").reshape(-1, 3, 3):
        for p, q in ((a, b), (b, c), (c, a)):
            side = (p.tobytes(), q.tobytes())
            sides[side] = sides.get(side, 0) + 1
    return all(sides.get((q, p), 0) == count for (p, q), count in sides.items())


def enclosed(triangles: npt.NDArray[Any]) -> float:
    """The volume within a closed surface whose triangles are counterclockwise from outside."""
    a, b, c = np.asarray(triangles, np.float64).reshape(-1, 3, 3).swapaxes(0, 1)
    return float((a * np.cross(b, c)).sum() / 6)
