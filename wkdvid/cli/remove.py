"""``wkdvid remove``: take a dataset out of a running server's catalog."""

from __future__ import annotations

import argparse

from wkdvid.cli.remote import RunningServer, add_server_arguments, dataset_key, dataset_path

NAME = "remove"
HELP = "take a dataset out of a running server; its voxels stay"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="ORG/DATASET")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    key = dataset_key(args.dataset)
    RunningServer.of(args).ask("DELETE", f"datasets/{dataset_path(key)}")
    print(f"{key}: removed")
    return 0
