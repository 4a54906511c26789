"""docs/clio.md: its walk-through prints what it shows, its table has every route."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clio.test_routes import ROUTES
from tests.servers import Server, running
from tests.test_walkthroughs import SHOWN, SIZE, commands
from wkdvid.sample import SAMPLE_ENTRY, write_sample

PAGE = Path(__file__).parents[2] / "docs" / "clio.md"
ROW = re.compile(r"^\| ([A-Z ]+) \| `(/[^`]*)` \| (\w+) \| ?(.*?) ?\|$", re.MULTILINE)
START = re.compile(r"^    ((?:\w+=\S+ )+)wkdvid serve$", re.MULTILINE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As the page starts it, in the folder that the commands run in."""
    folder = tmp_path_factory.mktemp("walk") / "data"
    write_sample(folder / "sample", SIZE)
    (settings,) = START.findall(PAGE.read_text())
    environ = dict(setting.split("=") for setting in settings.split())
    with running(folder, SAMPLE_ENTRY, environ=environ) as started:
        yield started


def test_commands_print_what_is_shown(server: Server) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for command, shown in commands(PAGE):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.replace(SHOWN, server.base)],
            cwd=server.data_dir.parent,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip("\n") == shown.strip("\n"), (command, done.stderr)


def test_the_tables_have_every_route_with_its_role() -> None:
    written = set()
    for methods, path, role, here in ROW.findall(PAGE.read_text()):
        for method in methods.split():
            alone = method == "GET" and "GET: `clio_read`" in here
            written.add((method, path, "clio_read" if alone else role))
    offered = {(method, shown(uri.removeprefix("/v2")), access.value) for method, uri, access in ROUTES}
    assert written == offered


def shown(uri: str) -> str:
    """A path of the router as the page has it: ``/kv/<scope:str>`` is ``/kv/SCOPE``."""
    return re.sub(r"<(\w+)[^>]*>", lambda found: found[1].upper(), uri)
