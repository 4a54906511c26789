"""Who has signed in on a page: what the cookie is good for, and from whose pages."""

from __future__ import annotations

import pytest
import requests

from tests.access.routes import AT_ONCE, ROUTES, SECRET, SIGNS_IN, TOKEN, ask
from tests.servers import Server
from wkdvid.frontends.http import SESSION_COOKIE

SIGNED_IN = {"Cookie": f"other=1; {SESSION_COOKIE}={TOKEN}"}
OWN_PAGES = [{"Content-Type": "application/json"}, {"Content-Type": "application/json; charset=utf-8"}, {"Origin": ""}]
FOREIGN_PAGES: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Host": "evil.example", "Content-Type": "application/json"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {},
]


def test_a_session_reads_what_its_token_reads(guarded: Server) -> None:
    hidden = "/data/datasets/org/hidden"
    assert guarded.get(hidden, headers=SIGNED_IN).status_code == 200
    assert guarded.get(hidden, headers={"Cookie": f"{SESSION_COOKIE}=wrong"}).status_code == 404
    assert guarded.get(hidden, headers={**SIGNED_IN, "X-Auth-Token": "wrong"}).status_code == 404
    answer = guarded.get(hidden, headers={**SIGNED_IN, "Origin": "https://evil.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"  # so no browser lets that page see it
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("page", OWN_PAGES)
def test_a_session_changes_from_our_own_pages(guarded: Server, page: dict[str, str]) -> None:
    headers = {**SIGNED_IN, **{name: value or guarded.base for name, value in page.items()}}
    assert guarded.post("/data/triggers/reload/org/open", data=b"{}", headers=headers).status_code == 200


@pytest.mark.parametrize("page", FOREIGN_PAGES)
def test_a_session_changes_nothing_from_pages_of_others(guarded: Server, page: dict[str, str]) -> None:
    for path in ("/data/triggers/reload/org/open", "/api/config/dataset"):
        assert guarded.post(path, data=b"{}", headers={**SIGNED_IN, **page}).status_code == 403
    vouched = {**SIGNED_IN, **page, **SECRET}
    assert guarded.post("/data/triggers/reload/org/open", data=b"{}", headers=vouched).status_code == 200


@pytest.mark.parametrize(("method", "uri"), AT_ONCE)
def test_no_change_heeds_a_session_from_a_foreign_page(guarded: Server, method: str, uri: str) -> None:
    before = (guarded.data_dir / "datasets.json").read_bytes()
    for foreign in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        assert ask(guarded, method, uri, "open", {**SIGNED_IN, **foreign}).status_code == 403
    assert (guarded.data_dir / "datasets.json").read_bytes() == before


@pytest.mark.parametrize(("method", "uri"), [(method, uri) for method, uri, access in ROUTES if access == SIGNS_IN])
def test_no_foreign_page_signs_anybody_in_or_out(guarded: Server, open_server: Server, method: str, uri: str) -> None:
    for server in (guarded, open_server):
        for page in FOREIGN_PAGES[:-1]:
            headers = {**SIGNED_IN, **page}
            answer = requests.request(method, server.base + uri, data=f"token={TOKEN}", headers=headers, timeout=60)
            assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False), page


def test_a_user_of_webknossos_signs_in(shared: Server) -> None:
    page = {"Origin": shared.base, "Host": shared.base.removeprefix("http://")}
    answer = shared.post("/sign-in", data={"token": "alice"}, headers=page, allow_redirects=False)
    session = {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
    listed = shared.get("/", headers=session).text
    assert "User of webKnossos" in listed
    assert '"datasets/org/open"' in listed
    assert "hidden" not in listed
    assert shared.get("/add", headers=session).status_code == 403
    assert "datasets/org/open" not in shared.get("/").text


def test_where_nobody_needs_to_sign_in_forms_are_taken_from_our_own_pages(open_server: Server) -> None:
    assert "anyone may do everything" in open_server.get("/sign-in").text
    page = {"Origin": open_server.base}
    assert open_server.post("/sign-in", data={"token": "x"}, headers=page).status_code == 404
    reload = "/datasets/org/open/reload"
    assert open_server.post(reload, data={}, headers=page, allow_redirects=False).status_code == 303
