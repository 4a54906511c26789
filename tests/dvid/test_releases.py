"""Releases of a dataset as the versions of one repository."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.servers import Server, running
from tests.volumes import write_precomputed

OLD, MIDDLE, NEW, OTHER = "a1" * 16, "b2" * 16, "a3" * 16, "c4" * 16
ADMIN = {"admintoken": "x"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Three releases, of which the second is not public, and a dataset apart."""
    data = tmp_path_factory.mktemp("releases")
    for i in (1, 2, 3):
        voxels = np.full((8 * i, 8, 8), i, np.uint8)
        write_precomputed(data / f"v{i}", [((1, 1, 1), voxels)])
    lab = {
        "brain-3": {
            "uuid": NEW,
            "note": "traced\nwhole",
            "releases": ["lab/brain-1", "lab/brain-2", "lab/not-there-yet"],
            "layers": {"em": {"source": "v3"}, "added": {"source": "v3"}},
        },
        "brain-1": {"uuid": OLD, "note": "first", "layers": {"em": {"source": "v1"}, "dropped": {"source": "v1"}}},
        "brain-2": {"uuid": MIDDLE, "public": False, "layers": {"em": {"source": "v2"}}},
        "other": {"uuid": OTHER, "layers": {"em": {"source": "v1"}}},
    }
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "x"}
    with running(data, {"precomputed": {"lab": lab}}, environ=environ) as server:
        yield server


def repos(server: Server, **query: str) -> dict[str, Any]:
    found: dict[str, Any] = server.get("/api/repos/info", params=query).json()
    return found


def first_voxel(server: Server, uuid: str, name: str = "em", **query: str) -> int:
    answer = server.get(f"/api/node/{uuid}/{name}/raw/0_1_2/1_1_1/0_0_0", params=query)
    assert answer.status_code == 200, answer.text
    return answer.content[0]


def refused(server: Server, path: str, **query: str) -> str:
    answer = server.get(path, params=query)
    assert answer.status_code == 400
    return answer.text.partition(" (/")[0]


def test_one_repository_with_its_versions(server: Server) -> None:
    found = repos(server, **ADMIN)
    assert set(found) == {OLD, OTHER}
    repo = found[OLD]
    assert (repo["Root"], repo["Alias"], repo["Description"]) == (OLD, "brain-3", "lab/brain-3")
    assert repo["DAG"]["Root"] == OLD
    nodes = [(n["UUID"], n["VersionID"], n["Parents"], n["Children"]) for n in repo["DAG"]["Nodes"].values()]
    assert nodes == [(OLD, 1, [], [2]), (MIDDLE, 2, [1], [3]), (NEW, 3, [2], [])]
    assert all(node["Locked"] and node["Branch"] == "" for node in repo["DAG"]["Nodes"].values())
    assert [node["Note"] for node in repo["DAG"]["Nodes"].values()] == ["first", "", "traced\nwhole"]
    assert server.get(f"/api/repo/{MIDDLE}/info", params=ADMIN).json() == repo


def test_instances_are_those_of_the_newest_release_that_has_them(server: Server) -> None:
    found = repos(server, **ADMIN)[OLD]["DataInstances"]
    assert {name: one["Extended"]["MaxPoint"][0] for name, one in found.items()} == {
        "em": 23,
        "added": 23,
        "dropped": 7,
    }
    assert {one["Base"]["RepoUUID"] for one in found.values()} == {OLD}


def test_what_a_caller_may_not_see_is_no_version(server: Server) -> None:
    repo = repos(server)[OLD]
    assert [(n["UUID"], n["Parents"]) for n in repo["DAG"]["Nodes"].values()] == [(OLD, []), (NEW, [1])]
    assert refused(server, f"/api/node/{MIDDLE}/em/info") == f"could not find UUID with partial match to {MIDDLE}"
    assert server.get(f"/api/repo/{OLD}/branch-versions/master").json() == [NEW, OLD]
    assert first_voxel(server, f"{OLD}:master~1") == 1
    assert refused(server, f"/api/node/{OLD}:master~2/em/info").startswith("parent 2 is out of range")


@pytest.mark.parametrize(
    ("uuid", "voxel"),
    [
        (OLD, 1),
        (MIDDLE, 2),
        (NEW, 3),
        ("b2", 2),
        ("a1", 1),
        ("a3:", 3),
        ("b2:master", 3),
        (f"{OLD}:master", 3),
        ("a1:master~0", 3),
        ("a3:master~1", 2),
        ("a1:master~2", 1),
    ],
)
def test_every_way_to_name_a_version(server: Server, uuid: str, voxel: int) -> None:
    assert first_voxel(server, uuid, **ADMIN) == voxel


def test_what_names_none(server: Server) -> None:
    assert refused(server, "/api/node/a/em/info", **ADMIN) == "more than one UUID matches a"
    assert refused(server, f"/api/node/{OLD}:master~3/em/info", **ADMIN).startswith("parent 3 is out of range")
    assert refused(server, f"/api/node/{OLD}:side/em/info", **ADMIN) == f'branch "side" not found in repo "{OLD}"'
    assert refused(server, "/api/node/:master/em/info") == "UUID must be specified if more than one repo exists"
    assert refused(server, f"/api/node/{OLD}/added/info") == "invalid data instance name"
    assert first_voxel(server, OLD, "dropped") == 1


def test_branch_versions_status_and_notes(server: Server) -> None:
    for uuid in (OLD, MIDDLE, NEW):
        assert server.get(f"/api/repo/{uuid}/branch-versions/master", params=ADMIN).json() == [NEW, MIDDLE, OLD]
        assert server.get(f"/api/node/{uuid}/status", params=ADMIN).json() == {"Locked": True}
    assert server.get(f"/api/node/{NEW}/note").json() == {"note": "traced\nwhole"}
    assert server.get(f"/api/node/{OLD}:master~1/note").json() == {"note": "first"}
    assert server.get(f"/api/repo/{OLD}/branch-versions/side").json() == []


def test_one_repository_needs_no_uuid(server: Server) -> None:
    headers = {"X-Auth-Token": "x"}
    other: dict[str, Any] = {"uuid": OTHER, "layers": {"em": {"source": "v1"}}, "releases": ["lab/brain-3"]}
    entry = {"precomputed": {"lab": {"other": other}}}
    assert server.post("/data/datasets", json=entry, headers=headers).status_code == 200
    assert first_voxel(server, ":master~1") == 3
    assert set(repos(server)) == {OLD}
    del other["releases"]
    assert server.post("/data/datasets", json=entry, headers=headers).status_code == 200
    assert set(repos(server)) == {OLD, OTHER}
