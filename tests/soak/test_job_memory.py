"""A pyramid of a volume that is larger than the memory that a server may take for it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts

from tests.servers import running
from tests.soak.processes import complaints, resident_bytes

MIB = 1 << 20
SETTINGS = {"WKDVID_SOURCES__CACHE_BYTES": "32MiB", "WKDVID_LIMITS__WORKING_BYTES": "8MiB", "WKDVID_JOBS__WORKERS": "1"}
BOUND_BYTES = 96 * MIB
"""What a job may add: one task with what it reads, the pool, and what the allocator keeps."""
ENTRY = {"zarr": {"org": {"data": {"layers": {"em": {"source": "em", "axes": "zyx"}}}}}}


def write_slabs(folder: Path, side: int, depth: int) -> int:
    """A volume of noise, slab after slab, so that the test needs no more memory than the server. Returns its bytes."""
    metadata = {
        "shape": [depth, side, side],
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 64, 64]}},
    }
    store = ts.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder / 'em'}/"}, "metadata": metadata},
        create=True,
        open=True,
    ).result()
    dice = np.random.default_rng(4)
    for z in range(0, depth, 64):
        store[z : z + 64].write(dice.integers(0, 65536, (64, side, side), np.uint16)).result()
    return side * side * depth * 2


@pytest.mark.parametrize(("side", "depth"), [(1024, 64), pytest.param(2048, 1024, marks=pytest.mark.soak)])
def test_memory_stays_flat(tmp_path: Path, side: int, depth: int) -> None:
    size = write_slabs(tmp_path, side, depth)
    assert size > BOUND_BYTES
    with running(tmp_path, ENTRY, environ=SETTINGS) as server:
        assert server.get("/data/datasets/org/data").status_code == 200
        before = most = resident_bytes(server)
        job = server.post("/api/jobs", json={"kind": "pyramid", "dataset": "org/data", "layer": "em"}).json()
        while job["state"] in ("queued", "running"):
            most = max(most, resident_bytes(server))
            time.sleep(0.05)
            job = server.get(f"/api/jobs/{job['id']}").json()
        assert (job["state"], job["done"]) == ("done", job["total"])
        assert complaints(server) == []
    assert most - before <= BOUND_BYTES
    print(f"pyramid: a volume of {size // MIB} MiB, {(most - before) // MIB} MiB more memory, {job['total']} tasks")
