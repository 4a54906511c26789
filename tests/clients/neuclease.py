"""The requests of neuclease's functions of the same names, and what they make of the answers (dvid.md E3).

The package needs libdvid, which comes by conda alone.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import requests

from tests.dvid_wire import BLOCK, Corner, jpeg_block, label_block, pasted, records
from tests.volumes import Voxels

BATCH = 1000
"""Blocks of one request."""
LEAST_VERSION = (0, 8, 24, 15)
"""From which on it asks for binary mappings; it stops where a version is no version."""


def xyz(corner: Iterable[int]) -> str:
    return "_".join(map(str, [*corner][::-1]))


class Neuclease:
    def __init__(self, server: str, uuid: str) -> None:
        self._server, self._node = server, f"{server}/api/node/{uuid}"
        self._repo = f"{server}/api/repo/{uuid}"
        self._session = requests.Session()
        self._session.params = {"u": "somebody", "app": "tests"}

    def _get(self, url: str, params: Mapping[str, str] | None = None, **body: Any) -> requests.Response:
        response = self._session.get(url, params=params, timeout=60, **body)
        response.raise_for_status()
        return response

    def fetch_server_version(self) -> tuple[int, ...]:
        version = self._get(f"{self._server}/api/server/info").json()["DVID Version"]
        assert version.startswith("v")
        return tuple(int(part) for part in version[1:].replace("-", ".").split(".")[:4])

    def fetch_repos_info(self) -> dict[str, Any]:
        info: dict[str, Any] = self._get(f"{self._server}/api/repos/info").json()
        return info

    def fetch_repo_info(self) -> dict[str, Any]:
        info: dict[str, Any] = self._get(f"{self._repo}/info").json()
        return info

    def expand_uuid(self, uuid: str) -> str:
        (found,) = [full for full in self.fetch_repo_info()["DAG"]["Nodes"] if full.startswith(uuid)]
        return str(found)

    def fetch_repo_instances(self) -> dict[str, str]:
        bases = [info["Base"] for info in self.fetch_repo_info()["DataInstances"].values()]
        return {base["Name"]: base["TypeName"] for base in bases}

    def fetch_branch_nodes(self, branch: str = "") -> list[str]:
        """Along the numbers of parents and children, oldest first."""
        nodes = {node["VersionID"]: node for node in self.fetch_repo_info()["DAG"]["Nodes"].values()}
        order = [number for number, node in nodes.items() if not node["Parents"]]
        for number in order:
            assert all(number in nodes[child]["Parents"] for child in nodes[number]["Children"])
            order += nodes[number]["Children"]
        return [nodes[number]["UUID"] for number in order if nodes[number]["Branch"] == branch]

    def fetch_commit(self) -> bool:
        return bool(self._get(f"{self._node}/commit").json()["Locked"])

    def fetch_note(self) -> str:
        return str(self._get(f"{self._node}/note").json()["note"])

    def fetch_log(self) -> list[str]:
        found: list[str] = self._get(f"{self._node}/log").json()["log"]
        return found

    def fetch_instance_info(self, instance: str) -> dict[str, Any]:
        info: dict[str, Any] = self._get(f"{self._node}/{instance}/info").json()
        return info

    def fetch_volume_box(self, instance: str) -> tuple[list[int], list[int]]:
        """Start and stop, (z, y, x)."""
        extended = self.fetch_instance_info(instance)["Extended"]
        return extended["MinPoint"][::-1], [n + 1 for n in extended["MaxPoint"][::-1]]

    def fetch_raw(
        self, instance: str, start: Corner, stop: Corner, dtype: np.dtype[Any], scale: int = 0, throttle: bool = False
    ) -> Voxels:
        size = [b - a for a, b in zip(start, stop, strict=True)]
        params = {**({"throttle": "true"} if throttle else {}), **({"scale": str(scale)} if scale else {})}
        body = self._get(f"{self._node}/{instance}/raw/0_1_2/{xyz(size)}/{xyz(start)}", params).content
        assert len(body) == np.prod(size) * dtype.itemsize
        return np.frombuffer(body, dtype).reshape(size)

    def fetch_subvolblocks(self, instance: str, start: Corner, stop: Corner) -> Voxels:
        """Blocks are JPEG, and outside the box there is none."""
        size = [b - a for a, b in zip(start, stop, strict=True)]
        body = self._get(f"{self._node}/{instance}/subvolblocks/{xyz(size)}/{xyz(start)}").content
        return pasted({i: jpeg_block(data) for i, data in records(body)}, start, stop, np.uint8)

    def fetch_labelmap_voxels(
        self, instance: str, start: Corner, stop: Corner, scale: int = 0, *, throttle: bool = False, sv: bool = False
    ) -> Voxels:
        """Of whole blocks; ``sv``: of supervoxels."""
        size = [b - a for a, b in zip(start, stop, strict=True)]
        params = {"compression": "blocks", "scale": str(scale)}
        params |= ({"throttle": "true"} if throttle else {}) | ({"supervoxels": "true"} if sv else {})
        body = self._get(f"{self._node}/{instance}/blocks/{xyz(size)}/{xyz(start)}", params).content
        return pasted(self._inflated(body), start, stop, np.uint64)

    def fetch_labelmap_specificblocks(
        self, instance: str, corners: Sequence[Corner], scale: int = 0, *, sv: bool = False
    ) -> dict[Corner, Voxels]:
        """By the corner in voxels; zeros for those that do not come."""
        out = {corner: np.zeros((BLOCK,) * 3, np.uint64) for corner in corners}
        for first in range(0, len(corners), BATCH):
            indices = [str(n // BLOCK) for corner in corners[first : first + BATCH] for n in corner[::-1]]
            params = {"blocks": ",".join(indices), "scale": str(scale)} | ({"supervoxels": "true"} if sv else {})
            body = self._get(f"{self._node}/{instance}/specificblocks", params).content
            for (z, y, x), block in self._inflated(body).items():
                corner = (z * BLOCK, y * BLOCK, x * BLOCK)
                assert corner in out
                out[corner] = block
        return out

    @staticmethod
    def _inflated(body: bytes) -> dict[Corner, Voxels]:
        return {index: label_block(gzip.decompress(data)) for index, data in records(body)}

    def fetch_label(self, instance: str, point: Corner, scale: int = 0) -> int:
        answer = self._get(f"{self._node}/{instance}/label/{xyz(point)}", {"scale": str(scale)}).json()
        return int(answer["Label"])

    def fetch_labels(self, instance: str, points: Sequence[Corner], scale: int = 0) -> list[int]:
        wanted = [list(point[::-1]) for point in points]
        found: list[int] = self._get(f"{self._node}/{instance}/labels", {"scale": str(scale)}, json=wanted).json()
        return found

    def fetch_mapping(self, instance: str, supervoxels: Sequence[int]) -> list[int]:
        found: list[int] = self._get(f"{self._node}/{instance}/mapping", json=list(supervoxels)).json()
        return found

    def fetch_mappings(self, instance: str) -> Voxels:
        """(supervoxel, body) of those that differ."""
        body = self._get(f"{self._node}/{instance}/mappings", {"format": "binary"}).content
        return np.frombuffer(body, np.uint64).reshape(-1, 2)

    def fetch_maxlabel(self, instance: str) -> int:
        return int(self._get(f"{self._node}/{instance}/maxlabel").json()["maxlabel"])

    def fetch_size(self, instance: str, label: int) -> int:
        return int(self._get(f"{self._node}/{instance}/size/{label}", {"supervoxels": "false"}).json()["voxels"])

    def fetch_sizes(self, instance: str, labels: Sequence[int]) -> list[int]:
        found: list[int] = self._get(f"{self._node}/{instance}/sizes", json=list(labels)).json()
        return found

    def fetch_supervoxels(self, instance: str, label: int) -> list[int]:
        found: list[int] = self._get(f"{self._node}/{instance}/supervoxels/{label}").json()
        return found

    def fetch_listlabels(self, instance: str, start: int, number: int) -> Voxels:
        """(label, voxels) each."""
        params = {"start": str(start), "number": str(number), "sizes": "true"}
        body = self._get(f"{self._node}/{instance}/listlabels", params).content
        return np.frombuffer(body, np.uint64).reshape(-1, 2)

    def fetch_sparsevol(self, instance: str, label: int, scale: int = 0) -> Voxels:
        """The body's voxels, (z, y, x) each."""
        params = {"format": "rles", "scale": str(scale)}
        return self._runs(self._get(f"{self._node}/{instance}/sparsevol/{label}", params).content)

    def fetch_sparsevol_coarse(self, instance: str, label: int) -> Voxels:
        """Its blocks, (z, y, x) each."""
        return self._runs(self._get(f"{self._node}/{instance}/sparsevol-coarse/{label}").content)

    def fetch_sparsevol_head(self, instance: str, label: int) -> bool:
        response = self._session.head(f"{self._node}/{instance}/sparsevol/{label}", timeout=60)
        assert response.status_code in {200, 204}
        return response.status_code == 200

    @staticmethod
    def _runs(body: bytes) -> Voxels:
        """Twelve bytes, of which the last four count the runs; then x, y, z and length of each."""
        runs = np.frombuffer(body, np.int32, offset=12).reshape(-1, 4)
        assert len(runs) == int.from_bytes(body[8:12], "little")
        x, y, z, lengths = (column.repeat(runs[:, 3]) for column in runs.T)
        steps = np.arange(len(x)) - (np.cumsum(runs[:, 3]) - runs[:, 3]).repeat(runs[:, 3])
        assert (steps < lengths).all()
        return np.stack([z, y, x + steps], axis=1)
