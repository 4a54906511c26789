"""Writing while the server is killed, again and again: what was acknowledged is there, what was not is whole or not."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import requests

from tests.clio.accounts import DATASET, OWNER, ROLES, SECRET, Clio
from tests.servers import running
from tests.soak.processes import kill

USER = "u@t.com"
WRITERS = 4
BATCH = 20
"""Annotations of a list; with all of them or none the list was one change."""
ENVIRON = {"WKDVID_ACCESS__MODE": "clio", "OWNER": OWNER, "FLYEM_SECRET": SECRET}


def write_until_killed(folder: Path, times: int, workers: int = 2, write_s: float = 0.5) -> int:
    """
    Returns:
        How many lists were acknowledged.
    """
    numbers, acknowledged, sent = itertools.count(), set[int](), set[int]()
    for _ in range(times):
        with running(folder, environ=ENVIRON, workers=workers) as server:
            clio = Clio(server)
            check(clio, acknowledged, sent)
            clio.told(OWNER, "POST", "/v2/users", ROLES)
            threads = [
                threading.Thread(target=_write, args=(clio, numbers, acknowledged, sent)) for _ in range(WRITERS)
            ]
            for thread in threads:
                thread.start()
            time.sleep(write_s)
            kill(server)
            for thread in threads:
                thread.join()
    with running(folder, environ=ENVIRON) as server:
        check(Clio(server), acknowledged, sent)
    assert acknowledged
    return len(acknowledged)


def _write(clio: Clio, numbers: itertools.count[int], acknowledged: set[int], sent: set[int]) -> None:
    """Until the server is gone."""
    while True:
        number = next(numbers)
        body: list[dict[str, Any]] = [{"kind": "point", "pos": [number, i, 0]} for i in range(BATCH)]
        sent.add(number)
        try:
            if clio.ask(USER, "POST", f"/v2/annotations/{DATASET}", body).status_code == 200:
                acknowledged.add(number)
        except requests.RequestException:
            return


def check(clio: Clio, acknowledged: set[int], sent: set[int]) -> None:
    if not sent:
        return
    counts: dict[int, int] = {}
    for one in clio.told(USER, "GET", f"/v2/annotations/{DATASET}"):
        counts[one["pos"][0]] = counts.get(one["pos"][0], 0) + 1
    assert {*counts.values()} <= {BATCH}
    assert acknowledged <= counts.keys() <= sent
    lines = clio.told(OWNER, "GET", f"/v2/audit?size=10000&user={USER}")
    assert sum(line["action"] == "put annotations" for line in lines) == len(counts)
