"""The TIFF dataset of webknossos-connect's own document, through both protocols."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.backends.arrays import labels, noise
from tests.backends.tiffs import pages_of, save_with_vips
from tests.servers import Server, running
from wkdvid.core.entries import DatasetKey, Document, default_uuid
from wkdvid.core.geometry import Vec3
from wkdvid.testing.volume_suite import StoredLevel

KEY = DatasetKey("Test Organization", "my_2d_tiff_dataset")
DOCUMENT = {"tiff": {KEY.organization: {KEY.dataset: {"scale": [2.1, 2.1]}}}}
BROKEN: Document = {"tiff": {"lab": {"broken": {}}}}
SIZE: Vec3 = (150, 133, 1)


@pytest.fixture(scope="module")
def color(tmp_path_factory: pytest.TempPathFactory) -> list[StoredLevel]:
    return save_with_vips(tmp_path_factory.mktemp("color") / "color.tif", noise("uint8", SIZE))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, color: list[StoredLevel]) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("data")
    folder = data / "binary" / str(KEY)
    folder.mkdir(parents=True)
    save_with_vips(folder / "color.tif", color[0].array)
    tifffile.imwrite(folder / "segmentation.tif", pages_of(labels("uint32", SIZE))[0], tile=(64, 64))
    broken = data / "binary/lab/broken"
    broken.mkdir(parents=True)
    (broken / "color.tif").write_bytes((folder / "color.tif").read_bytes()[:5000])
    with running(data, BROKEN) as started:
        yield started


def cut(array: np.ndarray, x: int, y: int) -> bytes:
    out = np.zeros((len(array), 32, 32, 32), array.dtype, order="F")
    part = array[:, x : x + 32, y : y + 32]
    out[:, : part.shape[1], : part.shape[2], :1] = part
    return out.tobytes("F")


def test_registered_seen_and_read(server: Server, color: list[StoredLevel]) -> None:
    answer = server.post("/data/datasets", data=json.dumps(DOCUMENT))
    assert answer.status_code == 200, answer.text

    source = server.get(f"/data/datasets/{KEY}").json()["dataSource"]
    assert {layer["name"]: (layer["category"], layer["elementClass"]) for layer in source["dataLayers"]} == {
        "color": ("color", "uint8"),
        "segmentation": ("segmentation", "uint32"),
    }
    for level, array in ((0, color[0].array), (1, color[1].array)):
        mag = 2**level
        bucket = {"position": [32 * mag, 64 * mag if level == 0 else 0, 0], "mag": [mag, mag, 1], "cubeSize": 32}
        found = server.buckets(f"{KEY}/layers/color", bucket)
        assert found.headers["MISSING-BUCKETS"] == "[]"
        assert found.content == cut(array, 32, 64 if level == 0 else 0)
    found = server.buckets(f"{KEY}/layers/segmentation", {"position": [128, 128, 0], "mag": [1, 1, 1], "cubeSize": 32})
    assert found.content == cut(labels("uint32", SIZE), 128, 128)

    node = f"/api/node/{default_uuid(KEY)}"
    raw = server.get(f"{node}/color/raw/0_1_2/40_30_1/100_90_0")
    assert raw.content == color[0].array[0, 100:140, 90:120].tobytes("F")
    picture = server.get(f"{node}/color/raw/0_1/40_30/100_90_0/png")
    assert (np.asarray(Image.open(io.BytesIO(picture.content))) == color[0].array[0, 100:140, 90:120, 0].T).all()


def test_broken_file_is_told_of_once(server: Server) -> None:
    assert server.get("/data/datasets/lab/broken").status_code == 503
    log = (server.data_dir / "server.log").read_text()
    assert "Traceback" not in log
    assert [line for line in log.splitlines() if "tifffile" in line] == []
    assert log.count("lab/broken cannot be opened") == 1
