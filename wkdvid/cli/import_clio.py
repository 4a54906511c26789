"""``wkdvid import-clio``: what ``export-clio``, or clio-store's own script, has written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wkdvid.cli.accounts import OPERATOR, add_database_arguments, opened_database
from wkdvid.errors import ConfigError, InvalidRequest

if TYPE_CHECKING:
    import sqlalchemy as sa

    from wkdvid.config import Config

NAME = "import-clio"
HELP = "read what export-clio has written, or clio-store's scripts/export_auth.py"
EXAMPLES = """\
What is in the file is added, and replaces what is there of the same name; the rest stays. All of it or nothing.

examples:
  wkdvid import-clio clio.jsonl --dry-run
  wkdvid import-clio clio.jsonl
  wkdvid import-clio auth.json
"""
LONGEST_DOCUMENT = 256 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_database_arguments(parser)


def run(args: argparse.Namespace) -> int:
    try:
        with args.file.open("rb") as file:
            is_upstream = file.read(1024).lstrip().startswith(b"{")
        with opened_database(args) as (engine, config):
            text = _of_upstream(args, config) if is_upstream else _of_lines(args, engine)
            _tell_workers(config)
    except OSError as error:
        raise ConfigError(f"{args.file}: {error.strerror}") from error
    except InvalidRequest as error:
        raise ConfigError(f"{args.file}: {error}") from error
    print(f"{text}{' (dry run: nothing was changed)' if args.dry_run else ''}")
    return 0


def _of_lines(args: argparse.Namespace, engine: sa.Engine) -> str:
    from wkdvid.metadata.clio.dump import imported

    with args.file.open("rb") as lines:
        counts = imported(engine, lines, dry_run=args.dry_run)
    return f"{counts.added} rows added, {counts.changed} changed, {counts.same} as they were"


def _of_upstream(args: argparse.Namespace, config: Config) -> str:
    import asyncio

    import orjson

    from wkdvid.identity.opening import open_identities
    from wkdvid.metadata.clio.datasets import open_datasets
    from wkdvid.metadata.clio.upstream import check, take

    if args.file.stat().st_size > LONGEST_DOCUMENT:
        raise InvalidRequest(f"has over {LONGEST_DOCUMENT} bytes")
    try:
        found = check(orjson.loads(args.file.read_bytes()))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"no JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    if not args.dry_run:
        datasets = open_datasets(config.metadata.database_url, config.state_dir)
        asyncio.run(take(found, open_identities(config)[0].users, datasets, OPERATOR))
    return f"{len(found['users'])} users, {len(found['datasets'])} datasets"


def _tell_workers(config: Config) -> None:
    """A server of this host that runs meanwhile looks again."""
    from wkdvid.core.catalog_store import SharedCounter
    from wkdvid.metadata.clio.datasets import COUNTER as DATASETS
    from wkdvid.metadata.users import COUNTER as USERS

    for name in (DATASETS, USERS):
        SharedCounter(config.state_dir / name).add(1)
