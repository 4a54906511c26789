"""The verbs that ask a running server: add, list, remove, reload."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.cli.program import wkdvid_here
from tests.servers import Server, free_port, running
from wkdvid.cli import main
from wkdvid.cli.edit import put_option
from wkdvid.errors import ConfigError
from wkdvid.sample import write_sample
from wkdvid.testing.faulty import Answer, FileServer, redirected

TOKEN = "administrator's-secret"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_sample(folder / "sample", 72)
    return folder


@pytest.fixture(scope="module")
def server(data_dir: Path) -> Iterator[Server]:
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": TOKEN}
    with running(data_dir, {}, workers=2, environ=environ) as started:
        yield started


def ask(server: Server, *arguments: str | Path, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    """The server's address comes by the configuration, the token by its variable."""
    address = server.base.removeprefix("http://")
    variables = {"WKDVID_ADMIN_TOKEN": token} if token else {}
    return wkdvid_here(*arguments, cwd=server.data_dir / "sample", WKDVID_SERVER__HTTP_ADDRESS=address, **variables)


def listed(server: Server) -> dict[str, list[str]]:
    datasets = json.loads(ask(server, "list", "--json").stdout)
    return {f"{d['organization']}/{d['name']}": [layer["name"] for layer in d["layers"]] for d in datasets}


def test_a_dataset_comes_and_goes(server: Server) -> None:
    assert ask(server, "list").stdout == "no datasets; 'wkdvid add' adds one\n"

    sources = ["sample/precomputed/grey", "labels=sample/precomputed/segmentation"]
    added = ask(server, "add", "precomputed", "my lab/brain", *sources)
    assert (added.stdout, added.stderr, added.returncode) == ("my lab/brain: added, with grey, labels\n", "", 0)
    shown = ask(server, "list").stdout
    assert shown == "my lab/brain  open  grey (uint8), labels (uint64)\n"

    assert ask(server, "reload", "my lab/brain").stdout == "my lab/brain: reloaded\n"
    assert ask(server, "reload").stdout == "all datasets: reloaded\n"

    removed = ask(server, "remove", "my lab/brain")
    assert (removed.stdout, removed.returncode) == ("my lab/brain: removed\n", 0)
    assert listed(server) == {}
    assert (server.data_dir / "sample" / "precomputed" / "grey" / "info").exists()


def test_a_path_is_taken_from_where_one_is(server: Server, data_dir: Path) -> None:
    """The commands run in DATA/sample: what is there goes before what lies in the data directory."""
    try:
        assert ask(server, "add", "zarr", "here/a", "zarr/grey").returncode == 0
        assert ask(server, "add", "n5", "here/b", data_dir / "sample" / "n5" / "grey").returncode == 0
        assert listed(server) == {"here/a": ["grey"], "here/b": ["grey"]}
        stored = json.loads((data_dir / "datasets.json").read_text())
        assert stored["zarr"]["here"]["a"]["layers"]["grey"]["source"] == str(data_dir / "sample" / "zarr" / "grey")
    finally:
        ask(server, "remove", "here/a")
        ask(server, "remove", "here/b")


def test_type_is_that_of_every_layer(server: Server) -> None:
    try:
        ask(server, "add", "n5", "lab/ids", "n5/segmentation", "--type", "segmentation")
        (dataset,) = json.loads(ask(server, "list", "--json").stdout)
        assert [layer["category"] for layer in dataset["layers"]] == ["segmentation"]
    finally:
        ask(server, "remove", "lab/ids")


def test_the_servers_reasons_are_printed_line_by_line(server: Server) -> None:
    done = ask(server, "add", "zarr", "lab/brain", "a=missing", "b=/etc", "c=sample/zarr/grey")
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("wkdvid add: zarr.lab.brain.layers.a: ")
    assert second.startswith("wkdvid add: zarr.lab.brain.layers.b: source: '/etc' is outside")
    assert listed(server) == {}


