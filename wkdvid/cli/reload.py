"""``wkdvid reload``: make a running server look at sources again."""

from __future__ import annotations

import argparse

from wkdvid.cli.remote import RunningServer, add_server_arguments, dataset_key, dataset_path

NAME = "reload"
HELP = "make a running server look at its sources again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="ORG/DATASET", nargs="?", help="(default: all)")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.dataset is None:
        RunningServer.of(args).ask("POST", "triggers/checkInboxBlocking")
        print("all datasets: reloaded")
        return 0
    key = dataset_key(args.dataset)
    RunningServer.of(args).ask("POST", f"triggers/reload/{dataset_path(key)}")
    print(f"{key}: reloaded")
    return 0
