"""Requests of both protocols as no client would send them: nearly right ones, each made from one seed."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

ODD_TEXTS: Sequence[str] = (
    *("", "0", "-1", "+1", "01", "1_0", "1e3", "0x10", "1.5", "nan", "null", "true", "2147483648", "9" * 30),
    *("-9223372036854775809", "%00", "%ff", "%", "%2", "%zz", "..", "%2e%2e", "%2F", "%0d%0a", "a%20b", "a" * 300),
    *("%EF%BC%91", "%F0%9F%98%80", "%ED%A0%80", "~1", ":master", "7057:master", "0_1_2", "2_1", "1,2", ",", "[]", "{}"),
    *("*", "?", "#", ";", "&", "=", "<b>", "'", '"', "\\", "|", "a:b@c", "\xe9", "\xff\xfe"),
)
ODD_VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 1.5, 1e400, -(2**63) - 1, 2**31, 2**64, 10**30, "", "1", "a" * 300, "\x00", "\ud800"),
    *(
        [],
        [[]],
        {},
        {"": {}},
        [1, 2],
        [0, 0, 0, 0],
        ["0", "0", "0"],
        [None] * 3,
        "../x",
        "/etc/passwd",
        "sample/zarr/grey",
    ),
)
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW")
SLOTS: Mapping[str, Sequence[str]] = {
    "backend": ("precomputed", "zarr", "n5"),
    "layer": ("grey", "segmentation", "grey_1", "grey_9"),
    "uuid": ("7057", "6fb9", "dummy_uuid"),
    "prefix": ("/data", "/data/v10", "/data/v16", "/data/v9"),
    "axes": ("0_1_2", "0_1", "1_2", "0_2", "2_1_0"),
    "size": ("8_8_8", "16_16", "64_64_64", "1_1_1", "100_100_100", "4000_4000_4000"),
    "offset": ("0_0_0", "64_0_0", "-8_-8_-8", "60_60_50", "1000_0_0"),
    "point": ("0_0_0", "71_69_55", "72_0_0"),
    "format": ("", "/jpg", "/png", "/jpg:80", "/nd"),
    "triple": ("0,0,0", "1,1,0", "0,0,0,1,0,0", "-1,0,0"),
    "number": ("0", "1", "2", "32", "64"),
    "choice": ("uncompressed", "jpeg", "lz4", "gzip", "blocks", "googlegzip", "true", "on"),
    "query": ("scale", "compression", "blocks", "throttle", "supervoxels", "isotropic", "token", "attenuation", "hash"),
    "type": ("uint8blk", "labelmap", "keyvalue"),
}
READS: Sequence[str] = (
    "{prefix}/datasets/sample/{backend}/layers/{layer}/data?x={number}&y={number}&z={number}&width={number}"
    "&height={number}&depth={number}&mag=1-1-1&{query}={choice}",
    "{prefix}/datasets/sample/{backend}",
    "{prefix}/datasets",
    "/api/node/{uuid}/{layer}/raw/{axes}/{size}/{offset}{format}?{query}={choice}",
    "/api/node/{uuid}/{layer}/isotropic/{axes}/{size}/{offset}{format}",
    "/api/node/{uuid}/{layer}/specificblocks?blocks={triple}&compression={choice}&{query}={number}",
    "/api/node/{uuid}/{layer}/subvolblocks/{size}/{offset}?compression={choice}&{query}={number}",
    "/api/node/{uuid}/{layer}/blocks/{size}/{offset}?compression={choice}&{query}={number}",
    "/api/node/{uuid}/{layer}/label/{point}?{query}={number}",
    "/api/node/{uuid}/{layer}/labels?{query}={choice}",
    "/api/node/{uuid}/{layer}/info",
    "/api/node/{uuid}/{layer}/metadata",
    "/api/repo/{uuid}/info",
    "/api/repo/{uuid}/branch-versions/{layer}",
    "/api/node/{uuid}/{choice}",
    "/api/help/{type}",
    "/api/config/datasets",
    "/api/jobs",
    "/api/jobs/{choice}",
    "/api/jobs/{choice}/events",
    "/assets/{layer}",
    "/{backend}/{layer}",
)
WRITES: Sequence[str] = (
    "/data/datasets/sample/{backend}/layers/{layer}/data",
    "{prefix}/datasets/6fb937f1c11c704b6e258cf1/layers/{layer}/data",
    "{prefix}/datasets",
    "{prefix}/triggers/reload/sample/{backend}",
    "/api/config/dataset?dataset_name={layer}&axes={choice}",
    "/api/node/{uuid}/{layer}/labels?{query}={choice}",
    "/api/node/{uuid}/{choice}",
    "/api/server/settings",
    "/api/repos",
    "/api/jobs",
)
"""Sent with a body."""
LAYERS = ("grey", "segmentation")
SAMPLE: Mapping[str, Any] = {
    backend: {"sample": {backend: {"layers": {name: {"source": f"sample/{backend}/{name}"} for name in LAYERS}}}}
    for backend in SLOTS["backend"]
}
"""datasets.json of what the paths name. It is among the bodies, since some requests remove what they name."""
BODIES: Sequence[Any] = (
    SAMPLE,
    [{"position": [0, 0, 0], "mag": [1, 1, 1], "cubeSize": 32}],
    [{"position": [32, 0, 0], "mag": [2, 2, 2], "cubeSize": 16, "fourBit": True, "applyAgglomerate": "x"}] * 3,
    [{"position": [0, 0, 0], "zoomStep": 1, "cubeSize": 32, "additionalCoordinates": [{"name": "t", "value": 0}]}],
    {"zarr": {"fuzz": {"a": {"layers": {"grey": {"source": "sample/zarr/grey", "type": "image"}}}}}},
    {
        "n5": {
            "fuzz": {
                "a": {"layers": {"s": {"source": "sample/n5/segmentation", "voxel_size": [8, 8, 8], "uuid": "ab"}}}
            }
        }
    },
    {"kind": "pyramid", "dataset": "sample/n5", "layer": "grey"},
    {"driver": "zarr3", "kvstore": {"driver": "file", "path": "sample/zarr/grey/0/"}},
    [[0, 0, 0], [71, 69, 55], [-1, 0, 0]],
)


def request_at_random(seed: int) -> tuple[str, bytes]:
    """One request: its method and all its bytes. The same seed gives the same."""
    dice = random.Random(seed)
    likely, paths = dice.choice((("GET", READS), ("POST", WRITES)))
    path = _path(dice, paths)
    body = _body(dice) if likely == "POST" or dice.random() < 0.05 else b""
    method = likely if dice.random() < 0.9 else dice.choice(METHODS)
    head = f"Host: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return method, method.encode() + b" " + path + b" HTTP/1.1\r\n" + head.encode() + b"\r\n" + body


def _path(dice: random.Random, paths: Sequence[str]) -> bytes:
    slots = {name: _slot(dice, values) for name, values in SLOTS.items()}
    path = bytearray(dice.choice(paths).format(**slots).encode("latin-1"))
    if dice.random() < 0.1:
        damage(dice, path)
    # These would end the path, and leave the client and the server of different minds about what is asked.
    return b"/" + bytes(byte for byte in path.lstrip(b"/") if byte not in b" \r\n")


def _slot(dice: random.Random, values: Sequence[str]) -> str:
    return dice.choice(ODD_TEXTS if dice.random() < 0.08 else values)


def damage(dice: random.Random, text: bytearray) -> None:
    """Overwrite, drop or repeat a few bytes."""
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(text) + 1)
        dropped, piece = dice.choice((0, 1, 8)), dice.choice((b"", dice.randbytes(1), bytes(text[place : place + 40])))
        text[place : place + dropped] = piece


def _body(dice: random.Random) -> bytes:
    text = bytearray(json.dumps(changed(dice, dice.choice(BODIES))).encode())
    if dice.random() < 0.15:
        damage(dice, text)
    return bytes(text)


def changed(dice: random.Random, value: Any) -> Any:
    """The value with, now and then, a part of it replaced by an odd one, or a key that nobody knows."""
    if dice.random() < 0.04:
        return dice.choice(ODD_VALUES)
    if isinstance(value, list):
        return [changed(dice, item) for item in value]
    if isinstance(value, dict):
        unknown = {"unknown": 1} if dice.random() < 0.03 else {}
        return {key: changed(dice, item) for key, item in value.items()} | unknown
    return value
