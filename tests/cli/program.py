"""The command line as a person starts it, in a process of its own, and quicker: in the process of the tests."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from wkdvid.cli import main

ROOT = Path(__file__).parent.parent.parent


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "wkdvid", *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    """The tests' own, without what configures a server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WKDVID_")}
    return {**kept, "PYTHONPATH": str(ROOT), "WKDVID_LOG__FORMAT": "text", **variables}


def wkdvid(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run to the end; ``cwd`` keeps a configuration in the checkout out."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def wkdvid_here(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The same without a new process, whose start would take the most of the time."""
    given, out, err = [*map(str, arguments)], io.StringIO(), io.StringIO()
    surroundings = (
        contextlib.chdir(cwd),
        patch.dict(os.environ, environment(**variables), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    )
    with contextlib.ExitStack() as stack:
        for one in surroundings:
            stack.enter_context(one)
        status = main(given)
    return subprocess.CompletedProcess(given, status, out.getvalue(), err.getvalue())
