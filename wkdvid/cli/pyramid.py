"""``wkdvid pyramid``: have a running server store the lower resolutions that a layer lacks."""

from __future__ import annotations

import argparse

from wkdvid.cli.jobs import add_job_arguments, run_job

NAME = "pyramid"
HELP = "store the lower resolutions that a layer lacks"
EXAMPLES = """\
The server makes them in the background and serves them when they are whole; until then nothing changes. Interrupting
this command leaves it at work: run it again to watch on. What failed goes on where it was.

examples:
  wkdvid pyramid lab/brain em
  wkdvid pyramid lab/brain em --cancel
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_job_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return run_job(NAME, args)
