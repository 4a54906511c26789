"""Recording this process with py-spy, which the extra ``wkdvid[profile]`` installs."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import sysconfig
import tempfile
from pathlib import Path

from wkdvid.errors import NotFound, WkdvidError
from wkdvid.extras import install

MARGIN_S = 30.0
"""That py-spy may take beside what it records."""
PR_SET_PTRACER = 0x59616D61
"""prctl(2)."""


class NotInstalled(WkdvidError):
    code = "not_installed"


class Busy(WkdvidError):
    code = "busy"


class RecordingFailed(WkdvidError):
    code = "recording_failed"


def find_py_spy() -> str:
    """The program that belongs to this Python.

    Raises:
        NotInstalled: the extra is not there.
    """
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts"))
    if found is None:
        raise NotInstalled(f"flame graphs need py-spy: {install('profile')}")
    return found


class Recorder:
    """Records this process and keeps the last flame graph, of whichever worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._graph = folder / "flame.svg"
        self._recording = asyncio.Lock()

    async def record(self, seconds: int) -> bytes:
        """A flame graph (SVG) of the next seconds. The process goes on meanwhile.

        Raises:
            NotInstalled: py-spy is not there.
            NotFound: the process was idle.
            Busy: a recording is under way.
            RecordingFailed: it could not look into this process; where a container or the kernel forbids that, it says
                so.
        """
        program = find_py_spy()
        if self._recording.locked():
            raise Busy("a recording is under way")
        async with self._recording:
            _let_children_look()
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix="flame-") as folder:
                made = Path(folder) / self._graph.name
                await _run(program, "record", "--pid", str(os.getpid()), *_options(seconds, made), seconds=seconds)
                return made.replace(self._graph).read_bytes()

    def last(self) -> bytes:
        """
        Raises:
            NotFound: nothing was recorded yet.
        """
        try:
            return self._graph.read_bytes()
        except FileNotFoundError:
            raise NotFound("nothing was recorded yet") from None


def _options(seconds: int, made: Path) -> tuple[str, ...]:
    return ("--duration", str(seconds), "--format", "flamegraph", "--output", str(made), "--nonblocking")


def _let_children_look() -> None:
    """Where the kernel lets parents alone look into a process (Yama), this one allows its children to."""
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, os.getpid(), 0, 0, 0)


async def _run(*command: str, seconds: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds + MARGIN_S):
            _, said = await process.communicate()
    except TimeoutError:
        raise RecordingFailed(f"py-spy did not end within {seconds + MARGIN_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise _failure(said.decode(errors="replace"))


def _failure(said: str) -> WkdvidError:
    """From what py-spy says on its standard error: log lines, ``Error: ...``, and where in it that was."""
    if "No stack counts found" in said:
        return NotFound("the process did nothing in this time; there is nothing to show")
    found = re.search(r"^Error: (.*)$", said, re.MULTILINE)
    return RecordingFailed(f"py-spy: {found[1] if found else 'it failed without saying why'}")
