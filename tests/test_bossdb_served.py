"""A BossDB seen through both protocols of a running server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.backends.bosses import SIZE, annotation, entry, experiment, image
from tests.servers import Server, running
from wkdvid.core.geometry import Box
from wkdvid.testing.bossdb import BossDouble
from wkdvid.testing.volume_suite import StoredLevel

UUID = "abcdef"
START = (3, 5, 7)


@pytest.fixture(scope="module")
def double() -> Iterator[BossDouble]:
    with BossDouble(experiment(image(), annotation(), start=START)) as double:
        yield double


@pytest.fixture(scope="module")
def server(double: BossDouble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    environ = {"WKDVID_SOURCES__HTTP_HOSTS": double.host, "PYTHONDEVMODE": "1"}
    with running(folder / "data", {"bossdb": {"lab": {"brain": entry(double, uuid=UUID)}}}, environ=environ) as server:
        yield server
    log = (folder / "data" / "server.log").read_text()
    # What was asked for that failed registration has a session yet; it ends with the server, and says nothing.
    assert not [line for line in log.splitlines() if "bossdb" in line or "nclosed" in line or "destroyed" in line], log


def cut(double: BossDouble, channel: int, box: Box) -> np.ndarray[Any, Any]:
    """What a client must be given: 0 outside the frame."""
    return StoredLevel(array=double.experiment.channels[channel].array[None], start=START).cut(box)


@pytest.mark.parametrize(("channel", "name"), [(0, "em"), (1, "ids")])
@pytest.mark.parametrize("position", [(0, 0, 0), (512, 32, 32), (256, 0, 0)])
def test_buckets_at_the_border_of_the_frame(
    server: Server, double: BossDouble, channel: int, name: str, position: tuple[int, int, int]
) -> None:
    wanted = {"position": position, "mag": [1, 1, 1], "cubeSize": 32}
    answer = server.buckets(f"lab/brain/layers/{name}", wanted)
    assert answer.headers["MISSING-BUCKETS"] == "[]"
    assert answer.content == cut(double, channel, Box.at(position, (32, 32, 32))).tobytes("F")


def test_dvid_raw(server: Server, double: BossDouble) -> None:
    answer = server.get(f"/api/node/{UUID}/em/raw/0_1_2/60_50_40/490_0_0")
    assert answer.content == cut(double, 0, Box.at((490, 0, 0), (60, 50, 40))).tobytes("F")
    listed = server.get(f"/api/node/{UUID}/ids/info").json()
    assert listed["Base"]["TypeName"] == "labelmap"


def test_a_cuboid_that_fails_is_a_failed_bucket(server: Server, double: BossDouble) -> None:
    before = len(double.cutouts)
    server.post("/data/triggers/reload/lab/brain")
    double.faults.where = "/512:533/"
    double.faults.fail_for_ever(503)
    buckets = [{"position": [x, 0, 32], "mag": [1, 1, 1], "cubeSize": 32} for x in (480, 512, 544)]
    answer = server.buckets("lab/brain/layers/em", *buckets)
    assert (answer.headers["Failure-Bucket-Indices"], answer.headers["Empty-Bucket-Indices"]) == ("[1]", "[2]")
    assert answer.content == cut(double, 0, Box.at((480, 0, 32), (32, 32, 32))).tobytes("F")
    double.faults.fail()
    assert server.buckets("lab/brain/layers/em", *buckets).headers["Failure-Bucket-Indices"] == "[]"
    assert len(double.cutouts) > before


def test_refused_registration_changes_nothing_and_shows_no_secret(server: Server, double: BossDouble) -> None:
    posted = {"boss": {"lab": {"other": entry(double, token="s3cr3t")}}}
    answer = server.post("/data/datasets", json=posted)
    assert answer.status_code == 400
    assert "token: a secret does not stand in an entry" in answer.text
    elsewhere = {"domain": f"{double.url}/prefix", "channels": ["nothing"]}
    missing = server.post("/data/datasets", json={"boss": {"lab": {"other": entry(double) | elsewhere}}})
    assert "it has em, ids" in missing.text
    shown = answer.text + server.get("/data/datasets").text + (server.data_dir / "server.log").read_text()
    assert "s3cr3t" not in shown + (server.data_dir / "datasets.json").read_text()


def test_frame_is_the_bounding_box(server: Server) -> None:
    layers = server.get("/data/datasets/lab/brain").json()["dataSource"]["dataLayers"]
    assert {layer["name"] for layer in layers} == {"em", "ids"}
    for layer in layers:
        assert layer["boundingBox"]["topLeft"] == list(START)
        assert [layer["boundingBox"][side] for side in ("width", "height", "depth")] == list(SIZE)
