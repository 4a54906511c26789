"""What the verbs about users share: the database of the configuration, without a running server."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import sqlalchemy as sa

    from wkdvid.config import Config
    from wkdvid.identity.chain import Identities

Result = TypeVar("Result")

OPERATOR = "operator"
"""Who does what is done on the command line, in the record of changes."""


def add_database_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file (default: config.toml in the data directory)"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="as of 'wkdvid serve' (default: data)")


def configuration(args: argparse.Namespace) -> Config:
    from wkdvid.config import load_config

    return load_config(args.config, os.environ, {"data_dir": args.data_dir})


@contextlib.contextmanager
def opened_database(args: argparse.Namespace) -> Iterator[tuple[sa.Engine, Config]]:
    """The database, brought up to date.

    Raises:
        ConfigError, DatabaseUnavailable: it cannot be used.
    """
    from wkdvid.metadata.engine import migrate, open_engine

    config = configuration(args)
    config.state_dir.mkdir(parents=True, exist_ok=True)
    migrate(config.metadata.database_url)
    engine = open_engine(config.metadata.database_url)
    try:
        yield engine, config
    finally:
        engine.dispose()


def with_identities(args: argparse.Namespace, act: Callable[[Identities], Awaitable[Result]]) -> Result:
    """
    Raises:
        ConfigError, DatabaseUnavailable: the database cannot be used.
    """
    import asyncio

    from wkdvid.identity.opening import open_identities

    async def run(config: Config) -> Result:
        return await act(open_identities(config)[0])

    with opened_database(args) as (_, config):
        return asyncio.run(run(config))
