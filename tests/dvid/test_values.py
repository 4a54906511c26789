"""Key-values, regions of interest and annotations over HTTP, asked of two workers."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import requests
from PIL import Image

from tests.mesh_files import add_to_info, write_legacy
from tests.metadata.databases import PostgreSQL, running_postgresql
from tests.servers import Server, running
from tests.skeleton_files import write_skeletons
from tests.volumes import write_precomputed
from wkdvid.codecs import keyvalue_protobuf
from wkdvid.codecs.surface import legacy_fragment
from wkdvid.core.entries import DatasetKey, default_uuid
from wkdvid.core.limits import MIB
from wkdvid.core.stored_values import KEY_BYTES

GOLDEN = Path(os.environ["WKDVID_TEST_DATA"]) / "dvid_golden"
RECORDED = json.loads((GOLDEN / "golden.json").read_text())
TYPES = {"kv": "keyvalue", "roi": "roi", "ann": "annotation"}
HOSTILE = {
    "plain": b"1",
    "a b": b"2",
    "é": b"3",
    "\U0001f9e0": b"4",
    "100%": b"5",
    'q"\\': b"6",
    "line\nbreak": b"7",
    "\x00": b"8",
    "?#&+": b"9",
    "..": b"10",
    "x" * KEY_BYTES: b"11",
    "keys": b"12",
}
WRITERS = 100


SEGMENTS = [7, 1000, 2**60 + 7]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With one registered segmentation, which has meshes and skeletons."""
    folder = tmp_path_factory.mktemp("values")
    write_precomputed(folder / "seg", [((1, 1, 1), np.ones((8, 8, 8), np.uint64))], kind="segmentation")
    add_to_info(folder / "seg", mesh="mesh", skeletons="skeletons")
    write_legacy(folder / "seg", SEGMENTS)
    write_skeletons(folder / "seg" / "skeletons", SEGMENTS, sharded=False)
    datasets = {"precomputed": {"org": {"data": {"layers": {"seg": {"source": "seg"}}}}}}
    with running(folder, datasets, workers=2) as server:
        yield server


