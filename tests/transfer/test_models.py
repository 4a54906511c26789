"""Models: what they make of a block, and which layers they are for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.volumes import Voxels
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.volume import LayerInfo, LevelInfo
from wkdvid.errors import JobFailed, UnsupportedRequest
from wkdvid.transfer.models import BLOCK, Model, Models


def info(dtype: str = "uint8", channels: int = 1) -> LayerInfo:
    level = LevelInfo(
        mag=(1, 1, 1),
        extent=Box((0, 0, 0), (64, 64, 64)),
        chunk_shape=(64, 64, 64),
        chunk_origin=(0, 0, 0),
        encoding="raw",
    )
    return LayerInfo(
        name="em",
        category="color",
        dtype=np.dtype(dtype),
        num_channels=channels,
        voxel_size_nm=(8, 8, 8),
        levels=(level,),
        format="test",
    )


def write_model(path: Path, kernel: int, pads: int, metadata: Mapping[str, str], factor: float = 1.0) -> None:
    """A mean over cubes of ``kernel`` voxels a side, times a factor."""
    shape = [1, 1, None, None, None]
    weights = np.full((1, 1, kernel, kernel, kernel), factor / kernel**3, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["in", "weights"], ["out"], pads=[pads] * 6)],
        "mean",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata))
    path.parent.mkdir(exist_ok=True)
    onnx.save(model, path)


def block(dtype: str = "uint8", margin: Vec3 = (0, 0, 0)) -> Voxels:
    size = tuple(BLOCK + 2 * n for n in margin)
    values = np.random.default_rng(0).integers(0, 200, (1, *size))
    return np.asfortranarray(values.astype(dtype))


def mean_of(voxels: Voxels, margin: int) -> Voxels:
    """By adding up what is around each voxel of the block."""
    side = 2 * margin + 1
    total = np.zeros((BLOCK,) * 3)
    for x, y, z in np.ndindex(side, side, side):
        total += voxels[0, x : x + BLOCK, y : y + BLOCK, z : z + BLOCK]
    return total / side**3


def test_identity_is_for_all_layers(tmp_path: Path) -> None:
    model = Models(tmp_path).load("identity")
    model.check(info("float32", 3))
    assert (model.margin, model.run(block()).tobytes("F")) == ((0, 0, 0), block().tobytes("F"))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_blocks_of_clahe_fit_together(medulla: Mapping[str, Voxels], tmp_path: Path, dtype: str) -> None:
    """They are what OpenCV makes of the plane as a whole, if that has a tile more on each side."""
    plane = medulla["grayscale"][:, :, 5].astype(dtype)[None, :, :, None]
    plane = np.asfortranarray(np.pad(plane, [(0, 0), (0, 6), (0, 6), (0, 0)]))
    model = Models(tmp_path).load("clahe")
    model.check(info(dtype))
    assert model.margin == (BLOCK, BLOCK, 0)
    whole = cv2.createCLAHE(2.0, (4, 4)).apply(np.ascontiguousarray(plane[0, :, :, 0].T)).T
    for x, y in np.ndindex(2, 2):
        made = model.run(plane[:, x * BLOCK : (x + 3) * BLOCK, y * BLOCK : (y + 3) * BLOCK])
        inner = whole[(x + 1) * BLOCK : (x + 2) * BLOCK, (y + 1) * BLOCK : (y + 2) * BLOCK]
        assert (made.shape, made.dtype.name) == ((1, BLOCK, BLOCK, 1), dtype)
        assert np.array_equal(made[0, :, :, 0], inner)
        assert made.std() > plane[:, (x + 1) * BLOCK :][:, :BLOCK].std(), "more contrast"


@pytest.mark.parametrize(("dtype", "channels"), [("float32", 1), ("uint8", 3), ("uint32", 1)])
def test_clahe_is_for_gray_images_of_8_and_16_bits(tmp_path: Path, dtype: str, channels: int) -> None:
    with pytest.raises(UnsupportedRequest, match=f"'em' has {channels} x {dtype}"):
        Models(tmp_path).load("clahe").check(info(dtype, channels))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize("pads", [0, 1])
def test_a_model_of_a_file(tmp_path: Path, dtype: str, pads: int) -> None:
    """The output may lack the margin or have it."""
    write_model(tmp_path / "mean:1.onnx", 3, pads, {"margin": "1", "mean": "100", "std": "50"})
    model = Models(tmp_path).load("mean:1")
    assert model.margin == (1, 1, 1)
    voxels = block(dtype, model.margin)
    made = model.run(voxels)
    assert (made.shape, made.dtype.name) == ((1, BLOCK, BLOCK, BLOCK), dtype)
    wanted = mean_of(voxels, 1)
    assert abs(made[0] - wanted).max() <= (1e-3 if dtype == "float32" else 0.501)


def test_what_a_model_makes_stays_in_the_range_of_the_type(tmp_path: Path) -> None:
    write_model(tmp_path / "bright.onnx", 1, 0, {}, factor=2.0)
    made = Models(tmp_path).load("bright").run(block())
    assert np.array_equal(made, np.minimum(block().astype(int) * 2, 255))


def test_a_model_may_look_farther_along_some_axes(tmp_path: Path) -> None:
    write_model(tmp_path / "flat.onnx", 1, 0, {"margin": "3, 2,0"})
    model = Models(tmp_path).load("flat")
    assert model.margin == (3, 2, 0)
    voxels = block("uint8", model.margin)
    assert np.array_equal(model.run(voxels), voxels[:, 3:-3, 2:-2])


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"margin": "-1"}, "margin '-1' is not one number of 0 to 128"),
        ({"margin": "1,2"}, "margin '1,2' is not"),
        ({"margin": "129"}, "margin '129' is not"),
        ({"std": "0"}, "std '0' is not"),
        ({"mean": "nan"}, "mean 'nan' is not"),
        ({"mean": "white"}, "mean 'white' is not"),
    ],
)
def test_odd_metadata_is_refused(tmp_path: Path, metadata: dict[str, str], why: str) -> None:
    write_model(tmp_path / "odd.onnx", 1, 0, metadata)
    with pytest.raises(UnsupportedRequest, match=why):
        Models(tmp_path).load("odd")


def test_models_that_fail_say_so(tmp_path: Path) -> None:
    models = Models(tmp_path)
    (tmp_path / "noise.onnx").write_bytes(b"no model")
    with pytest.raises(UnsupportedRequest, match=r"^model 'noise': its file cannot be loaded by onnxruntime$"):
        models.load("noise")
    write_model(tmp_path / "cut.onnx", 5, 0, {})
    with pytest.raises(JobFailed, match=r"'cut' made \(1, 1, 60, 60, 60\) of \(1, 1, 64, 64, 64\)"):
        models.load("cut").run(block())
    write_model(tmp_path / "large.onnx", 99, 0, {})
    with pytest.raises(JobFailed, match="'large' failed: "):
        models.load("large").run(block())
    write_model(tmp_path / "inf.onnx", 1, 0, {}, factor=float("inf"))
    with pytest.raises(JobFailed, match="'inf' made what are no numbers"):
        models.load("inf").run(block())
    with pytest.raises(UnsupportedRequest, match="'inf' is for one channel; layer 'em' has 3"):
        models.load("inf").check(info(channels=3))
    shape = [1, 1, 4]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", values[:1], values[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "flat.onnx"
    )
    with pytest.raises(UnsupportedRequest, match="'flat': not of one input and one output of float32"):
        models.load("flat")


def test_which_models_there_are(tmp_path: Path) -> None:
    assert Models(tmp_path / "none").names() == ["identity", "clahe"]
    for name in ("vnc2hemi:3000.onnx", "a b.onnx", ".hidden.onnx", "clahe.onnx", "readme.txt", "b.onnx"):
        (tmp_path / name).touch()
    models = Models(tmp_path)
    assert models.names() == ["identity", "clahe", "b", "vnc2hemi:3000"]
    for name in ("../models/b", "a b", "", "B"):
        with pytest.raises(UnsupportedRequest, match="offered are identity, clahe, b, vnc2hemi:3000"):
            models.load(name)


def test_a_model_whose_package_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    monkeypatch.delitem(__import__("sys").modules, "wkdvid.transfer.clahe", raising=False)
    with pytest.raises(UnsupportedRequest, match=r"this model needs cv2: pip install 'wkdvid\[transfer\]'"):
        Models(tmp_path).load("clahe")
    loaded: Model = Models(tmp_path).load("identity")
    assert loaded.margin == (0, 0, 0)
