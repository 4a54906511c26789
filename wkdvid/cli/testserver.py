"""``wkdvid testserver``: stand-ins for services that a wkdvid talks with."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
from collections.abc import Callable

NAME = "testserver"
HELP = "run a stand-in for another server on loopback, to try this one with"
EXAMPLES = """\
boss is a BossDB that holds a small synthetic volume in memory. It says what to put into datasets.json.
webknossos is a main server without pages, for a wkdvid that is its datastore and for the webknossos package. It says
how to start wkdvid, and gives an administrator's token.
Both serve until they are interrupted.
"""
DEFAULT_SIZE = 128
SIZES = (16, 512)
"""The largest takes 0.9 GB."""
ADMINISTRATOR = "administrator"
"""Token of the user of webknossos."""
ENDS = {signal.SIGINT, signal.SIGTERM}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["boss", "webknossos"], help="which service")
    port, size = _number(0, 65535), _number(*SIZES)
    parser.add_argument("--port", type=port, default=0, metavar="N", help="port to listen on (default: a free one)")
    parser.add_argument(
        "--size", type=size, default=DEFAULT_SIZE, metavar="N", help=f"boss: voxels along x (default: {DEFAULT_SIZE})"
    )


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdecimal() and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")

    return read


def run(args: argparse.Namespace) -> int:
    # In all threads, those that numpy starts included: the signals wait for ``sigwait``.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    return _run_boss(args) if args.kind == "boss" else _run_webknossos(args)


def _run_boss(args: argparse.Namespace) -> int:
    from wkdvid.sample import sample_shape
    from wkdvid.testing.bossdb import BossDouble, sample_experiment

    experiment = sample_experiment(sample_shape(args.size))
    with BossDouble(experiment, args.port) as double:
        entry = {"domain": double.url, "collection": experiment.collection, "experiment": experiment.name}
        print(f"BossDB stand-in       {double.url}")
        print(f"start wkdvid with     WKDVID_SOURCES__HTTP_HOSTS={double.host}")
        print("datasets.json         " + json.dumps({"boss": {"test": {"tissue": entry}}}), flush=True)
        signal.sigwait(ENDS)
    return 0


def _run_webknossos(args: argparse.Namespace) -> int:
    from wkdvid.testing.webknossos import MainServer

    with MainServer(port=args.port) as main:
        main.add_user(ADMINISTRATOR, organization="sample", is_admin=True)
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in main.environ.items())
        print(f"webKnossos stand-in   {main.url}")
        print(f"start wkdvid with     {settings}")
        print(f"administrator's token {ADMINISTRATOR}", flush=True)
        signal.sigwait(ENDS)
    return 0
