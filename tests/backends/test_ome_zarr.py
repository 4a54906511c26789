"""OME-Zarr images that zarr-python wrote; their metadata is written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.backends.arrays import Array, labels, noise, sampled
from tests.backends.conftest import S3
from tests.backends.test_zarr import write_array
from wkdvid.core.geometry import Vec3
from wkdvid.errors import AuthRejected, InvalidEntry
from wkdvid.testing.faulty import FileServer, redirected
from wkdvid.testing.volume_suite import StoredLevel, StoredVolume, VolumeSuite, check, open_layers

ANISOTROPIC: Sequence[Vec3] = ((1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 8, 3))


def scaling(mag: Sequence[float], size: Sequence[float] = (40.0, 8.0, 8.0)) -> dict[str, Any]:
    """``mag`` is (x, y, z), the list zyx; what is more than three stands for leading axes."""
    lead = [1.0] * (len(size) - 3)
    return {"type": "scale", "scale": [*lead, *(a * b for a, b in zip(size[-3:], mag[::-1], strict=True))]}


def space(unit: str | None = "nanometer") -> list[dict[str, Any]]:
    return [{"name": name, "type": "space", **({"unit": unit} if unit else {})} for name in "zyx"]


def write_ome(
    folder: Path, version: int, arrays: Sequence[Array], multiscale: Mapping[str, Any], **attributes: Any
) -> list[Array]:
    """Write an image whose levels are ``0``, ``1``..., as ``write_array`` does; 0.4 is version 2, 0.5 version 3."""
    group = zarr.create_group(str(folder), zarr_format=3 if version == 3 else 2)
    documents = {"multiscales": [{"name": "image", **multiscale}], **attributes}
    group.attrs.update({"ome": {"version": "0.5", **documents}} if version == 3 else documents)
    slash = {} if version == 3 else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    return [write_array(folder / str(i), a, zarr_format=version, fill_value=5, **slash) for i, a in enumerate(arrays)]


def centred(mag: Vec3) -> dict[str, Any]:
    """The shift of a level whose voxels are placed by their centres, of a volume that begins at (-6, 4, 24)."""
    size, start = (8.0, 8.0, 40.0), (-6, 4, 24)
    shift = [s * (a + (m - 1) / 2) for s, a, m in zip(size, start, mag, strict=True)]
    return {"type": "translation", "translation": shift[::-1]}


def stored_image(folder: Path, version: int, shifted: bool) -> StoredVolume:
    levels = [sampled(noise("uint16"), mag) for mag in ANISOTROPIC]
    datasets = [
        {"path": str(i), "coordinateTransformations": [scaling(mag), *([centred(mag)] if shifted else [])]}
        for i, mag in enumerate(ANISOTROPIC)
    ]
    arrays = write_ome(folder / "image", version, levels, {"axes": space(), "datasets": datasets})
    # x: -6, -3, -1.5 + 3/8, -0.75 + 7/16; y: 4, 2 + 1/4, 1 + 3/8, 0.5 + 7/16; z: 24, 24, 24, 8 + 1/3
    starts: Sequence[Vec3] = [(-6, 4, 24), (-3, 2, 24), (-1, 1, 24), (0, 1, 8)] if shifted else [(0, 0, 0)] * 4
    return StoredVolume(
        folder=folder,
        backend="zarr",
        options=lambda base: {"source": f"{base}image"},
        levels=[
            StoredLevel(array=array, mag=mag, start=start)
            for array, mag, start in zip(arrays, ANISOTROPIC, starts, strict=True)
        ],
        chunk="image/0/0/0/0" if version == 2 else "image/0/c/0/0/0",
    )


class TestOme(VolumeSuite):
    @pytest.fixture(scope="class", params=[(2, True), (3, False)], ids=["0.4-shifted", "0.5"])
    @classmethod
    def stored(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredVolume:
        return stored_image(tmp_path_factory.mktemp("ome"), *request.param)


async def test_translated_grid(tmp_path: Path) -> None:
    stored_image(tmp_path, 3, True)
    (volume,) = await open_layers("zarr", {"source": "image"}, roots=[tmp_path])
    assert [level.chunk_origin for level in volume.info.levels] == [level.extent.start for level in volume.info.levels]
    assert volume.info.voxel_size_nm == (8.0, 8.0, 40.0)
    assert volume.info.notes == ()


async def test_rgb_and_channels(tmp_path: Path) -> None:
    rgb = write_array(tmp_path / "rgb", noise("uint8", channels=3))
    (volume,) = await open_layers("zarr", {"source": "rgb"}, roots=[tmp_path])
    check(await volume.read(0, StoredLevel(array=rgb).extent), rgb)
    axes = [{"name": "c", "type": "channel"}, *space("micrometer")]
    transforms = [scaling((1, 1, 1), (1.0, 0.04, 0.008, 0.008))]
    datasets = [{"path": "0", "coordinateTransformations": transforms}]
    (four,) = write_ome(tmp_path / "four", 3, [noise("uint16", channels=4)], {"axes": axes, "datasets": datasets})
    volumes = await open_layers("zarr", {"source": "four"}, roots=[tmp_path])
    assert [volume.info.name for volume in volumes] == [f"layer_c{c}" for c in range(4)]
    assert volumes[0].info.voxel_size_nm == pytest.approx((8.0, 8.0, 40.0))
    (third,) = await open_layers("zarr", {"source": "four", "channel": 2}, roots=[tmp_path])
    check(await third.read(0, StoredLevel(array=four).extent), four[2:3])


# What OME metadata may say

Document = dict[str, Any]


def one_level(transforms: Sequence[object], axes: object = None, **more: Any) -> Document:
    return {
        "axes": axes if axes is not None else space(),
        "datasets": [{"path": "0", "coordinateTransformations": list(transforms)}],
        **more,
    }


@pytest.mark.parametrize(
    ("document", "size", "start", "note"),
    [
        (one_level([scaling((1, 1, 1))], space("micrometer")), (8e3, 8e3, 4e4), (0, 0, 0), None),
        (one_level([scaling((1, 1, 1))], space("pixel")), (8, 8, 40), (0, 0, 0), "pixel; nanometres"),
        (one_level([scaling((1, 1, 1))], space(None)), (8, 8, 40), (0, 0, 0), "None; nanometres"),
        (one_level([], space()), (1, 1, 1), (0, 0, 0), "does not say its voxel size"),
        (one_level([{"type": "scale", "scale": []}]), (1, 1, 1), (0, 0, 0), None),
        (one_level([{"type": "scale", "scale": [0, -1, 4]}]), (4, 1, 1), (0, 0, 0), None),
        (one_level([scaling((1, 1, 1)), {"type": "identity"}]), (8, 8, 40), (0, 0, 0), None),
        (one_level([{"type": "translation", "translation": [0.5, -0.5, 7.4]}]), (1, 1, 1), (7, 0, 0), None),
        (one_level([{"type": "translation", "translation": [0.6, -0.6, -7.6]}]), (1, 1, 1), (-8, -1, 1), None),
        (
            one_level(
                [{"type": "scale", "scale": [1, 1, 1]}, {"type": "translation", "translation": [3, 2, 1]}],
                coordinateTransformations=[scaling((1, 1, 1)), {"type": "translation", "translation": [40, 8, 8]}],
            ),
            (8, 8, 40),
            (2, 3, 4),
            None,
        ),
        (one_level([scaling((1, 1, 1))], ["z", "y", "x"]), (8, 8, 40), (0, 0, 0), "nanometres"),
        (
            one_level([scaling((1, 1, 1))], [{"name": n, "type": "space", "unit": "nm"} for n in "ZYX"]),
            (8, 8, 40),
            (0, 0, 0),
            None,
        ),
        (
            {
                "coordinateSystems": [{"name": "other", "axes": []}, {"name": "world", "axes": space()[::-1]}],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [2, 3, 4], "input": "0", "output": "world"},
                            {"type": "translation", "translation": [-2, 6, 8]},
                        ],
                    }
                ],
            },
            (2, 3, 4),
            (-1, 2, 2),
            None,
        ),
        ({"datasets": [{"path": "0"}], "version": "0.2"}, (1, 1, 1), (0, 0, 0), "does not say its voxel size"),
    ],
)
async def test_places(tmp_path: Path, document: Document, size: Any, start: Vec3, note: str | None) -> None:
    (array,) = write_ome(tmp_path / "a", 2, [noise("uint8", (40, 40, 40))], document)
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    assert volume.info.voxel_size_nm == pytest.approx(size)
    assert volume.info.levels[0].extent.start == start
    assert [note in text for text in volume.info.notes] == [True] if note else volume.info.notes == ()
    expected = array.transpose(0, 3, 2, 1) if "coordinateSystems" in document else array
    check(await volume.read(0, StoredLevel(array=array, start=start).extent), np.asfortranarray(expected))


async def test_entry_chooses_the_voxel_size(tmp_path: Path) -> None:
    write_ome(tmp_path / "a", 2, [noise("uint8", (8, 8, 8))], one_level([], space(None)))
    entry = {"source": "a", "voxel_size": [0.004, 0.004, 0.04], "voxel_unit": "um"}
    (volume,) = await open_layers("zarr", entry, roots=[tmp_path])
    assert volume.info.voxel_size_nm == pytest.approx((4, 4, 40))
    assert volume.info.notes == ()


async def test_labels_are_a_segmentation(tmp_path: Path) -> None:
    document = one_level([scaling((1, 1, 1))])
    write_ome(tmp_path / "a", 3, [labels("uint64")], document, **{"image-label": {"version": "0.5"}})
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    assert volume.info.category == "segmentation"
    (volume,) = await open_layers("zarr", {"source": "a", "type": "image"}, roots=[tmp_path])
    assert volume.info.category == "color"


async def test_levels_without_scales_have_the_mags_of_their_sizes(tmp_path: Path) -> None:
    levels = [sampled(noise("uint8"), mag) for mag in ANISOTROPIC]
    arrays = write_ome(tmp_path / "a", 2, levels, {"datasets": [{"path": str(i)} for i in range(4)]})
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    assert [level.mag for level in volume.info.levels] == list(ANISOTROPIC)
    check(await volume.read(3, StoredLevel(array=arrays[3]).extent), arrays[3])


async def test_several_images_of_a_group(tmp_path: Path) -> None:
    write_ome(tmp_path / "a", 2, [noise("uint8", (8, 8, 8))], one_level([scaling((1, 1, 1))]))
    attributes = json.loads((tmp_path / "a/.zattrs").read_text())
    attributes["multiscales"] *= 2
    (tmp_path / "a/.zattrs").write_text(json.dumps(attributes))
    (volume,) = await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    assert volume.info.notes == (
        "The source has 2 multiscale images, of which the first is served: make groups of their own of the others.",
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (one_level([{"type": "affine", "affine": [[1, 0], [0, 1]]}]), r"datasets\[0\].*'affine'.*identity, scale"),
        (one_level([scaling((1, 1, 1)), {"type": "rotation"}]), "'rotation'"),
        (one_level([{"type": "scale", "path": "scales"}]), "scale: expected 3 numbers"),
        (one_level([{"type": "scale", "scale": [1, 1]}]), "scale: expected 3 numbers"),
        (one_level([{"type": "translation", "translation": ["a", 1, 1]}]), "translation: expected 3 numbers"),
        (one_level([7]), "type None"),
        ({"axes": space(), "datasets": []}, "at least one dataset"),
        ({"axes": space(), "datasets": [{}]}, "with a path"),
        ({"axes": space(), "datasets": [{"path": "7"}]}, "no array '7'"),
        ({"axes": space(), "datasets": [{"path": "../../etc"}]}, "outside"),
        ({"axes": space(), "datasets": [{"path": "0"}] * 40}, "limits.levels"),
    ],
)
async def test_bad_metadata_is_refused(tmp_path: Path, document: Document, message: str) -> None:
    write_ome(tmp_path / "a", 2, [noise("uint8", (8, 8, 8))], document)
    with pytest.raises(InvalidEntry, match=message):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])


# Collections


async def test_plate_lists_its_images(tmp_path: Path) -> None:
    for version, folder in ((2, "a"), (3, "b")):
        plate = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
        group = zarr.create_group(str(tmp_path / folder), zarr_format=3 if version == 3 else 2)
        group.attrs.update({"plate": plate} if version == 2 else {"ome": {"plate": plate}})
        for well in ("A/1", "B/2"):
            document = {"well": {"images": [{"path": "0"}, {"path": "1"}]}}
            child = group.create_group(well)
            child.attrs.update(document if version == 2 else {"ome": document})
        with pytest.raises(InvalidEntry, match="it holds A/1/0, A/1/1, B/2/0, B/2/1"):
            await open_layers("zarr", {"source": folder}, roots=[tmp_path])
        with pytest.raises(InvalidEntry, match="it holds 0, 1"):
            await open_layers("zarr", {"source": f"{folder}/A/1"}, roots=[tmp_path])


async def test_bioformats2raw_lists_its_images(tmp_path: Path) -> None:
    group = zarr.create_group(str(tmp_path / "a"), zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for name in "01":
        write_ome(tmp_path / "a" / name, 2, [noise("uint8", (8, 8, 8))], one_level([]))
    with pytest.raises(InvalidEntry, match="it holds 0, 1"):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    group.create_group("OME").attrs["series"] = ["1", "0"]
    with pytest.raises(InvalidEntry, match="it holds 1, 0"):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])


async def test_labels_group_and_empty_group(tmp_path: Path) -> None:
    group = zarr.create_group(str(tmp_path / "a"), zarr_format=3)
    with pytest.raises(InvalidEntry, match="a zarr group that is no image"):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    group.attrs["ome"] = {"labels": ["cells", "nuclei"]}
    with pytest.raises(InvalidEntry, match="it holds cells, nuclei"):
        await open_layers("zarr", {"source": "a"}, roots=[tmp_path])
    with pytest.raises(InvalidEntry, match=r"no zarr.json, .zarray or .zattrs"):
        await open_layers("zarr", {"source": "b"}, roots=[tmp_path])


# Places


@pytest.mark.parametrize("version", [2, 3])
async def test_from_s3(tmp_path: Path, s3: S3, version: int) -> None:
    stored = stored_image(tmp_path, version, True)
    (volume,) = await open_layers("zarr", stored.options(s3.upload(tmp_path)), s3=s3.options)
    for i, level in enumerate(stored.levels):
        check(await volume.read(i, level.extent), level.array)


@pytest.mark.parametrize("version", [2, 3])
async def test_redirected(tmp_path: Path, version: int) -> None:
    stored = stored_image(tmp_path, version, False)
    with FileServer(tmp_path) as files, FileServer(tmp_path) as front:
        front.fault = lambda path: redirected(files.url + path)
        (volume,) = await open_layers("zarr", stored.options(front.url), http_hosts=[files.host, front.host])
        check(await volume.read(1, stored.levels[1].extent), stored.levels[1].array)
        assert len(front.paths) == (2 if version == 2 else 1)


async def test_bucket_that_may_not_be_listed(tmp_path: Path) -> None:
    """It answers 403 for what is not there."""
    stored = stored_image(tmp_path, 2, False)
    with FileServer(tmp_path) as server:
        server.fault = lambda path: None if (tmp_path / path).is_file() else 403
        (volume,) = await open_layers("zarr", stored.options(server.url), http_hosts=[server.host])
        with pytest.raises(AuthRejected):
            await volume.read(0, stored.levels[0].extent)
        server.fault = lambda path: 403
        with pytest.raises(AuthRejected):
            await open_layers("zarr", stored.options(server.url), http_hosts=[server.host])
