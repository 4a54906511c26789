"""The job ``transfer``: the cube that it stores is what the model makes of the layer, where it is in the layer."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import cloudvolume
import numpy as np
import pytest

from tests.jobs.at_work import AtWork, at_work, emptied, write_entry
from tests.transfer.test_models import mean_of, write_model
from tests.volumes import Voxels, write_precomputed
from wkdvid.core.jobs import Job, JobState
from wkdvid.errors import InvalidRequest, UnsupportedRequest, WkdvidError
from wkdvid.transfer.job import name_of, read_parameters
from wkdvid.transfer.models import Models

OFFSET = (7, -30, 65)
SIZE = (150, 140, 130)
CENTER = "40,30,100"
START = (-88, -34, 36)
BOX = {"center": CENTER, "size": "256,128,128"}


@pytest.fixture
def data_dir(tmp_path: Path, medulla: Mapping[str, Voxels]) -> Path:
    """An image, one of three channels, and labels; all at an offset, of a cube that they do not fill."""
    x, y, z = SIZE
    grey = medulla["grayscale"][:x, :y, :z]
    volumes = {"em": grey, "rgb": np.stack([grey, 255 - grey, grey // 2], -1), "seg": medulla["bodies"][:x, :y, :z]}
    for name, voxels in volumes.items():
        kind = "segmentation" if name == "seg" else "image"
        write_precomputed(tmp_path / name, [((1, 1, 1), voxels)], offsets=[OFFSET], voxel_size_nm=(8, 8, 16), kind=kind)
    write_entry(tmp_path, {name: {"source": name} for name in volumes})
    return tmp_path


def in_the_cube(voxels: Voxels) -> Voxels:
    """What the cube shows of an array (x, y, z, ...): zeros around it."""
    cube = np.zeros((256, 128, 128, *voxels.shape[3:]), voxels.dtype)
    place, part = [], []
    for start, side, offset, size in zip(START, cube.shape, OFFSET, SIZE, strict=False):
        first, last = max(start, offset), min(start + side, offset + size)
        place.append(slice(first - start, last - start))
        part.append(slice(first - offset, last - offset))
    cube[tuple(place)] = voxels[tuple(part)]
    return cube


def stored(data_dir: Path, job: Job) -> cloudvolume.CloudVolume:
    name = name_of(job)
    assert name is not None
    assert re.fullmatch("[a-z]{20}", name)
    assert [path.name for path in (data_dir / "transfers").iterdir()] == [name]
    return cloudvolume.CloudVolume(f"file://{data_dir / 'transfers' / name}", fill_missing=True, progress=False)


@pytest.mark.parametrize("layer", ["em", "rgb"])
async def test_identity_shows_the_layer_where_it_is(data_dir: Path, medulla: Mapping[str, Voxels], layer: str) -> None:
    async with at_work(data_dir) as here:
        job = await here.ended("transfer", layer, {**BOX, "model": "identity"})
    assert (job.state, job.done, job.total) == (JobState.DONE, 16, 16)
    assert job.message == f"voxels {START} to (168, 94, 164) are there as identity shows them"
    volume = stored(data_dir, job)
    assert (volume.info["data_type"], volume.info["num_channels"]) == ("uint8", 3 if layer == "rgb" else 1)
    (scale,) = volume.info["scales"]
    assert (scale["resolution"], scale["size"], scale["voxel_offset"]) == ([8, 8, 16], [256, 128, 128], [*START])
    assert (scale["encoding"], scale["chunk_sizes"], scale.get("sharding")) == ("raw", [[64, 64, 64]], None)
    x, y, z = SIZE
    grey = medulla["grayscale"][:x, :y, :z]
    wanted = np.stack([grey, 255 - grey, grey // 2], -1) if layer == "rgb" else grey[..., None]
    assert np.array_equal(volume[:], in_the_cube(wanted))


async def test_a_model_sees_what_is_around_its_blocks(data_dir: Path, medulla: Mapping[str, Voxels]) -> None:
    write_model(data_dir / "models" / "mean:1.onnx", 3, 0, {"margin": "1"})
    async with at_work(data_dir) as here:
        job = await here.ended("transfer", "em", {**BOX, "model": "mean:1"})
    assert job.state is JobState.DONE, job.message
    made = np.asarray(stored(data_dir, job)[:])[..., 0]
    x, y, z = SIZE
    cube = np.pad(in_the_cube(medulla["grayscale"][:x, :y, :z]).astype(np.float64), 1)
    for start in ((95, 4, 29), (120, 30, 40)):  # across borders of blocks, away from those of the cube
        around = tuple(slice(n, n + 66) for n in start)
        inner = tuple(slice(n, n + 64) for n in start)
        wanted = mean_of(cube[around][None], 1)
        wanted[in_the_cube(np.ones(SIZE, np.uint8))[inner] == 0] = 0
        assert abs(made[inner] - wanted).max() < 0.51


async def test_clahe_leaves_zeros_around_the_layer(data_dir: Path) -> None:
    async with at_work(data_dir) as here:
        job = await here.ended("transfer", "em", {**BOX, "model": "clahe"})
    made = np.asarray(stored(data_dir, job)[:])[..., 0]
    inside = in_the_cube(np.ones(SIZE, bool))
    assert not made[~inside].any()
    assert (made[inside] > 0).mean() > 0.9


@pytest.mark.parametrize(
    ("layer", "parameters", "why"),
    [
        ("seg", {}, "layer 'seg' holds labels"),
        ("rgb", {"model": "clahe"}, "'rgb' has 3 x uint8"),
        ("gone", {}, "has no layer 'gone'"),
        ("em", {"center": "5000,0,0"}, r"voxels \(4872, -64, -64\) to \(5128, 64, 64\) have none of \(7, -30, 65\)"),
    ],
)
async def test_what_cannot_be_done_is_said(data_dir: Path, layer: str, parameters: dict[str, str], why: str) -> None:
    async with at_work(data_dir) as here:
        job = await here.ended("transfer", layer, {**BOX, "model": "identity", **parameters})
    assert job.state is JobState.FAILED
    assert re.search(why, job.message)
    assert name_of(job) is None
    assert not (data_dir / "transfers").exists()


async def begun(here: AtWork, data_dir: Path) -> Job:
    """A job that is under way."""
    job = await here.services.jobs.submit("transfer", "lab/brain", "em", {**BOX, "model": "slow"})
    async for now in here.services.jobs.changes(job.id):
        if now is not None and now.done:
            return now
    raise AssertionError("it is over already")


def write_slow_model(data_dir: Path) -> None:
    """Of some tenths of a second for each block."""
    write_model(data_dir / "models" / "slow.onnx", 9, 0, {"margin": "4"})


async def test_it_goes_on_where_it_was(data_dir: Path) -> None:
    write_slow_model(data_dir)
    async with at_work(data_dir) as here:
        before = await begun(here, data_dir)
    (making,) = (data_dir / "transfers").iterdir()
    assert making.name.startswith(".")
    assert name_of(before) is None
    kept = {path: path.stat().st_mtime_ns for path in making.rglob("*-*_*-*_*-*[0-9]")}  # whole
    os.utime(making, (1e9, 1e9))
    async with at_work(data_dir) as here:
        job = await here.ended("transfer", "em", {**BOX, "model": "slow"})
    assert (job.id, job.state, job.done) == (before.id, JobState.DONE, 16)
    assert f".{name_of(job)}" == making.name
    stored(data_dir, job)
    made = data_dir / "transfers" / making.name[1:]
    done = [path for path, time in kept.items() if (made / path.relative_to(making)).stat().st_mtime_ns == time]
    assert len(done) >= before.done - 8, "what was done is not done again; blocks of zeros are not stored"
    assert made.stat().st_mtime > 1.5e9, "its age counts from its end"


async def test_a_source_that_goes_meanwhile_leaves_no_zeros(data_dir: Path) -> None:
    """F9: what is done is kept, so a job looks after each read whether its source is still there."""
    for name in ("slow", "same"):
        write_model(data_dir / "models" / f"{name}.onnx", 9, 0, {"margin": "4"})
    async with at_work(data_dir) as here:
        whole = await here.ended("transfer", "em", {**BOX, "model": "same"})
        wanted = stored(data_dir, whole)[:]
        shutil.rmtree(data_dir / "transfers")
        job = await begun(here, data_dir)
        (data_dir / "em").rename(data_dir / "away")
        failed = [one async for one in here.services.jobs.changes(job.id) if one is not None][-1]
        assert failed.state is JobState.FAILED
        assert "info is not there any more" in failed.message
        (data_dir / "away").rename(data_dir / "em")
        again = await here.ended("transfer", "em", {**BOX, "model": "slow"})
    assert (again.state, again.done) == (JobState.DONE, 16)
    assert np.array_equal(stored(data_dir, again)[:], wanted)


async def test_what_a_cancelled_one_has_made_is_removed(data_dir: Path) -> None:
    write_slow_model(data_dir)
    async with at_work(data_dir) as here:
        job = await begun(here, data_dir)
        await here.services.jobs.cancel(job.id)
        await emptied(data_dir / "transfers")
        assert (await here.services.jobs.get(job.id)).state is JobState.CANCELLED


async def test_an_end_that_was_interrupted_is_an_end(data_dir: Path) -> None:
    """The volume had been named, but the job not yet been told to be done."""
    async with at_work(data_dir) as here:
        first = await here.ended("transfer", "em", {**BOX, "model": "identity"})
        assert first.plan is not None
        job = await here.store.submit("transfer", "lab/brain", "em", first.parameters)
        assert job.id != first.id
        await here.store.claim("gone", 0)
        await here.store.begin(job.id, first.plan, 16)
        for number in range(16):
            await here.store.task_done(job.id, number)
        again = [job async for job in here.services.jobs.changes(job.id) if job is not None][-1]
    assert (again.state, name_of(again)) == (JobState.DONE, name_of(first))
    stored(data_dir, again)


def test_parameters(tmp_path: Path) -> None:
    read = read_parameters(Models(tmp_path), {"center": "-5,00,1", "model": "clahe"})
    assert read == {"center": "-5,0,1", "model": "clahe", "size": "256,256,256"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "model: missing"),
        ({"model": "identity"}, "center: '' is not three whole numbers"),
        ({"model": "identity", "center": "1,2"}, "center: '1,2' is not"),
        ({"model": "identity", "center": "1,2,3.5"}, "center: '1,2,3.5' is not"),
        ({"model": "identity", "center": "1,2,\u0661"}, "center: '1,2,\u0661' is not"),
        ({"model": "identity", "center": "1,2,9999999999"}, "center: .* is not within 2147483648 of the origin"),
        ({"model": "identity", "center": "1,2,3", "size": "64,64,63"}, "size: .* multiples of 64 from 64 to 1024"),
        ({"model": "identity", "center": "1,2,3", "size": "0,64,64"}, "size: .* multiples of 64 from 64 to 1024"),
        ({"model": "identity", "center": "1,2,3", "size": "64,64,2048"}, "size: .* multiples of 64 from 64 to 1024"),
        ({"model": "identity", "center": "1,2,3", "colour": "red"}, "unknown are colour"),
        ({"model": "../x", "center": "1,2,3"}, "model: '../x' is not offered; offered are identity, clahe"),
    ],
)
def test_odd_parameters_are_refused(tmp_path: Path, given: dict[str, str], why: str) -> None:
    with pytest.raises((InvalidRequest, UnsupportedRequest), match=why):
        read_parameters(Models(tmp_path), given)


async def test_jobs_that_differ_in_parameters_are_different_ones(data_dir: Path) -> None:
    async with at_work(data_dir) as here:
        jobs = here.services.jobs
        given = [{"model": "identity", "center": center} for center in ("1,2,3", "1,2,4", "1,2,3")]
        first, second, third = [await jobs.submit("transfer", "lab/brain", "em", one) for one in given]
        assert first.id == third.id != second.id
        assert (first.layer, dict(first.parameters)["center"]) == ("em", "1,2,3")
        assert json.dumps(dict(third.parameters)) == json.dumps(dict(first.parameters))
        with pytest.raises(WkdvidError, match=r"layer and parameters take \d+ characters, the limit is 160"):
            await jobs.submit("transfer", "lab/brain", "em" * 60, given[0])
        with pytest.raises(InvalidRequest, match="'model': jobs of this kind take none"):
            await jobs.submit("pyramid", "lab/brain", "em", {"model": "identity"})
