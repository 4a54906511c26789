"""Every route that reads voxels, of both protocols, while its source answers chunk A with 500, B with 404, C with a
page.

A and C are failures on each, B is the fill value, and what is healed is exact at once. What is exact is told by the
same routes to copies of the volumes on disk: a whole one, and one that lacks chunk B.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from sanic import Sanic

from tests.backends.test_zarr import create_array
from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.config import Config
from wkdvid.frontends.dvid.routes import ENDPOINTS
from wkdvid.server import create_app
from wkdvid.testing.faulty import LOGIN_PAGE, FileServer, Instead, none

SIDE = 64
A, B, C, WELL = 0, 2, 4, 6
"""Chunks along x. Those between them are well, so that a block of scale 1 holds one of these and one well chunk."""
SIZE = (8 * SIDE, SIDE, SIDE)
FAULTS: Mapping[int, Instead] = {A: 500, B: 404, C: LOGIN_PAGE}
STATUS = {A: 503, C: 502}
KINDS = {"raw": "raw", "jpeg": "jpeg", "labels": "compressed_segmentation", "zarr": ""}
"""With the encoding of those that are precomputed."""
SOURCES = ("far", "whole", "holed")


@dataclass(frozen=True)
class Case:
    route: str
    """As the router has it, or an endpoint of DVID's instances."""
    path: str
    """``{name}``: of the layer. ``{uuid}``, ``{id}``: of the dataset. ``{x}``: of the chunk's first voxel, ``{x2}`` in
    scale 1; ``{x1}``: behind its last. ``{b}``: of its block of 64 voxels a side, ``{b2}`` in scale 1. ``{c}``: of its
    cube of 32."""
    body: str = ""
    """JSON, sent with it; ``"X"`` stands for ``{x}``."""


def bucket(mag: int, **more: Any) -> str:
    return json.dumps([{"position": ["X", 0, 0], "mag": [mag] * 3, "cubeSize": 32, **more}])


