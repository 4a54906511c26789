"""The documentation: its links lead somewhere, its JSON is JSON, its datasets are such as the server takes."""

from __future__ import annotations

import ast
import doctest
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from wkdvid.backends.registry import ALIASES, load_backends
from wkdvid.core.entries import DATASET_OPTIONS, LAYER_OPTIONS, EntryParser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BACKENDS = load_backends()
FINDERS = frozenset(name for name, backend in BACKENDS.items() if backend.find_layers is not None)

_CODE = re.compile(r"^```.*?^```$|^    .*?$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```json\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
READERS: Mapping[str, Callable[[str], object]] = {
    "json": json.loads,
    "pycon": doctest.DocTestParser().get_examples,
    "python": lambda text: compile(text, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT),
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    **dict.fromkeys(("console", "ini", "nginx", "sh", "sql"), str),
}
"""By the language of a block, what refuses a text that is not in it; some only tests of the page itself can read."""
_POSTED = re.compile(r"-d\s+'(.*?)'|-d\s+\"([^\"]*)\"", re.DOTALL)


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(_CODE.sub("", page.read_text())) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = _HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def json_texts(page: Path) -> Iterator[str]:
    """The blocks of JSON, and what the curl lines send."""
    text = page.read_text()
    yield from _FENCED.findall(text)
    for single, double in _POSTED.findall(text):
        yield single or double


def datasets() -> Iterator[tuple[str, dict[str, Any]]]:
    for page in PAGES:
        for text in json_texts(page):
            document = json.loads(text)
            if isinstance(document, dict) and document.keys() & {*BACKENDS, *ALIASES}:
                yield page_name(page), document


def test_the_pages_are_there() -> None:
    named = {page_name(page) for page in PAGES}
    assert {f"docs/backends/{backend}.md" for backend in BACKENDS} <= named
    clients = ("dvid", "neuroglancer", "precomputed", "webknossos", "zarr")
    assert {f"docs/clients/{client}.md" for client in clients} <= named


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme_or_another_page() -> None:
    targets = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page)}
    assert set(PAGES[1:]) <= targets


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_json_is_json(page: Path) -> None:
    for text in json_texts(page):
        json.loads(text)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_code_is_code(page: Path) -> None:
    for language, text in _BLOCK.findall(page.read_text()):
        assert language in READERS, f"nothing here reads {language}"
        READERS[language](text)


def pages_of(nav: list[Any] | dict[str, Any] | str) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(part)


def test_the_site_has_every_page_once() -> None:
    """``scripts/docs`` builds it; README and changelog become pages of it."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    named = list(pages_of(site["nav"]))
    assert sorted(named) == sorted(["index.md", "CHANGELOG.md", *(str(page.relative_to(DOCS)) for page in PAGES[1:])])
    assert site["theme"]["font"] is False, "fonts would come from another host"


@pytest.mark.parametrize(("page", "document"), [pytest.param(*found, id=found[0]) for found in datasets()])
def test_datasets_are_such_as_the_server_takes(page: str, document: dict[str, Any]) -> None:
    parser = EntryParser({name: backend.options for name, backend in BACKENDS.items()}, ALIASES, FINDERS)
    assert parser.parse(document)
    assert parser.problems == []


def test_every_option_is_described() -> None:
    general = (DOCS / "datasets.md").read_text()
    assert {option for option in DATASET_OPTIONS | LAYER_OPTIONS if f"`{option}`" not in general} == set()
    for name, backend in BACKENDS.items():
        text = (DOCS / "backends" / f"{name}.md").read_text()
        assert {option for option in backend.options if f"| `{option}` |" not in text} == set(), name
        assert f"`{name}`" in general
