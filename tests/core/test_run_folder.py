"""The folder of a run: private, removed at its end, and when its server was killed by the next one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wkdvid.core.run_folder import run_folder

KILLED = """
import os, pathlib, signal, sys
from wkdvid.core.run_folder import run_folder
with run_folder(pathlib.Path(sys.argv[1])) as made:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_is_private_and_goes_with_the_run(tmp_path: Path) -> None:
    with run_folder(tmp_path) as made, run_folder(tmp_path) as other:
        assert made != other
        assert made.stat().st_mode & 0o777 == 0o700
        (made / "file").write_text("shared")
    assert not list(tmp_path.glob("run-*"))


def test_what_a_killed_server_left_is_removed(tmp_path: Path) -> None:
    with run_folder(tmp_path) as living:
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
        assert len(list(tmp_path.glob("run-*"))) == 2
        with run_folder(tmp_path) as made:
            assert {*tmp_path.glob("run-*")} == {living, made}
