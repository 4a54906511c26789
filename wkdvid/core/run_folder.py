"""The folder of one run of the server: what its workers share for as long as it lasts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wkdvid.errors import ConfigError

PREFIX = "run-"


@contextlib.contextmanager
def run_folder(state_dir: Path) -> Iterator[Path]:
    """A folder that nobody else may look into, removed at the end; and those of runs that were killed, at once.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        made, lock = _made(state_dir)
    except OSError as error:
        raise ConfigError(f"{state_dir}: {error.strerror}") from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def _made(state_dir: Path) -> tuple[Path, int]:
    """With the lock that tells that its server runs."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with _locked(state_dir / "runs.lock"):
        for left in state_dir.glob(f"{PREFIX}*"):
            _remove_if_left(left)
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=state_dir))
        lock = os.open(made / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return made, lock


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time: another one's folder is there before its lock is."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
