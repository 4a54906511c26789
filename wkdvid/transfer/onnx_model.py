"""Models in ONNX files: one input and one output of float32, (1, 1, z, y, x).

What the file's metadata may say (``metadata_props``): ``margin``, voxels around a block that the model looks at, one
number or x,y,z (default 0); ``mean`` and ``std``: a voxel v is given as (v - mean) / std, and what comes out is turned
back so (default 0 and the largest value of the layer's type, 1 for floats). The output covers the input, or lacks its
margin.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from wkdvid.core.geometry import Vec3
from wkdvid.core.volume import Array, LayerInfo
from wkdvid.errors import JobFailed, UnsupportedRequest
from wkdvid.transfer.models import BLOCK

LARGEST_MARGIN = 128


class OnnxModel:
    def __init__(self, path: Path) -> None:
        """
        Raises:
            UnsupportedRequest: not a model of this kind.
        """
        self._name = path.stem
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # several blocks are made at a time
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception:  # onnxruntime's errors have no base of their own; its messages name the file's real path
            raise UnsupportedRequest(f"model {self._name!r}: its file cannot be loaded by onnxruntime") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [(one.type, len(one.shape)) for one in (*inputs, *outputs)] != [("tensor(float)", 5)] * 2:
            raise UnsupportedRequest(
                f"model {self._name!r}: not of one input and one output of float32, (1, 1, z, y, x)"
            )
        self._input = inputs[0].name
        said = self._session.get_modelmeta().custom_metadata_map
        self.margin = self._margin(said.get("margin", "0"))
        self._mean, self._std = (self._number(key, said.get(key)) for key in ("mean", "std"))

    def _margin(self, text: str) -> Vec3:
        parts = text.split(",")
        numbers = [
            int(part)
            for part in parts
            if part.strip().isascii() and part.strip().isdecimal() and int(part) <= LARGEST_MARGIN
        ]
        if len(numbers) != len(parts) or len(parts) not in (1, 3):
            raise UnsupportedRequest(
                f"model {self._name!r}: margin {text[:40]!r} is not one number of 0 to {LARGEST_MARGIN}, nor x,y,z"
            )
        x, y, z = numbers if len(numbers) == 3 else numbers * 3
        return (x, y, z)

    def _number(self, key: str, text: str | None) -> float | None:
        try:
            number = None if text is None else float(text)
        except ValueError:
            number = float("nan")
        if number is not None and (not np.isfinite(number) or (key == "std" and number <= 0)):
            raise UnsupportedRequest(f"model {self._name!r}: {key} {str(text)[:40]!r} is not a number that can be used")
        return number

    def check(self, info: LayerInfo) -> None:
        if info.num_channels != 1:
            raise UnsupportedRequest(
                f"model {self._name!r} is for one channel; layer {info.name!r} has {info.num_channels}"
            )

    def run(self, voxels: Array) -> Array:
        whole = voxels.dtype.kind in "iu"
        largest = np.iinfo(voxels.dtype).max if whole else 1
        mean, std = np.float32(self._mean or 0), np.float32(self._std or largest)
        given = np.ascontiguousarray((voxels[0].T.astype(np.float32) - mean) / std)
        try:
            (made,) = self._session.run(None, {self._input: given[None, None]})
        except Exception as error:  # as above
            raise JobFailed(f"model {self._name!r} failed: {type(error).__name__}") from None
        inner = self._inner(np.asarray(made), given.shape) * std + mean
        if not np.isfinite(inner).all():
            raise JobFailed(f"model {self._name!r} made what are no numbers")
        if whole:
            limits = np.iinfo(voxels.dtype)
            inner = np.clip(np.rint(inner.astype(np.float64)), limits.min, limits.max)
        return inner.T[None].astype(voxels.dtype)

    def _inner(self, made: Array, given: tuple[int, ...]) -> Array:
        """(z, y, x) of the block alone."""
        if made.shape == (1, 1, *given):
            x, y, z = (slice(margin, margin + BLOCK) for margin in self.margin)
            made = made[:, :, z, y, x]
        if made.shape != (1, 1, BLOCK, BLOCK, BLOCK):
            raise JobFailed(f"model {self._name!r} made {made.shape} of (1, 1, {', '.join(map(str, given))})")
        inner: Array = made[0, 0]
        return inner
