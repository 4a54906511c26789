"""Neuroglancer as it is built for Python's ``neuroglancer`` package, served as files; and what it is opened with.

That build takes its state from the address (``#!JSON``), and tells a Python process what is done; there is none here,
so ``static/viewer.js`` takes its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from wkdvid.core.catalog import Dataset
from wkdvid.core.geometry import Box
from wkdvid.core.layers import Layer
from wkdvid.core.pictures import Tone
from wkdvid.core.volume import LayerInfo
from wkdvid.frontends.addresses import neuroglancer_address, precomputed_address

PAGE = "neuroglancer/v/view/"
"""Relative to the server's root. The client insists on a path of this form."""
HIGH = 340.0
"""Pixels that the whole extent takes on the screen at first: there are four panels."""
GRAY = "#uicontrol invlerp normalized\nvoid main() {\n  emitGrayscale(normalized());\n}\n"
RGB = (
    "void main() {\n  emitRGB(vec3(toNormalized(getDataValue(0)), toNormalized(getDataValue(1)), "
    "toNormalized(getDataValue(2))));\n}\n"
)
CONTENT_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".wasm": "application/wasm",
}
_LOADED = re.compile(r'(?:src|href)="([\w.-]+)"')


@dataclass(frozen=True, slots=True)
class Client:
    """The built client."""

    files: Mapping[str, Path]
    """By name, which holds a hash of the content."""
    scripts: Sequence[str]
    styles: Sequence[str]


@cache
def built_client() -> Client | None:
    """None: the package is not installed. It is not imported: that takes long, and needs what a server does not."""
    spec = find_spec("neuroglancer")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "static" / "client"
    if not (folder / "index.html").is_file():
        return None
    loaded = _LOADED.findall((folder / "index.html").read_text())
    files = {path.name: path for path in folder.iterdir() if path.suffix in CONTENT_TYPES}
    return Client(
        files, [name for name in loaded if name.endswith(".js")], [name for name in loaded if name.endswith(".css")]
    )


def viewer_address(
    dataset: Dataset, whole: Box, base: str, tones: Mapping[str, Tone], *, over_dvid: bool
) -> str | None:
    """Where the viewer shows a dataset, relative to the server's root. None: it can show no layer of it.

    Args:
        whole: What is shown, in voxels of mag 1: the middle of it, and as much as fits.
        base: Where the caller found us.
        tones: Of the image layers that have one.
        over_dvid: Whether layers are read over ``dvid://``; else as precomputed.
    """
    state = viewer_state(dataset, whole, base, tones, over_dvid=over_dvid)
    return None if state is None else f"{PAGE}#!{quote(orjson.dumps(state).decode(), safe='')}"


def viewer_state(
    dataset: Dataset, whole: Box, base: str, tones: Mapping[str, Tone], *, over_dvid: bool
) -> dict[str, Any] | None:
    """As ``viewer_address``, of which it is the JSON."""
    layers = [
        _layer(layer.info, source, tones.get(layer.info.name, Tone()))
        for layer in sorted(dataset.layers.values(), key=_is_segmentation)
        if (source := _source(dataset, layer.info, base, over_dvid=over_dvid)) is not None
    ]
    if not layers:
        return None
    size_nm = next(iter(dataset.layers.values())).info.voxel_size_nm
    longest = max(n * nm for n, nm in zip(whole.size, size_nm, strict=True)) / min(size_nm)
    return {
        "dimensions": {axis: [nm * 1e-9, "m"] for axis, nm in zip("xyz", size_nm, strict=True)},
        "position": [(a + b) // 2 + 0.5 for a, b in zip(whole.start, whole.stop, strict=True)],
        "crossSectionScale": longest / HIGH,
        "projectionScale": 1.5 * longest,
        "layers": layers,
        "layout": "4panel",
        "crossSectionBackgroundColor": "#000000",
    }


def _is_segmentation(layer: Layer) -> bool:
    """Segments lie above images."""
    return layer.info.category == "segmentation"


def _source(dataset: Dataset, info: LayerInfo, base: str, *, over_dvid: bool) -> str | None:
    if over_dvid:
        return neuroglancer_address(dataset, info, base)
    address = precomputed_address(dataset, info, base)
    return None if address is None else f"precomputed://{address}"


def _layer(info: LayerInfo, source: str, tone: Tone) -> dict[str, Any]:
    if info.category == "segmentation":
        return {"type": "segmentation", "source": source, "name": info.name}
    shown = {"type": "image", "source": source, "name": info.name, "opacity": 1, "shader": GRAY}
    if info.num_channels > 1:
        return {**shown, "shader": RGB}
    if tone.low is None or tone.high is None or info.dtype.itemsize > 4:  # it keeps integers of 64 bits as texts
        return shown
    return {**shown, "shaderControls": {"normalized": {"range": _range(info, tone.low, tone.high)}}}


def _range(info: LayerInfo, low: float, high: float) -> list[float]:
    return [low, high] if info.dtype.kind == "f" else [round(low), max(round(high), round(low) + 1)]


def demo_link(dataset: Dataset, whole: Box, base: str, tones: Mapping[str, Tone]) -> str | None:
    """For the Neuroglancer that Google serves: a text, which no page of ours loads anything from."""
    state = viewer_state(dataset, whole, base, tones, over_dvid=False)
    return None if state is None else f"https://neuroglancer-demo.appspot.com/#!{quote(orjson.dumps(state).decode())}"
