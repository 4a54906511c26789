"""What models are, and which there are: ``identity``, ``clahe`` and the ONNX files of a folder."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from wkdvid.core.geometry import ZERO, Vec3
from wkdvid.core.volume import Array, LayerInfo
from wkdvid.errors import UnsupportedRequest
from wkdvid.extras import require

BLOCK = 64
"""Voxels a side of what a model makes at a time."""
IDENTITY, CLAHE = "identity", "clahe"
ONNX = ".onnx"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,63}")


class Model(Protocol):
    @property
    def margin(self) -> Vec3:
        """Voxels around a block, on each side, that it looks at."""
        ...

    def check(self, info: LayerInfo) -> None:
        """
        Raises:
            UnsupportedRequest: it is not made for such layers.
        """
        ...

    def run(self, voxels: Array) -> Array:
        """Takes the CPU long: not for the event loop. May be called by several threads.

        Args:
            voxels: (c, x, y, z), a block of 64 a side with its margin; not to be written to.
        Returns:
            The block without its margin, of the same type.
        Raises:
            JobFailed: the model fails.
        """
        ...


class Identity:
    """The block as it is."""

    margin = ZERO

    def check(self, info: LayerInfo) -> None:
        """For all layers."""

    def run(self, voxels: Array) -> Array:
        return voxels


class Models:
    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: Of ONNX files, named ``MODEL.onnx``; need not be there.
        """
        self._folder = folder

    def names(self) -> Sequence[str]:
        found = sorted(path.stem for path in self._folder.glob(f"*{ONNX}") if _NAME.fullmatch(path.stem))
        return [IDENTITY, CLAHE, *(name for name in found if name not in (IDENTITY, CLAHE))]

    def check(self, name: str) -> str:
        """Return the name if it is a model's.

        Raises:
            UnsupportedRequest: it is not.
        """
        if name not in self.names():
            raise UnsupportedRequest(f"model: {name[:64]!r} is not offered; offered are {', '.join(self.names())}")
        return name

    def load(self, name: str) -> Model:
        """
        Raises:
            UnsupportedRequest: there is no such model, or it cannot be loaded; or it needs what is not installed.
        """
        self.check(name)
        if name == IDENTITY:
            return Identity()
        if name == CLAHE:
            clahe: Model = _module("clahe", "cv2").Clahe()
            return clahe
        onnx: Model = _module("onnx_model", "onnxruntime").OnnxModel(self._folder / f"{name}{ONNX}")
        return onnx


def _module(name: str, package: str) -> Any:
    require(package, "transfer", f"this model needs {package}")
    return importlib.import_module(f"wkdvid.transfer.{name}")
