"""``wkdvid inspect``: what is at an address."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wkdvid.cli.text import columns, printable

if TYPE_CHECKING:
    from wkdvid.backends.inspection import InspectedLayer, Inspection

NAME = "inspect"
HELP = "show what is at an address, and what is odd about it"
EXAMPLES = """\
It reads with your own rights and needs no server, whose sources.file_roots and sources.http_hosts decide by themselves.

examples:
  wkdvid inspect data/sample/precomputed/grey
  wkdvid inspect zarr://https://host/brain.zarr/0 --json
"""
POOL_BYTES = 16 * 1024 * 1024
DEADLINE_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url",
        metavar="URL",
        help="folder of a volume: a path, or an http(s), gs or s3 URL; precomputed://, zarr:// or n5:// may precede it",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    import asyncio

    found = asyncio.run(_inspect(args.url))
    print(json.dumps(_document(found), indent=2) if args.json else "\n".join(_lines(found)))
    return 0


async def _inspect(url: str) -> Inspection:
    from wkdvid.backends.inspection import inspect_source
    from wkdvid.backends.opening import Opener
    from wkdvid.core.credentials import Credentials, own_access
    from wkdvid.core.guard import Guard
    from wkdvid.core.limits import Limits
    from wkdvid.core.source import read_source

    named = read_source(url)
    # The user's own rights: any file, relative ones from here, and the host that the user names.
    hosts = frozenset({named.authority} if named.is_http else ())
    guard = Guard((Path.cwd(), Path("/")), hosts, Credentials(otherwise=own_access(os.environ)))
    return await inspect_source(url, Opener(guard, Limits(), pool_bytes=POOL_BYTES, deadline_s=DEADLINE_S))


def _document(found: Inspection) -> dict[str, Any]:
    return {"url": found.url, "backend": found.backend, "layers": [_layer_document(layer) for layer in found.layers]}


def _layer_document(layer: InspectedLayer) -> dict[str, Any]:
    info = layer.info
    return {
        "name": info.name,
        "category": info.category,
        "dtype": info.dtype.name,
        "channels": info.num_channels,
        "voxelSizeNm": info.voxel_size_nm,
        "fillValue": info.fill_value,
        "largestSegmentId": info.largest_segment_id,
        "levels": [
            {
                "mag": level.mag,
                "offset": level.extent.start,
                "size": level.extent.size,
                "chunkShape": level.chunk_shape,
                "chunkOrigin": level.chunk_origin,
                "encoding": level.encoding,
            }
            for level in info.levels
        ],
        "problems": layer.problems,
    }


def _lines(found: Inspection) -> Iterator[str]:
    yield printable(f"{found.url}: {found.backend}")
    for layer in found.layers:
        info = layer.info
        channels = "" if info.num_channels == 1 else f", {info.num_channels} channels"
        size = " x ".join(f"{nm:g}" for nm in info.voxel_size_nm)
        yield ""
        yield printable(f"{info.name}: {info.category}, {info.dtype.name}{channels}, voxels of {size} nm")
        yield from (f"  {line}" for line in columns([*_level_rows(layer)]))
        yield from (f"  - {printable(problem)}" for problem in layer.problems)


def _level_rows(layer: InspectedLayer) -> Iterator[tuple[str, ...]]:
    yield "level", "mag", "voxels", "offset", "chunk", "encoding"
    for i, level in enumerate(layer.info.levels):
        vectors = (level.mag, level.extent.size, level.extent.start, level.chunk_shape)
        yield str(i), *(" ".join(map(str, vector)) for vector in vectors), level.encoding
