"""What the commands that have a running server do long work share: begin it, watch it, stop it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from wkdvid.cli.remote import Refused, RunningServer, add_server_arguments, dataset_key
from wkdvid.cli.text import printable
from wkdvid.errors import WkdvidError

INTERRUPTED = 130


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="ORG/DATASET")
    parser.add_argument("layer", metavar="LAYER")
    parser.add_argument("--cancel", action="store_true", help="stop making them, and remove what is made")
    add_server_arguments(parser)


def run_job(kind: str, args: argparse.Namespace) -> int:
    """
    Args:
        kind: Of the job, and the command's name.
    """
    wanted = {"kind": kind, "dataset": str(dataset_key(args.dataset)), "layer": args.layer}
    server = RunningServer.of(args)
    if args.cancel:
        return _cancel(server, wanted)
    job = json.loads(server.ask("POST", "jobs", wanted, below="/api"))
    try:
        job = _watched(server, job)
    except KeyboardInterrupt:
        again = f"wkdvid {kind} '{wanted['dataset']}' {wanted['layer']}"
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
    with tqdm(desc=job["kind"], unit="box", file=sys.stderr, disable=None) as bar:
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
