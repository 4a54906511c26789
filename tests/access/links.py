"""What a share link to a dataset opens, asked of every route."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tests.access.routes import path_of, told
from tests.servers import Server
from wkdvid.testing.webknossos import MainServer

SLASH = r"(/|\\|%2F|(%5C)+)"
"""As addresses within addresses have it; for Neuroglancer's ``dvid://`` it is a backslash."""


def linked(server: Server, headers: Mapping[str, str], layer: str | None = None) -> str:
    """The token of a link to the hidden dataset."""
    body = {"dataset": "org/hidden"} if layer is None else {"dataset": "org/hidden", "layer": layer}
    answer = server.post("/api/links", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


def check_link(server: Server, administrator: Mapping[str, str], routes: Iterable[tuple[str, str]]) -> None:
    """It reads what it is for as an administrator does, in a header and in the path; all else is as if not there."""
    token = linked(server, administrator)
    other_layer = {"X-Auth-Token": linked(server, administrator, "other")}
    header = {"X-Auth-Token": token}
    below = Server(server.process, f"{server.base}/shared/{token}", server.data_dir, server.log)
    for method, uri in routes:
        missing, hidden = told(server, method, uri, "missing", header), told(server, method, uri, "hidden", header)
        seen = told(server, method, uri, "hidden", administrator)
        assert hidden == seen or (hidden[0] == seen[0] and "<!doctype html>" in seen[1]), uri  # pages name who is there
        assert hidden != missing, uri
        status, text = told(below, method, uri, "hidden", {})
        assert (status, re.sub(rf"{SLASH}shared{SLASH}{token}", "", text)) == hidden, uri
        assert told(server, method, uri, "open", header) == missing, uri
        if "/image" in path_of(uri, "hidden"):
            assert told(server, method, uri, "hidden", other_layer)[0] in {400, 403, 404}, uri


def check_no_link_was_told(main: MainServer) -> None:
    """They are ours alone."""
    assert main.requests
    assert not [asked for asked in main.requests if "link-" in str(asked)]
    administration = [asked.json() for asked in main.requests if b'"administrate"' in asked.body]
    assert not [asked for asked in administration if asked["resourceType"] != "webknossos"]
