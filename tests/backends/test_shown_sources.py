"""What a server tells of its sources to anybody: as the operator wrote them, without real paths and secrets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends import test_n5, test_precomputed, test_zarr
from tests.backends.arrays import noise
from tests.servers import Server, free_port, running

SECRET = "s3cr3t"
SIZE = (40, 40, 40)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Datasets that cannot be opened, and one whose chunks are damaged, behind a link and by an absolute path."""
    root = tmp_path_factory.mktemp("data")
    real = root / "mounts" / "disk7"
    test_precomputed.write(real / "good", noise("uint8", SIZE))
    for chunk in (real / "good" / "8_8_40").iterdir():
        chunk.write_bytes(b"<html>")
    (real / "broken").mkdir()
    (real / "broken/info").write_text("{")
    test_zarr.write_array(real / "zarr", noise("uint8", SIZE))
    (real / "zarr/zarr.json").write_text('{"node_type": "array"}')
    test_n5.write_array(real, "n5", noise("uint8", SIZE))
    test_n5.add(real / "n5", compression={"type": "jpeg"})
    (root / "lab").symlink_to(real)
    texts = {
        "linked": ("precomputed", "lab/good"),
        "absolute": ("precomputed", f"file://{root}/lab/good"),
        "broken": ("precomputed", f"{root}/lab/broken"),
        "missing": ("precomputed", f"{root}/lab/missing"),
        "scheme": ("zarr", f"file://{root}/lab/zarr"),
        "codec": ("n5", f"n5://{root}/lab/n5"),
        "closed": ("zarr", f"http://localhost:{free_port()}/em?token={SECRET}"),
    }
    entries: dict[str, dict[str, dict[str, object]]] = {}
    for name, (backend, source) in texts.items():
        layers = {"image": {"source": source, "type": "image"}}
        entries.setdefault(backend, {}).setdefault("org", {})[name] = {"layers": layers}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{root}/lab/n5"}}
    entries["tensorstore"] = {"org": {"spec": {"layers": {"image": {"source": spec}}}}}
    with running(root, entries, environ={"WKDVID_SOURCES__HTTP_HOSTS": "localhost"}) as started:
        yield started


def check_shown(server: Server, text: str) -> None:
    assert str(server.data_dir) not in text
    assert "disk7" not in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "lab/broken/"),
        ("missing", "there is no info file"),
        ("scheme", "shape: expected a list"),
        ("codec", "compression 'jpeg'"),
        ("spec", "compression 'jpeg'"),
        ("closed", "does not answer"),
    ],
)
def test_reasons(server: Server, name: str, words: str) -> None:
    answer = server.get(f"/data/datasets/org/{name}")
    listed = server.get("/data/datasets").text
    assert answer.status_code == 503
    assert words in listed
    for text in (answer.text, listed, server.get("/api/repos/info").text, server.get("/").text):
        check_shown(server, text)


@pytest.mark.parametrize("name", ["linked", "absolute"])
def test_read_errors(server: Server, name: str) -> None:
    repos = server.get("/api/repos/info").json()
    (uuid,) = [uuid for uuid, repo in repos.items() if repo["Alias"] == name]
    answer = server.get(f"/api/node/{uuid}/image/raw/0_1_2/8_8_8/0_0_0")
    assert answer.status_code == 502
    assert "lab/good" in answer.text
    check_shown(server, answer.text)


def test_refusals(server: Server) -> None:
    layers = {"image": {"source": "lab/broken", "type": "image"}}
    answer = server.post("/data/datasets", json={"precomputed": {"org": {"new": {"layers": layers}}}})
    assert answer.status_code == 400
    assert "lab/broken" in answer.text
    check_shown(server, answer.text)
