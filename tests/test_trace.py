"""Flame graphs of a running server: who gets them, what they show, and what is said where py-spy is not there."""

from __future__ import annotations

import sys
import sysconfig
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest
import requests

from tests.servers import Server, running

ADMIN = {"Authorization": "Bearer t"}
TOKEN_MODE = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "t"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("trace")
    with running(folder, {}, environ=TOKEN_MODE) as started:
        yield started
    assert "Traceback" not in (folder / "server.log").read_text()


def titles(svg: bytes) -> str:
    """What the frames of a graph are called."""
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return " ".join(title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title"))


def busy(server: Server, seconds: float, path: str = "/trace") -> requests.Response:
    """The answer to a recording, during which the server describes itself again and again."""
    with ThreadPoolExecutor(1) as pool:
        recording = pool.submit(server.post, f"{path}?seconds={seconds}", headers=ADMIN)
        while not recording.done():
            assert server.get("/openapi.json").status_code == 200
    return recording.result()


def test_the_graph_shows_what_the_server_does(server: Server) -> None:
    """It goes on serving meanwhile."""
    assert server.get("/triggers/trace/flame.svg", headers=ADMIN).status_code == 404
    graph = busy(server, 1)
    assert (graph.status_code, graph.headers["Content-Type"]) == (200, "image/svg+xml"), graph.text
    assert "sandbox" in graph.headers["Content-Security-Policy"]
    assert "describe_routes" in titles(graph.content)
    assert busy(server, 1, "/triggers/trace").text == "Ok"
    last = server.get("/triggers/trace/flame.svg", headers=ADMIN)
    assert "describe_routes" in titles(last.content)
    assert last.content != graph.content
    assert list((server.data_dir / ".wkdvid").glob("flame*")) == [server.data_dir / ".wkdvid" / "flame.svg"]


def test_one_recording_at_a_time(server: Server) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(server.post, "/trace?seconds=2", headers=ADMIN) for _ in range(2)]
    refused = [answer.result() for answer in both if answer.result().status_code == 409]
    assert [answer.json()["code"] for answer in refused] == ["busy"]


@pytest.mark.parametrize("path", ["/trace", "/triggers/trace"])
def test_the_page_records_under_its_own_address(server: Server, path: str) -> None:
    page = server.get(f"{path}?token=t")
    assert (page.status_code, '<form method="post">' in page.text) == (200, True)
    assert page.headers["Referrer-Policy"] == "same-origin"  # with "no-referrer" a browser sends "Origin: null"


@pytest.mark.parametrize("seconds", ["0", "61", "1.5", "x", "-1", "%31%30%30"])
def test_other_times_are_refused(server: Server, seconds: str) -> None:
    answer = server.post(f"/trace?seconds={seconds}", headers=ADMIN)
    assert (answer.status_code, "from 1 to 60" in answer.text) == (400, True)


@pytest.fixture
def without_py_spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python with all that is installed here, but no programs beside it."""
    venv.create(tmp_path / "bare", symlinks=True, with_pip=False)
    (tmp_path / "bare" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages" / "all.pth").write_text(
        sysconfig.get_path("purelib")
    )
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    return tmp_path / "data"


def test_without_the_extra_it_is_said(without_py_spy: Path) -> None:
    with running(without_py_spy, {}, environ=TOKEN_MODE) as server:
        for answer in (server.get("/trace", headers=ADMIN), server.post("/trace", headers=ADMIN)):
            assert answer.status_code == 501
            assert answer.json()["messages"][0]["error"] == "flame graphs need py-spy: pip install 'wkdvid[profile]'"
        assert server.get("/trace").status_code == 401
