"""Who sends a request, over a real server: logins in a browser, tokens of every kind, where they may stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
import requests
from joserfc.jwk import ECKey

from tests.clio.accounts import DATASET, OWNER, SECRET, TOKENS, Clio, clio_server
from tests.clio.provider import CLIENT, CLIENT_SECRET, Provider
from wkdvid.cli import main

PAGE = "https://clio.lab.example"
"""An allowed origin."""
HOME = "https://em.lab.example"
"""Of pages that may change state on all front ends."""
COOKIE = "dsg_token"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def offline() -> Iterator[Provider]:
    """Never asked: its keys are in a file."""
    with Provider() as provider:
        provider.issuer, provider.is_down = "https://offline.example", True
        provider.keys = {"ec": ECKey.generate_key("P-256", {"kid": "ec"})}
        provider.user = {"email": "OFF@t.com", "email_verified": True}
        yield provider


@pytest.fixture(scope="module")
def clio(provider: Provider, offline: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clio]:
    folder = tmp_path_factory.mktemp("data")
    (folder / "keys.json").write_text(json.dumps(offline.published()))
    (folder / "config.toml").write_text(
        f"""
[server]
corsDomains = ["{HOME}"]
[clio]
allowed_origins = ["{PAGE}"]
[[clio.providers]]
issuer = "{provider.issuer}"
audiences = ["{CLIENT}"]
client_id = "{CLIENT}"
client_secret = "$CLIENT_SECRET"
[[clio.providers]]
issuer = "{offline.issuer}"
jwks_file = "{folder / "keys.json"}"
audiences = ["*"]
algorithms = ["ES256"]
"""
    )
    with clio_server(folder, {"CLIENT_SECRET": CLIENT_SECRET}) as server:
        provider.redirects.add(f"{server.server.base}/login/callback")
        yield server


@pytest.fixture
def browser() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def log_in(clio: Clio, browser: requests.Session, redirect: str = "/profile") -> requests.Response:
    """Through the provider, and up to what leads out of this machine."""
    answer = browser.get(f"{clio.server.base}/login", params={"redirect": redirect}, allow_redirects=False, timeout=60)
    while answer.is_redirect and not answer.headers["Location"].startswith(PAGE):
        where = requests.compat.urljoin(answer.url, answer.headers["Location"])
        answer = browser.get(where, allow_redirects=False, timeout=60)
    return answer


def test_a_browser_logs_in_and_out(clio: Clio, browser: requests.Session) -> None:
    profile = log_in(clio, browser).json()
    assert (profile["email"], profile["name"], profile["dsg_url"]) == ("ada@lab.org", "Ada", None)
    (cookie,) = [one for one in browser.cookies if one.name == COOKIE]
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    claims = jwt.decode(str(cookie.value), SECRET, ["HS256"])
    assert (claims["iss"], claims["name"]) == ("flyem-clio-store", "Ada")
    left = browser.post(f"{clio.server.base}/logout", allow_redirects=False, timeout=60)
    assert (left.status_code, left.headers["Location"]) == (302, "/")
    assert browser.get(f"{clio.server.base}/profile", timeout=60).status_code == 401


def test_a_login_leads_back_to_the_page(clio: Clio, browser: requests.Session) -> None:
    answer = log_in(clio, browser, f"{PAGE}/here?a=b#c")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{PAGE}/here?a=b#c")


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    "////evil.example/a",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https:///evil.example",
    "https:/evil.example",
    "/\t/evil.example",
    " //evil.example",
    "/\n/evil.example",
    f"{PAGE}@evil.example/",
    f"{PAGE}.evil.example/",
    f"{PAGE}:8443/",
    f"{PAGE}\\@evil.example/",
    f"{PAGE}\t.evil.example/",
    f"{PAGE.replace('https', 'http')}/",
    f"https://user@{PAGE.removeprefix('https://')}/",
    "javascript:alert(1)",
    "evil.example",
    "/here\r\nSet-Cookie: dsg_token=x",
    "",
]


@pytest.mark.parametrize("address", ELSEWHERE)
@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_nobody_is_led_elsewhere(clio: Clio, path: str, address: str) -> None:
    where = f"{clio.server.base}{path}?{urlencode({'redirect': address})}"
    answer = requests.get(where, allow_redirects=False, timeout=60)
    if path == "/logout" and not address:
        assert answer.headers["Location"] == "/"
        return
    assert answer.status_code in {400, 422}
    assert {"Location", "Set-Cookie"}.isdisjoint(answer.headers)


def test_a_login_belongs_to_the_browser_that_began_it(clio: Clio, browser: requests.Session) -> None:
    begun = browser.get(f"{clio.server.base}/login?redirect=/profile", allow_redirects=False, timeout=60)
    back = browser.get(begun.headers["Location"], allow_redirects=False, timeout=60).headers["Location"]
    assert requests.get(back, allow_redirects=False, timeout=60).status_code == 401
    other = back.replace("state=", "state=x")
    assert browser.get(other, allow_redirects=False, timeout=60).status_code == 401
    assert browser.get(back, allow_redirects=False, timeout=60).status_code == 302
    assert browser.get(back, allow_redirects=False, timeout=60).status_code == 401  # the code counts once


def test_the_question_to_the_provider(clio: Clio) -> None:
    begun = requests.get(f"{clio.server.base}/login?redirect=/", allow_redirects=False, timeout=60)
    query = {name: one[0] for name, one in parse_qs(urlsplit(begun.headers["Location"]).query).items()}
    assert (query["code_challenge_method"], query["response_type"]) == ("S256", "code")
    assert {"openid", "email", "profile"} == {*query["scope"].split()}
    assert len(query["nonce"]) > 16 < len(query["state"])


def test_a_provider_that_is_down_is_told(clio: Clio, provider: Provider, browser: requests.Session) -> None:
    log_in(clio, browser)
    begun = browser.get(f"{clio.server.base}/login?redirect=/", allow_redirects=False, timeout=60)
    refused = browser.get(
        f"{clio.server.base}/login/callback",
        params={"state": parse_qs(urlsplit(begun.headers["Location"]).query)["state"][0], "error": "access_denied"},
        timeout=60,
    )
    assert refused.status_code == 401
    assert "access_denied" in refused.json()["detail"]


# ---- tokens -------------------------------------------------------------------------------------------------------


def test_tokens_of_several_providers(clio: Clio, provider: Provider, offline: Provider) -> None:
    for token, email in ((provider.token(), "ada@lab.org"), (provider.token(email="U@T.com"), "u@t.com")):
        found = clio.told(None, "GET", "/v2/roles", headers={"Authorization": f"Bearer {token}"})
        assert found["email"] == email
    disabled = clio.ask(None, "GET", "/v2/roles", headers={"Authorization": f"Bearer {offline.token('ec')}"})
    assert (disabled.status_code, disabled.json()) == (403, {"detail": "Inactive user"})
    crossed = offline.token("ec", iss=provider.issuer)
    assert clio.ask(None, "GET", "/v2/roles", headers={"Authorization": f"Bearer {crossed}"}).status_code == 401


def test_a_providers_token_is_exchanged_for_ours(clio: Clio, provider: Provider) -> None:
    header = {"Authorization": f"Bearer {provider.token(picture='p', at_hash='x')}"}
    claims = jwt.decode(clio.told(None, "POST", "/v2/server/token", headers=header), SECRET, ["HS256"])
    assert {name: claims[name] for name in ("email", "name", "picture", "email_verified")} == {
        "email": "ada@lab.org",
        "name": "Ada",
        "picture": "p",
        "email_verified": True,
    }
    assert "at_hash" not in claims


TOKEN = TOKENS.mint("U@t.com", {})
WAYS: list[dict[str, Any]] = [
    {"headers": {"Authorization": f"Bearer {TOKEN}"}},
    {"headers": {"authorization": f"bearer {TOKEN}"}},
    {"headers": {"X-Auth-Token": TOKEN}},
    {"params": {"token": TOKEN}},
    {"params": {COOKIE: TOKEN}},
    {"cookies": {COOKIE: TOKEN}},
    {"headers": {"Authorization": f"Bearer {TOKEN}"}, "cookies": {COOKIE: TOKENS.mint(OWNER, {})}},
]


@pytest.mark.parametrize("way", WAYS)
def test_where_a_token_may_stand(clio: Clio, way: dict[str, Any]) -> None:
    assert requests.get(f"{clio.server.base}/v2/roles", timeout=60, **way).json()["email"] == "u@t.com"


BAD = [
    "",
    "zzz",
    TOKEN[:-3] + "AAA",
    TOKEN + "x",
    jwt.encode(
        {"email": OWNER, "iss": "flyem-clio-store", "exp": 2**40}, "another secret of enough bytes, it is", "HS256"
    ),
    jwt.encode({"email": OWNER, "iss": "flyem-clio-store", "exp": 1}, SECRET, "HS256"),
    jwt.encode({"email": OWNER, "iss": "flyem-clio-store"}, SECRET, "HS256"),
    jwt.encode({"email": OWNER, "exp": 2**40}, SECRET, "HS256"),
    jwt.encode({"iss": "flyem-clio-store", "exp": 2**40}, SECRET, "HS256"),
    jwt.encode({"email": OWNER, "iss": "flyem-clio-store", "exp": 2**40, "aud": "login"}, SECRET, "HS256"),
    jwt.encode({"email": OWNER, "iss": "flyem-clio-store", "exp": 2**40}, None, "none"),  # type: ignore[arg-type]
    "a" * 10_000,
]


@pytest.mark.parametrize("token", BAD)
def test_tokens_that_do_not_count(clio: Clio, token: str) -> None:
    answer = clio.ask(None, "GET", "/v2/roles", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.fixture
def run(clio: Clio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A verb of the command line, beside the running server; returns what it prints."""
    for name, value in {"WKDVID_ACCESS__MODE": "clio", "FLYEM_SECRET": SECRET, "CLIENT_SECRET": CLIENT_SECRET}.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        assert main([*arguments, "--data-dir", str(clio.server.data_dir)]) == 0
        return capsys.readouterr().out

    return run


