"""The backend that docs/backends/own.md shows, installed as a package of a third party would be."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.arrays import noise
from wkdvid.backends.registry import third_parties
from wkdvid.testing.volume_suite import StoredLevel, StoredVolume, VolumeSuite

PAGE = Path(__file__).parents[2] / "docs" / "backends" / "own.md"
CHUNK = 32


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The page's module and its entry point, as ``pip install`` leaves them."""
    (module,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (announced,) = re.findall(r"^\[project\.entry-points\.\"(.*?)\"\]\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.M)
    folder = tmp_path_factory.mktemp("site")
    (folder / "chunkfiles.py").write_text(module)
    installed = folder / "chunkfiles-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: chunkfiles\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[{}]\n{}".format(*announced).replace('"', ""))
    sys.path.insert(0, str(folder))
    third_parties.cache_clear()
    yield
    sys.path.remove(str(folder))
    third_parties.cache_clear()
    sys.modules.pop("chunkfiles", None)


class TestBackendOfAThirdParty(VolumeSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def stored(cls, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        folder, array = tmp_path_factory.mktemp("chunkfiles"), noise("uint16")
        _, *size = array.shape
        document = {"size": size, "chunk": [CHUNK] * 3, "dtype": "uint16"}
        (folder / "volume.json").write_text(json.dumps(document))
        for x, y, z in (
            (x, y, z)
            for x in range(0, size[0], CHUNK)
            for y in range(0, size[1], CHUNK)
            for z in range(0, size[2], CHUNK)
        ):
            chunk = array[0, x : x + CHUNK, y : y + CHUNK, z : z + CHUNK]
            (folder / f"{x // CHUNK}_{y // CHUNK}_{z // CHUNK}").write_bytes(chunk.tobytes(order="F"))
        return StoredVolume(
            folder=folder,
            backend="chunkfiles",
            options=lambda base: {"source": base},
            levels=[StoredLevel(array=array)],
            chunk="0_0_0",
        )


def test_the_page_keeps_its_promise() -> None:
    (module,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len([line for line in module.splitlines() if line.strip()]) <= 40
