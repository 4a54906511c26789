"""``wkdvid signatures``: compute the signatures of an image, or import those that there are."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wkdvid.cli.jobs import add_running_arguments, run_wanted
from wkdvid.cli.remote import dataset_key
from wkdvid.cli.text import printable
from wkdvid.errors import ConfigError

if TYPE_CHECKING:
    from wkdvid.core.volume import Volume
    from wkdvid.inspection.inspector import Inspection
    from wkdvid.signatures.job import Signing

NAME = "signatures"
HELP = "make the index by which places of an image are found that look alike"
EXAMPLES = """\
examples:
  wkdvid signatures build lab/brain/em                         of a layer of the running server, by that server
  wkdvid signatures build gs://bucket/em --out em-signatures   of any volume, here
  wkdvid signatures import signatures.bin lab/brain            records of x, y, z, signature (20 bytes each)
  wkdvid signatures import data_out lab/brain                  what imgsearch_sig has made of them
"""
STRIDE, BLOCK = 16, 160
POOL_BYTES = 256 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="build | import", required=True)
    build = acts.add_parser("build", help="compute the signatures of an image")
    build.add_argument("what", metavar="ORG/DATASET/LAYER | SOURCE", help="a layer of the server; or a path or URL")
    build.add_argument("--stride", type=int, default=STRIDE, help=f"voxels between two places (default: {STRIDE})")
    build.add_argument("--out", type=Path, metavar="FOLDER", help="of the index; needed for a SOURCE, and for it alone")
    build.add_argument("--layer", help="of a SOURCE that has several")
    add_running_arguments(build)
    taken = acts.add_parser("import", help="import signatures that there are")
    taken.add_argument("what", type=Path, metavar="FILE_OR_FOLDER", help="of records; or with info.json and blocks/")
    taken.add_argument("dataset", nargs="?", metavar="ORG/DATASET", help="whose they are")
    taken.add_argument("--out", type=Path, metavar="FOLDER", help="of the index (default: where the server looks)")
    for one in (build, taken):
        one.add_argument("--block", type=int, help=f"voxels a side of the index's blocks (default: {BLOCK})")


def run(args: argparse.Namespace) -> int:
    if args.act == "import":
        return _import(args)
    if args.out is not None:
        return _build_here(args)
    organization, _, rest = args.what.partition("/")
    dataset, slash, layer = rest.partition("/")
    if not slash or "/" in layer or ":" in organization:
        raise ConfigError(f"{args.what!r} is not ORGANIZATION/DATASET/LAYER; of a source say where to: --out FOLDER")
    wanted = {
        "kind": NAME,
        "dataset": str(dataset_key(f"{organization}/{dataset}")),
        "layer": layer,
        "parameters": {"block": str(args.block or BLOCK), "stride": str(args.stride)},
    }
    again = f"wkdvid signatures build '{args.what}' --stride {args.stride} --block {args.block or BLOCK}"
    return run_wanted(wanted, args, again)


def _import(args: argparse.Namespace) -> int:
    from wkdvid.config import load_config
    from wkdvid.signatures.building import build
    from wkdvid.signatures.folders import SignatureFolders
    from wkdvid.signatures.records import Import

    if (args.dataset is None) == (args.out is None):
        raise ConfigError("say either whose they are, ORG/DATASET, or where to: --out FOLDER")
    folder = args.out
    if folder is None:
        folders = SignatureFolders(load_config(None, os.environ, {}).signatures_dir)
        folder = folders.folder(dataset_key(args.dataset))
    source = Import(args.what)
    count = build(folder, source.records(), args.block or source.block() or BLOCK, {"source": args.what.name})
    left_out = f"; {source.skipped} record that is none was left out" if source.skipped else ""
    print(printable(f"{folder}: {count} signatures{left_out}"))
    return 0


def _build_here(args: argparse.Namespace) -> int:
    import asyncio

    print(printable(f"{args.out}: {asyncio.run(_built(args))}"))
    return 0


async def _built(args: argparse.Namespace) -> str:
    import secrets
    from concurrent.futures import ThreadPoolExecutor

    from wkdvid.cli.sources import own_opener
    from wkdvid.inspection.inspector import Inspector
    from wkdvid.signatures.job import Signing, read_parameters

    read_parameters({"block": str(args.block or BLOCK), "stride": str(args.stride)})
    found = await Inspector(own_opener(args.what, POOL_BYTES)).inspect({"source": args.what})
    try:
        volume = _layer(found, args.layer)
        place = args.out.absolute().parent / secrets.token_hex(8)
        cores = len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(cores, thread_name_prefix="signatures") as executor:
            work = Signing(volume, args.block or BLOCK, args.stride, place, args.out.absolute(), executor)
            return await _through(work, place, cores)
    finally:
        await found.aclose()


def _layer(found: Inspection, name: str | None) -> Volume:
    volumes = {layer.info.name: layer.volume for layer in found.layers}
    if name is None and len(volumes) == 1:
        return next(iter(volumes.values()))
    if name not in volumes:
        raise ConfigError(f"--layer: the source has {', '.join(map(repr, volumes))}")
    return volumes[name]


async def _through(work: Signing, place: Path, at_a_time: int) -> str:
    """All its tasks, each once; what is made of them is removed if they do not come to an end."""
    import shutil

    from tqdm import tqdm

    from wkdvid.core.concurrent import for_each

    try:
        await work.begin(anew=True)
        with tqdm(total=sum(stage.count for stage in work.stages), unit="box", file=sys.stderr, disable=None) as bar:
            for number, stage in enumerate(work.stages):

                async def do(task: int, number: int = number) -> None:
                    await work.do(number, work.stages[number].box(task))
                    bar.update()

                await for_each(do, range(stage.count), at_a_time)
        return await work.finish()
    finally:
        shutil.rmtree(place, ignore_errors=True)
