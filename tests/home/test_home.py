"""The pages: what they show, that they load nothing from elsewhere, that nothing escapes from its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from sanic import Sanic

from tests.servers import Server, running
from wkdvid.config import Config
from wkdvid.core.catalog import Dataset, State
from wkdvid.core.entries import DatasetEntry, DatasetKey
from wkdvid.frontends.dvid.routes import ENDPOINTS as TYPES
from wkdvid.frontends.home.openapi import SHARED_ROUTE, describe_routes, template
from wkdvid.frontends.home.operations import OPERATIONS
from wkdvid.frontends.home.operations.clio import CLIO
from wkdvid.frontends.home.operations.dvid import ENDPOINTS
from wkdvid.frontends.home.page import failure_page, home_page
from wkdvid.frontends.webknossos.versions import PREFIXES
from wkdvid.sample import write_sample
from wkdvid.server import create_app

EVIL = '<script>alert("1")</script>&\''
PAGES = ("/", "/docs", "/redoc")
FILES = ("/openapi.json", "/favicon.ico", "/assets/home.css", "/assets/docs.js", "/assets/redoc.js")


class Page(HTMLParser):
    """What of a page matters here."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        links = self.links if tag == "a" else self.loads
        links += [value for name in ("src", "href") if (value := given.get(name))]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(data.strip())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("data")
    write_sample(folder / "sample", 72)
    layers = {
        "grey": {"source": "sample/precomputed/grey"},
        "ids": {"source": "sample/n5/segmentation", "backend": "n5", "type": "segmentation"},
    }
    datasets = {
        "precomputed": {
            "my lab": {"brain": {"layers": layers}},
            "wrong": {"one": {"layers": {EVIL: {"source": "sample/precomputed/grey"}}}},
            "hidden": {"two": {"layers": layers, "public": False}},
        }
    }
    environ = {"WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "t"}
    with running(folder, datasets, environ=environ) as started:
        yield started


def test_home_lists_datasets_with_their_layers(server: Server) -> None:
    page = Page(server.get("/").text)
    assert "script" not in page.tags
    assert {"html", "title", "main", "h1", "table", "caption", "th"} <= set(page.tags)
    shown = " ".join(page.text)
    assert "2 datasets" in shown
    assert "my lab/brain" in shown
    assert "grey color, uint8, precomputed 72 x 70 x 56 8 x 8 x 8" in shown
    assert "ids segmentation, uint64, n5 72 x 70 x 56 8 x 8 x 8" in shown
    assert "hidden/two" not in shown
    assert "hidden/two" in server.get("/?token=t").text


def test_every_link_leads_somewhere(server: Server) -> None:
    page = Page(server.get("/").text)
    links = [urljoin(server.base + "/", link) for link in page.links]
    answers = {link: requests.get(link, timeout=30).status_code for link in links if "wrong/one" not in link}
    unavailable = {link for link, status in answers.items() if status == 503}
    assert f"{server.base}/data/datasets/my%20lab/brain" in answers
    assert len(unavailable) <= 1  # the DVID address of the entry that is wrong
    assert {status for link, status in answers.items() if link not in unavailable} == {200}


def test_neuroglancers_addresses_name_instances(server: Server) -> None:
    addresses = re.findall(r"dvid://(\S+?)/([0-9a-f]{32})/(\w+)</code>", server.get("/").text)
    assert [name for _, _, name in addresses] == ["grey", "ids"]
    for base, uuid, name in addresses:
        assert requests.get(f"{base}/api/node/{uuid}/{name}/info", timeout=30).json()["Base"]["Name"] == name


def test_an_unavailable_dataset_has_its_reason_as_text(server: Server) -> None:
    html = server.get("/").text
    assert 'class="unavailable"' in html
    assert EVIL not in html
    assert "alert(" in " ".join(Page(html).text)


def test_the_callers_host_is_text_too(server: Server) -> None:
    html = server.get("/", headers={"Host": "<script>x"}).text
    assert "<script>" not in html
    assert "&lt;script&gt;x" in html


@pytest.mark.parametrize("state", list(State))
def test_names_and_reasons_are_escaped(state: State) -> None:
    entry = DatasetEntry(
        key=DatasetKey(EVIL, EVIL), backend="zarr", layers=(), uuid=EVIL, dataset_id="0", public=True, options={}
    )
    page = Page(home_page([Dataset(entry, 0, state, {}, EVIL)], f"http://{EVIL}"))
    assert "script" not in page.tags
    assert f"{EVIL}/{EVIL}" in page.text
    assert page.inline == []
    assert Page(failure_page(EVIL)).text[-1] == EVIL


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_only_what_the_server_itself_has(server: Server, path: str) -> None:
    page = Page(server.get(path).text)
    assert page.loads
    for address in page.loads:
        whole = urljoin(server.base + path, address)
        assert urlsplit(whole).netloc == urlsplit(server.base).netloc
        answer = requests.get(whole, timeout=30)
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")
    assert page.inline == []


@pytest.mark.parametrize("name", ["docs", "redoc"])
def test_swagger_is_told_to_ask_no_other_host(server: Server, name: str) -> None:
    script = server.get(f"/assets/{name}.js").text
    assert 'url: "openapi.json"' in script
    assert "validatorUrl: null" in script
    assert "SwaggerUIBundle" in server.get("/assets/swagger-ui-bundle.js").text[:5000]


@pytest.mark.parametrize("path", [*PAGES, *FILES, "/assets/missing"])
def test_security_headers(server: Server, path: str) -> None:
    headers = server.get(path).headers
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/favicon.ico", 204),
        ("/assets/missing", 404),
        ("/assets/..%2froutes.py", 404),
        ("/assets/%2e%2e%2froutes.py", 404),
        ("/assets/swagger-ui.css.map", 404),
    ],
)
def test_only_named_files_are_served(server: Server, path: str, status: int) -> None:
    assert server.get(path).status_code == status


