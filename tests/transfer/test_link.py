from __future__ import annotations

import json
from urllib.parse import unquote

from wkdvid.transfer.link import neuroglancer_link


def test_the_link_has_clio_stores_state() -> None:
    link = neuroglancer_link("https://em.example.org/cache/abc")
    assert link.startswith("https://neuroglancer-demo.appspot.com/#!%7B")
    assert "precomputed%3A%2F%2Fhttps%3A%2F%2Fem.example.org%2Fcache%2Fabc" in link
    source = {"url": "precomputed://https://em.example.org/cache/abc"}
    assert json.loads(unquote(link.partition("#!")[2])) == {
        "layers": [{"type": "image", "source": source, "tab": "source", "name": "jpeg"}],
        "selectedLayer": {"layer": "jpeg", "visible": True},
    }
    assert neuroglancer_link("http://x", "http://127.0.0.1:9/v/").startswith("http://127.0.0.1:9/v/#!%7B")