BY_NAME = "/data/datasets/<organization>/<name>/layers/<layer>/data"
BY_ID = "/data/datasets/<dataset_id>/layers/<layer>/data"
LAYERS = {
    "/data/datasets/<organization>/<name>/layers/<layer>": "/data/datasets/lab/{name}/layers/layer",
    "/data/datasets/<dataset_id>/layers/<layer>": "/data/datasets/{id}/layers/layer",
}
SLICES = "/datasets/<organization>/<name>/layers/<layer>/slices/<plane>"
CUTOUT = "?x={x}&y=0&z=0&width=32&height=32&depth=32&mag="
OF_LAYERS: tuple[Case, ...] = (
    *(Case(BY_NAME, "/data/datasets/lab/{name}/layers/layer/data", bucket(mag)) for mag in (1, 2)),
    *(Case(BY_ID, "/data/datasets/{id}/layers/layer/data", bucket(mag)) for mag in (1, 2)),
    *(Case(BY_NAME, "/data/datasets/lab/{name}/layers/layer/data" + CUTOUT + mag) for mag in "12"),
    *(Case(BY_ID, "/data/datasets/{id}/layers/layer/data" + CUTOUT + mag) for mag in "12"),
)
BOX = json.dumps({"position": ["X", 0, 0], "mag": [1, 1, 1], "cubeSize": [32, 16, 8]})
OF_LAYERS += (
    *(Case(f"{route}/readData", f"{path}/readData", BOX) for route, path in LAYERS.items()),
    *(
        Case(f"{route}/<mag>/<x>/<y>/<z>/bucket.raw", f"{path}/mag1/x{{c}}/y0/z0/bucket.raw")
        for route, path in LAYERS.items()
    ),
    *(
        Case(f"{route}/thumbnail.jpg", f"{path}/thumbnail.jpg?x={{x}}&y=0&z=0&width=20&height=20&mag=1")
        for route, path in LAYERS.items()
    ),
    *(
        Case(SLICES, f"/datasets/lab/{{name}}/layers/layer/slices/{plane}")
        for plane in ("zy?at={x}", "zy?at={x}&low=3&high=9")
    ),
    *(
        Case(f"/data/{tree}/<dataset_path>", f"/data/{tree}/{{id}}/layer/1/0.{{c}}.0.0")
        for tree in ("zarr", "zarr3_experimental")
    ),
    Case("/precomputed/<organization>/<name>/<layer>/<path>", "/precomputed/lab/{name}/layer/1/{x}-{x1}_0-64_0-64"),
    Case("/zarr/<organization>/<name>/<layer>/<path>", "/zarr/lab/{name}/layer/1/c/0/0/{b}"),
    Case("/zarr2/<organization>/<name>/<layer>/<path>", "/zarr2/lab/{name}/layer/1/0/0/{b}"),
)
CUBE = json.dumps(
    {"position": ["X", 0, 0], "mag": [1] * 3, "cubeSize": [33] * 3, "segmentId": 5, "voxelSizeFactorInUnit": [1] * 3}
)
OF_SEGMENTS = tuple(Case(f"{route}/adHocMesh", f"{path}/adHocMesh", CUBE) for route, path in LAYERS.items())
PICTURE = json.dumps(
    {
        **dict.fromkeys(("width", "height"), 20),
        "layers": [{"dataLayerName": "layer", "x": "X", "y": 0, "z": 0, "width": 20, "height": 20, "mag": "1"}],
    }
)
OF_LAYERS += (
    Case("/data/datasets/<organization>/<name>/thumbnail.jpg", "/data/datasets/lab/{name}/thumbnail.jpg", PICTURE),
    Case("/data/datasets/<dataset_id>/thumbnail.jpg", "/data/datasets/{id}/thumbnail.jpg", PICTURE),
)
OF_ANY = (
    Case("raw", "/api/node/{uuid}/layer/raw/0_1_2/64_64_64/{x}_0_0"),
    Case("raw", "/api/node/{uuid}/layer/raw/0_1_2/9_8_7/{x}_3_1"),
    Case("isotropic", "/api/node/{uuid}/layer/isotropic/0_1_2/64_64_64/{x}_0_0"),
    *(
        Case("raw", f"/api/node/{{uuid}}/layer/raw/{axes}/20_20/{{x}}_0_0/png")
        for axes in ("0_1", "0_2", "1_2", "xy", "xz", "yz")
    ),
    Case("isotropic", "/api/node/{uuid}/layer/isotropic/0_1/20_20/{x}_0_0/png"),
)
OF_IMAGES = (
    *OF_ANY,
    Case(BY_NAME, "/data/datasets/lab/{name}/layers/layer/data", bucket(1, fourBit=True)),
    Case("raw", "/api/node/{uuid}/layer_1/raw/0_1_2/32_32_32/{x2}_0_0"),
    Case("raw", "/api/node/{uuid}/layer_1/raw/0_1/20_20/{x2}_0_0/jpg"),
    Case("raw", "/api/node/{uuid}/layer/raw/0_1_2/16_16_16/{x}_0_0/jpeg"),
    *(
        Case(endpoint, f"/api/node/{{uuid}}/{place}{query}")
        for query in ("", "compression=uncompressed", "compression=jpeg")
        for endpoint, place in (
            ("specificblocks", "layer/specificblocks?blocks={b},0,0,7,0,0&"),
            ("specificblocks", "layer_1/specificblocks?blocks={b2},0,0&"),
            ("subvolblocks", "layer/subvolblocks/64_64_64/{x}_0_0?"),
            ("subvolblocks", "layer/subvolblocks/10_20_30/{x}_0_0?"),
            ("subvolblocks", "layer/subvolblocks/128_64_64/{x}_0_0?"),
            ("subvolblocks", "layer_1/subvolblocks/64_64_64/{x2}_0_0?"),
        )
    ),
    Case("blocks", "/api/node/{uuid}/layer/blocks/{b}_0_0/2"),
    Case("blocks", "/api/node/{uuid}/layer_1/blocks/{b2}_0_0/1"),
    Case("arb", "/api/node/{uuid}/layer/arb/{x}_0_3/{x}_19_5/{x}_0_19/1.5"),
)
OF_LABELS = (
    *OF_ANY,
    Case("raw", "/api/node/{uuid}/layer/raw/0_1_2/32_32_32/{x2}_0_0?scale=1"),
    *(
        Case("raw", f"/api/node/{{uuid}}/layer/raw/0_1_2/64_64_64/{{x}}_0_0?compression={compression}")
        for compression in ("lz4", "gzip", "google", "googlegzip")
    ),
    *(
        Case(endpoint, f"/api/node/{{uuid}}/layer/{place}&compression={compression}")
        for compression in ("lz4", "gzip", "blocks", "uncompressed")
        for endpoint, place in (
            ("specificblocks", "specificblocks?blocks={b},0,0,7,0,0&scale=0"),
            ("specificblocks", "specificblocks?blocks={b2},0,0&scale=1"),
            ("blocks", "blocks/64_64_64/{x}_0_0?scale=0"),
            ("blocks", "blocks/64_64_64/{x2}_0_0?scale=1"),
        )
    ),
    Case("pseudocolor", "/api/node/{uuid}/layer/pseudocolor/xz/20_20/{x}_0_0"),
    Case("label", "/api/node/{uuid}/layer/label/{x}_5_5"),
    Case("label", "/api/node/{uuid}/layer/label/{x2}_5_5?scale=1"),
    Case("labels", "/api/node/{uuid}/layer/labels", '[["X", 5, 5], [500, 5, 5]]'),
)
WITHOUT_VOXELS = {
    *("info", "metadata", "help", "tags", "mapping", "mappings", "supervoxel-splits", "maxlabel", "nextlabel"),
    *("size", "supervoxels", "supervoxel-sizes", "lastmod", "index", "indices", "indices-compressed", "sizes"),
    *("sparsevol", "sparsevol-coarse", "sparsevol-size", "sparsevol-by-point", "sparsevols-coarse"),
    *("listlabels", "existing-labels"),
}
"""Endpoints that ask for a label index say that there is none."""
LACKING = (
    *("mappings/<path>", "agglomerates/<path>", "connectomes/<path>"),
    *("segmentIndex", "segmentIndex/<path>", "segmentStatistics/<path>"),
)
PROXIES = ("/data/datasets/<organization>/<name>/proxy", "/data/datasets/<dataset_id>/proxy")
ROUTES_WITHOUT_VOXELS = {
    *(
        "/",
        *(f"/datasets/<organization>/<name>{page}" for page in ("", "/source", "/picture")),
        "/data/datasets",
        "/data/datasets/<organization>/<name>",
        "/data/datasets/<dataset_id>",
    ),
    *("/api/repos/info", "/api/repo/<uuid>", "/api/repo/<uuid>/info", "/api/repo/<uuid>/log"),
    *(
        f"{route}/{path}"
        for route in LAYERS
        for path in (
            *("mappings", "agglomerates", "meshes", "connectomes", "hasSegmentIndex", "histogram", "findData"),
            *("meshes/chunks", "meshes/chunks/data", "meshes/fullMesh.stl", "segmentProperties"),
        )
    ),
    *(f"{proxy}/datasource-properties.json" for proxy in PROXIES),
    *(f"{proxy}/layers/<layer>/mags/<mag>/<path>" for proxy in PROXIES),
    *(f"{proxy}/layers/<layer>/attachments/<path>" for proxy in PROXIES),
    *(f"{route}/{path}" for route in LAYERS for path in LACKING),
    *(f"/{tree}/<organization>/<name>/<document>" for tree in ("zarr", "zarr2")),
    *("/api/repo/<uuid>/branch-versions/<branch>", "/api/node/<uuid>/<action>", "/api/config/datasets"),
}
"""Nor those that choose the voxels themselves, and those that hand on files as they are."""
INSTANCES = "/api/node/<uuid>/<name>/<endpoint>"


