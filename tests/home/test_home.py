"""The pages: what they show, that they load nothing from elsewhere, that nothing escapes from its text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest
import requests

from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.core.catalog import Dataset, State
from wkdvid.core.entries import DatasetEntry, DatasetKey
from wkdvid.frontends.home.facts import make_card
from wkdvid.frontends.home.listing import parse_search, select
from wkdvid.frontends.home.pages import render
from wkdvid.sample import write_sample

EVIL = '<script>alert("1")</script>&\''
PAGES = ("/", "/datasets/my%20lab/brain", "/datasets/my%20lab/brain/source", "/docs", "/redoc")
FILES = (
    "/openapi.json",
    "/favicon.ico",
    *(f"/assets/{name}" for name in ("home.css", "icon.svg", "slices.js", "copy.js", "docs.js", "redoc.js")),
)


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


def test_home_lists_datasets_with_their_facts(server: Server) -> None:
    page = Page(server.get("/").text)
    assert "script" not in page.tags
    assert {"html", "title", "main", "h1", "article", "form"} <= set(page.tags)
    shown = " ".join(page.text)
    assert "2 datasets" in shown
    assert "my lab brain Size 72 × 70 × 56 voxels 0.576 × 0.56 × 0.448 µm Voxel 8 × 8 × 8 nm Levels 2" in shown
    assert "Format n5, precomputed Seen by everybody" in shown
    assert "grey image, uint8 ids segmentation, uint64" in shown
    assert "hidden" not in shown
    assert "two" in Page(server.get("/?token=t").text).text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=BRAIN+my", 1),
        ("q=ids", 1),
        ("q=brain+wrong", 0),
        ("organization=wrong", 1),
        ("format=n5", 1),
        ("format=zarr", 0),
        ("state=unavailable", 1),
        ("state=open&organization=my+lab", 1),
    ],
)
def test_the_list_is_searched_and_filtered(server: Server, query: str, found: int) -> None:
    page = Page(server.get(f"/?{query}").text)
    assert page.tags.count("article") == found
    assert f"{found} of 2 datasets" in page.text


def test_every_link_leads_somewhere(server: Server) -> None:
    page = Page(server.get("/").text)
    links = [urljoin(server.base + "/", link) for link in page.links if not link.startswith("#")]
    answers = {link: requests.get(link, timeout=30).status_code for link in links}
    assert answers.pop(f"{server.base}/datasets/my%20lab/brain") == 200
    assert answers.pop(f"{server.base}/datasets/wrong/one") == 503
    assert {*answers.values()} == {200}


def test_an_unavailable_dataset_has_its_reason_as_text(server: Server) -> None:
    for path, status in (("/", 200), ("/datasets/wrong/one", 503)):
        answer = server.get(path)
        assert answer.status_code == status
        assert 'class="state unavailable"' in answer.text
        assert EVIL not in answer.text
        assert "alert(" in " ".join(Page(answer.text).text)


def test_the_callers_host_is_text_too(server: Server) -> None:
    html = server.get("/", headers={"Host": "<script>x"}).text
    assert "<script>" not in html
    assert "&lt;script&gt;x" in html


def made_up(number: int, state: State = State.PENDING, text: str = "d") -> Dataset:
    entry = DatasetEntry(
        key=DatasetKey(text, f"{text}{number}"),
        backend="zarr",
        layers=(),
        uuid="u",
        dataset_id="0",
        public=True,
        options={},
    )
    return Dataset(entry, 0, state, {}, text)


@pytest.mark.parametrize("state", list(State))
def test_names_and_reasons_are_escaped(state: State) -> None:
    dataset, search = made_up(1, state, EVIL), parse_search({"q": EVIL})
    listing = select([dataset], search)
    assert [*listing.shown] == [dataset]
    cards = [make_card(dataset, "open")]
    page = Page(render("index.html", "/", listing=listing, search=search, cards=cards, base=f"http://{EVIL}"))
    assert "script" not in page.tags
    assert EVIL in page.text
    assert f"{EVIL}1" in page.text
    assert page.inline == []
    assert EVIL in Page(render("failure.html", "/", heading=EVIL, text=EVIL)).text


def test_pages_of_the_list_hold_each_dataset_once() -> None:
    datasets = [made_up(number) for number in range(60)]
    pages = [select(datasets, parse_search({"page": str(page), "q": "d"})) for page in (1, 2, 3)]
    assert [len(page.shown) for page in pages] == [24, 24, 12]
    assert {dataset for page in pages for dataset in page.shown} == {*datasets}
    assert {page.pages for page in pages} == {3}
    assert [*select(datasets, parse_search({"page": "9" * 9})).shown] == [*pages[2].shown]


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=-1", "page=1e3", "q=" + "x" * 201])
def test_a_search_that_cannot_be_understood_is_refused(server: Server, query: str) -> None:
    answer = server.get(f"/?{query}")
    assert answer.status_code == 400
    assert f"{query.partition('=')[0]}: expected" in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_only_what_the_server_itself_has(server: Server, path: str) -> None:
    page = Page(server.get(path).text)
    assert page.loads
    for address in page.loads:
        whole = urljoin(server.base + path, address)
        assert urlsplit(whole).netloc == urlsplit(server.base).netloc
        answer = requests.get(whole, timeout=30)
        assert answer.status_code == 200
        if "/assets/" in whole:
            assert answer.headers["content-type"].split(";")[0] in ("text/css", "text/javascript", "image/svg+xml")
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert "no-cache" in requests.get(whole.partition("?")[0] + "?v=old", timeout=30).headers["Cache-Control"]
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
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Where Neuroglancer is not, but for a package of its name without the built client."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "packages" / "neuroglancer").mkdir(parents=True)
    (folder / "packages" / "neuroglancer" / "__init__.py").touch()
    write_precomputed(folder / "v", [((1, 1, 1), np.ones((8, 8, 8), np.uint8))])
    datasets = {"precomputed": {"lab": {"brain": {"layers": {"v": {"source": "v"}}}}}}
    paths = [str(folder / "packages"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    with running(folder, datasets, environ={"PYTHONPATH": os.pathsep.join(paths)}) as started:
        yield started


def test_without_the_extra_it_is_said_how_to_install_it(bare: Server) -> None:
    for path, status in (("/datasets/lab/brain", 200), ("/neuroglancer/v/view/", 400)):
        answer = bare.get(path)
        assert answer.status_code == status
        assert "pip install &#39;wkdvid[viewer]&#39;" in answer.text.replace("'", "&#39;")
        assert "Open in Neuroglancer" not in answer.text
    assert bare.get("/neuroglancer/v/view/main.js").status_code == 404


def test_a_catalog_that_broke_is_said_on_the_page(bare: Server) -> None:
    (bare.data_dir / "datasets.json").write_text("{ broken")
    counter = bare.data_dir / ".wkdvid" / "catalog.generation"
    counter.write_bytes((99).to_bytes(8, "little"))  # as if another worker had changed it
    answer = bare.get("/")
    assert answer.status_code == 503
    assert "datasets.json: not valid JSON at line 1, column 3" in " ".join(Page(answer.text).text)


def test_the_viewer_is_kept_by_browsers(server: Server) -> None:
    page = Page(server.get("/neuroglancer/v/view").text)
    scripts = [name for name in page.loads if name.startswith("main.")]
    assert len(scripts) == 2
    for name in scripts:
        answer = server.get(f"/neuroglancer/v/view/{name}")
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for name in ("index.html", "main.js", "..%2f__init__.py", scripts[0] + ".map"):
        assert server.get(f"/neuroglancer/v/view/{name}").status_code == 404