def test_without_a_token_the_way_to_give_one_is_told(server: Server) -> None:
    done = ask(server, "add", "zarr", "lab/brain", "zarr/grey", token=None)
    assert done.returncode == 1
    assert "administrator's token" in done.stderr
    assert "--token or WKDVID_ADMIN_TOKEN" in done.stderr
    assert ask(server, "reload", "--token", TOKEN, token=None).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["remove", "no/such"], 1, "there is no dataset no/such"),
        (["reload", "no/such"], 1, "there is no dataset no/such"),
        (["remove", "a/b/c"], 2, "'a/b/c' is not ORGANIZATION/DATASET"),
        (["remove", "../x"], 1, "is not a name"),
        (["add", "zarr", "a/b", "gs://one/em", "s3://two/em/"], 2, "two layers are called 'em'"),
        (["add", "vhs", "a/b", "gs://one/em"], 1, "unknown backend 'vhs'; known are "),
        (["add", "zarr", "a/b", "em="], 1, "source: expected a URL or a path"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(server: Server, arguments: list[str], code: int, words: str) -> None:
    done = ask(server, *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
    assert words in done.stderr


def test_no_server_is_said_plainly(tmp_path: Path) -> None:
    done = wkdvid_here("list", "--server", f"http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("wkdvid list: no server answers at http://127.0.0.1:")
    assert done.stderr.endswith("(Connection refused); 'wkdvid serve' starts one\n")


def test_something_else_that_listens_is_no_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=_answer_nonsense, args=(other,)).start()
        done = wkdvid_here("list", "--server", f"http://127.0.0.1:{other.getsockname()[1]}", cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def _answer_nonsense(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"SSH-2.0-no\r\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["list"], "is not wkdvid"), (["remove", "a/b"], "the server answered 501 Not Implemented")],
)
def test_a_web_server_of_another_kind_is_no_traceback(arguments: list[str], words: str, tmp_path: Path) -> None:
    page = Answer(status=200 if arguments == ["list"] else 501, body=b"<html>\n<title>Welcome</title>\n</html>\n")
    with FileServer(tmp_path) as web:
        web.fault = lambda path: page
        done = wkdvid_here(*arguments, "--server", web.url, cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert words in done.stderr


def test_a_token_follows_no_redirect(tmp_path: Path) -> None:
    """Two hosts: the first one sends the client on to the second, which must hear nothing."""
    with FileServer(tmp_path) as second, FileServer(tmp_path) as first:
        first.fault = lambda path: redirected(f"{second.url}stolen")
        done = wkdvid_here("list", "--server", first.url, "--token", TOKEN, cwd=tmp_path)
    assert (done.returncode, len(first.requests), second.requests) == (1, 1, [])
    assert "302" in done.stderr


def test_reload_shows_what_changed_in_the_source(server: Server, data_dir: Path) -> None:
    volume = data_dir / "changing"
    shutil.copytree(data_dir / "sample" / "precomputed" / "grey", volume)
    try:
        assert ask(server, "add", "precomputed", "lab/changing", volume).returncode == 0
        shutil.rmtree(volume)
        assert ask(server, "reload", "lab/changing").returncode == 0
        shown = ask(server, "list").stdout
        assert shown.startswith("lab/changing  unavailable  ")
        assert "there is no info file" in shown
    finally:
        ask(server, "remove", "lab/changing")


# ---- entries and jobs ------------------------------------------------------------------------------------------------


def test_an_entry_is_shown_and_changed(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        return main([*arguments, "--server", server.base, "--token", TOKEN]), *capsys.readouterr()

    assert run("add", "zarr", "my lab/brain", "grey=sample/zarr/grey")[0] == 0
    try:
        changed = run("edit", "my lab/brain", "note=7", "public=false", "layers.grey.type=segmentation")
        assert changed == (0, "my lab/brain: changed\n", "")
        layer = {"source": "sample/zarr/grey", "type": "segmentation"}
        options = {"layers": {"grey": layer}, "note": "7", "public": False}
        assert json.loads(run("edit", "my lab/brain")[1]) == {"zarr": {"my lab": {"brain": options}}}
        assert json.loads((server.data_dir / "datasets.json").read_text())["zarr"]["my lab"]["brain"] == options
        assert run("edit", "my lab/brain", "note=", "layers.grey.type=")[0] == 0
        code, _, said = run("edit", "my lab/brain", "voxel_size=[1, 2]", "layers.grey.sorce=x")
        assert code == 1
        assert said.splitlines()[0].startswith("wkdvid edit: zarr.my lab.brain.voxel_size: expected three positive")
        assert "layers.grey.sorce: unknown option; did you mean 'source'?" in said
        assert json.loads(run("edit", "my lab/brain")[1])["zarr"]["my lab"]["brain"] == {
            "layers": {"grey": {"source": "sample/zarr/grey"}},
            "public": False,
        }
        assert run("edit", "my lab/other")[0] == 1
        assert run("jobs")[:2] == (0, "no jobs\n")
        assert run("jobs", "--cancel", "none") == (1, "", "wkdvid jobs: there is no job 'none'\n")
    finally:
        run("remove", "my lab/brain")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("note", "is not OPTION=VALUE"),
        ("=x", "is not OPTION=VALUE"),
        ("layers.em.type=image", "lists no layer 'em'; it lists 'a.b'"),
    ],
)
def test_what_is_no_change_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        put_option({"layers": {"a.b": {}}}, text)


def test_layers_may_have_dots_in_their_names() -> None:
    options: dict[str, object] = {"layers": {"a.b": {}}}
    put_option(options, "layers.a.b.channel=1")
    assert options == {"layers": {"a.b": {"channel": 1}}}


def test_who_edits_what_has_changed_is_told(server: Server) -> None:
    headers = {"X-Auth-Token": TOKEN}
    ask(server, "add", "zarr", "lab/brain", "sample/zarr/grey")
    try:
        address = f"{server.base}/api/entries/lab/brain"
        seen = requests.get(address, headers=headers, timeout=60).json()
        note = {"options": {**seen["options"], "note": "first"}, "tag": seen["tag"]}
        assert requests.put(address, json=note, headers=headers, timeout=60).status_code == 200
        again = requests.put(address, json=note, headers=headers, timeout=60)
        assert (again.status_code, again.json()["code"]) == (409, "conflict")
        assert requests.put(address, json={"options": {}}, headers=headers, timeout=60).status_code == 400
    finally:
        ask(server, "remove", "lab/brain")
