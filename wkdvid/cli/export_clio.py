"""``wkdvid export-clio``: all that clio's clients keep, into a file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from wkdvid.cli.accounts import add_database_arguments, opened_database
from wkdvid.errors import ConfigError

NAME = "export-clio"
HELP = "write users, documents and annotations of clio's clients to a file of JSON lines"
EXAMPLES = """\
The file holds no secret: of opaque tokens only their hashes. The server may run meanwhile.

examples:
  wkdvid export-clio clio.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="to be made or replaced")
    add_database_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from wkdvid.metadata.clio.dump import exported

    path: Path = args.file
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with opened_database(args) as (engine, _), temporary.open("xb") as file:
            temporary.chmod(0o600)
            count = sum(1 for line in exported(engine) if file.write(line)) - 2
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{count} rows")
    return 0
