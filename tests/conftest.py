"""What tests share: the real volume and recorded answers, where they are beside the checkout."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.metadata.databases import PostgreSQL, running_postgresql
from tests.volumes import Voxels
from wkdvid.core.geometry import Box
from wkdvid.tissue import CHUNK, synthesize

SIDE = 250
"""Of the medulla volume."""


def real_data_folder() -> Path | None:
    """The folder that ``WKDVID_TEST_DATA`` names; scripts/pytest sets it where there is one."""
    folder = os.environ.get("WKDVID_TEST_DATA")
    return Path(folder) if folder else None


settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
"""Other tests run beside each: how long an example takes says nothing."""

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell ignores SIGINT in what it runs in the background, and with it all that the tests start."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Where it is set, each of a hundred servers would compile all modules anew."""

gc.disable()
"""Until the tests are found: looking through all that they import, again and again, takes two fifths of that."""

collect_ignore = [] if real_data_folder() else ["dvid/test_golden.py", "dvid/test_golden_replay.py"]


SLOW = ("soak/", "jobs/", "clients/", "main_server/", "test_workers", "test_killed", "test_durability", "test_bench")
"""In the paths of files whose few tests wait long: they begin first, so that none is left alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long, then those of many tests: with ``--no-loadscope-reorder`` processes take them so."""
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (not any(part in str(item.path) for part in SLOW), -counts[item.path], str(item.path)))


def pytest_collection_finish() -> None:
    """What there is now stays to the end: none of it needs to be looked through."""
    gc.freeze()
    gc.enable()


def pytest_report_header() -> str:
    folder = real_data_folder()
    return "real data: there" if folder else "real data: none; synthetic tissue instead, and no recorded DVID answers"


@pytest.fixture(scope="session")
def medulla() -> Mapping[str, Voxels]:
    """``grayscale`` (uint8) and ``bodies`` (uint64), (x, y, z), 250 voxels a side.

    The FIB-SEM volume of the fly's medulla where it is beside the checkout, else synthetic tissue of the same shape.
    """
    folder = real_data_folder()
    if folder is not None:
        with np.load(folder / "medulla" / "medulla.npz") as arrays:
            return {name: np.asfortranarray(arrays[name].T) for name in ("grayscale", "bodies")}
    grey = np.zeros((SIDE, SIDE, SIDE), np.uint8, order="F")
    bodies = np.zeros((SIDE, SIDE, SIDE), np.uint64, order="F")
    whole = Box((0, 0, 0), grey.shape)
    for x, y, z in np.ndindex(4, 4, 4):
        start = (x * CHUNK, y * CHUNK, z * CHUNK)
        box = Box.at(start, (CHUNK, CHUNK, CHUNK)).intersect(whole)
        assert box is not None
        place = tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
        grey[place], bodies[place] = synthesize(box)
    return {"grayscale": grey, "bodies": bodies}


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with running_postgresql() as server:
        yield server
