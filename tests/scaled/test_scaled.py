"""Two servers behind the balancer: who answers what, what is seen by both, and what a kill costs."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.metadata.databases import PostgreSQL
from tests.scaled.site import NAMES, Site, running_balancer, running_site
from tests.servers import Server, free_port
from tests.soak.processes import complaints, kill
from tests.volumes import Voxels, write_precomputed

UUID = "abcd" * 8
BLOCK = 32
BLOCKS = [(x, y, z) for x in range(4) for y in range(4) for z in range(2)]
CLIENTS = 6
SHORT_S = 0.5
"""Before and after a kill."""


@pytest.fixture(scope="module")
def noise() -> Voxels:
    return np.random.default_rng(1).integers(1, 256, (4 * BLOCK, 4 * BLOCK, 2 * BLOCK), np.uint8)


@pytest.fixture(scope="module")
def site(postgresql: PostgreSQL, noise: Voxels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    write_precomputed(folder / "data" / "em", [((1, 1, 1), noise)])
    with running_site(folder, postgresql.new_database()) as running:
        register(running, "brain", uuid=UUID)
        yield running


def register(site: Site, name: str, **options: str) -> None:
    entry = {"layers": {"em": {"source": "em"}}, **options}
    answer = site.post("/data/datasets", json={"precomputed": {"lab": {name: entry}}})
    assert answer.status_code == 200, answer.text


def raw(index: Sequence[int]) -> str:
    start = "_".join(str(n * BLOCK) for n in index)
    return f"/api/node/{UUID}/em/raw/0_1_2/{BLOCK}_{BLOCK}_{BLOCK}/{start}"


def block(noise: Voxels, index: Sequence[int]) -> bytes:
    x, y, z = (slice(n * BLOCK, (n + 1) * BLOCK) for n in index)
    return noise[x, y, z].tobytes(order="F")


def by(answer: requests.Response) -> str:
    """Which server has answered."""
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Served-By"]


def test_an_address_is_answered_by_one_server_whoever_asks(site: Site, noise: Voxels) -> None:
    served = {index: by(site.get(raw(index))) for index in BLOCKS}
    assert set(served.values()) == set(NAMES)
    for index, name in served.items():
        answer = site.get(f"{raw(index)}?token={name}")
        assert (by(answer), answer.content) == (name, block(noise, index))


def test_a_share_link_that_one_has_made_is_shown_by_both(site: Site, noise: Voxels) -> None:
    made = site.post("/api/links", json={"dataset": "lab/brain"})
    assert made.status_code in (200, 201), made.text
    token = re.search(r"link-\w+-\w+", made.text)
    assert token
    for port in site.ports.values():
        answer = requests.get(f"http://127.0.0.1:{port}/shared/{token[0]}{raw(BLOCKS[0])}", timeout=60)
        assert (answer.status_code, answer.content) == (200, block(noise, BLOCKS[0]))


def test_what_is_added_through_one_is_served_by_the_other(site: Site) -> None:
    register(site, "new")
    assert {server.get("/data/datasets/lab/new").status_code for server in site.servers.values()} == {200}
    seen = {by(site.get(f"/data/datasets/lab/new?ask={n}")) for n in range(20)}
    assert seen == set(NAMES)


def new_repository(site: Site) -> tuple[str, set[str]]:
    """A node with a data instance for voxels; and which servers have answered."""
    made = site.post("/api/repos", json={})
    uuid = made.json()["root"]
    added = site.post(f"/api/repo/{uuid}/instance", json={"dataname": "em", "typename": "uint8blk"})
    return uuid, {by(made), by(added)}


def written(site: Site, uuid: str, index: Sequence[int], voxels: bytes) -> requests.Response:
    return site.post(raw(index).replace(UUID, uuid), data=voxels)


def test_all_writes_go_to_one_server_and_both_read_them(site: Site, noise: Voxels) -> None:
    uuid, writers = new_repository(site)
    writers |= {by(written(site, uuid, index, block(noise, index))) for index in BLOCKS}
    committed = site.post(f"/api/node/{uuid}/commit", json={})
    assert len(writers | {by(committed)}) == 1
    stored = site.bucket.list_objects_v2(Bucket="wkdvid", Prefix="volumes/")
    assert len([one for one in stored["Contents"] if "zarr.json" not in one["Key"]]) == len(BLOCKS)
    for server in site.servers.values():
        for index in BLOCKS:
            assert server.get(raw(index).replace(UUID, uuid)).content == block(noise, index)


def test_without_the_database_reading_goes_on(site: Site, noise: Voxels, postgresql: PostgreSQL) -> None:
    """No server is ready then, and no request is lost until the balancer has learned that."""
    postgresql.stop()
    try:
        end = time.monotonic() + 30
        while not by(answer := site.get(raw(BLOCKS[0]))).endswith("-alive"):
            assert answer.content == block(noise, BLOCKS[0])
            assert time.monotonic() < end, site.balancer_log.read_text()
            time.sleep(0.1)
        assert {by(site.get(raw(index))) for index in BLOCKS} == {"one-alive", "two-alive"}
        assert site.post("/api/repos", json={}).status_code == 503
    finally:
        postgresql.start()
    wait_until_both_answer(site)


@dataclass
class Load:
    """Clients that read through the balancer until they are told to stop."""

    site: Site
    noise: Voxels
    stopping: threading.Event = field(default_factory=threading.Event)
    good: int = 0
    broken: int = 0
    """Answers that had begun: nobody can send these again but the client."""
    lost: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, client: int) -> None:
        dice = np.random.default_rng(client)
        with requests.Session() as session:
            while not self.stopping.is_set():
                self._ask(session, BLOCKS[dice.integers(len(BLOCKS))], as_bucket=bool(dice.integers(2)))

    def _ask(self, session: requests.Session, index: Sequence[int], *, as_bucket: bool) -> None:
        try:
            if as_bucket:
                wanted = [{"position": [n * BLOCK for n in index], "mag": [1, 1, 1], "cubeSize": BLOCK}]
                answer = session.post(
                    f"{self.site.base}/data/datasets/lab/brain/layers/em/data", json=wanted, timeout=60
                )
            else:
                answer = session.get(self.site.base + raw(index), timeout=60)
        except requests.exceptions.ChunkedEncodingError:
            self._count(broken=1)
        except requests.RequestException as error:
            self._count(lost=f"{'POST' if as_bucket else 'GET'}: {error!r}")
        else:
            right = answer.status_code == 200 and answer.content == block(self.noise, index)
            self._count(lost=None if right else f"{answer.status_code} {answer.content[:100]!r}", good=right)

    def _count(self, *, good: int = 0, broken: int = 0, lost: str | None = None) -> None:
        with self.lock:
            self.good += good
            self.broken += broken
            self.lost += [lost] if lost else []


@pytest.mark.parametrize("kills", [1, pytest.param(30, marks=pytest.mark.soak)])
def test_a_killed_server_loses_no_request_that_may_be_sent_again(site: Site, noise: Voxels, kills: int) -> None:
    """One after the other; each is back before the next. What was written and acknowledged is there in the end."""
    load = Load(site, noise)
    uuid, _ = new_repository(site)
    writers = []
    with ThreadPoolExecutor(CLIENTS) as pool, ExitStack() as stack:
        stack.callback(load.stopping.set)
        clients = [pool.submit(load.run, n) for n in range(CLIENTS)]
        for n in range(kills):
            killed, index = NAMES[n % 2], BLOCKS[n % len(BLOCKS)]
            for name in NAMES:
                if site.servers[name].process.poll() is not None:
                    site.servers[name] = stack.enter_context(site.server(name))
                    wait_until_both_answer(site)
            time.sleep(SHORT_S)
            kill(site.servers[killed])
            writers.append(acknowledged(site, uuid, index, block(noise, index)))
            time.sleep(SHORT_S)
        load.stopping.set()
        for client in clients:
            client.result()
        assert (load.lost, load.good > 0, load.broken <= CLIENTS * kills) == ([], True, True)
        assert writers == [NAMES[(n + 1) % 2] for n in range(kills)]
        for index in BLOCKS[:kills]:
            assert site.get(raw(index).replace(UUID, uuid)).content == block(noise, index)
        assert complaints(site.servers[NAMES[kills % 2]]) == []
    print(f"balancer: {kills} kills, {load.good} requests answered, {load.broken} cut short, none lost")


@pytest.mark.soak
def test_a_server_that_is_stopped_loses_nothing_at_all(site: Site, noise: Voxels) -> None:
    """Neither what is read nor what is written: it says first that it is not ready, then ends what it has."""
    load = Load(site, noise)
    uuid, _ = new_repository(site)
    with ThreadPoolExecutor(CLIENTS + 1) as pool, ExitStack() as stack:

        def begin(name: str) -> None:
            site.servers[name] = stack.enter_context(site.server(name, shutdown_delay_s=3))
            wait_until_both_answer(site)

        for name in NAMES:
            stop(site.servers[name])
            begin(name)
        stack.callback(load.stopping.set)
        clients = [pool.submit(load.run, n) for n in range(CLIENTS)]
        for name in NAMES:
            stopped = pool.submit(stop, site.servers[name])
            while not stopped.done():
                index = BLOCKS[load.good % len(BLOCKS)]
                assert by(written(site, uuid, index, block(noise, index))) in NAMES
            begin(name)
        load.stopping.set()
        for client in clients:
            client.result()
    assert (load.lost, load.broken) == ([], 0)
    print(f"balancer: {load.good} requests answered while servers were stopped, none lost")


def stop(server: Server) -> None:
    server.process.terminate()
    server.process.wait(60)


def acknowledged(site: Site, uuid: str, index: Sequence[int], voxels: bytes) -> str:
    """Who has stored a block in the end. What has reached a server that dies, only the client may send again."""
    end = time.monotonic() + 30
    while (answer := written(site, uuid, index, voxels)).status_code != 200:
        assert (answer.status_code, time.monotonic() < end) == (502, True), answer.text
    return by(answer)


def wait_until_both_answer(site: Site) -> None:
    end = time.monotonic() + 30
    while {by(site.get(raw(index))) for index in BLOCKS} != set(NAMES):
        assert time.monotonic() < end, site.balancer_log.read_text()
        time.sleep(0.1)


def test_no_token_is_in_the_balancers_log(tmp_path: Path) -> None:
    """What fails is logged: here all, for no server is there."""
    log, base = tmp_path / "haproxy.log", f"http://127.0.0.1:{free_port()}"
    with running_balancer(log, base, {name: free_port() for name in NAMES}):
        for path in ("/data/datasets?token=somebodys", "/shared/somebodys/data/health"):
            assert requests.get(base + path, timeout=60).status_code == 503
    assert " GET /data/datasets 503 " in log.read_text()
    assert " GET /shared/.../data/health 503 " in log.read_text()
    assert "somebodys" not in log.read_text()
