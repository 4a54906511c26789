"""The port on which a worker's TensorStore reads what is kept: for nobody else."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.disk_cache.reading import KEY, reading
from wkdvid.backends.disk_cache.loopback import PASS, let_pass_by_proxies
from wkdvid.core.entries import DatasetKey
from wkdvid.core.guard import Guard
from wkdvid.testing.faulty import FileServer


@pytest.mark.parametrize("shown", [None, "", "guessed", "gu\udce9ssed"])
async def test_who_does_not_show_its_password_reads_nothing(tmp_path: Path, shown: str | None) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/x").write_bytes(b"private")
    with FileServer(tmp_path / "files") as server:
        async with reading(tmp_path / "cache", server.host) as one, aiohttp.ClientSession() as session:
            through = one.cache.of(DatasetKey(*KEY), is_apart=False)
            spec = Guard((), frozenset({server.host})).kept_by(through).parse_source(server.url).kvstore
            name, _, password = str(spec["headers"][0]).partition(": ")  # type: ignore[index]
            headers = {} if shown is None else {PASS: shown}
            for base in (str(spec["base_url"]), str(spec["base_url"])[:-5] + "else/"):
                async with session.get(f"{base}x", headers=headers) as answer:
                    assert (answer.status, await answer.read()) == (403, b"")
            async with session.get(f"{spec['base_url']}x", headers={name: password}) as answer:
                assert (answer.status, await answer.read()) == (200, b"private")


def test_proxies_are_passed_by() -> None:
    """Operators put one before the network, as docs/configuration.md says."""
    environ = {"http_proxy": "http://proxy:3128", "NO_PROXY": "lab.example.org"}
    let_pass_by_proxies("127.0.0.1", environ)
    assert environ["no_proxy"] == "lab.example.org,127.0.0.1"
    without: dict[str, str] = {}
    let_pass_by_proxies("127.0.0.1", without)
    assert without == {}