class Repo:
    """A repository of its own, with an instance of each type."""

    def __init__(self, server: Server) -> None:
        self.base = server.base
        self.root = requests.post(f"{server.base}/api/repos", json={"alias": "values"}, timeout=60).json()["root"]
        for name, typename in TYPES.items():
            self.make(name, typename)
        self.make("kvu", "keyvalue", versioned="false")

    def make(self, name: str, typename: str, **settings: str) -> None:
        made = {"dataname": name, "typename": typename, **settings}
        answer = requests.post(f"{self.base}/api/repo/{self.root}/instance", json=made, timeout=60)
        assert answer.status_code == 200, answer.text

    def url(self, path: str, node: str = "") -> str:
        return f"{self.base}/api/node/{node or self.root}/{path}"

    def ask(self, method: str, path: str, body: Any = None, *, node: str = "", **options: Any) -> requests.Response:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return requests.request(method, self.url(path, node), data=data, timeout=60, **options)

    def get(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.ask("GET", path, body, **options)

    def post(self, path: str, body: Any = b"", **options: Any) -> None:
        answer = self.ask("POST", path, body, **options)
        assert (answer.status_code, answer.content) == (200, b"")

    def delete(self, path: str, **options: Any) -> None:
        assert self.ask("DELETE", path, **options).status_code == 200

    def commit(self) -> str:
        """UUID of an open child of the root, which is committed."""
        node = f"{self.base}/api/node/{self.root}"
        assert requests.post(f"{node}/commit", json={}, timeout=60).status_code == 200
        child: str = requests.post(f"{node}/newversion", json={}, timeout=60).json()["child"]
        return child


@pytest.fixture
def repo(server: Server) -> Repo:
    return Repo(server)


def ours(entry: dict[str, Any]) -> bool:
    parts = entry["path"].split("/")
    if entry["id"] in {"repos-no-token", "ref-side-parent"}:
        return False  # need a server with an administrator, and without other repositories
    if entry["path"] == "/api/repos" or (entry["phase"] == "write" and len(parts) == 5 and parts[2] == "node"):
        return True
    made = json.loads((entry.get("body") or {}).get("text") or "null") if entry["id"].startswith("setup-new") else {}
    return made.get("dataname") in {*TYPES, "kvu"} or (len(parts) > 5 and parts[4] in {*TYPES, "kvu"})


def test_a_real_dvids_answers(server: Server, tmp_path: Path) -> None:
    """Those about these instances, with what is done to the nodes that they are in."""
    entries = [entry for entry in RECORDED["entries"] if ours(entry)]
    assert len([entry for entry in entries if entry["id"].startswith(("kv-", "roi", "ann-", "child-k"))]) > 30
    (tmp_path / "golden.json").write_text(json.dumps({**RECORDED, "entries": entries}))
    command = [sys.executable, str(GOLDEN / "replay.py"), server.base, "--golden", str(tmp_path / "golden.json"), "-q"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith(f"{len(entries)} entries, 0 failed"), done.stdout + done.stderr


# ---- keyvalue -----------------------------------------------------------------------------------------------------


def test_keys_of_any_text(repo: Repo) -> None:
    for key, value in HOSTILE.items():
        repo.post(f"kv/key/{quote(key, safe='').replace('.', '%2E')}", value)
    assert repo.get("kv/keys").json() == sorted(HOSTILE, key=str.encode)
    for key, value in HOSTILE.items():
        assert repo.get(f"kv/key/{quote(key, safe='').replace('.', '%2E')}").content == value
    wanted = [*HOSTILE, "absent"]
    found = repo.get("kv/keyvalues?jsontar=true", wanted)
    with tarfile.open(fileobj=io.BytesIO(found.content)) as archive:
        assert len(archive.getmembers()) == len(wanted)
    found = repo.get("kv/keyvalues?json=true", wanted)
    assert found.json() == {**{key: int(value) for key, value in HOSTILE.items()}, "absent": {}}
    range_ = f"kv/keyrangevalues/{quote('100%', safe='')}/a%20b"
    assert repo.get(f"{range_}?json=true").json() == {"100%": 5, "?#&+": 9, "a b": 2}
    assert keyvalue_protobuf.key_values(repo.get(range_).content) == {"100%": b"5", "?#&+": b"9", "a b": b"2"}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("kv/key/%FF", "the path is not UTF-8"),
        ("kv/key/%EF%BF%BD%FF", "the path is not UTF-8"),
        ("kv/key/", "expect key string"),
        ("kv/key/%2Fa", "expect key string"),
        (f"kv/key/{'x' * (KEY_BYTES + 1)}", f"a key has 1 to {KEY_BYTES} bytes"),
        ("kv/keyvalues", "no such protobuf message"),
    ],
)
def test_what_is_no_key_is_refused(repo: Repo, path: str, told: str) -> None:
    answer = repo.ask("POST", path, b"\x0a\x09short")
    assert (answer.status_code, answer.text.startswith(told)) == (400, True), answer.text
    assert repo.get("kv/keys").json() == []


def test_of_a_key_with_a_slash_the_first_part_counts_as_in_dvid(repo: Repo) -> None:
    repo.post("kv/key/a%2Fb", b"1")
    assert repo.get("kv/keys").json() == ["a"]
    repo.post("kv/keyvalues", keyvalue_protobuf.member("a/b", b"2"))
    assert repo.get("kv/keyrange/a/b").json() == ["a", "a/b"]


@pytest.mark.parametrize("body", [b'["a"', b'{"a": 1}', b"[1]", b'"a"'], ids=["cut", "object", "numbers", "no list"])
def test_what_is_no_list_of_keys_is_refused(repo: Repo, body: bytes) -> None:
    for form in ("json", "tar"):
        assert repo.get(f"kv/keyvalues?{form}=true", body).status_code == 400
    assert repo.get("kv/keyvalues?json=true&tar=true", b"[]").status_code == 400


def test_values_are_checked_to_be_json_where_that_is_asked(repo: Repo) -> None:
    repo.post("kv/key/good", b'{"a": [1]}')
    repo.post("kv/key/empty", b"")
    assert repo.get("kv/keyrangevalues/a/z?json=true&check=true").json() == {"empty": {}, "good": {"a": [1]}}
    repo.post("kv/key/bad", b"{")
    answer = repo.get("kv/keyrangevalues/a/z?json=true&check=true")
    assert (answer.status_code, answer.text[:22]) == (400, 'bad JSON for key "bad"')
    assert repo.get("kv/key/empty").status_code == 404


