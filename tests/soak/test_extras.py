"""Each extra in an environment of its own: what it brings works, and without it the program says which is missing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import tifffile

from tests.servers import Server, running
from wkdvid.extras import install
from wkdvid.sample import SAMPLE_ENTRY

ROOT = Path(__file__).parents[2]
LAYER = "/data/datasets/sample/precomputed/layers"
MESH = {"segmentId": 1050626, "mag": [2, 2, 2], "seedPosition": [64, 64, 64]}
TAKEN = "Address already in use"
LOGIN = """
[[clio.providers]]
issuer = "https://login.example.org"
client_id = "a"
audiences = ["a"]
"""


@dataclass(frozen=True)
class Environment:
    folder: Path
    data: Path
    """A data directory with the sample."""

    def run(self, *arguments: str | Path, **variables: str) -> str:
        """What a program of the environment prints, all of it; nothing of the checkout is in its way."""
        program, *rest = arguments
        done = subprocess.run(
            [self.folder / "bin" / program, *rest],
            cwd=self.data.parent,
            env=self.variables(**variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout + done.stderr

    def variables(self, **given: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("WKDVID_", "PYTHON"))}
        return {**kept, **given}

    @contextmanager
    def server(self) -> Iterator[Server]:
        program = (str(self.folder / "bin" / "wkdvid"),)
        with running(self.data, SAMPLE_ENTRY, program=program, environ={"PYTHONPATH": ""}) as server:
            yield server

    def refused(self, **variables: str) -> str:
        """What a server says that cannot start: its port is taken, if nothing of an extra's is wrong."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            return self.run("wkdvid", "serve", "--data-dir", self.data, "--port", port, **variables)


Probe: TypeAlias = Callable[[Environment], str]
"""What the program says to whoever wants what an extra brings."""


def inspected_tiff(environment: Environment) -> str:
    tifffile.imwrite(environment.data / "a.tif", np.zeros((256, 256), np.uint8), tile=(64, 64))
    return environment.run("wkdvid", "inspect", environment.data / "a.tif")


def inspected_crackle(environment: Environment) -> str:
    scale = {"key": "1", "size": [64, 64, 64], "chunk_sizes": [[64, 64, 64]], "resolution": [8, 8, 8]}
    info = {"type": "segmentation", "data_type": "uint64", "num_channels": 1}
    folder = environment.data / "crackle"
    folder.mkdir(exist_ok=True)
    (folder / "info").write_text(json.dumps({**info, "scales": [{**scale, "encoding": "crackle"}]}))
    return environment.run("wkdvid", "inspect", folder)


def surface(environment: Environment) -> str:
    with environment.server() as server:
        answer = server.post(f"{LAYER}/segmentation/meshes/fullMesh.stl", json=MESH)
    return f"{len(answer.content)} bytes of a surface" if answer.ok else answer.text


def viewer(environment: Environment) -> str:
    with environment.server() as server:
        return server.get("/neuroglancer/v/view/").text


def login(environment: Environment) -> str:
    (environment.data / "login.toml").write_text(LOGIN)
    return environment.refused(WKDVID_CONFIG=str(environment.data / "login.toml"))


def model(environment: Environment) -> str:
    script = "from pathlib import Path; from wkdvid.transfer.models import Models; print(Models(Path()).load('clahe'))"
    return environment.run("python", "-c", script)


PROBES: Mapping[str, tuple[Probe, str]] = {
    "clio": (login, TAKEN),
    "codecs": (inspected_crackle, "crackle: segmentation"),
    "distributed": (lambda one: one.refused(WKDVID_JOBS__SCHEDULER="tcp://127.0.0.1:1"), TAKEN),
    "meshes": (surface, "bytes of a surface"),
    "postgres": (
        lambda one: one.refused(WKDVID_METADATA__DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"),
        "connect",
    ),
    "tiff": (inspected_tiff, "a.tif: color, uint8"),
    "trace": (lambda one: one.refused(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1"), TAKEN),
    "transfer": (model, "Clahe object"),
    "viewer": (viewer, "Neuroglancer needs JavaScript"),
}
"""By extra: what to try, and what it says where the extra is there."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def made(wheel: Path, folder: Path, extra: str | None) -> Environment:
    """Of the wheel with an extra, and a data directory with the sample."""
    uv = (sys.executable, "-m", "uv")
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    wanted = f"wkdvid[{extra}] @ file://{wheel}" if extra else f"wkdvid @ file://{wheel}"
    options = ("--quiet", "--python", folder / "env", "--constraint", ROOT / "constraints.txt")
    subprocess.run([*uv, "pip", "install", *options, wanted], check=True)
    environment = Environment(folder / "env", folder / "data")
    environment.data.mkdir()
    environment.run("wkdvid", "sample", "--data-dir", environment.data, "--size", "128")
    return environment


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return made(wheel, tmp_path_factory.mktemp("base"), None)


@pytest.mark.soak
def test_the_base_alone_serves_over_every_protocol(base: Environment) -> None:
    with base.server() as server:
        bucket = {"position": [64, 64, 64], "mag": [1, 1, 1], "cubeSize": 32}
        over_webknossos = server.buckets("sample/precomputed/layers/grey", bucket)
        over_dvid = server.get("/api/node/7057/grey/raw/0_1_2/32_32_32/64_64_64")
        assert over_webknossos.content == over_dvid.content
        assert len(over_dvid.content) == 32**3
        assert "sample" in server.get("/").text
        for path in ("/api/node/7057/grey/isotropic/0_1/64_64/0_0_0", "/precomputed/sample/zarr/grey/info"):
            assert server.get(path).ok, path


@pytest.mark.soak
@pytest.mark.parametrize("extra", PROBES)
def test_what_lacks_an_extra_says_which(extra: str, base: Environment) -> None:
    probe, done = PROBES[extra]
    said = probe(base)
    assert install(extra) in said.replace("&#39;", "'").replace("\\u0027", "'")
    assert done not in said


@pytest.mark.soak
@pytest.mark.parametrize("extra", PROBES)
def test_an_extra_brings_what_it_is_for(extra: str, wheel: Path, tmp_path: Path) -> None:
    probe, done = PROBES[extra]
    said = probe(made(wheel, tmp_path, extra))
    assert "pip install" not in said
    assert done in said


@pytest.mark.soak
def test_all_is_all_of_them(wheel: Path, tmp_path: Path) -> None:
    environment = made(wheel, tmp_path, "all")
    for probe, done in PROBES.values():
        assert done in probe(environment)
