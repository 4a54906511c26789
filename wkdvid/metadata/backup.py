"""A copy of the database in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from wkdvid.errors import ConfigError, DatabaseUnavailable
from wkdvid.metadata.engine import BUSY_S

SETTING = "metadata.database_url"


def copied(database_url: str, target: Path) -> bool:
    """Copy an SQLite as it is at one moment, with what is still in its log, while others read and write.

    A plain copy of the file would lack what is in the log beside it, and mix pages of several moments. What is
    committed meanwhile is not in the copy (https://www.sqlite.org/backup.html).

    Returns:
        False: it is a PostgreSQL, which has programs of its own for that.
    Raises:
        ConfigError: there is no such file.
        DatabaseUnavailable: it cannot be read, or the copy not be written.
    """
    url = sa.make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return False
    path = Path(url.database or "")
    if not path.is_file():
        raise ConfigError(f"{SETTING}: there is no {path}; a server makes it when it is first started")
    source = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(source, uri=True, timeout=BUSY_S)) as database,
            closing(sqlite3.connect(target)) as copy,
        ):
            database.backup(copy)
    except sqlite3.Error as error:
        raise DatabaseUnavailable(f"{path} cannot be copied: {error}") from error
    return True
