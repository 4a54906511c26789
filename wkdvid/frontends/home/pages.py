"""Pages from templates. What a source or a client wrote is escaped; addresses within the server are relative."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wkdvid import __version__
from wkdvid.frontends.home.assets import asset_address

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Site:
    """What is the same on every page."""

    version: str
    pages: tuple[tuple[str, str], ...]
    """Name and address, relative to the root, of what the header leads to."""


SITE = Site(version=__version__, pages=(("Datasets", ""), ("API", "docs")))


def render(template: str, path: str, **values: object) -> str:
    """The HTML of a page.

    Args:
        template: A file of ``templates``.
        path: Of the request, which tells how the page gets to the server's root.
        values: What the template shows, besides ``base.html``'s: ``root``, ``here``, ``site``; ``account``, ``base``
            and ``notice`` may be left out.
    """
    shared = {"here": path.lstrip("/"), "site": SITE, "account": None, "base": None, "notice": None}
    shared["root"] = root_of(path)
    return _environment().get_template(template).render({**shared, **values})


def root_of(path: str) -> str:
    """How the page of a path gets to the server's root."""
    return "../" * (path.count("/") - 1)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - 30 ms, which few workers need

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["asset"] = asset_address
    return environment
