"""The curl lines of clio-store's own description, as they are written there but for the server's address."""

# ruff: noqa: E501 - the lines are as they are written there

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clio.accounts import SECRET, TOKENS
from tests.servers import Server, running
from tests.transfer.test_models import write_model
from tests.volumes import write_precomputed
from wkdvid.signatures.building import build
from wkdvid.signatures.folders import SignatureFolders
from wkdvid.signatures.records import records_of

USER = "foo@bar"
CENTER = (20135, 27130, 40622)
SIGNED = (18420, 16369, 26467)
TRANSFER = """\
{
	"dataset": "oldalign_VNC",
	"model_name":  "vnc2hemi:synfocal_3000",
	"center": [20135, 27130, 40622]
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its owner is who sends the lines; the volumes are where they look."""
    folder = tmp_path_factory.mktemp("data")
    write_precomputed(folder / "em", [((1, 1, 1), np.full((64, 64, 64), 7, np.uint8))], offsets=[CENTER])
    write_model(folder / "models" / "vnc2hemi:synfocal_3000.onnx", 1, 0, {})
    signed = records_of(np.array([SIGNED, (30000, 1, 1)]), np.array([2**63, 2**63 + 1], np.uint64))
    build(SignatureFolders(folder / "signatures").folder(("lab", "mb20")), [signed], 160, {})
    entry = {"layers": {"em": {"source": "em"}}}
    datasets = {"precomputed": {"lab": {"mb20": entry, "oldalign_VNC": entry}}}
    environ = {"WKDVID_ACCESS__MODE": "clio", "OWNER": USER, "FLYEM_SECRET": SECRET}
    with running(folder, datasets, environ=environ) as started:
        yield started


@pytest.fixture
def terminal(server: Server, tmp_path: Path) -> Terminal:
    return Terminal(server, tmp_path)


class Terminal:
    """Runs lines in a folder. The description leaves the Authorization header out of its lines; it is set beside them."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._base = server.base
        self._folder = folder
        (folder / ".curlrc").write_text(f'silent\nheader = "Authorization: Bearer {TOKENS.mint(USER, {})}"\n')
        (folder / "transfer.json").write_text(TRANSFER)

    def run(self, line: str) -> Any:
        """The JSON that comes."""
        for host in ("https://my-api-endpoint", "https://us-east4-clio-294722.cloudfunctions.net"):
            line = line.replace(host, self._base)
        environ = {**os.environ, "CURL_HOME": str(self._folder)}
        done = subprocess.run(
            ["bash", "-c", line.removeprefix("% ")], cwd=self._folder, env=environ, capture_output=True, check=True
        )
        return json.loads(done.stdout)


def test_datasets(terminal: Terminal) -> None:
    posted = terminal.run(
        """% curl -X  POST -H "Content-Type: application/json" https://my-api-endpoint/datasets -d '{"mb20": { "description": "4nm MB", "location": "gs://"}}'"""
    )
    assert posted is None
    listed = '% curl -X GET -H "Content-Type: application/json" https://my-api-endpoint/datasets '
    assert terminal.run(listed)["mb20"] == {"description": "4nm MB", "location": "gs://"}
    removed = terminal.run(
        """% curl -X  DELETE -H "Content-Type: application/json" https://my-api-endpoint/datasets -d '["mb20"]'"""
    )
    assert removed is None
    assert terminal.run(listed) == {}


@pytest.mark.parametrize("resource", ["annotations", "savedsearches"])
def test_annotations_and_saved_searches(terminal: Terminal, resource: str) -> None:
    lines = (
        r"""% curl -X  POST -H "Content-Type: application/json" https://my-api-endpoint/annotations/mb20?x=50\&y=30\&z=50 -d '{"foo": "bar"}'""",
        '% curl -X GET -H "Content-Type: application/json" https://my-api-endpoint/annotations/mb20',
        r'curl -X  DELETE -H "Content-Type: application/json" https://my-api-endpoint/annotations/mb20?x=50\&y=30\&z=50',
    )
    post, get, delete = (line.replace("annotations", resource) for line in lines)
    assert terminal.run(post) is None
    found = terminal.run(get)["50_30_50"]
    assert {name: found[name] for name in ("foo", "location", "locationkey", "locationref", "dataset")} == {
        "foo": "bar",
        "location": [50, 30, 50],
        "locationkey": "50_30_50",
        "locationref": "50_30_50",
        "dataset": "mb20",
    }
    assert terminal.run(delete) is None
    assert terminal.run(get) == {}


