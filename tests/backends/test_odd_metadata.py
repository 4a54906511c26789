"""Metadata with any one member wrong: each source is served or refused with an error of ours, never with another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from numcodecs import LZ4, Delta

from tests.backends import test_n5, test_ome_zarr, test_precomputed, test_zarr, wkw_files
from tests.backends.arrays import labels, noise
from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backends
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.errors import WkdvidError

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    1e300,
    float("nan"),
    "",
    "x",
    [],
    [None],
    [[]],
    {},
    {"name": 1},
    [2**70] * 3,
    "x" * 300,
    "\ud800\n",
]
SMALL = (8, 8, 8)


def precomputed(folder: Path) -> str:
    test_precomputed.write(folder / "a", noise("uint8", SMALL), sharding=test_precomputed.SHARDING)
    return "a/info"


def foreign_precomputed(folder: Path) -> str:
    array, sharding = labels("uint8", SMALL), test_precomputed.SHARDING
    test_precomputed.write(folder / "a", array, encoding="crackle", sharding=sharding)
    return "a/info"


def foreign_zarr2(folder: Path) -> str:
    test_zarr.write_array(
        folder / "a", noise("uint8", SMALL), zarr_format=2, compressors=LZ4(), filters=[Delta(dtype="|u1")]
    )
    return "a/.zarray"


def foreign_zarr3(folder: Path) -> str:
    lz4 = {"name": "numcodecs.lz4", "configuration": {}}
    test_zarr.write_array(folder / "a", noise("uint8", SMALL), chunks=(4, 4, 4), shards=(8, 8, 8), compressors=lz4)
    return "a/zarr.json"


def foreign_n5(folder: Path) -> str:
    test_n5.write_array(folder, "a", noise("uint8", SMALL), "lz4")
    return "a/attributes.json"


def zarr2(folder: Path) -> str:
    test_zarr.write_array(folder / "a", noise("uint8", SMALL), zarr_format=2)
    return "a/.zarray"


def zarr3(folder: Path) -> str:
    test_zarr.write_array(folder / "a", noise("uint8", SMALL), chunks=(4, 4, 4), shards=(8, 8, 8))
    return "a/zarr.json"


def ome(folder: Path) -> str:
    test_ome_zarr.write_ome(
        folder / "a",
        2,
        [noise("uint8", SMALL)],
        test_ome_zarr.one_level(
            [test_ome_zarr.scaling((1, 1, 1)), {"type": "translation", "translation": [1, 2, 3]}],
            coordinateTransformations=[test_ome_zarr.scaling((1, 1, 1))],
        ),
    )
    return "a/.zattrs"


def plate(folder: Path) -> str:
    test_ome_zarr.write_ome(folder / "a", 2, [], {}, plate={"wells": [{"path": "A/1"}]})
    well = {"well": {"images": [{"path": "0"}]}}
    test_ome_zarr.write_ome(folder / "a/A/1", 2, [], {}, **well)
    return "a/.zattrs"


def n5(folder: Path) -> str:
    test_n5.write_array(folder, "a", noise("uint8", SMALL), "blosc", maxId=3, axes=["x", "y", "z"])
    test_n5.add(folder / "a", pixelResolution={"unit": "nm", "dimensions": [1, 2, 3]}, downsamplingFactors=[1, 1, 1])
    return "a/attributes.json"


def cosem(folder: Path) -> str:
    test_n5.write_array(folder, "a/s0", noise("uint8", SMALL))
    test_n5.cosem_group(folder / "a")
    test_n5.add(folder / "a", scales=[[1, 1, 1]], resolution=[1, 1, 1], units=["nm"] * 3, offset=[1, 2, 3])
    return "a/attributes.json"


def paintera(folder: Path) -> str:
    test_n5.write_array(folder, "a/data/s0", noise("uint8", SMALL))
    test_n5.add(folder / "a", painteraData={"type": "label"}, maxId=5, resolution=[1, 1, 1], offset=[1, 2, 3])
    return "a/attributes.json"


def wkw(folder: Path) -> str:
    wkw_files.write_layer(folder / "a", noise("uint8", SMALL), name="layer")
    return f"a/{wkw_files.PROPERTIES}"


FOREIGN = [foreign_precomputed, foreign_zarr2, foreign_zarr3, foreign_n5]
SOURCES = [precomputed, zarr2, zarr3, ome, plate, n5, cosem, paintera, wkw, *FOREIGN]
BACKENDS = {"zarr2": "zarr", "zarr3": "zarr", "ome": "zarr", "plate": "zarr", "cosem": "n5", "paintera": "n5"}


def odd_documents(document: Any) -> Iterator[Any]:
    """Copies of a document, each with one value replaced, or left out, or the whole of it odd."""
    yield from ODD
    members = list(document.items() if isinstance(document, dict) else enumerate(document))
    for key, value in members:
        changed = odd_documents(value) if isinstance(value, dict | list) else iter(ODD)
        for odd in changed:
            copy = document.copy()
            copy[key] = odd
            yield copy
        if isinstance(document, dict):
            yield {name: member for name, member in members if name != key}


def check_sendable(text: str) -> None:
    text.encode()
    assert "\n" not in text
    assert len(text) < 3000


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification")
@pytest.mark.parametrize("write", SOURCES)
async def test_one_member_wrong(tmp_path: Path, write: Callable[[Path], str]) -> None:
    path = tmp_path / write(tmp_path)
    original = json.loads(path.read_text())
    backends = Backends(Opener(Guard((tmp_path,), frozenset()), Limits(), pool_bytes=MIB, deadline_s=20))
    name = write.__name__.removeprefix("foreign_")
    backend = BACKENDS.get(name, name)
    (entry,), _ = backends.parse({backend: {"lab": {"data": {"layers": {"layer": {"source": "a"}}}}}})
    served = refused = 0
    for document in (original, *odd_documents(original)):
        path.write_text(json.dumps(document))
        try:
            for one in await backends.open_layers(entry):
                assert min(min(level.extent.size) for level in one.volume.info.levels) > 0
                served += 1
                check_sendable("".join(one.volume.info.notes))
        except WkdvidError as error:
            check_sendable(str(error))
            refused += 1
        except Exception as error:
            raise AssertionError(f"{document}: {error!r}") from error
    assert refused > 10
    assert served > 5 or write is plate
