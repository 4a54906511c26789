"""What mkdocs does with the pages besides: README and changelog become pages; nothing may come from another host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

ROOT = Path(__file__).parents[2]
BESIDE = {"README.md": "index.md", "CHANGELOG.md": "CHANGELOG.md"}
"""Files beside docs/, and the pages that they become."""
_LOADED = re.compile(
    r"""<(?:script|img|iframe|link(?![^>]*rel="?canonical))\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)"""
)


def on_config(config: MkDocsConfig) -> None:
    """Headings have the anchors that GitHub gives them."""
    config.mdx_configs["toc"]["slugify"] = slugify(case="lower")


def on_files(files: Files, config: MkDocsConfig) -> None:
    for name, page in BESIDE.items():
        text = re.sub(r"\]\(docs/", "](", (ROOT / name).read_text())
        files.append(File.generated(config, page, content=re.sub(r"\[(\w+)\]\(tests/[^)]+\)", r"\1", text)))


def on_page_markdown(markdown: str, **_: Any) -> str:
    return re.sub(r"\]\((?:\.\./)+(\w+\.md)", lambda found: f"]({_page(found)}", markdown)


def _page(found: re.Match[str]) -> str:
    """Where a file beside docs/ went; one folder up less, for those of docs/ are below it in the repository."""
    path = found[0].removeprefix("](").removeprefix("../")
    name = found[1]
    return path.replace(name, BESIDE[name]) if name in BESIDE else f"../{path}"


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """
    Raises:
        PluginError: the page would load something from another host.
    """
    if found := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri}: loads {found[1]}")
    return output
