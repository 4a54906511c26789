"""The architecture, as a test: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "wkdvid"
RANKS = {
    "errors": 0,
    "extras": 0,
    "logs": 0,
    "core.geometry": 0,
    "codecs": 1,
    "client": 2,
    "core": 2,
    "tissue": 3,
    "sample": 3,
    "backends": 3,
    "metadata": 3,
    "export": 3,
    "main_server": 3,
    "identity": 3,
    "signatures": 4,
    "transfer": 4,
    "identity.opening": 6,
    "config": 5,
    "settings": 4,
    "dvid_config": 5,
    "clio_config": 5,
    "dvid_stores": 5,
    "frontends": 5,
    "testing": 5,
    "cluster": 6,
    "inspection": 6,
    "job_kinds": 6,
    "openers": 6,
    "metering": 5,
    "tracing": 5,
    "access_log": 0,
    "gauges": 6,
    "protocol": 6,
    "worker": 6,
    "doctor": 6,
    "workers": 5,
    "reloading": 6,
    "server": 6,
    "sources": 6,
    "cli": 7,
    "": 7,
}
"""A module may import its own rank and lower ones."""
SHARED = {"http", "addresses", "files", "ranges", "request", "router"}
"""What all front ends may use beside their own modules."""
CLIENT_USES = ("wkdvid.client", "wkdvid.codecs", "wkdvid.core.geometry", "wkdvid.errors", "wkdvid.extras")
"""What the client may import of this package: it is installed where there is no server."""
SANIC_ALLOWED = (
    "server",
    "protocol",
    "worker",
    "frontends.http",
    "frontends.limited",
    "frontends.request",
    "frontends.router",
    "frontends.dvid.callers",
    "frontends.home.answers",
    "cli.serve",
)


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part not in {"__init__", "__main__"})
        yield name, ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rank(module: str) -> int:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        found = RANKS.get(".".join(parts[:length]))
        if found is not None:
            return found
    return RANKS[""]


def test_no_module_imports_a_higher_one() -> None:
    breaches = [
        f"{name} imports {imported}"
        for name, tree in modules()
        for imported in imports(tree)
        if imported.startswith("wkdvid.")
        and rank(imported.removeprefix("wkdvid.")) > rank(name)
        and imported != "wkdvid.__version__"
    ]
    assert not breaches


def test_front_ends_know_neither_each_other_nor_a_backend() -> None:
    breaches = []
    for name, tree in modules():
        parts = name.split(".")
        if parts[0] != "frontends" or len(parts) < 2 or parts[1] in SHARED:
            continue
        for imported in imports(tree):
            target = imported.split(".")
            foreign = target[:2] == ["wkdvid", "frontends"] and target[2] not in {parts[1], *SHARED}
            if foreign or target[:2] == ["wkdvid", "backends"]:
                breaches.append(f"{name} imports {imported}")
    assert not breaches


def test_the_client_knows_nothing_of_the_server_nor_the_server_of_the_client() -> None:
    breaches = []
    for name, tree in modules():
        of_client = name.partition(".")[0] == "client"
        for imported in imports(tree):
            if of_client and imported.startswith("wkdvid.") and not imported.startswith(CLIENT_USES):
                breaches.append(f"{name} imports {imported}")
            if not of_client and imported.startswith("wkdvid.client"):
                breaches.append(f"{name} imports {imported}")
    assert not breaches


def test_sanic_stays_at_the_edge() -> None:
    users = {name for name, tree in modules() if any(i.split(".")[0] == "sanic" for i in imports(tree))}
    outside = {name for name in users if name not in SANIC_ALLOWED and not name.endswith(".routes")}
    assert not outside


def test_modules_stay_small() -> None:
    sizes = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 500} == {}


def test_help_of_the_command_line_is_quick_to_import() -> None:
    code = "import sys, wkdvid.cli; print([m for m in ('sanic', 'tensorstore', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
