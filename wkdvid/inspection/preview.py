"""An inspection as a page shows it: the document, each layer with a picture."""

from __future__ import annotations

import base64
from itertools import zip_longest
from typing import Any

from wkdvid.core.concurrent import for_each
from wkdvid.errors import BackendError
from wkdvid.inspection.document import document
from wkdvid.inspection.inspector import InspectedLayer, Inspector
from wkdvid.inspection.picture import middle_slice
from wkdvid.inspection.recognition import layer_name

SIDE = 256
"""Pixels."""
PICTURES = 64
"""Layers that get one, the first."""


async def preview(inspector: Inspector, body: Any) -> dict[str, Any]:
    """What ``document.answer`` gives, with a ``name``, and of each layer ``picture``: a data: URL; None: it has none.

    Raises:
        RequestError, BackendError: as ``Inspector.inspect``.
    """
    found = await inspector.inspect(body)
    try:
        pictures = await for_each(_picture, found.layers[:PICTURES])
    finally:
        await found.aclose()
    told = {**document(found), "name": _name(body)}
    for layer, picture in zip_longest(told["layers"], pictures):
        layer["picture"] = picture
    return told


def _name(body: Any) -> str:
    """What a dataset of the source may be called."""
    source = body.get("source")
    return layer_name(source) if isinstance(source, str) else ""


async def _picture(layer: InspectedLayer) -> str | None:
    try:
        png = await middle_slice(layer.volume, SIDE)
    except BackendError:
        return None  # the problems say why
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