def test_the_atlas(terminal: Terminal) -> None:
    first = terminal.run(
        r"""% curl -X  POST -H "Content-Type: application/json" https://my-api-endpoint/atlas/mb20?x=50\&y=30\&z=50 -d '{"title": "weird point", "description": "it is raally strange", "user": "foo@bar"}'"""
    )
    terminal.run(
        r"""% curl -X  POST -H "Content-Type: application/json" https://my-api-endpoint/atlas/AbG?x=50\&y=30\&z=50 -d '{"title": "weird point", "description": "it is also strange", "user": "foo@bar"}'"""
    )
    own = terminal.run('% curl -X GET -H "Content-Type: application/json" https://my-api-endpoint/atlas/mb20')
    assert own == {"50_30_50": first}
    assert (first["locationref"], first["locationkey"], first["verified"]) == ("50_30_50", "50_30_50", False)
    everything = '% curl -X GET -H "Content-Type: application/json" https://my-api-endpoint/atlas/all'
    assert sorted(entry["dataset"] for entry in terminal.run(everything)) == ["AbG", "mb20"]
    verify = 'curl -X POST -H "Content-Type: application/json" https://us-east4-clio-294722.cloudfunctions.net/clio_toplevel/atlas-verify/PRIMARYKEY'
    assert terminal.run(verify.replace("PRIMARYKEY", first["id"]))["verified"] is True
    removed = terminal.run(
        r'curl -X  DELETE -H "Content-Type: application/json" https://my-api-endpoint/atlas/mb20?x=50\&y=30\&z=50'
    )
    assert removed is None
    assert [entry["dataset"] for entry in terminal.run(everything)] == ["AbG"]


def test_transfer(terminal: Terminal) -> None:
    answer = terminal.run(
        '% curl -X POST -H "Content-Type: application/json" https://my-api-endpoint/transfer --data-binary @transfer.json '
    )
    assert answer["addr"].startswith("https://neuroglancer-demo.appspot.com/#!")


def test_signatures(terminal: Terminal) -> None:
    at = terminal.run(
        r'% curl -X GET -H "Content-Type: application/json" https://my-api-endpoint/signatures/atlocation/mb20?x=18416\&y=16369\&z=26467'
    )
    assert at == {"point": [*SIGNED], "signature": str(-(2**63))}
    like = terminal.run(
        r'% curl -X GET -H "Content-Type: application/json" https://my-api-endpoint/signatures/likelocation/mb20?x=18416\&y=16369\&z=26467'
    )
    assert like == {"matches": [{"point": [30000, 1, 1], "dist": 1, "score": 0.875}]}


def test_users(terminal: Terminal) -> None:
    add = """% curl -X POST -H "Content-Type: application/json" https://my-api-endpoint/users -d '{"foobar@gmail.com": {"global_roles": ["admin", "clio_general" ]}, "datasets": {"hemibrain": ["clio_write"]}}'"""
    assert "'datasets' is no email address" in terminal.run(add)["detail"]
    users = '% curl -X GET -H "Content-Type: application/json" https://my-api-endpoint/users'
    assert terminal.run(users) == {}
    assert terminal.run(add.replace("]}, ", "], ").replace("]}}'", "]}}}'")) is None  # the brace where it belongs
    added: Mapping[str, Any] = terminal.run(users)["foobar@gmail.com"]
    assert (added["global_roles"], added["datasets"]) == (["admin", "clio_general"], {"hemibrain": ["clio_write"]})
    remove = (
        """curl -X DELETE -H "Content-Type: application/json" https://my-api-endpoint/users -d '["plaza.stephen"]'"""
    )
    assert terminal.run(remove) is None
    assert list(terminal.run(users)) == ["foobar@gmail.com"]
    roles = '$ curl -X GET -H "Content-Type: application/json" https://my-api-endpoint/roles'
    assert terminal.run(roles.removeprefix("$ "))["global_roles"] == ["admin"]
