"""What a real DVID answered, replayed against a server that has the same volume (the recording's README)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.servers import Server, running
from tests.volumes import Voxels, write_precomputed

GOLDEN = Path(os.environ["WKDVID_TEST_DATA"]) / "dvid_golden"
RECORDED = json.loads((GOLDEN / "golden.json").read_text())
ROOT = RECORDED["root"]
INSTANCES = ("grey", "greyraw", "greyjpeg", "seg")
"""What the volume was ingested as, of the 14 instances of the recording."""
DIFFERING: Mapping[str, tuple[str, ...]] = {
    "needs the other ten instances, which are made and filled by requests": (
        "repos-info",
        "repo-info",
        "repo-info-prefix",
        "repo-info-branch",
    ),
    "a node of ours is committed, since nothing can be written to it": (
        "node-status",
        "node-commit-get",
        "uuid-encoded",
    ),
    "decisions.md 11: compression=jpeg on uint8 always answers JPEG": ("subvol-grey-jpeg", "subvol-greyraw-jpeg"),
    "needs regions of interest": ("raw-roi", "seg-raw-roi"),
}
"""Read requests of these instances that a DVID answers otherwise, by the reason."""
OTHERS = (
    "raw-16",
    "slice-16",
    "raw-float",
    "slice-float",
    "raw-background",
    "segblk-blocks",
    "segblk-outside",
    "tiny-raw",
    "tiny-label",
    "tiny-scale1",
)
"""Of instances whose block size, background or tags cannot be had from a source: what does not depend on these."""


def differs(name: str) -> bool:
    return any(name in names for names in DIFFERING.values())


def of_our_instances(path: str) -> bool:
    parts = path.split("/")
    return parts[2] != "node" or len(parts) < 6 or parts[4] in INSTANCES or parts[4] == "nope"


COVERED = {
    entry["id"]: entry
    for entry in RECORDED["entries"]
    if entry["phase"] == "read" and (of_our_instances(entry["path"]) or entry["id"] in OTHERS)
}
LOCKED = [
    entry["id"]
    for entry in RECORDED["entries"]
    if entry["id"].startswith("err-locked-") and of_our_instances(entry["path"])
]
"""Writes that are refused because the node is committed: every node of ours is."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, medulla: Mapping[str, Voxels]) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("golden")
    grey, bodies = ((1, 1, 1), medulla["grayscale"]), ((1, 1, 1), medulla["bodies"].astype(np.uint64))
    write_precomputed(data / "grey", [grey], voxel_size_nm=(10, 10, 10))
    write_precomputed(data / "greyjpeg", [grey], voxel_size_nm=(10, 10, 10), encoding="jpeg")
    write_precomputed(
        data / "seg", [bodies], voxel_size_nm=(10, 10, 10), encoding="compressed_segmentation", kind="segmentation"
    )
    write_others(data, medulla["grayscale"], medulla["bodies"].astype(np.uint64))
    layers = {
        **{name: {"source": str(data / name)} for name in ("grey16", "float", "aniso", "segblk", "tiny")},
        "grey": {"source": str(data / "grey")},
        "greyraw": {"source": str(data / "grey"), "compression": "none"},
        "greyjpeg": {"source": str(data / "greyjpeg")},
        "seg": {"source": str(data / "seg")},
    }
    environ = {
        "WKDVID_ACCESS__MODE": "token",
        "WKDVID_ADMIN_TOKEN": "x",
        "WKDVID_LIMITS__THROTTLED_OPS": "1",  # DVID's own default, which an answer names
    }
    datasets = {"precomputed": {"lab": {"golden": {"uuid": ROOT, "layers": layers}}}}
    with running(data, datasets, environ=environ) as server:
        admin = {"X-Auth-Token": "x"}
        wanted = {"kind": "index", "dataset": "lab/golden", "layer": "seg"}
        job = server.post("/api/jobs", json=wanted, headers=admin).json()
        while server.get(f"/api/jobs/{job['id']}", headers=admin).json()["state"] in {"queued", "running"}:
            time.sleep(0.05)
        yield server


def write_others(data: Path, grey: Voxels, bodies: Voxels) -> None:
    """The parts of the volume that the recording's other instances hold."""
    cube, labels = (10, 10, 10), "segmentation"
    deep, quarters = grey[32:96, 32:96, 32:64] * np.uint16(257), grey[:32, :32, :32] * np.float32(0.25)
    middle, part = bodies[64:192, 64:192, 64:192], bodies[100:132, 100:116, 100:132]
    write_precomputed(data / "grey16", [((1, 1, 1), deep)], voxel_size_nm=cube, offsets=[(32, 32, 32)])
    write_precomputed(data / "float", [((1, 1, 1), quarters)], voxel_size_nm=cube)
    write_precomputed(data / "aniso", [((1, 1, 1), grey[:128, :128, :64])], voxel_size_nm=(10, 10, 20))
    write_precomputed(data / "segblk", [((1, 1, 1), middle)], voxel_size_nm=cube, offsets=[(64, 64, 64)], kind=labels)
    write_precomputed(data / "tiny", [((1, 1, 1), part)], voxel_size_nm=cube, offsets=[(-16, 16, -32)], kind=labels)


def replay(server: Server, names: list[str]) -> list[str]:
    command = [sys.executable, str(GOLDEN / "replay.py"), server.base, "--no-setup", "--only", *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    return done.stdout.splitlines()


def test_reads_are_answered_as_dvid_does(server: Server) -> None:
    names = [name for name in COVERED if not differs(name)] + LOCKED
    lines = replay(server, names)
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len([line for line in lines if line.startswith("PASS")]) == len(names) >= 150


def test_what_is_said_to_differ_differs(server: Server) -> None:
    """Those that replay.py would try again for a while are left out: it would wait in vain."""
    names = [name for name, entry in COVERED.items() if differs(name) and not entry.get("eventually")]
    passing = [line for line in replay(server, names) if line.startswith("PASS")]
    assert passing == []
