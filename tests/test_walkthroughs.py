"""The walk-throughs of the documentation, line by line, against a server that has the sample: what they show comes."""

from __future__ import annotations

import doctest
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, running
from wkdvid.sample import SAMPLE_ENTRY, write_sample

PAGES = tuple(Path(__file__).parents[1] / "docs" / page for page in ("label-index.md", "client.md", "dvid.md"))
"""In this order: the second asks for what the first has made."""
SHOWN = "http://127.0.0.1:8000"
SIZE = 132
"""Of the sample: the least that has three levels. What is shown is the same for the size that it has by itself."""
_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PYTHON = re.compile(r"^```pycon\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^\$ (.*\n)((?:(?!\$ ).*\n)*)", re.MULTILINE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("walk")
    write_sample(folder / "sample", SIZE)
    with running(folder, SAMPLE_ENTRY) as started:
        yield started


def test_every_page_has_one() -> None:
    for page in PAGES:
        assert len(_CONSOLE.findall(page.read_text())) + len(_PYTHON.findall(page.read_text())) >= 2, page


def commands(page: Path) -> list[tuple[str, str]]:
    """What is typed, and what is shown to come."""
    return _COMMAND.findall("".join(_CONSOLE.findall(page.read_text())))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_print_what_is_shown(server: Server, page: Path, tmp_path: Path) -> None:
    for command, shown in commands(page):
        here = command.replace(SHOWN, server.base)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", here], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip("\n") == shown.strip("\n"), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_prints_what_is_shown(
    server: Server, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = "\n".join(_PYTHON.findall(page.read_text())).replace(
        SHOWN.removeprefix("http://"), server.base.removeprefix("http://")
    )
    test = doctest.DocTestParser().get_doctest(session, {}, page.name, str(page), 0)
    said: list[str] = []
    assert test.examples or not session
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert said == []
