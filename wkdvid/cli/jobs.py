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
    add_running_arguments(parser)


def add_running_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cancel", action="store_true", help="stop making them, and remove what is made")
    add_server_arguments(parser)


def run_job(kind: str, args: argparse.Namespace) -> int:
    """
    Args:
        kind: Of the job, and the command's name.
    """
    wanted = {"kind": kind, "dataset": str(dataset_key(args.dataset)), "layer": args.layer}
    return run_wanted(wanted, args, f"wkdvid {kind} '{wanted['dataset']}' {wanted['layer']}")


def run_wanted(wanted: Mapping[str, Any], args: argparse.Namespace, again: str) -> int:
    """Begin a job and watch it, or cancel it.

    Args:
        wanted: As it is POSTed.
        args: With ``cancel`` and what says which server.
        again: The same command once more.
    """
    server, what = RunningServer.of(args), f"{wanted['dataset']}, {wanted['layer']}"
    if args.cancel:
        return _cancel(server, wanted, what)
    job = json.loads(server.ask("POST", "jobs", wanted, below="/api"))
    try:
        job = _watched(server, job)
    except KeyboardInterrupt:
        print(f"The server goes on. Watch it: {again}   Stop it: {again} --cancel", file=sys.stderr)
        return INTERRUPTED
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


def _cancel(server: RunningServer, wanted: Mapping[str, Any], what: str) -> int:
    for job in json.loads(server.ask("GET", "jobs", below="/api")):
        if wanted.items() <= job.items() and job["state"] in ("queued", "running", "failed"):
            server.ask("DELETE", f"jobs/{job['id']}", below="/api")
            print(printable(f"{what}: cancelled"))
            return 0
    raise Refused(f"{what}: there is nothing to cancel")
