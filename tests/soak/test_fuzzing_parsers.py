"""Bytes, URLs and documents from outside, at random: each is read or refused by an error of ours, within its memory."""

from __future__ import annotations

import json
import random
import resource
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from tests.soak.requests_at_random import BODIES, ODD_TEXTS, SAMPLE, changed, damage
from wkdvid.backends.n5.metadata import parse_array
from wkdvid.backends.precomputed.metadata import parse_info
from wkdvid.backends.zarr.metadata import parse_v2, parse_v3
from wkdvid.backends.zarr.ome import dataset_paths, named_axes, parse_image
from wkdvid.codecs import block_stream, jpeg, label_block, payload, segmentation
from wkdvid.core.catalog_store import parse_document
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.errors import WkdvidError
from wkdvid.extras import is_installed
from wkdvid.frontends.webknossos.composition import parse_composition
from wkdvid.frontends.webknossos.parse import bucket_requests
from wkdvid.testing.volume_suite import make_backends

Target: TypeAlias = Callable[[random.Random], object]
"""Makes something from dice, and reads it."""

BUDGET_BYTES = 128 * MIB
SHAPE = (16, 16, 16)
LABELS = [
    np.random.default_rng(seed).integers(0, 2**64 - 1, n, np.uint64)[np.random.default_rng(n).integers(0, n, SHAPE)]
    for seed, n in enumerate((1, 2, 3, 40, 700))
]
GRAY = np.asfortranarray(np.random.default_rng(6).integers(0, 256, SHAPE, np.uint8))
STREAM = b"".join(block_stream.header((1, 2, 3), n) + bytes(n) for n in (7, 100))
GUARD = Guard((Path("/data"),), frozenset({"localhost"}))
SOURCES = (
    *("precomputed://gs://bucket/a/b", "https://h.org:81/a%20b?sig=1", "zarr3://s3://bucket/x", "file:///data/em/"),
    *("http://[::1]:80/a/../b", "http://localhost/a%2Fb", "em/s0", "n5://./em"),
)
KEYS = ("s0", "../other", "a/./b//", "..%2f", "8_8_40", "")
SPEC = {"driver": "zarr3", "kvstore": {"driver": "http", "base_url": "https://h.org/a", "path": "x"}, "path": "em"}
SCALE = {
    "key": "8_8_40",
    "size": [64, 64, 64],
    "voxel_offset": [0, 1, 2],
    "resolution": [8, 8, 40.5],
    "chunk_sizes": [[64, 64, 64]],
    "encoding": "raw",
    "sharding": {"@type": "neuroglancer_uint64_sharded_v1"},
}
INFO = {"data_type": "uint8", "num_channels": 1, "type": "image", "scales": [SCALE, {**SCALE, "key": "b"}]}
COMPOSITION = {
    **dict.fromkeys(("width", "height"), 20),
    "blendMode": "Cover",
    "layers": [
        {"dataLayerName": "em", **dict.fromkeys(("x", "y", "z", "width", "height"), 9), "mag": "2-2-1", "opacity": 5}
    ],
}
ZARR2 = {
    "zarr_format": 2,
    "shape": [9, 9, 9],
    "chunks": [4, 4, 4],
    "dtype": "<u2",
    "fill_value": 0,
    "order": "C",
    "compressor": {"id": "blosc", "cname": "lz4"},
    "filters": None,
    "dimension_separator": "/",
}
GRID = {"name": "regular", "configuration": {"chunk_shape": [8, 8, 8]}}
INNER = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd", "configuration": {"level": 1}}]
ZARR3 = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [9, 9, 9],
    "data_type": "uint16",
    "chunk_grid": GRID,
    "codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [4, 4, 4], "codecs": INNER}}],
    "fill_value": 0,
    "dimension_names": ["z", "y", "x"],
    "attributes": {},
}
N5 = {"dimensions": [9, 9, 9], "blockSize": [4, 4, 4], "dataType": "uint16", "compression": {"type": "gzip"}}
TRANSFORMS = [{"type": "scale", "scale": [40, 8, 8]}, {"type": "translation", "translation": [1.5, 0, -3]}]
OME = {
    "axes": [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"],
    "datasets": [{"path": "0", "coordinateTransformations": TRANSFORMS}],
    "coordinateTransformations": TRANSFORMS[:1],
}
BACKENDS = make_backends()


def spoilt(dice: random.Random, data: bytes) -> bytes:
    """The bytes with a few of them changed, perhaps cut."""
    text = bytearray(data)
    damage(dice, text)
    return bytes(text[: dice.randrange(len(text) + 1)] if dice.random() < 0.1 else text)


def odd_text(dice: random.Random, texts: tuple[str, ...]) -> str:
    if dice.random() < 0.1:
        return dice.choice(ODD_TEXTS)
    return spoilt(dice, dice.choice(texts).encode()).decode(errors="surrogateescape")


def a_source(dice: random.Random) -> None:
    GUARD.child(GUARD.parse_source(odd_text(dice, SOURCES)), odd_text(dice, KEYS))


def a_document(dice: random.Random) -> None:
    text = json.dumps(changed(dice, dice.choice((SAMPLE, BODIES[4], BODIES[5])))).encode()
    BACKENDS.parse(parse_document(spoilt(dice, text) if dice.random() < 0.3 else text))


def an_image(multiscale: Mapping[str, Any]) -> None:
    dataset_paths(multiscale, "v")
    parse_image(multiscale, named_axes(multiscale) or "zyx", "v")


def of_mapping(parse: Callable[[Mapping[str, Any]], object], document: Mapping[str, Any]) -> Target:
    """A parser of objects of JSON."""

    def target(dice: random.Random) -> None:
        odd = json.loads(json.dumps(changed(dice, document)))
        if isinstance(odd, dict):
            parse(odd)

    return target


def of_bytes(decode: Callable[[bytes], object], *sound: bytes) -> Target:
    return lambda dice: decode(spoilt(dice, dice.choice(sound)))


BLOCKS = [label_block.encode(labels) for labels in LABELS]
SEGMENTS = [segmentation.encode(labels) for labels in LABELS]
TARGETS: Mapping[str, Target] = {
    "label block": of_bytes(lambda data: label_block.decode(data, SHAPE).nbytes, *BLOCKS),
    "label block of any size": of_bytes(
        lambda data: label_block.decode(data[:4] + b"\2\0\0\0" * 2 + data[12:]).nbytes, *BLOCKS
    ),
    "compressed segmentation": of_bytes(lambda data: segmentation.decode(data, SHAPE).nbytes, *SEGMENTS),
    "jpeg": of_bytes(
        lambda data: (jpeg.is_block(data, SHAPE), jpeg.decode_block(data, SHAPE)), jpeg.encode_block(GRAY)
    ),
    "lz4": of_bytes(lambda data: payload.unlz4(data, 4096), payload.lz4(bytes(4096)), payload.lz4(GRAY.tobytes())),
    "gzip": of_bytes(lambda data: payload.gunzip(data, 4096), payload.gzip(bytes(4096)), payload.gzip(GRAY.tobytes())),
    "stream of blocks": of_bytes(lambda data: list(block_stream.iter_records(data)), STREAM),
    "source": a_source,
    "spec": of_mapping(GUARD.check_spec, SPEC),
    "datasets.json": a_document,
    "composition": lambda dice: parse_composition(changed(dice, COMPOSITION)),
    "buckets": lambda dice: bucket_requests(changed(dice, BODIES[2]), Limits()),
    "precomputed": of_mapping(lambda document: parse_info(document, "v", is_installed), INFO),
    "zarr 2": of_mapping(lambda document: parse_v2(document, {}, "v"), ZARR2),
    "zarr 3": of_mapping(lambda document: parse_v3(document, MIB, "v"), ZARR3),
    "n5": of_mapping(lambda document: parse_array(document, "v"), N5),
    "ome": of_mapping(an_image, OME),
}


def peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("cases", [1_000, pytest.param(100_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("target", TARGETS)
def test_what_comes_from_outside_is_read_or_refused(target: str, cases: int) -> None:
    before, counts = peak_bytes(), Counter[str]()
    for seed in range(cases):
        try:
            TARGETS[target](random.Random(seed))
            counts["read"] += 1
        except WkdvidError as error:
            counts[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(f"{target}, case {seed}") from error
    assert len(counts) > 1
    assert peak_bytes() - before < BUDGET_BYTES
    print(f"fuzzing {target}: {cases} cases,", ", ".join(f"{n} x {name}" for name, n in counts.most_common()))
