"""A DVID's own config.toml: its ngprecomputed stores are served as it would serve them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.s3 import s3_server
from tests.mesh_files import add_to_info, write_multi_lod
from tests.servers import Server, running
from tests.skeleton_files import write_skeletons
from tests.volumes import Voxels, write_precomputed
from wkdvid.config import Config, load_config
from wkdvid.core.catalog import configured_entries
from wkdvid.core.geometry import Vec3
from wkdvid.core.layers import arrange_layers
from wkdvid.dvid_stores import document_of
from wkdvid.errors import ConfigError, InvalidEntry
from wkdvid.testing.volume_suite import make_backends

PAGE = Path(__file__).parents[2] / "docs" / "dvid-config.md"
SAMPLE = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
MAIN = "c3f8a2"
MAGS: tuple[Vec3, ...] = ((1, 1, 1), (2, 2, 1), (4, 4, 2))
OFFSETS: tuple[Vec3, ...] = ((64, 0, 32), (32, 0, 32), (16, 0, 16))


@pytest.fixture(scope="module")
def arrays() -> list[Voxels]:
    random = np.random.default_rng(1)
    return [random.integers(0, 256, shape).astype(np.uint8) for shape in ((100, 70, 40), (50, 35, 40), (25, 18, 20))]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory, arrays: list[Voxels]) -> Iterator[str]:
    """An S3 stand-in with the sample's bucket; its endpoint."""
    folder = tmp_path_factory.mktemp("bucket")
    levels = list(zip(MAGS, arrays, strict=True))
    write_precomputed(folder, levels, voxel_size_nm=(4, 4, 40), offsets=OFFSETS)
    with s3_server() as (endpoint, client):
        client.create_bucket(Bucket="mybucket")
        for path in (path for path in folder.rglob("*") if path.is_file()):
            key = f"sample1/image_aligned/{path.relative_to(folder)}"
            client.put_object(Bucket="mybucket", Key=key, Body=path.read_bytes(), ACL="public-read")
        yield endpoint


def environ(endpoint: str) -> Mapping[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", **keys}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, bucket: str) -> Iterator[Server]:
    """The sample as it is written; its port alone is another."""
    data = tmp_path_factory.mktemp("sample")
    (data / "config.toml").write_text(SAMPLE)
    with running(data, environ=environ(bucket)) as server:
        yield server


def only_repo(server: Server) -> dict[str, Any]:
    (repo,) = server.get("/api/repos/info").json().values()
    found: dict[str, Any] = repo
    return found


def raw(server: Server, repo: Mapping[str, Any], name: str, box: str, dtype: str = "u1") -> Voxels:
    answer = server.get(f"/api/node/{repo['Root']}/{name}/raw/0_1_2/{box}")
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, dtype)


def test_the_sample_starts_as_it_is_written(sample: Server, arrays: list[Voxels]) -> None:
    repo = only_repo(sample)
    assert (repo["Alias"], repo["Description"]) == ("main", "dvid/main")
    assert set(repo["DataInstances"]) == {"sample1", "sample1_1", "sample1_2"}
    for level, (array, offset, mag) in enumerate(zip(arrays, OFFSETS, MAGS, strict=True)):
        name = f"sample1_{level}" if level else "sample1"
        extended = repo["DataInstances"][name]["Extended"]
        assert extended["VoxelSize"] == [4 * mag[0], 4 * mag[1], 40 * mag[2]]
        assert extended["MinPoint"] == list(offset)
        assert extended["MaxPoint"] == [a + n - 1 for a, n in zip(offset, array.shape, strict=True)]
        box = f"{'_'.join(map(str, array.shape))}/{'_'.join(map(str, offset))}"
        np.testing.assert_array_equal(raw(sample, repo, name, box), array.ravel("F"))


def test_what_means_nothing_is_named_once(sample: Server) -> None:
    log = (sample.data_dir / "server.log").read_text()
    (line,) = (line for line in log.splitlines() if "without meaning here" in line)
    assert line.partition("ignored: ")[2] == (
        "[logging], [backend], server.rpcAddress, server.webClient, [store.mainstore], [store.mutationlog]"
    )
    assert "s3://mybucket/sample1/image_aligned/ is sample1 of dvid/main" in log


def test_it_is_read_only_and_cannot_be_replaced(sample: Server) -> None:
    root = only_repo(sample)["Root"]
    assert sample.post(f"/api/node/{root}/sample1/raw/0_1_2/64_64_64/0_0_0", data=bytes(64**3)).status_code == 400
    entry = {
        "precomputed": {"dvid": {"main": {"layers": {"other": {"source": "s3://mybucket/sample1/image_aligned"}}}}}
    }
    refused = sample.post("/data/datasets", json=entry)
    assert refused.status_code == 400
    assert "dvid/main stands in the server's configuration file" in refused.text
    assert sample.get("/data/datasets/dvid/main").status_code == 200
    reloaded = sample.post("/data/triggers/reload/dvid/main")
    assert reloaded.status_code == 200, reloaded.text
    assert sorted(only_repo(sample)["DataInstances"]) == ["sample1", "sample1_1", "sample1_2"]


