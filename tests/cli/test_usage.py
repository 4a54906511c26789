"""Help, wrong usage and wrong configuration."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.program import environment, wkdvid
from wkdvid import __version__
from wkdvid.cli import main
from wkdvid.cli.text import columns, printable

VERBS = (
    "serve",
    "doctor",
    "sample",
    "inspect",
    "add",
    "list",
    "edit",
    "remove",
    "reload",
    "backup",
    "link",
    "pyramid",
    "index",
    "signatures",
    "jobs",
    "register",
    "user",
    "token",
    "export-clio",
    "import-clio",
    "annotations",
    "testserver",
)


def test_help_has_one_line_for_each_verb_and_fits_a_terminal(tmp_path: Path) -> None:
    done = wkdvid("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    begin = lines.index("verbs:") + 1
    assert [line.split()[0] for line in lines[begin : begin + len(VERBS)]] == list(VERBS)
    assert max(map(len, lines)) <= 100
    assert "examples:" in lines


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: wkdvid {verb} ")


def test_help_is_quick_since_nothing_heavy_is_imported(tmp_path: Path) -> None:
    show = "import sys; from wkdvid.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", show]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert not {"numpy", "tensorstore", "sanic", "aiohttp", "http.client", "asyncio"} & set(done.stderr.split())
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        wkdvid("--help", cwd=tmp_path)
        times.append(time.perf_counter() - begin)
    assert min(times) < 1.0  # 0.07 s on a machine with nothing else to do


def test_version(tmp_path: Path) -> None:
    assert wkdvid("--version", cwd=tmp_path).stdout == f"wkdvid {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["paint"], ["wkdvid: ", "'paint'", "serve"]),
        (["--paint"], ["wkdvid serve: ", "--paint"]),
        (["serve", "--paint"], ["wkdvid serve: ", "--paint"]),
        (["serve", "--work", "2"], ["wkdvid serve: ", "--work"]),
        (["inspect"], ["wkdvid inspect: ", "URL"]),
        (["add", "zarr", "a/b", "x", "--type", "noise"], ["wkdvid add: ", "'noise'", "segmentation"]),
        (["serve", "--port", "many"], ["wkdvid serve: ", "many", "0 to 65535"]),
        (["serve", "--workers", "-1"], ["wkdvid serve: ", "command line", "server.workers", "0 or more"]),
        (["serve", "--host", "0.0.0.0"], ["wkdvid serve: ", "access.mode", "token"]),
        (["serve", "--config", "missing.toml"], ["wkdvid serve: ", "missing.toml"]),
        (["remove", "brain"], ["wkdvid remove: ", "'brain'", "ORGANIZATION/DATASET"]),
        (["serve", "--datasets", "."], ["wkdvid serve: ", "catalog .: Is a directory"]),
        (["list", "--server", "ftp://host"], ["wkdvid list: ", "ftp://host", "http"]),
        (["list", "--server", "http://host:many"], ["wkdvid list: ", "http://host:many", "http"]),
        (["list", "--server", "http://[::1"], ["wkdvid list: ", "http://[::1", "http"]),
    ],
)
def test_wrong_usage_is_one_plain_line(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    done = wkdvid(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(words[0])
    assert all(word in line for word in words), line


def test_unknown_key_of_the_configuration_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[server]\nworker = 2\n")
    done = wkdvid("serve", "--config", "wrong.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "wkdvid serve: wrong.toml: unknown key 'server.worker'; did you mean 'server.workers'?\n"


def test_unknown_variable_is_refused_with_the_nearest(tmp_path: Path) -> None:
    done = wkdvid("list", cwd=tmp_path, WKDVID_SERVER__HTTP_ADRESS="127.0.0.1:1")
    assert done.returncode == 2
    assert "WKDVID_SERVER__HTTP_ADRESS" in done.stderr
    assert "did you mean 'server.httpAddress'?" in done.stderr


def test_catalog_that_is_no_json_is_said_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{\n  "zarr": oops\n}')
    done = wkdvid("serve", "--datasets", "broken.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wkdvid serve: broken.json: not valid JSON at line 2, column 11")


def test_data_directory_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = wkdvid("serve", "--data-dir", "file", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "wkdvid serve: data directory file: File exists\n"


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\u202ec") == "a?[31mb?c"
    assert list(columns([("a\n", "b"), ("longer", "")])) == ["a?      b", "longer"]
