"""``wkdvid pyramid``: have a running server store the lower resolutions that a layer lacks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from wkdvid.cli.remote import Refused, RunningServer, add_server_arguments, dataset_key
from wkdvid.cli.text import printable
from wkdvid.errors import WkdvidError

NAME = "pyramid"
HELP = "store the lower resolutions that a layer lacks"
EXAMPLES = """\
The server makes them in the background and serves them when they are whole; until then nothing changes. Interrupting
this command leaves it at work: run it again to watch on. What failed goes on where it was.

examples:
  wkdvid pyramid lab/brain em
  wkdvid pyramid lab/brain em --cancel
"""
INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="ORG/DATASET")
    parser.add_argument("layer", metavar="LAYER")
    parser.add_argument("--cancel", action="store_true", help="stop making them, and remove what is made")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    wanted = {"kind": NAME, "dataset": str(dataset_key(args.dataset)), "layer": args.layer}
    server = RunningServer.of(args)
    if args.cancel:
        return _cancel(server, wanted)
    job = json.loads(server.ask("POST", "jobs", wanted, below="/api"))
    try:
        job = _watched(server, job)
    except KeyboardInterrupt:
        again = f"wkdvid pyramid '{wanted['dataset']}' {wanted['layer']}"
        print(f"The server goes on. Watch it: {again}   Stop it: {again} --cancel", file=sys.stderr)
        return INTERRUPTED
    what = f"{wanted['dataset']}, {wanted['layer']}"
    if job["state"] != "done":
        raise WkdvidError(f"{what}: {job['state']}{': ' if job['message'] else ''}{job['message']}")
    print(printable(f"{what}: {job['message']}"))
    return 0


def _watched(server: RunningServer, job: Mapping[str, Any]) -> Mapping[str, Any]:
    """Show its progress until it ends, and return it as it is then."""
    from tqdm import tqdm

    # disable=None: no bar where standard error is not a terminal.
    with tqdm(desc=NAME, unit="box", file=sys.stderr, disable=None) as bar:
        for now in server.events(f"jobs/{job['id']}/events"):
            job = now
            bar.total = job["total"] or None
            bar.update(job["done"] - bar.n)
    if job["state"] in ("queued", "running"):
        raise Refused(f"the server at {server.url} went away; the job goes on when it runs again")
    return job


def _cancel(server: RunningServer, wanted: Mapping[str, Any]) -> int:
    for job in json.loads(server.ask("GET", "jobs", below="/api")):
        if wanted.items() <= job.items() and job["state"] in ("queued", "running", "failed"):
            server.ask("DELETE", f"jobs/{job['id']}", below="/api")
            print(printable(f"{wanted['dataset']}, {wanted['layer']}: cancelled"))
            return 0
    raise Refused(f"{wanted['dataset']}, {wanted['layer']}: there is nothing to cancel")
