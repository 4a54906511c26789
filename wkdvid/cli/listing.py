"""``wkdvid list``: what a running server has."""

from __future__ import annotations

import argparse
import json
from typing import Any

from wkdvid.cli.remote import Refused, RunningServer, add_server_arguments
from wkdvid.cli.text import columns

NAME = "list"
HELP = "list the datasets of a running server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="all that the server says of them, as JSON")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    server = RunningServer.of(args)
    try:
        datasets = json.loads(server.ask("GET", "datasets"))
    except ValueError:
        raise Refused(f"what answers at {server.url} is not wkdvid") from None
    if args.json:
        print(json.dumps(datasets, indent=2))
    elif datasets:
        print("\n".join(columns([_row(dataset) for dataset in datasets])))
    else:
        print("no datasets; 'wkdvid add' adds one")
    return 0


def _row(dataset: dict[str, Any]) -> tuple[str, str, str]:
    layers = ", ".join(f"{layer['name']} ({layer['elementClass']})" for layer in dataset["layers"])
    return f"{dataset['organization']}/{dataset['name']}", dataset["state"], dataset.get("reason") or layers