def cases(kind: str) -> Sequence[Case]:
    return (*OF_LAYERS, *((*OF_SEGMENTS, *OF_LABELS) if kind == "labels" else OF_IMAGES))


def test_every_reading_route_has_a_case() -> None:
    """One that is new fails here, until it has a case above or is said to read no voxels."""
    app = create_app(Config())
    Sanic.unregister_app(app)  # another test makes one of the same name
    app.router.finalize()
    reading = {"/" + route.path for route in app.router.routes if route.ctx.access == "read"}
    same = {re.sub(r":str|:path|(/<part\d:str>)+$", "", path) for path in reading}
    of_layers = {case.route for case in OF_LAYERS + OF_SEGMENTS}
    assert same == ROUTES_WITHOUT_VOXELS | of_layers | {INSTANCES}
    for typename, of_type in (("uint8blk", OF_IMAGES), ("labelmap", OF_LABELS)):
        assert {*ENDPOINTS[typename].handlers} - WITHOUT_VOXELS == {case.route for case in of_type} - of_layers


# ---- volumes and servers ------------------------------------------------------------------------------------------


def write(folder: Path, kind: str) -> None:
    """Blocks of 16 voxels of one value, none of them 0; JPEG keeps them apart, and there are few labels."""
    coarse = np.random.default_rng(1).integers(1, 255, tuple(n // 16 for n in SIZE), np.uint8)
    voxels = coarse.repeat(16, 0).repeat(16, 1).repeat(16, 2)
    if kind == "zarr":
        create_array(str(folder), shape=SIZE[::-1], chunks=(SIDE,) * 3, dtype="uint8")[...] = voxels.T
    elif kind == "labels":
        write_precomputed(folder, [((1, 1, 1), voxels.astype("u8"))], encoding=KINDS[kind], kind="segmentation")
    else:
        write_precomputed(folder, [((1, 1, 1), voxels)], encoding=KINDS[kind])


def chunk_path(kind: str, chunk: int) -> str:
    return f"c/0/0/{chunk}" if kind == "zarr" else f"1-1-1/{SIDE * chunk}-{SIDE * (chunk + 1)}_0-64_0-64"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, FileServer]]:
    """A server of every kind from every source, and the web server that holds the far ones."""
    folder = tmp_path_factory.mktemp("site")
    for kind in KINDS:
        write(folder / "whole" / kind, kind)
        shutil.copytree(folder / "whole" / kind, folder / "holed" / kind)
        (folder / "holed" / kind / chunk_path(kind, B)).unlink()
    with FileServer(folder / "whole") as far:
        bases = {"far": far.url, "whole": f"{folder}/whole/", "holed": f"{folder}/holed/"}
        entries: dict[str, Any] = {"zarr": {"lab": {}}, "precomputed": {"lab": {}}}
        for i, (source, kind) in enumerate((source, kind) for source in SOURCES for kind in KINDS):
            layer = {
                "source": bases[source] + kind,
                "type": "segmentation" if kind == "labels" else "image",
                "voxel_size": [1, 1, 1],
            }
            entries["zarr" if kind == "zarr" else "precomputed"]["lab"][f"{source}_{kind}"] = {
                "layers": {"layer": layer},
                "uuid": f"abcd{i:02}",
                "dataset_id": f"{i:024}",
            }
        environ = {"WKDVID_SOURCES__HTTP_HOSTS": far.host, "WKDVID_SOURCES__FILE_ROOTS": str(folder)}
        with running(folder / "data", entries, environ=environ) as server:
            listed = server.get("/data/datasets").json()
            assert len(listed) == len(SOURCES) * len(KINDS)
            assert [dataset for dataset in listed if dataset["state"] != "open"] == []
            yield server, far