def test_the_same_uuid_at_every_start_and_in_every_worker(sample: Server) -> None:
    root = only_repo(sample)["Root"]
    (entry,) = document_of(load_config(sample.data_dir / "config.toml", {}, {}).stores)["precomputed"]["dvid"].values()
    assert "uuid" not in entry
    assert len(root) == 32
    assert sample.get(f"/api/node/{root[:6]}/sample1/info").status_code == 200


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory, bucket: str) -> Iterator[Server]:
    """Stores of every other kind that this machine can have, where none but the operator names sources."""
    outside = tmp_path_factory.mktemp("outside")
    labels = np.arange(4096, dtype=np.uint32).reshape(16, 16, 16)
    wide = np.full((16, 16, 16), 4000, np.uint16)
    write_precomputed(outside / "seg", [((1, 1, 1), labels)], kind="segmentation")
    write_multi_lod(outside / "seg" / "mesh", [7], sharded=True)
    write_skeletons(outside / "seg" / "skeletons", [7], sharded=True)
    add_to_info(outside / "seg", mesh="mesh", skeletons="skeletons")
    write_precomputed(outside / "wide", [((1, 1, 1), wide)], voxel_size_nm=(3, 3, 3))
    data = tmp_path_factory.mktemp("others")
    (data / "config.toml").write_text(
        f"""
        [store.seg]
        engine = "ngprecomputed"
        ref = "{outside}/seg"
        uuid = "{MAIN}"
        [store.wide]
        engine = "ngprecomputed"
        ref = "file://{outside}/wide"
        dataset = "lab/wide"
        [store.vast]
        engine = "ngprecomputed"
        ref = "vast://{bucket.removeprefix("http://")}/mybucket/sample1/image_aligned"
        instance = "em"
        dataset = "lab/em"
        uuid = "release-1"
        """
    )
    keys = {**environ(bucket), "AWS_ENDPOINT_URL": "", "WKDVID_ACCESS__MODE": "token", "WKDVID_ADMIN_TOKEN": "x"}
    with running(data, {}, environ=keys) as server:
        yield server
    shutil.rmtree(outside)


def test_every_kind_of_ref_and_of_volume(others: Server, arrays: list[Voxels]) -> None:
    repos = {repo["Description"]: repo for repo in others.get("/api/repos/info").json().values()}
    assert set(repos) == {"dvid/main", "lab/wide", "lab/em"}
    main, em = repos["dvid/main"], repos["lab/em"]
    assert main["Root"].startswith(MAIN)
    assert (len(main["Root"]), em["Root"]) == (32, "release-1")
    assert main["DataInstances"]["seg"]["Base"]["TypeName"] == "labelmap"
    assert repos["lab/wide"]["DataInstances"]["wide"]["Base"]["TypeName"] == "uint16blk"
    assert raw(others, main, "seg", "2_1_1/3_2_1", "<u8").tolist() == [3 * 256 + 2 * 16 + 1, 4 * 256 + 2 * 16 + 1]
    assert raw(others, em, "em_1", "1_1_1/40_5_33").item() == arrays[1][8, 5, 1]


def test_meshes_and_skeletons_of_a_labelmap_are_key_values(others: Server) -> None:
    (main,) = (repo for repo in others.get("/api/repos/info").json().values() if repo["Alias"] == "main")
    assert set(main["DataInstances"]) == {"seg", "seg_meshes", "seg_skeletons"}
    for name in ("seg_meshes", "seg_skeletons"):
        found = others.get(f"/api/node/{main['Root']}/{name}/info").json()
        assert found == main["DataInstances"][name]
        assert (found["Base"]["TypeName"], found["Extended"]) == ("keyvalue", {})


def test_only_the_stores_own_places_are_opened_to_others(others: Server, tmp_path: Path) -> None:
    write_precomputed(tmp_path / "v", [((1, 1, 1), np.ones((8, 8, 8), np.uint8))])
    entry = {"precomputed": {"lab": {"x": {"layers": {"x": {"source": str(tmp_path / "v")}}}}}}
    answer = others.post("/data/datasets", json=entry, headers={"X-Auth-Token": "x"})
    assert (answer.status_code, "outside the directories" in answer.text) == (400, True)


