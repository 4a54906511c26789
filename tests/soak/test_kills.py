"""A server that is killed while it registers: what it has acknowledged is there when it runs again."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.servers import Server, running
from tests.soak.processes import kill
from tests.volumes import write_precomputed

WRITERS = 4
LONGEST_S = 0.8
"""Until a kill."""
MANY = 100_000
"""Datasets for one writer: more than it comes to."""
KEEP = {"layers": {"image": {"source": "v", "type": "image"}}}


class Ledger:
    """What writers were told; what was in flight when the server died may be there or not."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.gone: set[str] = set()
        self.lock = threading.Lock()

    def move(self, name: str, to: set[str] | None) -> None:
        with self.lock:
            self.there.discard(name)
            self.gone.discard(name)
            if to is not None:
                to.add(name)


def write_until_it_dies(server: Server, ledger: Ledger, names: Sequence[str]) -> None:
    """Add datasets, and remove every third again."""
    with requests.Session() as session:
        try:
            for n, name in enumerate(names):
                added = session.post(f"{server.base}/data/datasets", json={"precomputed": {"org": {name: KEEP}}})
                assert added.status_code == 200, added.text
                ledger.move(name, ledger.there)
                if n % 3 == 0:
                    ledger.move(name, None)
                    removed = session.delete(f"{server.base}/data/datasets/org/{name}")
                    assert removed.status_code == 200, removed.text
                    ledger.move(name, ledger.gone)
        except requests.RequestException:
            return


@pytest.mark.parametrize("kills", [1, pytest.param(60, marks=pytest.mark.soak)])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, kills: int) -> None:
    write_precomputed(tmp_path / "v", [((1, 1, 1), np.ones((40, 40, 40), np.uint8))])
    (tmp_path / "datasets.json").write_text("{}")
    ledger, dice = Ledger(), random.Random(7)
    for round_ in range(kills):
        with running(tmp_path, workers=2) as server:
            check(server, ledger)
            with ThreadPoolExecutor(WRITERS) as pool:
                names = ([f"r{round_}w{writer}n{n}" for n in range(MANY)] for writer in range(WRITERS))
                writing = [pool.submit(write_until_it_dies, server, ledger, those) for those in names]
                time.sleep(dice.uniform(0.05, LONGEST_S))
                kill(server)
            for writer in writing:
                writer.result()
        json.loads((tmp_path / "datasets.json").read_text())
    with running(tmp_path, workers=2) as server:
        check(server, ledger)
    assert ledger.there
    print(f"kills: {kills}, {len(ledger.there)} datasets acknowledged and there, {len(ledger.gone)} removed and gone")


def check(server: Server, ledger: Ledger) -> None:
    listed = {dataset["name"] for dataset in server.get("/data/datasets").json()}
    assert ledger.there <= listed
    assert not ledger.gone & listed
