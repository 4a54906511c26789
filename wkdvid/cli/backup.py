"""``wkdvid backup``: what a data directory knows, copied while its server runs."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wkdvid.cli.accounts import add_database_arguments, configuration
from wkdvid.errors import ConfigError

if TYPE_CHECKING:
    from wkdvid.config import Config

NAME = "backup"
HELP = "copy the database, the catalog and the secrets while the server runs"
EXAMPLES = """\
FOLDER becomes a data directory like the one that is copied, without the voxels: which folders are to be copied besides,
and what is PostgreSQL's, is printed. It holds secrets; only this user may look into it.

examples:
  wkdvid backup /backups/wkdvid-2026-11-21
"""
SECRETS = ("clio.secret", "credentials")
"""In the state directory. What else is there (locks, counters) is of the servers that run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="to be made")
    add_database_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config, folder = configuration(args), args.folder.absolute()
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; name a folder that is to be made")
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))  # mode 0700
    try:
        left = _copy(config, half)
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    print(f"{folder} is made")
    for line in left:
        print(f"not in it: {line}")
    return 0


def _copy(config: Config, folder: Path) -> list[str]:
    """
    Returns:
        What is not in the copy.
    """
    from wkdvid.metadata.backup import copied

    is_whole = copied(config.metadata.database_url, folder / "wkdvid.db")
    catalog = [] if config.shares_catalog else [(config.datasets.path, "datasets.json")]
    secrets = [(config.state_dir / name, f".wkdvid/{name}") for name in SECRETS]
    for source, name in [*catalog, (config.data_dir / "config.toml", "config.toml"), *secrets]:
        _copy_one(source, folder / name)
    others = sorted(place for place in config.data_dir.absolute().iterdir() if place.is_dir())
    return [
        *([] if is_whole else ["the database, which PostgreSQL's pg_dump copies"]),
        *(f"the folder {place}" for place in others if not place.name.startswith(".")),
    ]


def _copy_one(source: Path, target: Path) -> None:
    """Files are only ever replaced whole, so a copy is that of one moment."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy2(source, target)
