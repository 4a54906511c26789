"""Precomputed skeletons, written by cloud-volume: its points, edges, attributes and shards. Nothing of ours is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cloudvolume import Skeleton
from cloudvolume.datasource.precomputed.sharding import ShardingSpecification, synthesize_shard_files

from tests.mesh_files import SHARDING

SCALE, SHIFT = 8.0, (100.0, -50.0, 7.0)
"""From the stored model to nanometres."""


def skeleton(segment: int) -> Skeleton:
    """A tree of 40 points and, apart from it, a branch of two; radii and types for all."""
    rng = np.random.default_rng(segment % 1000)
    tree = [(i, int(rng.integers(0, i))) for i in range(1, 40)]
    edges = np.array([*rng.permutation(tree), (40, 41)], np.uint32)
    return Skeleton(
        rng.uniform(0, 1000, (42, 3)).astype(np.float32),
        edges,
        radii=rng.uniform(1, 9, 42).astype(np.float32),
        vertex_types=rng.integers(0, 5, 42).astype(np.uint8),
    )


def write_skeletons(folder: Path, segments: Sequence[int], *, sharded: bool) -> None:
    attributes = [
        {"id": "radius", "data_type": "float32", "num_components": 1},
        {"id": "vertex_types", "data_type": "uint8", "num_components": 1},
    ]
    (x, y, z) = SHIFT
    info: dict[str, Any] = {
        "@type": "neuroglancer_skeletons",
        "transform": [SCALE, 0, 0, x, 0, SCALE, 0, y, 0, 0, SCALE, z],
        "vertex_attributes": attributes,
    }
    folder.mkdir()
    (folder / "info").write_text(json.dumps({**info, **({"sharding": SHARDING} if sharded else {})}))
    values = {segment: skeleton(segment).to_precomputed() for segment in segments}
    for name, data in (_shards(values) if sharded else {str(key): value for key, value in values.items()}).items():
        (folder / name).write_bytes(data)


def _shards(values: Mapping[int, bytes]) -> Mapping[str, bytes]:
    shards: Mapping[str, bytes] = synthesize_shard_files(ShardingSpecification.from_dict(SHARDING), values)
    return shards