async def test_volumes_that_share_no_grid_need_datasets_of_their_own(tmp_path: Path) -> None:
    for size in (3, 4):
        array = np.ones((8, 8, 8), np.uint8)
        write_precomputed(tmp_path / f"v{size}", [((1, 1, 1), array)], voxel_size_nm=(size, size, size))
    backends = make_backends(roots=[tmp_path])
    stores = config_of(tmp_path, store(f"{tmp_path}/v3") + store(f"{tmp_path}/v4", alias="b")).stores
    (entry,) = configured_entries(backends.parse, document_of(stores))
    with pytest.raises(InvalidEntry, match=r"layers.b: voxel size .* give its store a 'dataset' of its own"):
        arrange_layers(entry, await backends.open_layers(entry))


def config_of(folder: Path, text: str) -> Config:
    (folder / "config.toml").write_text(text)
    return load_config(folder / "config.toml", {}, {})


def store(ref: str, more: str = "", alias: str = "a") -> str:
    return f'[store.{alias}]\nengine = "ngprecomputed"\nref = "{ref}"\n{more}\n'


@pytest.mark.parametrize(
    ("ref", "address", "endpoint"),
    [
        ("bucket/seg", "gs://bucket/seg", None),
        ("gs://bucket/seg", "gs://bucket/seg", None),
        ("s3://bucket/seg/", "s3://bucket/seg/", None),
        ("vast://vast.lab.org/bucket/seg", "s3://bucket/seg", "https://vast.lab.org"),
        ("vast://10.1.2.3:80/bucket", "s3://bucket", "http://10.1.2.3:80"),
        ("vast://[::1]:9000/bucket", "s3://bucket", "http://[::1]:9000"),
    ],
)
def test_buckets_are_read_with_the_processs_own_credentials(
    tmp_path: Path, ref: str, address: str, endpoint: str | None
) -> None:
    config = config_of(tmp_path, f'[sources]\nhttp_hosts = ["10.1.2.3:80"]\n{store(ref)}')
    (one,) = config.credentials
    assert (one.prefix, one.environment, one.endpoint) == (address, True, endpoint)
    written = document_of(config.stores)
    assert written == {"precomputed": {"dvid": {"main": {"layers": {"a": {"source": address}}}}}}


def test_credentials_that_are_written_for_a_store_count(tmp_path: Path) -> None:
    granted = '[[sources.credentials]]\nprefix = "s3://bucket/"\nprofile = "lab"\n'
    config = config_of(tmp_path, granted + store("s3://bucket/seg") + store("s3://bucket2/seg", alias="b"))
    assert [(one.prefix, one.profile) for one in config.credentials] == [
        ("s3://bucket/", "lab"),
        ("s3://bucket2/seg", None),
    ]


def test_hosts_and_folders_of_stores_are_allowed(tmp_path: Path) -> None:
    config = config_of(tmp_path, store("http://10.0.0.1:8080/em") + store("/data/em", alias="b"))
    assert config.http_hosts == {"10.0.0.1:8080"}
    assert Path("/data/em") in config.file_roots
    assert config.credentials == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (store("ftp://host/em"), "store.a.ref: scheme 'ftp' is not offered"),
        (store("s3://bucket/../em"), "holds '..'"),
        (store("vast://host"), "does not name a bucket"),
        (store("vast:///bucket"), "store.a.ref"),
        (store("Bucket Of Mine/em"), "store.a.ref"),
        (store("s3://bucket/em", "colour = 3"), "store.a.colour: not engine, ref"),
    ],
)
def test_what_no_store_can_be(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(tmp_path, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (store("/em", 'instance = "a b"'), "layer: 'a b' is not a name"),
        (store("/em", 'dataset = "main"'), "dataset: '' is not a name"),
        (store("/em", 'dataset = "a/b/c"'), "dataset: 'b/c' is not a name"),
        (store("/em", 'uuid = "x/y"'), "store.a.uuid: 'x/y' is no UUID"),
        (store("/em") + store("/em2", 'instance = "a"', "b"), "store.b: dvid/main has an instance 'a' already"),
        (
            store("vast://x/lab/em") + store("vast://y/lab/em", alias="b"),
            "store.b.ref: another store has this bucket and",
        ),
        (store("/em", 'uuid = "12"') + store("/e", 'uuid = "13"', "b"), "store.b.uuid: dvid/main has another UUID"),
    ],
)
def test_what_no_stores_can_be_together(tmp_path: Path, text: str, message: str) -> None:
    config = config_of(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        document_of(config.stores)
    assert message in str(caught.value)


def test_two_stores_of_one_beginning_share_their_dataset(tmp_path: Path) -> None:
    text = store("/em", 'uuid = "12"') + store("/seg", 'uuid = "12"', "b")
    (entry,) = document_of(config_of(tmp_path, text).stores)["precomputed"]["dvid"].values()
    assert set(entry["layers"]) == {"a", "b"}
    assert re.fullmatch("12[0-9a-f]{30}", entry["uuid"])
    assert json.dumps(entry)
