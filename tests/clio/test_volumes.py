"""Volumes of buckets through the server, and questions to neuPrint: against real servers on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from tests.clio.accounts import DATASET, OWNER, Clio, clio_server
from wkdvid.testing.faulty import FileServer

U, NOBODY = "u@t.com", "nobody@t.com"
DATA = bytes(range(256)) * 8
TOKEN = "neuprint's own token"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    """Both a web server, and Google's store with a bucket of the name ``bucket``."""
    root = tmp_path_factory.mktemp("files")
    for folder in (root / "vol", root / "bucket/vol"):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub/a b").write_bytes(DATA)
        (folder / "sub/part").write_bytes(DATA)
        (folder / "info").write_text('{"a": 1}')
    (root / "secret").write_text("not below the volume")
    with FileServer(root) as server:
        yield server


class NeuPrint:
    """Answers as its ``answer`` says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, b"{}")
        self.asked: list[tuple[str, str, bytes]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"neuprint": self}))
        self.host = f"127.0.0.1:{self.server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    neuprint: NeuPrint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.neuprint.asked.append((self.path, self.headers["Authorization"], body))
        status, told = self.neuprint.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(told)))
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def neuprint() -> Iterator[NeuPrint]:
    running = NeuPrint()
    threading.Thread(target=running.server.serve_forever, args=(0.01,), daemon=True).start()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture(scope="module")
def clio(files: FileServer, neuprint: NeuPrint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    folder = tmp_path_factory.mktemp("data")
    (folder / "vol/sub").mkdir(parents=True)
    (folder / "vol/sub/a b").write_bytes(DATA)
    (folder / "vol/info").write_text('{"a": 1}')
    (folder / "vol/out").symlink_to("/etc/passwd")
    environ = {
        "TENSORSTORE_GCS_HTTP_URL": files.url.rstrip("/"),
        "NEUPRINT_APPLICATION_CREDENTIALS": TOKEN,
        "WKDVID_SOURCES__HTTP_HOSTS": f"{files.host},{neuprint.host}",
    }
    with clio_server(folder, environ) as server:
        volumes = {
            "web": {"bucket": files.url.rstrip("/"), "path": "vol", "description": "d"},
            "gs": {"bucket": "bucket", "path": "vol"},
            "disk": {"bucket": f"file://{folder}", "path": "vol"},
            DATASET: {"bucket": f"file://{folder}", "path": "vol"},
        }
        assert server.told(OWNER, "POST", "/v2/volumes", volumes) is None
        yield server


@pytest.mark.parametrize(("name", "file"), [("web", "sub/a%20b"), ("disk", "sub/a%20b"), ("gs", "sub/part")])
def test_files_come_through(clio: Clio, name: str, file: str) -> None:
    """Without a token, as Neuroglancer asks."""
    path = f"/v2/volumes/proxy/{name}/{file}"
    whole = clio.ask(None, "GET", path)
    assert (whole.status_code, whole.content) == (200, DATA), whole.text
    assert whole.headers["Accept-Ranges"] == "bytes"
    for asked, start, stop in (("0-9", 0, 10), ("5-5", 5, 6), ("2000-", 2000, 2048), ("-3", 2045, 2048)):
        part = clio.ask(None, "GET", path, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, DATA[start:stop])
        assert part.headers["Content-Range"].startswith(f"bytes {start}-{stop - 1}/")
    assert clio.ask(None, "GET", path, headers={"Range": "bytes=9999-"}).status_code == 416
    assert clio.ask(None, "GET", f"/v2/volumes/proxy/{name}/info").json() == {"a": 1}
    assert clio.ask(None, "GET", f"/v2/volumes/proxy/{name}/none").status_code == 404
    head = clio.ask(None, "HEAD", path)
    assert (head.status_code, head.content) == (200, b"")


HOSTILE = ["../secret", "..%2fsecret", "sub/..%2f..%2f..%2fsecret", "%2e%2e/secret", "sub//../../secret", "/etc/passwd"]
HOSTILE += [
    "%252e%252e/secret",
    "%2fetc%2fpasswd",
    "a%00b",
    "..\\secret",
    "out",
    "sub/./a%20b",
    "?x=1",
    "%0d%0aX: y",
    "x" * 2000,
]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("name", ["web", "gs", "disk"])
def test_nothing_leads_out_of_a_volume(clio: Clio, name: str, path: str) -> None:
    with requests.Session() as session:
        asked = requests.Request("GET", clio.server.base).prepare()
        asked.url = f"{clio.server.base}/v2/volumes/proxy/{name}/{path}"  # as it is: not tidied up
        answer = session.send(asked, timeout=60)
    assert answer.status_code in {400, 404}, answer.text
    assert "Traceback" not in answer.text


def test_a_volume_of_a_dataset_is_for_who_may_read_that(clio: Clio) -> None:
    path = f"/v2/volumes/proxy/{DATASET}/info"
    assert clio.ask(None, "GET", path).status_code == 401
    assert clio.ask(NOBODY, "GET", path).status_code == 403
    assert clio.told(U, "GET", path) == {"a": 1}
    assert [*clio.told(U, "GET", "/v2/volumes")] == [DATASET]
    assert clio.told(NOBODY, "GET", "/v2/volumes") == {}
    assert sorted(clio.told(OWNER, "GET", "/v2/volumes")) == sorted(["web", "gs", "disk", DATASET])
    assert clio.told(U, "GET", f"/v2/volumes/{DATASET}")["path"] == "vol"


def test_volumes_are_made_and_removed(clio: Clio, files: FileServer) -> None:
    good = {"bucket": files.url.rstrip("/"), "path": "vol"}
    wrong: list[tuple[Any, int]] = [
        ([], 422),
        ({"x": {}}, 422),
        ({"x": {"bucket": 1, "path": "p"}}, 422),
        ({"good": good, "x": {"bucket": "file:///etc", "path": ""}}, 400),
        ({"good": good, "x": {"bucket": "http://192.0.2.1", "path": ""}}, 400),
        ({"good": good, "x": {"bucket": "http://169.254.169.254", "path": "latest"}}, 400),
        ({"good": good, "x": {"bucket": "ftp://h", "path": "p"}}, 400),
    ]
    for body, status in wrong:
        answer = clio.ask(OWNER, "POST", "/v2/volumes", body)
        assert (answer.status_code, body) == (status, body), answer.text
    assert "good" not in clio.told(OWNER, "GET", "/v2/volumes")
    assert clio.ask(U, "POST", "/v2/volumes", {"good": good}).status_code == 403
    clio.told(OWNER, "POST", "/v2/volumes", {"good": good})
    clio.told(OWNER, "DELETE", "/v2/volumes", ["good", "none"])
    assert clio.ask(None, "GET", "/v2/volumes/proxy/good/info").status_code == 400


def test_site_reports(clio: Clio) -> None:
    for body in ({"a": 1}, [1, 2]):
        assert clio.told(NOBODY, "POST", "/v2/site-reports", body) is None


# ---- neuPrint -----------------------------------------------------------------------------------------------------

QUERY = {"cypher": "MATCH (n) RETURN n LIMIT 1", "dataset": "d"}
ASK = f"/v2/neuprint/{DATASET}"


def name_server(clio: Clio, named: Any) -> None:
    clio.told(OWNER, "POST", "/v2/datasets", {DATASET: {"description": "d", "neuprintHTTP": named}})


def test_questions_are_handed_on(clio: Clio, neuprint: NeuPrint) -> None:
    name_server(clio, {"server": f"http://{neuprint.host}"})
    rows = json.dumps({"columns": ["n"], "data": [[1]] * 200_000}).encode()  # comes in many pieces
    neuprint.answer = (200, rows)
    answer = clio.ask(U, "POST", ASK, QUERY)
    assert (answer.status_code, answer.content) == (200, rows)
    path, authorization, body = neuprint.asked[-1]
    assert (path, authorization, json.loads(body)) == ("/api/custom/custom", f"Bearer {TOKEN}", QUERY)
    count = len(neuprint.asked)
    assert clio.ask(NOBODY, "POST", ASK, QUERY).status_code == 403
    assert clio.ask(None, "POST", ASK, QUERY).status_code == 401
    assert len(neuprint.asked) == count


@pytest.mark.parametrize("status", [302, 400, 401, 500])
def test_what_neuprint_refuses(clio: Clio, neuprint: NeuPrint, status: int) -> None:
    name_server(clio, {"server": f"http://{neuprint.host}"})
    neuprint.answer = (status, b"no")
    answer = clio.ask(U, "POST", ASK, QUERY)
    assert (answer.status_code, f"answered {status}" in answer.json()["detail"]) == (400, True)
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    "named", [None, [], "text", {}, {"server": 1}, {"server": "192.0.2.1"}, {"server": "file:///x"}]
)
def test_no_server_to_ask(clio: Clio, named: Any) -> None:
    name_server(clio, named)
    answer = clio.ask(U, "POST", ASK, QUERY)
    assert answer.status_code == 400, answer.text
    assert TOKEN not in answer.text