@pytest.mark.parametrize("path", [*PAGES, *FILES])
def test_a_probe_needs_no_body(server: Server, path: str) -> None:
    asked, probed = requests.get(server.base + path, timeout=30), requests.head(server.base + path, timeout=30)
    assert (probed.status_code, probed.content) == (asked.status_code, b"")
    assert probed.headers.get("Content-Type") == asked.headers.get("Content-Type")


@pytest.fixture(scope="module")
def routes() -> list[Any]:
    app = create_app(Config())
    Sanic.unregister_app(app)  # another test makes one of the same name
    app.router.finalize()
    return list(app.router.routes)


def test_every_route_is_described(routes: list[Any]) -> None:
    paths = describe_routes(routes)["paths"]
    offered = [(template(route.uri), m) for route in routes for m in route.methods if m not in ("HEAD", "OPTIONS")]
    assert len(offered) > 100
    for path, method in offered:
        assert path.startswith(SHARED_ROUTE) or paths[path][method.lower()]["summary"], (method, path)


def test_what_is_not_described_is_the_same_under_another_prefix(routes: list[Any]) -> None:
    others = {prefix for route in routes for prefix in getattr(route.ctx, "prefixes", ())[1:]}
    assert others == {*PREFIXES, "/v3", "/test", "/v1", "/clio_toplevel"} - {"/data"}


def test_descriptions_are_of_routes_that_there_are(routes: list[Any]) -> None:
    described = {f"{method} {template(route.uri)}" for route in routes for method in route.methods}
    assert set(OPERATIONS) <= described
    of_clio = [route for route in routes if route.ctx.access.startswith("clio ")]
    reading = {"HEAD"}  # what GET does
    assert set(CLIO) == {f"{method} {template(r.ctx.path)}" for r in of_clio for method in r.methods - reading}
    offered = {name for of_type in TYPES.values() for name in offered_by(of_type)}
    assert {key.split("/")[1] for key in ENDPOINTS} <= offered
    longest = max(template(route.uri).count("/") for route in routes if template(route.uri).startswith(SHARED_ROUTE))
    assert max(path.count("/") for path in ENDPOINTS) + SHARED_ROUTE.count("/") - 1 <= longest


def offered_by(of_type: Any) -> set[str]:
    """Names of the endpoints of a type, by whichever method."""
    return {*of_type.handlers, *of_type.asking}.union(*of_type.changing.values())


def test_path_parameters_are_described_and_administration_needs_a_token(server: Server) -> None:
    document = server.get("/openapi.json").json()
    assert document["openapi"] == "3.0.3"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            in_path = [p for p in operation["parameters"] if p["in"] == "path"]
            assert [p["name"] for p in in_path] == re.findall(r"\{(\w+)\}", path)
            assert all(p["required"] and p["description"] for p in in_path), path
    assert document["paths"]["/data/datasets"]["post"]["security"] == [{"token": []}]
    assert document["paths"]["/data/datasets"]["get"]["security"] == []


def test_a_catalog_that_broke_is_said_on_the_page(tmp_path: Path) -> None:
    with running(tmp_path, {}) as server:
        (tmp_path / "datasets.json").write_text("{ broken")
        with (tmp_path / ".wkdvid" / "catalog.generation").open(
            "r+b"
        ) as counter:  # as if another worker had changed it
            counter.write((99).to_bytes(8, "little"))
        answer = server.get("/")
    assert answer.status_code == 503
    assert "datasets.json: not valid JSON at line 1, column 3" in " ".join(Page(answer.text).text)