def test_opaque_tokens_and_revocation(clio: Clio, run: Callable[..., str]) -> None:
    """Seen at once by the running server; of a user without a record too."""
    of_robot = ["--email", "Robot@Lab.org"]
    opaque = run("token", "mint", *of_robot, "--opaque", "--label", "nightly").strip()
    signed = run("token", "mint", *of_robot, "--days", "2").strip()
    for token in (opaque, signed):
        header = {"Authorization": f"Bearer {token}"}
        assert clio.told(None, "GET", "/v2/roles", headers=header)["email"] == "robot@lab.org"
    assert opaque not in (clio.server.data_dir / "server.log").read_text()
    database = b"".join(path.read_bytes() for path in clio.server.data_dir.rglob("*.db*"))
    assert opaque.encode() not in database
    assert hashlib.sha256(opaque.encode()).hexdigest().encode() in database
    run("token", "revoke", *of_robot)
    for token in (opaque, signed):
        assert clio.ask(None, "GET", "/v2/roles", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_users_on_the_command_line(clio: Clio, run: Callable[..., str]) -> None:
    run("user", "add", "Eve@Lab.org", "--name", "Eve", "--group", "g1")
    given = run("user", "role", "eve@lab.org", "clio_write", "--dataset", DATASET)
    assert given == f"eve@lab.org: clio_write of {DATASET}\n"
    found = clio.told("eve@lab.org", "GET", "/v2/roles")
    assert (found["name"], found["datasets"], found["groups"]) == ("Eve", {DATASET: ["clio_write"]}, ["g1"])
    assert "clio_write of mb20" in run("user", "list")
    run("user", "role", "eve@lab.org", "clio_write", "--dataset", DATASET, "--remove")
    assert clio.told("eve@lab.org", "GET", "/v2/roles")["datasets"] == {}
    run("user", "remove", "eve@lab.org")
    assert clio.told("eve@lab.org", "GET", "/v2/roles")["name"] is None


# ---- pages of others ----------------------------------------------------------------------------------------------

KV = "/v2/kv/s/k"
ORIGINS = [
    ({"Content-Type": "application/json"}, 200),
    ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ({"Content-Type": "text/plain"}, 403),
    ({}, 403),
    ({"Content-Type": "text/plain", "Origin": PAGE}, 200),
    ({"Content-Type": "application/json", "Origin": HOME}, 200),
    ({"Content-Type": "text/plain", "Origin": "https://evil.example"}, 403),
    ({"Content-Type": "application/json", "Origin": "https://evil.example"}, 403),
    ({"Content-Type": "text/plain", "Origin": "null"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), ORIGINS)
def test_a_cookie_alone_does_not_vouch_for_a_page(clio: Clio, headers: dict[str, str], status: int) -> None:
    answer = requests.post(
        clio.server.base + KV, data=b'{"a": 1}', headers=headers, cookies={COOKIE: TOKEN}, timeout=60
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    "kind", ["text/plain;charset=UTF-8", "application/octet-stream", "application/x-www-form-urlencoded", None]
)
def test_with_a_header_bodies_are_json_whatever_they_are_called(clio: Clio, kind: str | None) -> None:
    headers = {
        **clio.header("u@t.com"),
        "Origin": "https://notebook.example",
        **({"Content-Type": kind} if kind else {}),
    }
    written = requests.post(clio.server.base + KV, data=json.dumps({"of": kind}), headers=headers, timeout=60)
    assert (written.status_code, written.json()) == (200, None)
    assert clio.told("u@t.com", "GET", KV) == {"of": kind}


def test_what_pages_of_other_origins_are_told(clio: Clio) -> None:
    """Credentials are for the listed origins alone; failures are told too."""
    for path, method in (("/v2/roles", "GET"), (KV, "POST"), ("/v2/nothing", "GET"), (KV, "PUT")):
        listed = clio.ask(None, method, path, headers={"Origin": PAGE})
        assert listed.headers["Access-Control-Allow-Origin"] == PAGE
        assert listed.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in listed.headers["Vary"]
        other = clio.ask(None, method, path, headers={"Origin": "https://evil.example"})
        assert other.headers["Access-Control-Allow-Origin"] != "https://evil.example"
        assert "Access-Control-Allow-Credentials" not in other.headers


def test_preflights(clio: Clio) -> None:
    wanted = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,content-type"}
    for path in ("/v2/annotations/x", "/login", "/v2/volumes/proxy/v/a/b"):
        answer = requests.options(clio.server.base + path, headers={**wanted, "Origin": PAGE}, timeout=60)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert {"PUT", "DELETE", "POST"} <= {*answer.headers["Access-Control-Allow-Methods"].split(", ")}
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        other = requests.options(
            clio.server.base + path, headers={**wanted, "Origin": "https://evil.example"}, timeout=60
        )
        assert "Access-Control-Allow-Credentials" not in other.headers


def test_unknown_paths_slashes_and_heads(clio: Clio) -> None:
    assert clio.ask(OWNER, "GET", "/v2/nothing").status_code == 404
    assert clio.ask(OWNER, "PUT", KV, {}).status_code == 405
    for path in ("/v2/roles", "/v2/datasets", "/roles"):
        assert clio.told(OWNER, "GET", f"{path}/") == clio.told(OWNER, "GET", path)
        head = clio.ask(OWNER, "HEAD", path)
        assert (head.status_code, head.content) == (200, b"")


def test_who_may_see_a_dataset(clio: Clio) -> None:
    asked = f"/dataset-access?dataset={DATASET}&redirect=/"
    assert clio.told("u@t.com", "GET", asked) == {
        "dataset": DATASET,
        "access": True,
        "tos_required": False,
        "roles": ["clio_general"],
    }
    assert clio.told("nobody@t.com", "GET", asked)["access"] is False
    assert clio.ask("u@t.com", "GET", "/dataset-access").status_code == 422


def test_no_token_is_logged(clio: Clio, provider: Provider) -> None:
    """At the end of the module: nothing that was sent above stands in the log."""
    log = (clio.server.data_dir / "server.log").read_text()
    for secret in (TOKEN, SECRET, CLIENT_SECRET, TOKEN.split(".")[2], provider.token().split(".")[1][:40]):
        assert secret not in log
    assert "Traceback" not in log
