"""What the page that adds datasets is given: names, pictures, and what an entry would say."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.volumes import write_precomputed
from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backends
from wkdvid.core.guard import Guard
from wkdvid.core.limits import MIB, Limits
from wkdvid.inspection.inspector import Inspector
from wkdvid.inspection.preview import SIDE, preview


def opener_of(root: Path) -> Opener:
    return Opener(Guard((root,), frozenset()), Limits(), pool_bytes=MIB, deadline_s=20)


async def look(root: Path, **options: Any) -> dict[str, Any]:
    return await preview(Inspector(opener_of(root)), options)


async def test_a_layer_has_a_small_picture_or_none(tmp_path: Path) -> None:
    voxels = np.random.default_rng(1).integers(0, 255, (400, 300, 3), np.uint8)
    write_precomputed(tmp_path / "em", [((1, 1, 1), voxels)])
    found = await look(tmp_path, source="em")
    kind, _, data = found["layers"][0]["picture"].partition(",")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert (found["name"], kind) == ("em", "data:image/png;base64")
    np.testing.assert_array_equal(picture, voxels[72 : 72 + SIDE, 22 : 22 + SIDE, 1].T)
    for chunk in (tmp_path / "em" / "1-1-1").iterdir():
        chunk.write_bytes(b"<html>")
    assert (await look(tmp_path, source="em"))["layers"][0]["picture"] is None


async def test_an_entry_of_what_was_found_is_the_same_layer(tmp_path: Path) -> None:
    """Also of layers that the backend has found by itself, under other names."""
    for name in ("gray", "segmentation_1"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((64, 64), 3, np.uint8), tile=(32, 32))
    whole = await look(tmp_path, source=".", backend="tiff", scale=[5, 5, 50])
    entries = {f"new_{i}": layer["entry"] for i, layer in enumerate(whole["layers"])}
    assert [entry["type"] for entry in entries.values()] == ["image", "segmentation"]
    parsed, problems = Backends(opener_of(tmp_path)).parse({"tiff": {"lab": {"brain": {"layers": entries}}}})
    assert problems == []
    opened = await Backends(opener_of(tmp_path)).open_sources(parsed[0])
    assert [(v.info.name, v.info.category, list(v.info.voxel_size_nm)) for _, v in opened] == [
        (f"new_{i}", layer["category"], layer["voxelSizeNm"]) for i, layer in enumerate(whole["layers"])
    ]


async def test_no_key_is_shown(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "em", [((1, 1, 1), np.ones((8, 8, 8), np.uint8))])
    key = {"client_email": "a@b", "private_key": "the key", "token_uri": "https://oauth2.googleapis.com/token"}
    found = await look(tmp_path, backend="precomputed", layers={"em": {"source": "em", "credentials": key}})
    assert found["layers"][0]["entry"] == {"source": "em"}