@pytest.mark.parametrize(
    ("asked", "range_", "status", "body"),
    [
        ("", "bytes=2-99", 206, b"2345"),
        ("", "bytes=0-0,2-3", 200, b"012345"),
        ("", "bytes=3-1", 200, b"012345"),
        ("?byte_start=4&byte_end=99", None, 200, b"45"),
        ("?byte_start=4", None, 200, b"012345"),
        ("?byte_start=6&byte_end=7", None, 416, b"Range start 6 is outside value with 6 bytes\n"),
        ("?byte_start=3&byte_end=2", None, 400, None),
        ("?byte_start=-1&byte_end=2", None, 400, None),
    ],
)
def test_parts_of_a_value(repo: Repo, asked: str, range_: str | None, status: int, body: bytes | None) -> None:
    repo.post("kv/key/k", b"012345")
    answer = repo.get(f"kv/key/k{asked}", headers={"Range": range_} if range_ else {})
    assert answer.status_code == status
    assert body is None or answer.content == body


def test_pydvids_paths_without_an_endpoint(repo: Repo) -> None:
    repo.post("kv/mykey", b"legacy")
    assert repo.get("kv/mykey").content == repo.get("kv/key/mykey").content == b"legacy"
    for path in ("kv/other", "kv/mykey/more"):
        answer = repo.get(path)
        assert (answer.status_code, answer.text[:12]) == (400, "Bad API call")
    for path in ("kv/info", "kv/keys", "kv/mykey/more"):
        assert repo.ask("POST", path, b"x").status_code == 400
    assert repo.get("kv/keys").json() == ["mykey"]
    assert repo.ask("DELETE", "kv/mykey").status_code == 400
    assert repo.get("roi/mykey").status_code == 400


def test_meshes_and_skeletons_of_a_segmentation_are_key_values(server: Server) -> None:
    node = f"/api/node/{default_uuid(DatasetKey('org', 'data'))}"
    (mesh, skeleton) = (f"{node}/seg_meshes", f"{node}/seg_skeletons")
    found = server.get(f"{mesh}/key/7.ngmesh")
    assert (found.status_code, found.headers["Content-Type"]) == (200, "application/octet-stream")
    vertices, faces = legacy_fragment(found.content)
    assert int(faces.max()) < len(vertices)
    assert server.get(f"{mesh}/key/7.ngmesh", headers={"Range": "bytes=0-3"}).content == found.content[:4]
    assert server.get(f"{skeleton}/key/1000_swc").text.split()[0] == "1"
    for path in (f"{mesh}/key/8.ngmesh", f"{skeleton}/key/8_swc"):
        assert server.get(path).status_code == requests.head(server.base + path, timeout=60).status_code == 404
    assert requests.head(f"{server.base}{mesh}/key/7.ngmesh", timeout=60).status_code == 200
    assert server.get(f"{mesh}/keys").json() == sorted(f"{segment}.ngmesh" for segment in SEGMENTS)
    assert server.get(f"{skeleton}/keyrange/7/8").json() == ["7_swc"]
    values = keyvalue_protobuf.key_values(server.get(f"{mesh}/keyrangevalues/7.ngmesh/7.ngmesh").content)
    assert values == {"7.ngmesh": found.content}
    answer = server.post(f"{mesh}/key/7.ngmesh", data=b"x")
    assert (answer.status_code, "locked node" in answer.text) == (400, True)
    assert server.get(f"{mesh}/7.ngmesh").content == found.content


def test_each_node_has_its_own_state_and_a_committed_one_keeps_it(repo: Repo) -> None:
    repo.post("kv/key/k", b"old")
    repo.post("kvu/key/k", b"old")
    child = repo.commit()
    repo.post("kv/key/k", b"new", node=child)
    repo.post("kv/key/l", b"new", node=child)
    repo.post("kvu/key/k", b"shared")
    answer = repo.ask("POST", "kv/mykey", b"x")
    assert (answer.status_code, answer.text[:14]) == (400, "Cannot do POST")
    assert repo.ask("POST", "kv/keyvalues", keyvalue_protobuf.member("k", b"x")).status_code == 400
    assert [repo.get("kv/key/k", node=node).content for node in (repo.root, child)] == [b"old", b"new"]
    assert [repo.get("kv/keys", node=node).json() for node in (repo.root, child)] == [["k"], ["k", "l"]]
    assert repo.get("kvu/key/k", node=child).content == b"shared"
    repo.delete("kv/key/k", node=child)
    assert [repo.get("kv/key/k", node=node).status_code for node in (repo.root, child)] == [200, 404]


def test_every_worker_sees_a_write_at_once(repo: Repo) -> None:
    """Each request is a new connection, which either worker may take."""
    for number in range(20):
        repo.post("kv/key/k", b"%d" % number)
        assert [repo.get("kv/key/k").content for _ in range(4)] == [b"%d" % number] * 4


