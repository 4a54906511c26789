"""A server that is killed while clients write voxels: every block is old or new, and what was acknowledged is there."""

from __future__ import annotations

import contextlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.dvid.repository import Repository, new_repository
from tests.dvid.shelf import wire_bytes
from tests.servers import running
from tests.soak.processes import kill
from tests.written.test_volumes import most_frequent
from wkdvid.core.geometry import Vec3

B = 32
BLOCKS: tuple[Vec3, ...] = tuple((x, y, 0) for x in range(4) for y in range(2))
"""One writer has the first half of them, one the rest."""
LONGEST_S = 0.6
"""Until a kill."""


class Writer:
    """Writes blocks of one number each, ever larger ones, and remembers which were acknowledged."""

    def __init__(self, blocks: tuple[Vec3, ...]) -> None:
        self.acknowledged: dict[Vec3, int] = dict.fromkeys(blocks, 0)
        self.number = 0

    def write_until_it_dies(self, repository: Repository) -> None:
        with contextlib.suppress(OSError, AssertionError):
            while True:
                for x, y, z in self.acknowledged:
                    self.number += 1
                    body = np.full((B, B, B), self.number, np.uint64).tobytes()
                    repository.post(f"v/raw/0_1_2/{B}_{B}_{B}/{B * x}_{B * y}_{B * z}", body)
                    self.acknowledged[x, y, z] = self.number

    def check(self, repository: Repository) -> None:
        for (x, y, z), least in self.acknowledged.items():
            found = repository.get(f"v/raw/0_1_2/{B}_{B}_{B}/{B * x}_{B * y}_{B * z}")
            (number,) = np.unique(np.frombuffer(found, np.uint64))
            assert least <= number <= self.number


def check_scales(repository: Repository) -> None:
    """And the index of labels."""
    shape = (4 * B, 2 * B, 2 * B)
    found = repository.get(f"v/raw/0_1_2/{4 * B}_{2 * B}_{2 * B}/0_0_0")
    array = np.frombuffer(found, np.uint64).reshape(shape, order="F")
    sizes = np.frombuffer(repository.get("v/listlabels?sizes=true"), np.uint64).reshape(-1, 2)
    assert np.array_equal(sizes.T, np.unique(array[array > 0], return_counts=True))
    for scale in (1, 2):
        array = most_frequent(array)
        x, y, z = array.shape
        assert repository.get(f"v/raw/0_1_2/{x}_{y}_{z}/0_0_0?scale={scale}") == wire_bytes(array)


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.soak)])
def test_blocks_are_old_or_new_after_a_kill(tmp_path: Path, kills: int) -> None:
    writers, dice = [Writer(BLOCKS[:4]), Writer(BLOCKS[4:])], random.Random(3)
    uuid = ""
    for _ in range(kills):
        with running(tmp_path) as server:
            repository = Repository(server, uuid) if uuid else new_repository(server)
            if not uuid:
                repository.add("v", typename="labelmap", BlockSize=f"{B},{B},{B}", MaxDownresLevel="2")
                uuid = repository.uuid
            else:
                for writer in writers:
                    writer.check(repository)
            with ThreadPoolExecutor(len(writers)) as pool:
                writing = [pool.submit(writer.write_until_it_dies, repository) for writer in writers]
                time.sleep(dice.uniform(0.1, LONGEST_S))
                kill(server)
                for one in writing:
                    one.result()
    with running(tmp_path) as server:
        repository = Repository(server, uuid)
        repository.post("commit", b"{}")
        check_scales(repository)
        for writer in writers:
            writer.check(repository)
    assert list((tmp_path / ".wkdvid" / "writes").glob("*.json")) == []
    acknowledged = sum(writer.number for writer in writers)
    assert acknowledged > kills
    print(f"kills: {kills}, {acknowledged} blocks written, each old or new, and every scale and size follows from them")
