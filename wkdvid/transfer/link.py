"""The address that shows a volume in Neuroglancer, with the state that clio-store's has."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

NEUROGLANCER = "https://neuroglancer-demo.appspot.com/"
LAYER = "jpeg"
"""What the layer is called there, whatever it holds."""


def neuroglancer_link(volume: str, viewer: str = NEUROGLANCER) -> str:
    """
    Args:
        volume: Where the viewer reaches the precomputed volume: an http(s) URL.
        viewer: Address of a Neuroglancer.
    """
    layer = {"type": "image", "source": {"url": f"precomputed://{volume}"}, "tab": "source", "name": LAYER}
    state: dict[str, Any] = {"layers": [layer], "selectedLayer": {"layer": LAYER, "visible": True}}
    return f"{viewer}#!{quote(json.dumps(state, separators=(',', ':')), safe='')}"