def test_of_many_writers_one_is_the_last(repo: Repo) -> None:
    bodies = [bytes([number]) * 3000 for number in range(WRITERS)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: repo.post("kv/key/k", body), bodies))
    assert repo.get("kv/key/k").content in bodies


def test_many_large_values_are_sent_in_little_memory(server: Server, repo: Repo) -> None:
    value, count = secrets.token_bytes(4 * MIB), 24
    for number in range(count):
        repo.post(f"kv/key/{number:02}", value)
    before = peak_memory(server)
    with requests.get(repo.url("kv/keyrangevalues/0/9"), stream=True, timeout=60) as answer:
        sent = sum(map(len, answer.iter_content(MIB)))
    assert sent > count * len(value)
    assert peak_memory(server) - before < count * len(value) // 2


def peak_memory(server: Server) -> int:
    """Of the processes of a server."""
    listed = subprocess.run(["ps", "-eo", "pid,sid"], capture_output=True, text=True, check=True).stdout
    pids = [line.split()[0] for line in listed.splitlines()[1:] if line.split()[1] == str(server.process.pid)]
    peaks = [Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0] for pid in pids]
    return max(map(int, peaks)) * 1024


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, PostgreSQL]]:
    """A server of short answers, and its database."""
    with running_postgresql() as database:
        environ = {"WKDVID_METADATA__DATABASE_URL": database.new_database(), "WKDVID_LIMITS__RESPONSE_BYTES": "1MiB"}
        with running(tmp_path_factory.mktemp("frail"), {}, environ=environ) as server:
            yield server, database


def test_answers_have_an_end(frail: tuple[Server, PostgreSQL]) -> None:
    """What is too long for one piece is broken off; what is not is refused."""
    repo = Repo(frail[0])
    repo.post("kv/key/k", bytes(MIB))
    repo.post("kv/key/l", bytes(MIB // 2))
    assert len(repo.get("kv/keyrangevalues/l/l").content) > MIB // 2
    answer = repo.get("kv/keyrangevalues/k/k")
    assert (answer.status_code, "limits.response_bytes" in answer.text) == (400, True)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        repo.get("kv/keyvalues?tar=true", ["l", "k"])


def test_a_database_that_is_gone_is_said(frail: tuple[Server, PostgreSQL]) -> None:
    server, database = frail
    repo = Repo(server)
    repo.post("kv/key/k", b"1")
    repo.post("roi/roi", [[0, 0, 0, 0]])
    database.stop()
    for path in ("kv/key/k", "kv/keys", "kv/keyrangevalues/a/z", "roi/roi", "ann/all-elements", "ann/tag/t"):
        assert repo.get(path).status_code == 503, path
    assert repo.ask("POST", "kv/key/k", b"2").status_code == 503
    database.start()
    assert repo.get("kv/key/k").content == b"1"


# ---- roi ----------------------------------------------------------------------------------------------------------


def test_a_region_is_replaced_and_emptied(repo: Repo) -> None:
    spans = [[3, 0, -5, -5], [-1, 2, 0, 4], [3, 0, -9, -6]]
    repo.post("roi/roi", spans)
    assert repo.get("roi/roi").json() == sorted(spans)
    assert repo.get("roi/info").json()["Extended"] == {"BlockSize": [32, 32, 32], "MinZ": -1, "MaxZ": 3}
    repo.delete("roi/roi")
    assert repo.get("roi/roi").json() == []
    assert repo.get("roi/info").json()["Extended"] == {
        "BlockSize": [32, 32, 32],
        "MinZ": 2147483647,
        "MaxZ": -2147483648,
    }
    assert repo.get("roi/partition?batchsize=2").json()["Subvolumes"] == []
    assert not any(repo.get("roi/mask/vol/4_4_4/0_0_0").content)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([[0, 0, 5, 1]], "Got weird span [0 0 5 1].  span[3] (X1) < span[2] (X0)"),
        (b"[[0,0,0,0]", "Error trying to parse POSTed JSON"),
        ([[0, 0, 0]], "Error trying to parse POSTed JSON"),
        ([[0, 0, 0, 0], [1]], "Error trying to parse POSTed JSON"),
        ([[0, 0, 0, 2**31]], "Error trying to parse POSTed JSON"),
        ([[0, 0, 0, 2**63]], "Error trying to parse POSTed JSON"),
        ([[0, 0, 0, 0.5]], "Error trying to parse POSTed JSON"),
        ([["0", "0", "0", "0"]], "Error trying to parse POSTed JSON"),
        ({"a": 1}, "Error trying to parse POSTed JSON"),
        (b"[" + b"[]," * (1 << 20) + b"[]]", "a region of interest may have 1048576 spans"),
    ],
    ids=str,
)
def test_what_is_no_region_is_refused_and_changes_nothing(repo: Repo, body: Any, told: str) -> None:
    repo.post("roi/roi", [[1, 1, 1, 1]])
    answer = repo.ask("POST", "roi/roi", body)
    assert (answer.status_code, answer.text[: len(told)]) == (400, told)
    assert repo.get("roi/roi").json() == [[1, 1, 1, 1]]


