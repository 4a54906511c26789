from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from wkdvid.client import InvalidArgument, VoxelsMetadata


def test_what_a_new_volume_is() -> None:
    metadata = VoxelsMetadata.create_default_metadata((3, 100, 200, 300), np.uint8, "cxyz", 1.5, "micrometers")
    assert metadata["Axes"][2] == {"Label": "Z", "Resolution": 1.5, "Units": "micrometers", "Size": 300, "Offset": 0}
    assert metadata["Properties"]["Values"] == [{"DataType": "uint8", "Label": ""}] * 3
    assert (metadata.shape, metadata.minindex, metadata.dtype.name) == ((3, 100, 200, 300), (0, 0, 0, 0), "uint8")
    assert VoxelsMetadata(metadata.to_json()) == metadata
    empty = VoxelsMetadata.create_default_metadata((4, 0, 0, 0), np.uint8, "cxyz", 1.0, "")
    assert (empty.shape, empty.minindex) == ((4, None, None, None), (0, 0, 0, 0))


def test_extents_can_be_changed() -> None:
    metadata = VoxelsMetadata.create_default_metadata((1, 10, 20, 30), np.uint16, "cxyz", 1, "")
    metadata.minindex = (0, -5, 2, 3)
    metadata.shape = (1, 5, 20, 31)
    assert [(a["Offset"], a["Size"]) for a in metadata["Axes"]] == [(-5, 10), (2, 18), (3, 28)]
    assert (metadata.shape, metadata.minindex) == ((1, 5, 20, 31), (0, -5, 2, 3))
    for attribute in ("shape", "minindex"):
        with pytest.raises(InvalidArgument, match="channels"):
            setattr(metadata, attribute, (2, 1, 1, 1))


def test_scales_are_rounded_outward() -> None:
    metadata = VoxelsMetadata.create_default_metadata((1, 10, 21, 0), np.uint64, "cxyz", 8, "nanometers")
    metadata["Axes"][0]["Offset"] = -3
    half = metadata.at_scale(2)
    assert (half.minindex, half.shape) == ((0, -1, 0, 0), (1, 2, 6, None))
    assert half["Axes"][0]["Resolution"] == 32


def test_types() -> None:
    for (dtype, channels), name in VoxelsMetadata.TYPENAMES.items():
        metadata = VoxelsMetadata.create_default_metadata((channels, 1, 1, 1), dtype, "cxyz", 1, "")
        assert metadata.determine_dvid_typename() == name
        assert VoxelsMetadata.determine_channels_from_dvid_typename(name) == (dtype, channels)
    metadata = VoxelsMetadata.create_default_metadata((1, 1, 1, 1), "float32", "cxyz", 1, "")
    assert metadata.determine_dvid_typename() == "float32blk"
    with pytest.raises(InvalidArgument, match="3 channels of uint8"):
        VoxelsMetadata.create_default_metadata((3, 1, 1, 1), "uint8", "cxyz", 1, "").determine_dvid_typename()
    with pytest.raises(InvalidArgument, match="rgba8"):
        VoxelsMetadata.determine_channels_from_dvid_typename("keyvalue")


GOOD = VoxelsMetadata.create_default_metadata((1, 10, 20, 30), np.uint16, "cxyz", 1, "")


def changed(*path: Any, to: Any) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(dict(GOOD))
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return document


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"Axes": []},
        "[]",
        "{",
        changed("Axes", to=[]),
        changed("Axes", to=None),
        changed("Axes", 0, to=3),
        changed("Axes", 0, "Label", to=""),
        changed("Axes", 0, "Label", to="XY"),
        changed("Axes", 0, "Label", to="Y"),
        changed("Axes", 0, "Label", to="C"),
        changed("Axes", 0, "Size", to=-1),
        changed("Axes", 0, "Size", to=1.5),
        changed("Axes", 0, "Size", to=None),
        changed("Axes", 0, "Offset", to="0"),
        changed("Axes", 0, "Resolution", to=float("nan")),
        changed("Axes", 0, "Resolution", to=None),
        changed("Axes", 0, "Units", to=None),
        changed("Properties", to={}),
        changed("Properties", "Values", to=[]),
        changed("Properties", "Values", to=[{"DataType": "uint8"}, {"DataType": "uint16"}]),
        changed("Properties", "Values", to=[{"DataType": "O"}]),
        changed("Properties", "Values", to=[{"DataType": []}]),
        changed("Properties", "Values", to=[{"DataType": "uint8"}] * 1000),
        changed("Properties", "BlockSize", to=[64, 64]),
        changed("Properties", "BlockSize", to=[64, 64, 0]),
        changed("Properties", "BlockSize", to=[64, 64, "64"]),
        changed("Properties", "BlockSize", to=[2**20, 64, 64]),
    ],
)
def test_documents_that_describe_no_volume(document: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - InvalidArgument and JSON's
        VoxelsMetadata(document)


def test_arguments_that_describe_no_volume() -> None:
    with pytest.raises(InvalidArgument, match="c first"):
        VoxelsMetadata.create_default_metadata((1, 1, 1), np.uint8, "xyz", 1, "")
    with pytest.raises(InvalidArgument, match="one letter each"):
        VoxelsMetadata.create_default_metadata((1, 1, 1), np.uint8, "cxyz", 1, "")
