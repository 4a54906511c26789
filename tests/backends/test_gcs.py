"""Every format from a gs:// bucket: TensorStore's own driver against a folder that answers as the bucket would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends import test_n5, test_ome_zarr, test_precomputed
from tests.backends.arrays import labels, noise
from wkdvid.core.limits import Limits
from wkdvid.errors import CorruptChunk, InvalidEntry
from wkdvid.testing.faulty import FileServer
from wkdvid.testing.volume_suite import StoredVolume, check, open_layers


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of ``gs://bucket/data/``. Objects have the addresses of Google's JSON API."""
    root = tmp_path_factory.mktemp("gcs")
    with FileServer(root) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", server.url.rstrip("/"))
        patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "token")  # so that no other host is asked for one
        yield root / "storage/v1/b/bucket/o/data"


def precomputed(folder: Path) -> StoredVolume:
    levels = test_precomputed.write(folder, noise("uint16"), offset=(-13, 7, -100), factors=[(2, 2, 1)])
    return test_precomputed.stored_volume(folder, levels)


def sharded(folder: Path) -> StoredVolume:
    levels = test_precomputed.write(
        folder, labels("uint64"), encoding="compressed_segmentation", sharding=test_precomputed.SHARDING
    )
    return test_precomputed.stored_volume(folder, levels)


def ome(folder: Path) -> StoredVolume:
    return test_ome_zarr.stored_image(folder, 3, True)


def n5(folder: Path) -> StoredVolume:
    return test_n5.stored_pyramid(folder, test_n5.on_levels)


FORMATS = {write.__name__: write for write in (precomputed, sharded, ome, n5)}


@pytest.mark.parametrize("name", FORMATS)
async def test_comes_back(bucket: Path, name: str) -> None:
    stored = FORMATS[name](bucket / name)
    (volume,) = await open_layers(stored.backend, stored.options(f"gs://bucket/data/{name}/"))
    for i, level in enumerate(stored.levels):
        check(await volume.read(i, level.extent), level.array)


async def test_absent_and_too_large(bucket: Path) -> None:
    with pytest.raises(InvalidEntry, match=r"gs://bucket/data/nothing/: there is no info file"):
        await open_layers("precomputed", {"source": "gs://bucket/data/nothing"})
    (bucket / "large").mkdir(parents=True)
    (bucket / "large/info").write_bytes(b" " * 2000)
    with pytest.raises(CorruptChunk, match=r"limits\.metadata_bytes"):
        await open_layers("precomputed", {"source": "gs://bucket/data/large"}, limits=Limits(metadata_bytes=1000))
