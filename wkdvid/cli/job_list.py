"""``wkdvid jobs``: the long work of a running server."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from wkdvid.cli.remote import RunningServer, add_server_arguments
from wkdvid.cli.text import columns

NAME = "jobs"
HELP = "list the jobs of a running server, or cancel one"
EXAMPLES = """\
examples:
  wkdvid jobs
  wkdvid jobs --cancel 3f0c9a7d52e84b1c
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cancel", metavar="JOB", help="stop it, and remove what it has made")
    parser.add_argument("--json", action="store_true", help="all that the server says of them, as JSON")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from urllib.parse import quote

    server = RunningServer.of(args)
    if args.cancel:
        server.ask("DELETE", f"jobs/{quote(args.cancel, safe='')}", below="/api")
        print(f"{args.cancel}: cancelled")
        return 0
    jobs = json.loads(server.ask("GET", "jobs", below="/api"))
    if args.json:
        print(json.dumps(jobs, indent=2))
    else:
        print("\n".join(columns([_row(job) for job in jobs])) if jobs else "no jobs")
    return 0


def _row(job: Mapping[str, Any]) -> tuple[str, ...]:
    progress = f"{job['done']} of {job['total']}" if job["total"] else ""
    return job["id"], job["kind"], job["dataset"], job["layer"], job["state"], progress, job["message"]
