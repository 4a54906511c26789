"""What DVID says of labels once there is a label index: dvid.md A6, A9, and H5's vectors to the byte."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lz4.block
import numpy as np
import pytest
import requests

from tests.dvid.shelf import two_labels
from tests.jobs.watching import comes_to, ended
from tests.label_indexes import counted
from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed
from wkdvid.codecs.label_index_protobuf import label_index
from wkdvid.core.geometry import Box
from wkdvid.core.pyramid import downsample

UUID = "0123456789abcdef" * 2
BIG = 2**64 - 1
START = (-70, -3, 65)
ZERO = "Label 0 is protected background value and cannot be"


def moved_labels() -> Voxels:
    """Bodies on both sides of 0, one of them the largest label that there is."""
    labels = np.zeros((150, 70, 40), np.uint64)
    labels[2:140, 1:60, 3:9] = 12
    labels[60:75, 2:5, 2:30] = BIG
    return labels


class Indexed:
    """A server over layers with a label index, and one without."""

    def __init__(self, server: Server, arrays: Mapping[str, Voxels]) -> None:
        self.server = server
        self.arrays = arrays

    def ask(self, path: str, method: str = "GET", **options: Any) -> requests.Response:
        return requests.request(method, f"{self.server.base}/api/node/{UUID}/{path}", timeout=60, **options)

    def json(self, path: str, body: object = None) -> Any:
        answer = self.ask(path, data=None if body is None else json.dumps(body))
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/json"
        return answer.json()

    def bytes(self, path: str, body: object = None) -> bytes:
        answer = self.ask(path, data=None if body is None else json.dumps(body))
        assert answer.status_code == 200, answer.text
        return answer.content

    def voxels(self, path: str) -> set[tuple[int, int, int]]:
        """Of an answer of runs."""
        sent = self.bytes(path)
        runs = np.frombuffer(sent, "<i4", offset=12).reshape(-1, 4).tolist()
        assert struct.unpack_from("<4BII", sent) == (0, 3, 0, 0, 0, len(runs))
        found = [(x + i, y, z) for x, y, z, length in runs for i in range(length)]
        assert len(found) == len(set(found))
        assert found == sorted(found, key=lambda voxel: voxel[::-1])
        return set(found)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory, medulla: Mapping[str, Voxels]) -> Iterator[Indexed]:
    folder = tmp_path_factory.mktemp("indexed")
    arrays = {"labels": two_labels(), "moved": moved_labels(), "empty": np.zeros((9, 9, 9), np.uint8)}
    arrays["bodies"] = medulla["bodies"].astype(np.uint64)
    write_layers(folder, arrays)
    layers = {name: {"source": name} for name in (*arrays, "em")} | {"bare": {"source": "labels"}}
    with running(folder, {"precomputed": {"lab": {"indexed": {"uuid": UUID, "layers": layers}}}}) as server:
        wanted = {"kind": "index", "dataset": "lab/indexed"}
        jobs = [server.post("/api/jobs", json={**wanted, "layer": name}).json()["id"] for name in arrays]
        assert [comes_to(server, job, ended)["state"] for job in jobs] == ["done"] * len(jobs)
        yield Indexed(server, arrays)


def write_layers(folder: Path, arrays: Mapping[str, Voxels]) -> None:
    for name, array in arrays.items():
        offsets = [START] if name == "moved" else None
        write_precomputed(folder / name, [((1, 1, 1), array)], offsets=offsets, kind="segmentation")
    write_precomputed(folder / "em", [((1, 1, 1), np.ones((9, 9, 9), np.uint8))])


def test_the_vectors(indexed: Indexed) -> None:
    """dvid.md H5."""
    sent = indexed.bytes("labels/sparsevol/77")
    assert sent[:12].hex() == "000300000000000009000000"
    assert sent[12:28].hex() == "0a00000003000000020000000a000000"
    assert (len(sent), hashlib.md5(sent).hexdigest()) == (156, "331bde603d5052eed132a2ccb055803a")
    assert indexed.bytes("labels/sparsevol-coarse/77").hex() == "000300000000000001000000" + "00" * 12 + "01000000"
    assert [indexed.ask(f"labels/sparsevol/{label}", "HEAD").status_code for label in (77, 78)] == [200, 204]
    absent = indexed.ask("labels/sparsevol/78")
    assert (absent.status_code, absent.content) == (404, b"")
    assert indexed.json("labels/sparsevol-size/77") == {
        "voxels": 90,
        "numblocks": 1,
        "minvoxel": [0, 0, 0],
        "maxvoxel": [63, 63, 63],
    }


def test_sizes_and_lists(indexed: Indexed) -> None:
    assert indexed.json("labels/size/77") == {"voxels": 90}
    assert indexed.json(f"labels/size/{10**12}?supervoxels=true") == {"voxels": 1}
    assert indexed.json("labels/sizes", [77, 0, 5, 10**12, 77]) == [90, 0, 0, 1, 90]
    assert indexed.json("labels/supervoxels/77") == [77]
    assert indexed.json("labels/supervoxel-sizes/77") == {"supervoxels": [77], "sizes": [90]}
    assert indexed.json("labels/lastmod/77") == {
        "mutation id": 0,
        "last mod user": "",
        "last mod app": "",
        "last mod time": "",
    }
    assert indexed.json("labels/existing-labels") == [77, 10**12]
    assert indexed.bytes("labels/listlabels") == struct.pack("<2Q", 77, 10**12)
    assert indexed.bytes("labels/listlabels?sizes=true&start=78") == struct.pack("<2Q", 10**12, 1)
    assert indexed.bytes("labels/listlabels?number=1") == struct.pack("<Q", 77)
    assert indexed.bytes(f"labels/listlabels?start={10**12 + 1}") == indexed.bytes("labels/listlabels?number=0") == b""
    assert indexed.json("labels/mapping", [77, 5, 0]) == [77, 0, 0]
    assert indexed.json("labels/mapping?nolookup=true", [77, 5]) == [77, 5]
    assert indexed.bytes("labels/mappings") == b""
    assert indexed.json("labels/maxlabel") == {"maxlabel": 10**12}
    assert indexed.json("labels/nextlabel") == {"nextlabel": 10**12 + 1}


def test_head_tells_no_length_where_none_is_known(indexed: Indexed) -> None:
    for path in ("labels/listlabels", "labels/existing-labels", "labels/sparsevols-coarse/1/99"):
        answer = indexed.ask(path, "HEAD", headers={"Connection": "keep-alive"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert "Content-Length" not in answer.headers


def test_nothing_comes_after_the_largest_label(indexed: Indexed) -> None:
    assert indexed.json("moved/maxlabel") == {"maxlabel": BIG}
    refused = indexed.ask("moved/nextlabel")
    assert (refused.status_code, f"no label after {BIG}" in refused.text) == (400, True)


def test_what_there_is_no_label_for(indexed: Indexed) -> None:
    assert indexed.json("empty/existing-labels") == []
    assert indexed.bytes("empty/listlabels") == b""
    assert indexed.json("empty/sizes", [1]) == [0]
    refused = indexed.ask("empty/maxlabel")
    assert (refused.status_code, "No maximum label found for empty version 1\n" in refused.text) == (400, True)
    for endpoint in (
        "size",
        "supervoxels",
        "supervoxel-sizes",
        "lastmod",
        "sparsevol-size",
        "sparsevol-coarse",
        "index",
    ):
        absent = indexed.ask(f"labels/{endpoint}/78")
        assert (absent.status_code, absent.content) == (404, b""), endpoint
    assert indexed.bytes("labels/sparsevols-coarse/78/79") == b""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("size/0", f"{ZERO} queried as body.\n"),
        ("lastmod/0", f"{ZERO} queried as body.\n"),
        ("sparsevol/0", f"{ZERO} used as sparse volume.\n"),
        ("sparsevol-size/0", f"{ZERO} used as sparse volume.\n"),
        ("sparsevol-coarse/0", f"{ZERO} used as sparse volume.\n"),
        ("sparsevols-coarse/0/5", f"{ZERO} used as sparse volume.\n"),
        ("sparsevol-by-point/0_0_0", f"{ZERO} used as sparse volume.\n"),
        ("index/0", "there is no index for protected label 0"),
        ("sparsevol", "ERROR: DVID requires label ID to follow 'sparsevol' command"),
        ("sparsevol-by-point", "ERROR: DVID requires coord to follow 'sparsevol-by-point' command"),
        ("sparsevols-coarse/5", "DVID requires start and end label ID to follow 'sparsevols-coarse' command"),
        ("sparsevol/x", 'strconv.ParseUint: parsing "x": invalid syntax'),
        (f"size/{2**64}", f'strconv.ParseUint: parsing "{2**64}": value out of range'),
        ("sparsevol/77?scale=x", 'bad scale specified: strconv.Atoi: parsing "x": invalid syntax'),
        ("sparsevol/77?compression=bogus", 'unknown compression type "bogus"'),
        ("listlabels?start=-1", 'strconv.ParseUint: parsing "-1": invalid syntax'),
        (
            "sparsevol/77?minx=a",
            'Error parsing bounds from query string: strconv.ParseInt: parsing "a": invalid syntax\n',
        ),
    ],
)
def test_what_is_wrong_is_said_as_dvid_says_it(indexed: Indexed, path: str, said: str) -> None:
    answer = indexed.ask(f"labels/{path}")
    where = f"/api/node/{UUID}/labels/{path}".partition("?")[0]
    assert (answer.status_code, answer.text) == (400, f"{said} ({where}).\n")


@pytest.mark.parametrize("endpoint", ["sizes", "indices", "indices-compressed", "mapping"])
@pytest.mark.parametrize("body", ["{", "{}", "[-1]", '["5"]', "[1.5]", f"[{2**64}]", "[[1]]", ""])
def test_lists_of_labels_are_checked(indexed: Indexed, endpoint: str, body: str) -> None:
    answer = indexed.ask(f"labels/{endpoint}", data=body)
    assert (answer.status_code, answer.text.startswith(f"Bad {endpoint} request JSON: ")) == (400, True)


def test_without_an_index(indexed: Indexed) -> None:
    paths = ("sparsevol/77", "sparsevol-by-point/12_4_3", "sparsevol-coarse/77", "size/77", "index/77", "listlabels")
    for path in (*paths, "existing-labels"):
        endpoint = path.partition("/")[0]
        refused = indexed.ask(f"bare/{path}")
        said = f'data "bare" is not label indexed (IndexedLabels=false): "{endpoint}" endpoint is not supported'
        assert (refused.status_code, refused.text) == (400, f"{said} (/api/node/{UUID}/bare/{path}).\n")
    for endpoint in ("sizes", "indices", "indices-compressed"):
        refused = indexed.ask(f"bare/{endpoint}", data="[77]")
        assert (refused.status_code, "IndexedLabels=false" in refused.text) == (400, True)
    assert indexed.json("bare/mapping", [77, 5]) == [77, 5]
    told = {name: indexed.json(f"{name}/info")["Extended"] for name in ("bare", "labels")}
    assert {name: one["IndexedLabels"] for name, one in told.items()} == {"bare": False, "labels": True}
    assert (told["bare"]["MaxLabel"], told["bare"]["MaxRepoLabel"]) == ({}, 0)
    assert (told["labels"]["MaxLabel"], told["labels"]["MaxRepoLabel"]) == ({"1": 10**12}, 10**12)


def test_an_image_has_no_labels_to_count(indexed: Indexed) -> None:
    wanted = {"kind": "index", "dataset": "lab/indexed", "layer": "em"}
    job = indexed.server.post("/api/jobs", json=wanted).json()["id"]
    last = comes_to(indexed.server, job, ended)
    assert last["state"] == "failed"
    assert last["message"].startswith("layer 'em' (color, uint8) has no labels")


def test_encodings(indexed: Indexed) -> None:
    whole = indexed.bytes("moved/sparsevol/12")
    assert len(whole) == 12 + 16 * (59 * 6 + 3 * 6)
    assert indexed.bytes("moved/sparsevol/12?format=srles") == whole[12:]
    assert indexed.bytes("moved/sparsevol/12?format=srles&compression=lz4") == whole[12:]
    assert indexed.bytes("moved/sparsevol/12?format=other") == whole
    assert gzip.decompress(indexed.bytes("moved/sparsevol/12?compression=gzip")) == whole
    packed = indexed.bytes("moved/sparsevol/12?compression=lz4")
    assert lz4.block.decompress(packed, uncompressed_size=len(whole)) == whole
    blocks = indexed.bytes(f"moved/sparsevol/{BIG}?format=blocks")
    assert struct.unpack_from("<3IQ", blocks) == (8, 8, 8, BIG)
    assert struct.unpack_from("<3iB", blocks, 20) == (-64, -64, 64, 2)


def wanted_voxels(array: Voxels, label: int, start: tuple[int, ...]) -> set[tuple[int, ...]]:
    return {tuple(voxel) for voxel in (np.argwhere(array == np.uint64(label)) + np.array(start)).tolist()}


def test_bounds(indexed: Indexed) -> None:
    wanted = wanted_voxels(indexed.arrays["moved"], 12, START)
    assert indexed.voxels("moved/sparsevol/12") == wanted
    bounds = "minx=-5&maxx=7&miny=0&maxy=0&minz=70"
    inside = {(x, y, z) for x, y, z in wanted if -5 <= x <= 7 and y == 0 and z >= 70}
    assert indexed.voxels(f"moved/sparsevol/12?{bounds}") == inside
    loose = {(x, y, z) for x, y, z in wanted if -64 <= x < 64 and y >= 0}
    assert indexed.voxels(f"moved/sparsevol/12?{bounds}&exact=false") == loose
    assert indexed.voxels(f"moved/sparsevol-by-point/-20_0_70?{bounds}") == inside
    outside = indexed.ask("moved/sparsevol/12?minx=5000")
    assert (outside.status_code, outside.content) == (404, b"")
    assert indexed.ask("moved/sparsevol/12?minx=9&maxx=8").status_code == 404
    assert indexed.ask("moved/sparsevol/12?minx=5000", "HEAD").status_code == 200
    for form in ("rles", "srles", "blocks"):
        assert indexed.bytes(f"moved/sparsevol/12?minz=100&maxz=110&format={form}") == b"", (
            "blocks, but no voxel in them"
        )
    assert indexed.voxels("moved/sparsevol-coarse/12?maxx=-1&miny=0") == {(-2, 0, 1), (-1, 0, 1)}
    assert indexed.voxels("moved/sparsevol-coarse/12?minx=5000") == set()


def test_scales(indexed: Indexed) -> None:
    labels = indexed.arrays["bodies"]
    counts = np.bincount(labels[labels < 2**20].astype(np.int64))
    label = int(np.flatnonzero((counts > 20_000) & (counts < 60_000))[1])
    even = np.asfortranarray(labels[None])
    lower = downsample(even, (0, 0, 0), (2, 2, 2), Box((0, 0, 0), (250, 250, 250)), "segmentation")[0]
    for scale, array in enumerate((labels, lower)):
        wanted = np.argwhere(array == label)
        found = np.array(sorted(indexed.voxels(f"bodies/sparsevol/{label}?scale={scale}")))
        assert np.array_equal(found, wanted[np.lexsort(wanted.T[::-1])])
    assert indexed.bytes(f"bodies/sparsevol/{label}?scale=9") == b""
    assert indexed.ask("bodies/sparsevol/999999999?scale=9").status_code == 404
    x, y, z = np.argwhere(lower == label)[0]
    assert indexed.bytes(f"bodies/sparsevol-by-point/{x}_{y}_{z}?scale=1") == indexed.bytes(
        f"bodies/sparsevol/{label}?scale=1"
    )


def test_every_body_of_a_real_volume(indexed: Indexed) -> None:
    labels = indexed.arrays["bodies"]
    found, voxels = np.unique(labels[labels > 0], return_counts=True)
    listed = np.frombuffer(indexed.bytes("bodies/listlabels?sizes=true"), "<u8").reshape(-1, 2)
    assert np.array_equal(listed, np.stack([found, voxels.astype(np.uint64)], axis=1))
    assert indexed.json("bodies/sizes", found.tolist()) == voxels.tolist()
    assert indexed.json("bodies/maxlabel") == {"maxlabel": int(found[-1])}
    blocks: dict[int, set[tuple[int, int, int]]] = {}
    for index in np.ndindex(4, 4, 4):
        for label in np.unique(labels[tuple(slice(64 * n, 64 * n + 64) for n in index)]).tolist():
            blocks.setdefault(label, set()).add((index[0], index[1], index[2]))
    del blocks[0]
    assert coarse_list(indexed.bytes(f"bodies/sparsevols-coarse/1/{found[-1]}")) == blocks
    some = set(found[3:8].tolist())
    part = coarse_list(indexed.bytes(f"bodies/sparsevols-coarse/{found[3]}/{found[7]}"))
    assert part == {label: where for label, where in blocks.items() if label in some}
    near = coarse_list(indexed.bytes(f"bodies/sparsevols-coarse/1/{found[-1]}?maxx=63&maxy=63&maxz=63"))
    assert near == {label: {(0, 0, 0)} for label, where in blocks.items() if (0, 0, 0) in where}


def coarse_list(sent: bytes) -> dict[int, set[tuple[int, int, int]]]:
    found: dict[int, set[tuple[int, int, int]]] = {}
    at = 0
    while at < len(sent):
        label, count = struct.unpack_from("<Qi", sent, at)
        runs = np.frombuffer(sent, "<i4", 4 * count, at + 12).reshape(-1, 4).tolist()
        found[label] = {(x + i, y, z) for x, y, z, length in runs for i in range(length)}
        at += 12 + 16 * count
    return found


def message(label: int, where: Mapping[tuple[int, int, int], int]) -> bytes:
    """Of blocks by z, y, x."""
    blocks = sorted(where, key=lambda block: block[::-1])
    counts = np.array([where[block] for block in blocks], np.uint32)
    return label_index(label, np.array(blocks, np.int64).reshape(-1, 3), counts)


def test_indices(indexed: Indexed) -> None:
    where = counted(indexed.arrays["moved"], START)
    wanted = {label: message(label, where.get(label, {})) for label in (12, 5)}
    assert indexed.bytes("moved/index/12") == wanted[12]
    assert indexed.json("moved/index/12?metadata-only=true") == {
        "num_voxels": 138 * 59 * 6 - 15 * 3 * 6,
        "last_mutid": 0,
        "last_mod_time": "",
        "last_mod_user": "",
        "last_mod_app": "",
    }
    members = b"".join(
        b"\x0a" + (bytes([len(one)]) if len(one) < 128 else bytes([len(one) & 127 | 128, len(one) >> 7])) + one
        for one in (wanted[5], wanted[12])
    )
    assert indexed.bytes("moved/indices", [5, 12]) == members
    sent = indexed.bytes("moved/indices-compressed", [12, 5])
    for label in (12, 5):
        length, told, kind, size = struct.unpack_from("<QQBI", sent)
        assert (told, kind) == (label, 0x80)
        assert lz4.block.decompress(sent[21 : 16 + length], uncompressed_size=size) == wanted[label]
        sent = sent[16 + length :]
    assert sent == b""
