"""``wkdvid add``: make a dataset of a running server out of URLs."""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wkdvid.cli.remote import RunningServer, add_server_arguments, dataset_key
from wkdvid.errors import ConfigError

NAME = "add"
HELP = "add a dataset to a running server, or replace it"
EXAMPLES = """\
Each URL becomes a layer, called as the last part of the URL's path; NAME=URL calls it NAME. A relative path that is not
there is taken to lie in the server's data directory.

examples:
  wkdvid add precomputed lab/brain gs://bucket/em gs://bucket/neurons
  wkdvid add zarr lab/brain grey=https://host/brain.zarr/0
  wkdvid add n5 lab/labels /data/brain.n5/labels --type segmentation
  wkdvid add boss lab/em boss://api.bossdb.io/Kasthuri/ac4/em
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backend", metavar="BACKEND", help="format: precomputed, zarr, n5, wkw, tiff, boss...")
    parser.add_argument("dataset", metavar="ORG/DATASET")
    parser.add_argument(
        "layers", metavar="URL", nargs="+", help="folder or file of a volume: a path, or an http(s), gs or s3 URL"
    )
    parser.add_argument(
        "--type",
        choices=("image", "segmentation"),
        help="of every layer that is named here (default: as the source says)",
    )
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    key = dataset_key(args.dataset)
    layers: dict[str, dict[str, str]] = {}
    for text in args.layers:
        name, source = _layer(text)
        if name in layers:
            raise ConfigError(f"two layers are called {name!r}; write NAME=URL")
        layers[name] = {"source": source, **({"type": args.type} if args.type else {})}
    document = {args.backend: {key.organization: {key.dataset: {"layers": layers}}}}
    RunningServer.of(args).ask("POST", "datasets", document)
    print(f"{key}: added, with {', '.join(layers)}")
    return 0


def _layer(text: str) -> tuple[str, str]:
    """Name and source of a layer."""
    name, equals, source = text.partition("=")
    if equals and "/" not in name:
        return name, _found(source)
    parts = urlsplit(text)
    return unquote((parts.path.strip("/") or parts.netloc).rpartition("/")[2]), _found(text)


def _found(source: str) -> str:
    """A path that leads somewhere from here, from wherever the server is."""
    return str(Path(source).absolute()) if source and "://" not in source and Path(source).exists() else source