@dataclass(frozen=True)
class Asker:
    """Asks a server for a chunk, on every route."""

    server: Server
    kind: str

    def ask(self, case: Case, source: str, chunk: int) -> requests.Response:
        number = [(s, k) for s in SOURCES for k in KINDS].index((source, self.kind))
        name, x = f"{source}_{self.kind}", SIDE * chunk
        names = {"name": name, "uuid": f"abcd{number:02}", "id": f"{number:024}"}
        path = case.path.format(**names, x=x, x1=x + SIDE, x2=x // 2, b=chunk, b2=chunk // 2, c=x // 32)
        body = case.body.replace('"X"', str(x))
        is_post = body and case.route != "labels"
        return self.server.post(path, data=body) if is_post else self.server.get(path, data=body)

    def all(self, source: str, chunk: int) -> Mapping[Case, requests.Response]:
        """The answers to every case, asked for together."""
        asked = cases(self.kind)
        with ThreadPoolExecutor(len(asked)) as pool:
            return dict(zip(asked, pool.map(lambda case: self.ask(case, source, chunk), asked), strict=True))

    def check_failed(self, chunk: int) -> None:
        for case, answer in self.all("far", chunk).items():
            if case.route in (BY_NAME, BY_ID) and case.body:
                assert (answer.status_code, answer.content) == (200, b""), case
                assert answer.headers["Failure-Bucket-Indices"] == "[0]", case
                assert answer.headers["Empty-Bucket-Indices"] == "[]", case
            else:
                assert answer.status_code == STATUS[chunk], (case, answer.content[:200])

    def check_exact(self, chunk: int, like: str = "whole") -> None:
        told = self.all(like, chunk)
        for case, answer in self.all("far", chunk).items():
            assert answer.status_code == told[case].status_code == 200, (case, answer.content[:200])
            assert answer.content == told[case].content, case
            assert answer.headers.get("MISSING-BUCKETS") == told[case].headers.get("MISSING-BUCKETS"), case


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_is_one_on_every_route(site: tuple[Server, FileServer], kind: str) -> None:
    server, far = site
    asker = Asker(server, kind)
    by_path = {f"{kind}/{chunk_path(kind, chunk)}": instead for chunk, instead in FAULTS.items()}
    far.fault = by_path.get
    for _ in range(2):  # what failed is not kept
        asker.check_failed(A)
        asker.check_failed(C)
        asker.check_exact(B, like="holed")
        asker.check_exact(WELL)
    described = server.get(f"/zarr/lab/far_{kind}/layer/zarr.json")  # of some voxels that can be read
    assert (described.status_code, described.json()["node_type"]) == (200, "group")
    far.fault = none
    asker.check_exact(A)
    asker.check_exact(C)
    far.fault = by_path.get
    asker.check_exact(A)  # what was read whole is kept
    asker.check_exact(C)
    far.fault = none
    server.post(f"/data/triggers/reload/lab/far_{kind}")
    asker.check_exact(B)
