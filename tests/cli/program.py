"""The command line as a person starts it: ``python -m wkdvid`` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