@pytest.mark.parametrize(
    "path", ["roi/partition?batchsize=0", "roi/partition?batchsize=x", "roi/mask/vol/4_4/0_0_0", "roi/mask/vol"]
)
def test_odd_questions_about_a_region(repo: Repo, path: str) -> None:
    assert repo.get(path).status_code == 400


def test_points_are_asked_of_committed_nodes_too(repo: Repo) -> None:
    repo.post("roi/roi", [[0, 0, 0, 1], [0, 0, 1, 3]])
    child = repo.commit()
    repo.post("roi/roi", [], node=child)
    for node, found in ((repo.root, [True, False]), (child, [False, False])):
        answer = repo.ask("POST", "roi/ptquery", [[127, 31, 31], [128, 0, 0]], node=node)
        assert answer.json() == found
    assert repo.ask("POST", "roi/ptquery", [[1, 2]]).status_code == 400


@pytest.mark.parametrize(
    ("typename", "dtype"), [("uint8blk", np.uint8), ("labelmap", np.uint64), ("float32blk", "<f4")]
)
def test_voxels_outside_a_region_are_zero(repo: Repo, typename: str, dtype: Any) -> None:
    """By blocks of the image itself, 64 voxels a side, though the region's own have 32."""
    repo.make("v", typename, BlockSize="64,64,64")
    voxels = (np.arange(192 * 64 * 64, dtype=np.uint64) % 251 + 1).astype(dtype)
    repo.post("v/raw/0_1_2/192_64_64/0_0_0", voxels.tobytes())
    repo.post("roi/roi", [[0, 0, 1, 1]])
    volume = voxels.reshape(64, 64, 192)  # z, y, x
    inside = np.where((np.arange(192) // 64 == 1)[None, None], volume, 0).astype(dtype)
    for size, offset in (((192, 64, 64), (0, 0, 0)), ((20, 3, 2), (60, 5, 7))):
        x, y, z = (slice(start, start + n) for start, n in zip(offset, size, strict=True))
        box = "_".join(map(str, size)) + "/" + "_".join(map(str, offset))
        for query, expected in (("?roi=roi", inside), ("", volume), ("?roi=roi&attenuation=3", inside)):
            assert repo.get(f"v/raw/0_1_2/{box}{query}").content == expected[z, y, x].tobytes()
    slice_ = Image.open(io.BytesIO(repo.get("v/raw/xy/128_4/0_0_0?roi=roi").content))
    assert not np.asarray(slice_)[:, :64].any()
    assert np.asarray(slice_)[:, 64:].any()


def test_what_is_no_region_for_an_image_is_refused(repo: Repo) -> None:
    repo.make("v", "labelmap")
    for query, told in (
        ("roi=nope", 'Can\'t get ROI with name "nope": invalid data instance name'),
        ("roi=kv", 'Can\'t get ROI with name "kv": it is of type keyvalue'),
        ("roi=roi&attenuation=8", "Attenuation should be from 1 to 7"),
        ("roi=roi&scale=1", "roi= is offered at scale 0 only"),
    ):
        answer = repo.get(f"v/raw/0_1_2/4_4_4/0_0_0?{query}")
        assert (answer.status_code, answer.text[: len(told)]) == (400, told)
    answer = repo.ask("POST", "v/raw/0_1_2/64_64_64/0_0_0?roi=roi", bytes(64**3 * 8))
    assert (answer.status_code, answer.text[:25]) == (400, "roi= is taken of GET only")


# ---- annotation ---------------------------------------------------------------------------------------------------


def test_what_is_no_element_is_refused_and_changes_nothing(repo: Repo) -> None:
    good = {"Pos": [1, 2, 3]}
    bad: list[Any] = [
        *({}, {"Pos": [1, 2]}, {"Pos": [1, 2, 2**31]}, {"Pos": [1, 2, True]}, 5),
        *(good | {"Kind": "Odd"}, good | {"Tags": [""]}, good | {"Tags": ["x" * 401]}, good | {"Prop": {"a": 1}}),
        *(good | {"Rels": [{"Rel": "Odd", "To": [1, 2, 3]}]}, good | {"Rels": [{"Rel": "GroupedWith"}]}),
    ]
    for each in bad:
        answer = repo.ask("POST", "ann/elements", [good, each])
        assert (answer.status_code, "elements[1]" in answer.text) == (400, True), each
    assert repo.ask("POST", "ann/elements", b"[").status_code == repo.ask("POST", "ann/elements", {}).status_code == 400
    assert repo.get("ann/all-elements").json() == {}
    for path in ("ann/label/0", "ann/label/x", "ann/tag", "ann/elements/1_1_1", "ann/element/1_2_3", "ann/move/1_1_1"):
        assert repo.get(path).status_code == 400
    assert repo.ask("DELETE", "ann/element/1_2_3").status_code == 400
    assert repo.get("ann/tag/none").json() == repo.get("ann/label/5").json() == []


def test_nodes_have_their_own_elements(repo: Repo) -> None:
    repo.post("ann/elements", [{"Pos": [-1, -64, 70], "Tags": ["t", "ü/x"], "Kind": "Note"}])
    child = repo.commit()
    repo.post("ann/move/-1_-64_70/5_5_5", node=child)
    assert repo.ask("POST", "ann/move/-1_-64_70/5_5_5").status_code == 400
    assert list(repo.get("ann/all-elements").json()) == ["-1,-1,1"]
    assert list(repo.get("ann/blocks/1_1_1/63_0_0", node=child).json()) == ["0,0,0"]
    tagged = [repo.get("ann/tag/%C3%BC%2Fx", node=node).json() for node in (repo.root, child)]
    assert [[each["Pos"] for each in found] for found in tagged] == [[[-1, -64, 70]], [[5, 5, 5]]]
    repo.delete("ann/element/5_5_5", node=child)
    assert repo.get("ann/all-elements", node=child).json() == {}


def test_a_sync_is_told_and_has_to_exist(repo: Repo) -> None:
    assert repo.ask("POST", "ann/sync", {"sync": "nope"}).status_code == 400
    for odd in (b"{", b"[]", b"{}"):
        assert repo.ask("POST", "ann/sync", odd).status_code == 400
    repo.post("ann/sync", {"sync": "kv"})
    repo.post("ann/sync", {"sync": "roi"})
    assert repo.get("ann/info").json()["Base"]["Syncs"] == ["kv", "roi"]
    repo.post("ann/sync?replace=true", {"sync": ""})
    assert repo.get("ann/info").json()["Base"]["Syncs"] == []


def test_elements_of_a_label_are_those_at_its_voxels(repo: Repo) -> None:
    repo.make("seg", "labelmap")
    labels = np.zeros((64, 64, 64), np.uint64)
    labels[:, :, 10:20] = 5
    repo.post("seg/raw/0_1_2/64_64_64/0_0_0", labels.tobytes())
    rels = [{"Rel": "GroupedWith", "To": [1, 1, 1]}]
    places = [[9, 0, 0], [10, 0, 0], [19, 63, 63], [20, 0, 0], [500, 0, 0]]
    repo.post("ann/elements", [{"Pos": place, "Rels": rels} for place in places])
    assert repo.get("ann/label/5").json() == []
    repo.post("ann/sync", {"sync": "seg"})
    found = repo.get("ann/label/5").json()
    assert [(each["Pos"], "Rels" in each) for each in found] == [([10, 0, 0], False), ([19, 63, 63], False)]
    assert [each["Rels"] for each in repo.get("ann/label/5?relationships=true").json()] == [rels, rels]
    assert repo.get("ann/label/6").json() == []


@pytest.mark.parametrize("name", [*TYPES, "kvu"])
def test_each_says_what_it_answers_to(server: Server, repo: Repo, name: str) -> None:
    help_text = repo.get(f"{name}/help").text
    assert help_text.startswith(f"{name}: ")
    assert server.get(f"/api/help/{TYPES.get(name, 'keyvalue')}").text.startswith("<instance>: ")
    assert repo.get(f"{name}/info").json()["Base"]["Name"] == name
    assert repo.ask("HEAD", f"{name}/info").status_code == 200
