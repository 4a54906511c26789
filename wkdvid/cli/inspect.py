"""``wkdvid inspect``: what is at an address."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wkdvid.cli.text import columns, complain, printable
from wkdvid.errors import BackendError

if TYPE_CHECKING:
    from wkdvid.inspection.inspector import Inspection

NAME = "inspect"
HELP = "show what is at an address, what would be served, and what is wrong with it"
EXAMPLES = """\
It reads with your own rights, and what sources.credentials of the configuration grants, and needs no server, whose
sources.file_roots and sources.http_hosts decide by themselves. Some chunks of each level are looked at.

examples:
  wkdvid inspect data/sample/precomputed/grey
  wkdvid inspect zarr://https://host/brain.zarr/0 --json
  wkdvid inspect gs://bucket/em --png middle.png
  wkdvid inspect boss://api.bossdb.io/Kasthuri/ac4
"""
POOL_BYTES = 16 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url",
        metavar="URL",
        help="folder or file of a volume: a path, or an http(s), gs or s3 URL; the format may precede it, as"
        " in precomputed://; boss://HOST/COLLECTION/EXPERIMENT of a BossDB",
    )
    parser.add_argument("--type", choices=("image", "segmentation"), help="of the layer (default: as the source says)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--png",
        type=Path,
        metavar="FILE",
        help="write the middle xy slice as a picture; of several layers each to FILE with -LAYER before its suffix",
    )


def run(args: argparse.Namespace) -> int:
    import asyncio

    options = {"source": args.url, **({"type": args.type} if args.type else {})}
    url, document, pictures = asyncio.run(_inspect(options, pictures=args.png is not None))
    print(json.dumps({"url": url, **document}, indent=2) if args.json else "\n".join(_lines(url, document)))
    for name, picture in pictures.items():
        if isinstance(picture, BackendError):
            complain(f"wkdvid inspect: {name}", str(picture))
        else:
            of_layer = args.png.parent / f"{args.png.stem}-{name.replace(os.sep, '_')}{args.png.suffix}"
            (of_layer if len(pictures) > 1 else args.png).write_bytes(picture)
    return int(any(isinstance(picture, BackendError) for picture in pictures.values()))


async def _inspect(
    options: Mapping[str, str], *, pictures: bool
) -> tuple[str, dict[str, Any], Mapping[str, bytes | BackendError]]:
    """Address, document and the picture of each layer."""
    from wkdvid.cli.sources import own_opener
    from wkdvid.inspection.document import document
    from wkdvid.inspection.inspector import Inspector

    opener = own_opener(options["source"], POOL_BYTES)
    found = await Inspector(opener).inspect(options)
    taken = await _pictures(found) if pictures else {}
    await found.aclose()
    return opener.guard.parse_source(options["source"]).url, document(found), taken


async def _pictures(found: Inspection) -> Mapping[str, bytes | BackendError]:
    from wkdvid.inspection.picture import middle_slice

    taken: dict[str, bytes | BackendError] = {}
    for layer in found.layers:
        try:
            taken[layer.info.name] = await middle_slice(layer.volume)
        except BackendError as error:
            taken[layer.info.name] = error
    return taken


def _lines(url: str, document: Mapping[str, Any]) -> Iterator[str]:
    yield printable(f"{url}: {document['backend']}")
    yield from (f"- {printable(problem)}" for problem in document["problems"])
    for layer in document["layers"]:
        channels = "" if layer["channels"] == 1 else f", {layer['channels']} channels"
        size = " x ".join(f"{nm:g}" for nm in layer["voxelSizeNm"])
        yield ""
        yield printable(f"{layer['name']}: {layer['category']}, {layer['dtype']}{channels}, voxels of {size} nm")
        yield from (f"  {line}" for line in columns([*_level_rows(layer)]))
        yield from (f"  {printable(line)}" for line in _served(layer["served"]))
        yield from (f"  - {printable(problem)}" for problem in layer["problems"])


def _level_rows(layer: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield "level", "mag", "voxels", "offset", "chunk", "encoding", "chunks looked at"
    for i, level in enumerate(layer["levels"]):
        vectors = (level[key] for key in ("mag", "size", "offset", "chunkShape"))
        yield (
            str(i),
            *(" ".join(map(str, vector)) for vector in vectors),
            level["encoding"],
            _sample_text(level["sample"]),
        )


def _sample_text(sample: Mapping[str, Any]) -> str:
    words = {"withData": "with data", "neverWritten": "never written", "blank": "blank", "failed": "failed"}
    counts = ", ".join(f"{sample[key]} {word}" for key, word in words.items() if sample[key])
    return f"{sample['lookedAt']} of {sample['chunks']}{': ' if counts else ''}{counts}"


def _served(served: Mapping[str, Any]) -> Iterator[str]:
    webknossos, dvid = served["webknossos"], served["dvid"]
    if webknossos is not None:
        mags = ", ".join(_mag_text(mag) for mag in webknossos["mags"])
        yield f"webKnossos: layer {webknossos['layer']} ({webknossos['elementClass']}), mags {mags}"
    if dvid:
        names = ", ".join(one["instance"] for one in dvid)
        scales = ", ".join(_mag_text(scale) for one in dvid for scale in one["scales"])
        yield f"DVID: {names} ({dvid[0]['type']}), mags {scales}"


def _mag_text(scale: Mapping[str, Any]) -> str:
    return "-".join(map(str, scale["mag"])) + ("" if scale["stored"] else " (computed)")
