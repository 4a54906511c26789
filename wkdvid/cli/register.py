"""``wkdvid register``: make this server a datastore of a webKnossos."""

from __future__ import annotations

import argparse
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wkdvid.cli.text import complain, printable
from wkdvid.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Engine

    from wkdvid.config import Config
    from wkdvid.main_server.row import Row

NAME = "register"
HELP = "make this server a datastore of webKnossos: its row there, and whether all fits"
EXAMPLES = """\
Name and key are those of [webknossos] in the configuration, the address is server.publicUrl. Without --database-url the
SQL is printed, with psql's variable :'key' in the place of the key unless --show-key is given.

examples:
  wkdvid register --show-key | psql webknossos
  wkdvid register --database-url file:/run/secrets/webknossos_database
  wkdvid register --check
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file (default: config.toml in the data directory)"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="as of 'wkdvid serve' (default: data)")
    parser.add_argument("--name", help="of this datastore (default: webknossos.name)")
    parser.add_argument("--key", metavar="REFERENCE", help="$VARIABLE or file:PATH (default: webknossos.key)")
    parser.add_argument("--public-url", metavar="URL", help="where browsers reach it (default: server.publicUrl)")
    parser.add_argument("--main", metavar="URL", help="of the main server, for --check (default: webknossos.url)")
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="of the main server's PostgreSQL, or $VARIABLE or file:PATH of it: write the row there",
    )
    parser.add_argument(
        "--schema", choices=("new", "old"), default="new", help="old: webKnossos until 2023 (schema 101)"
    )
    parser.add_argument("--show-key", action="store_true", help="print the key in the SQL")
    parser.add_argument("--check", action="store_true", help="write no row; say what works and what does not")


def run(args: argparse.Namespace) -> int:
    from wkdvid.config import load_config

    options = {
        "data_dir": args.data_dir,
        "webknossos.name": args.name,
        "webknossos.key": args.key,
        "webknossos.url": args.main,
    }
    config = load_config(args.config, os.environ, options)
    if args.check:
        return _check(args, config)
    return _print_row(args, config) if args.database_url is None else _write_row(args, config)


def _row(args: argparse.Namespace, config: Config, *, with_key: bool) -> Row:
    """
    Raises:
        ConfigError: there is no key, or something that the main server's table would not take.
    """
    from wkdvid.main_server.row import Row

    if with_key and config.webknossos.key is None:
        raise ConfigError(
            "there is no key: put one into a file ('openssl rand -hex 24 > FILE'), and name it as webknossos.key"
            ' ("file:FILE") or by --key file:FILE'
        )
    public_url = (args.public_url or config.server.own_url).rstrip("/")
    return Row(
        name=config.webknossos.name,
        url=(config.server.internal_url or public_url).rstrip("/"),
        public_url=public_url,
        key=config.webknossos.key if with_key else None,
    )


def _print_row(args: argparse.Namespace, config: Config) -> int:
    from wkdvid.main_server.row import statement

    row = _row(args, config, with_key=args.show_key)
    if args.schema == "old":
        print("-- webKnossos until 2023 (schema 53 to 101). isForeign, where there is one, stays FALSE by its default.")
    else:
        print("-- webKnossos since 2023 (schema 102); for older ones: --schema old")
    if not args.show_key:
        print("-- :'key' is a variable of psql: \\set key `cat FILE`. --show-key prints the key itself.")
    print(statement(row, args.schema))
    return 0


def _write_row(args: argparse.Namespace, config: Config) -> int:
    from wkdvid.main_server.row import put_row

    row = _row(args, config, with_key=True)
    with _database(args.database_url) as engine:
        changed = put_row(engine, row)
    if changed is None:
        print(f"{row.name}: registered, at {row.url}, for browsers at {row.public_url}")
    elif changed:
        print(f"{row.name}: changed ({', '.join(changed)})")
    else:
        print(f"{row.name}: is registered so already")
    return 0


@contextmanager
def _database(text: str) -> Iterator[Engine]:
    """The main server's.

    Raises:
        ConfigError: no PostgreSQL, or a reference that leads nowhere. The message does not show the URL.
    """
    from wkdvid.core.secrets import is_reference, look_up
    from wkdvid.metadata.engine import open_engine

    url = look_up(text, os.environ) if is_reference(text) else text
    if url is None:
        raise ConfigError(f"--database-url: {text}: there is no such secret")
    if not url.startswith(("postgresql:", "postgres:")):
        raise ConfigError("--database-url: expected postgresql://USER@HOST/NAME, or $VARIABLE or file:PATH of it")
    engine = open_engine(url, "--database-url")
    try:
        yield engine
    finally:
        engine.dispose()


def _check(args: argparse.Namespace, config: Config) -> int:
    import asyncio

    if config.webknossos.url is None:
        raise ConfigError("there is no main server: set webknossos.url, or give --main URL")
    row = _row(args, config, with_key=True)
    stored: Mapping[str, object] | None = None
    if args.database_url is not None:
        from wkdvid.main_server.row import read_row

        with _database(args.database_url) as engine:
            stored = read_row(engine, row.name)
        if stored is None:
            complain("wkdvid register", f"webknossos.dataStores has no row {row.name!r}")
            return 1
    return asyncio.run(_show_findings(row, config.webknossos.url.rstrip("/"), stored))


async def _show_findings(row: Row, main_url: str, stored: Mapping[str, object] | None) -> int:
    from wkdvid.main_server.checks import examine

    wrong = 0
    async for finding in examine(row, main_url, stored):
        wrong += not finding.is_good
        print(printable(f"{'ok    ' if finding.is_good else 'WRONG '}{finding.text}"), flush=True)
    return int(wrong > 0)
