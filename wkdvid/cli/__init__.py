"""The command line: one module per verb, found by name; what a verb needs is imported when it runs."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from wkdvid import __version__
from wkdvid.cli.text import columns, complain
from wkdvid.errors import ConfigError, WkdvidError

MODULES = (
    "serve",
    "doctor",
    "sample",
    "inspect",
    "add",
    "listing",
    "edit",
    "remove",
    "reload",
    "backup",
    "link",
    "pyramid",
    "index",
    "signatures",
    "job_list",
    "register",
    "user",
    "token",
    "export_clio",
    "import_clio",
    "annotations",
    "testserver",
)
"""One for each verb, in the order of the help. Each has NAME, HELP, add_arguments, run, and perhaps EXAMPLES."""
USAGE_ERROR = 2
FAILED = 1
INTERRUPTED = 130

DESCRIPTION = "Serves connectomics volumes, where they already are, over the DVID, webKnossos and clio protocols."
EXAMPLES = """\
examples:
  wkdvid sample                                   write a volume to try it with, below ./data
  wkdvid serve                                    serve ./data on http://127.0.0.1:8000
  wkdvid inspect gs://bucket/volume               what is there, and what is odd about it
  wkdvid add zarr lab/brain https://host/em.zarr  make it a dataset of the running server

Without a verb it serves. 'wkdvid VERB --help' has the options of a verb.
"""


class _Parser(argparse.ArgumentParser):
    """One line for an error, as for every other; texts as they are written; options by their whole names."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        complain(self.prog, f"{message}; see '{self.prog} --help'")
        raise SystemExit(USAGE_ERROR)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: What follows the program's name; None: this process's.
    Returns:
        The exit code: 0, 1 (it failed), 2 (wrong usage or configuration) or 130 (interrupted).
    """
    arguments = _with_verb(list(sys.argv[1:] if argv is None else argv))
    try:
        args, unknown = _parser().parse_known_args(arguments)
        if unknown:
            args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return _run(args)
    except SystemExit as stop:  # argparse's, after --help, --version or an error
        return stop.code if isinstance(stop.code, int) else USAGE_ERROR


def _with_verb(arguments: list[str]) -> list[str]:
    asks_for_a_verb = arguments and (arguments[0] in ("-h", "--help", "--version") or not arguments[0].startswith("-"))
    return arguments if asks_for_a_verb else ["serve", *arguments]


def _parser() -> argparse.ArgumentParser:
    modules = [importlib.import_module(f"wkdvid.cli.{name}") for name in MODULES]
    listed = "".join(f"  {line}\n" for line in columns([(verb.NAME, verb.HELP) for verb in modules]))
    parser = _Parser(
        prog="wkdvid",
        usage="wkdvid [VERB] [options]",
        description=DESCRIPTION,
        epilog=f"verbs:\n{listed}\n{EXAMPLES}",
    )
    parser.add_argument("--version", action="version", version=f"wkdvid {__version__}")
    verbs = parser.add_subparsers(prog="wkdvid", metavar="VERB", help=argparse.SUPPRESS, required=True)
    for verb in modules:
        description = f"{verb.HELP[0].upper()}{verb.HELP[1:]}."
        one = verbs.add_parser(verb.NAME, description=description, epilog=getattr(verb, "EXAMPLES", None))
        verb.add_arguments(one)
        one.set_defaults(run=verb.run, parser=one)
    return parser


def _run(args: argparse.Namespace) -> int:
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads, such as `head`, has enough. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except WkdvidError as error:
        complain(args.parser.prog, str(error))
        return USAGE_ERROR if isinstance(error, ConfigError) else FAILED
    except OSError as error:
        complain(args.parser.prog, f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return code
