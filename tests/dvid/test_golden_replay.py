"""All that a real DVID was asked, from the making of its repository on: reads, writes and versions, on a fresh server.

What is answered otherwise is listed on the page on the API, with the reason; nothing else is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server, running

GOLDEN = Path(os.environ["WKDVID_TEST_DATA"]) / "dvid_golden"
RECORDED = json.loads((GOLDEN / "golden.json").read_text())
PAGE = Path(__file__).parents[2] / "docs" / "dvid.md"
ADMIN_TOKEN = "x"
"""That of the recording."""
THROTTLED = "1"
"""Requests at a time: DVID's own default, which an answer names."""
PATIENCE_S = 5
"""For what is made in the background."""
_SECTION = re.compile(r"^## Where a recorded DVID answers otherwise\n(.*?)(?:^## |\Z)", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"^\| (`.*?`) \| (.+?) \|$", re.MULTILINE)


def listed() -> Mapping[str, str]:
    """Entry -> why it is answered otherwise, as the page has it."""
    (section,) = _SECTION.findall(PAGE.read_text())
    return {entry: reason for cell, reason in _ROW.findall(section) for entry in re.findall(r"`(.*?)`", cell)}


DIFFERENCES = listed()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ = {
        "WKDVID_ACCESS__MODE": "token",
        "WKDVID_ADMIN_TOKEN": ADMIN_TOKEN,
        "WKDVID_LIMITS__THROTTLED_OPS": THROTTLED,
    }
    with running(tmp_path_factory.mktemp("fresh"), {}, environ=environ) as started:
        yield started


def patience(entry: Mapping[str, Any]) -> float:
    """Seconds; none for what is answered otherwise: it would be waited for in vain."""
    return 0 if entry["id"] in DIFFERENCES else min(entry.get("eventually", 0), PATIENCE_S)


def as_administrator(folder: Path) -> Path:
    """The recording, with the token that writing needs here, but not in what shows what comes without; less patient."""
    token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    entries = [{**entry, "eventually": patience(entry)} for entry in RECORDED["entries"]]
    for entry in entries:
        if not entry["id"].endswith("-no-token"):
            entry["request_headers"] = {**entry.get("request_headers", {}), **token}
    path = folder / "golden.json"
    path.write_text(json.dumps({**RECORDED, "entries": entries}))
    return path


def test_what_is_listed_was_recorded() -> None:
    assert DIFFERENCES.keys() <= {entry["id"] for entry in RECORDED["entries"]}
    assert len(RECORDED["entries"]) == 513


def test_everything_is_answered_as_dvid_does_but_for_what_is_listed(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, str(GOLDEN / "replay.py"), server.base, "--golden", str(as_administrator(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    failed = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("FAIL ")}
    passed = [line for line in done.stdout.splitlines() if line.startswith("PASS ")]
    assert len(passed) + len(failed) == len(RECORDED["entries"]), done.stderr
    assert [line for entry, line in failed.items() if entry not in DIFFERENCES] == []
    assert DIFFERENCES.keys() - failed.keys() == set()
