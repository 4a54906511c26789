"""``wkdvid index``: have a running server find out where each label of a segmentation is."""

from __future__ import annotations

import argparse

from wkdvid.cli.jobs import add_job_arguments, run_job

NAME = "index"
HELP = "find out where each label of a segmentation is"
EXAMPLES = """\
The server counts in the background. When all is counted it answers DVID's questions about labels: their sizes,
blocks and sparse volumes. Interrupting this command leaves it at work: run it again to watch on. What failed goes on
where it was.

examples:
  wkdvid index lab/brain seg
  wkdvid index lab/brain seg --cancel
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_job_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return run_job(NAME, args)
