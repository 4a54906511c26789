"""Mode ``clio`` on the pages: logging in with a provider, users, roles and tokens, and who may do what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from playwright.sync_api import Browser, expect

from tests.clients.visit import Visit
from tests.clio.accounts import SECRET, TOKENS
from tests.clio.provider import CLIENT, CLIENT_SECRET, Provider
from tests.home.axe import barriers
from tests.home.forms import Forms, Visitor
from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.identity.own import COOKIE

ADA, BOB = "ada@lab.org", "bob@lab.org"
DATASETS = {"precomputed": {"lab": {"brain": {"layers": {"em": {"source": "em"}}}}}}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def server(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("data")
    write_precomputed(folder / "em", [((1, 1, 1), np.ones((8, 8, 8), np.uint8))])
    (folder / "config.toml").write_text(
        f"""
[[clio.providers]]
issuer = "{provider.issuer}"
audiences = ["{CLIENT}"]
client_id = "{CLIENT}"
client_secret = "$CLIENT_SECRET"
"""
    )
    environ = {"WKDVID_ACCESS__MODE": "clio", "OWNER": ADA, "FLYEM_SECRET": SECRET, "CLIENT_SECRET": CLIENT_SECRET}
    with running(folder, DATASETS, environ=environ) as started:
        provider.redirects.add(f"{started.base}/login/callback")
        yield started


def visitor(server: Server, email: str) -> Visitor:
    return Visitor(server.base, {COOKIE: TOKENS.mint(email, {})})


def roles_of(server: Server, token: str) -> dict[str, object]:
    answer = requests.get(f"{server.base}/v2/roles", headers={"Authorization": f"Bearer {token}"}, timeout=60)
    return dict(answer.json()) if answer.status_code == 200 else {"status": answer.status_code}


def test_an_administrator_logs_in_and_cares_for_users(browser: Browser, server: Server, provider: Provider) -> None:
    with Visit(browser) as visit:
        page = visit.page
        page.goto(f"{server.base}/people")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to see this")
        page.get_by_role("link", name="Sign in").click()
        expect(page.locator(".account")).to_contain_text("Ada")
        page.get_by_label("Email").fill("Bob")
        page.get_by_role("button", name="Add").click()
        expect(page.locator("#error-email")).to_have_text("'Bob' is no email address.")
        page.get_by_label("Email").fill("Bob@Lab.org")
        page.get_by_label("Name").fill("Bob B.")
        page.get_by_label("Groups").fill("g1 g2")
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("status").first).to_have_text("Added.")
        page.get_by_role("combobox", name="Role").fill("clio_write")
        page.get_by_label("Of dataset").fill("lab/brain")
        page.get_by_role("button", name="Give role").click()
        expect(page.get_by_role("listitem").filter(has_text="of lab/brain")).to_contain_text("clio_write")
        page.get_by_label("Days").fill("2")
        page.get_by_role("button", name="Mint a token").click()
        token = page.get_by_label("The new token").input_value()
        assert barriers(page) == []
        held = roles_of(server, token)
        assert (held["email"], held["datasets"], held["groups"]) == (BOB, {"brain": ["clio_write"]}, ["g1", "g2"])
        page.get_by_role("button", name="Remove role clio_write of lab/brain").click()
        expect(page.get_by_text("No roles.")).to_be_visible()
        page.get_by_role("button", name="Revoke all tokens").click()
        expect(page.get_by_role("status").first).to_contain_text("counts any more")
        assert roles_of(server, token) == {"status": 401}
        page.get_by_role("link", name="Users").click()
        expect(page.get_by_role("row").filter(has_text=BOB)).to_contain_text("no roles")
        assert barriers(page) == []
        page.get_by_role("link", name=BOB).click()
        page.get_by_role("link", name="Remove").click()
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_role("row").filter(has_text=BOB)).to_have_count(0)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        assert visit.hosts == {urlsplit(server.base).netloc, urlsplit(provider.issuer).netloc}
        assert visit.refused == [f"401 {server.base}/people", f"400 {server.base}/people"]
        assert len(visit.complaints) == len(visit.refused)


def test_a_token_of_ones_own_signs_in_too(server: Server) -> None:
    someone = Visitor(server.base, {})
    answer = someone.send("/sign-in", {"token": TOKENS.mint("eve@lab.org", {})})
    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}=")
    assert "eve@lab.org" in someone.get("/").text
    assert someone.send("/sign-in", {"token": "nobodys"}).status_code == 400


def test_who_is_no_administrator_sees_what_their_roles_show(server: Server) -> None:
    administrator = visitor(server, ADA)
    administrator.send("/people", {"email": "dan@lab.org"})
    eve, dan = visitor(server, "eve@lab.org"), visitor(server, "dan@lab.org")
    page = "/datasets/lab/brain"
    assert (eve.get(page).status_code, dan.get(page).status_code) == (404, 404)
    administrator.send("/people/dan@lab.org/roles", {"role": "dataset_admin", "dataset": "brain"})
    shown = dan.get(page).text
    assert (f"{page[1:]}/links" in shown, f"{page[1:]}/edit" in shown) == (True, False)
    assert dan.send(f"{page}/links", {"days": "1"}).status_code == 303
    (link,) = Forms(dan.get(f"{page}/links").text).actions[-1:]
    assert eve.send(f"{page}/links", {"days": "1"}).status_code == 403
    assert dan.send("/" + link.replace("../", ""), {}).headers["Location"].endswith("?done=link-revoked")
    for path in ("/add", "/jobs", "/people", f"{page}/edit"):
        assert (dan.get(path).status_code, eve.get(path).status_code) == (403, 403)
    assert dan.send(f"{page}/remove", {}).status_code == 403
    assert eve.send("/people/eve@lab.org/roles", {"role": "admin"}).status_code == 403


@pytest.mark.parametrize(
    ("path", "fields", "wrong"),
    [
        ("/people", {"email": ""}, "email"),
        ("/people", {"email": "a b@c"}, "email"),
        ("/people", {"email": "a@c", "name": "x" * 301}, "name"),
        (f"/people/{ADA}/roles", {"role": ""}, "role"),
        (f"/people/{ADA}/tokens", {"days": "0"}, "days"),
        (f"/people/{ADA}/tokens", {"days": "\u0661"}, "days"),
        (f"/people/{ADA}/tokens", {"days": "1", "label": "x" * 301}, "label"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(server: Server, path: str, fields: dict[str, str], wrong: str) -> None:
    administrator = visitor(server, ADA)
    administrator.send("/people", {"email": ADA})
    answer = administrator.send(path, fields)
    assert (answer.status_code, [*Forms(answer.text).errors]) == (400, [wrong])


def test_opaque_tokens_are_shown_once_and_kept_nowhere(server: Server) -> None:
    administrator = visitor(server, ADA)
    administrator.send("/people", {"email": "robot@lab.org"})
    path = "/people/robot@lab.org/tokens"
    answer = administrator.send(path, {"days": "1", "opaque": "yes", "label": "nightly"})
    assert answer.headers["Cache-Control"] == "no-store"
    (token,) = re.findall(r'id="new-token"[^>]* value="([^"]+)"', answer.text)
    assert roles_of(server, token)["email"] == "robot@lab.org"
    assert administrator.get("/people/none@lab.org").status_code == 404
