"""The requests of libdvid's readers, which NeuTu is built on, and what they make of the answers (dvid.md E5).

It comes by conda alone. Unlike here, its readers wait and try again where a throttled request meets a busy server.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import lz4.block
import numpy as np
import requests
from PIL import Image

from tests.clients.neuclease import xyz
from tests.dvid_wire import BLOCK, Corner, jpeg_block, label_block, records
from tests.volumes import Voxels

RAW_BLOCK = 8 * BLOCK**3
"""Bytes of a block of labels."""


class Libdvid:
    def __init__(self, server: str, uuid: str) -> None:
        self._server, self._node = server, f"{server}/api/node/{uuid}"
        self._user = {"u": "somebody", "app": "tests"}

    def find_server(self) -> None:
        """As a connection begins, and as NeuTu looks now and then whether it is there."""
        assert requests.get(f"{self._server}/api/server/info", params=self._user, timeout=60).json()["DVID Version"]
        assert requests.get(f"{self._server}/api/heartbeat", params=self._user, timeout=60).text == "OK"
        load = requests.get(f"{self._server}/api/load", timeout=60).json()
        assert all(isinstance(figure, int) for figure in load.values())

    def _get(self, path: str, body: Any = None, **query: str) -> bytes:
        response = requests.get(f"{self._node}/{path}", params={**query, **self._user}, json=body, timeout=60)
        assert response.status_code in {200, 206}, response.text
        return response.content

    def block_size(self, instance: str) -> int:
        response = requests.get(f"{self._node}/{instance}/info", params=self._user, timeout=60)
        (side,) = set(response.json()["Extended"]["BlockSize"])
        return int(side)

    def get_gray3d(self, instance: str, size: Corner, start: Corner) -> Voxels:
        body = self._get(f"{instance}/raw/0_1_2/{xyz(size)}/{xyz(start)}", throttle="on")
        return np.frombuffer(body, np.uint8).reshape(size)

    def get_slice(self, instance: str, axes: str, size: tuple[int, int], start: Corner) -> Voxels:
        """A picture (height, width), as NeuTu shows it: ``axes`` are 0_1, 0_2 or 1_2, ``size`` is (width, height)."""
        box = f"{size[0]}_{size[1]}/{xyz(start)}"
        raw = np.asarray(Image.open(BytesIO(self._get(f"{instance}/raw/{axes}/{box}/png"))))
        isotropic = np.asarray(Image.open(BytesIO(self._get(f"{instance}/isotropic/{axes}/{box}/png"))))
        np.testing.assert_array_equal(isotropic, raw)  # for voxels of three equal sides
        return raw

    def get_labels3d(self, instance: str, size: Corner, start: Corner) -> Voxels:
        path = f"{instance}/raw/0_1_2/{xyz(size)}/{xyz(start)}"
        body = self._get(path, throttle="on", compression="lz4", supervoxels="true")
        return self._unpacked(body, 8 * int(np.prod(size))).reshape(size)

    def get_grayblocks3d_subvol(self, instance: str, size: Corner, start: Corner) -> dict[Corner, Voxels]:
        path = f"{instance}/subvolblocks/{xyz(size)}/{xyz(start)}"
        body = self._get(path, compression="jpeg", scale="0", throttle="on")
        return {index: jpeg_block(data) for index, data in records(body)}

    def get_grayblocks(self, instance: str, first: Corner, span: int) -> Voxels:
        """So many blocks along x."""
        body = self._get(f"{instance}/blocks/{xyz(first)}/{span}")
        return np.frombuffer(body, np.uint8).reshape(span, BLOCK, BLOCK, BLOCK)

    def get_labelblocks3d(
        self, instance: str, size: Corner, start: Corner, compression: str, scale: int = 0
    ) -> dict[Corner, Voxels]:
        """``compression`` is lz4 or blocks."""
        path = f"{instance}/blocks/{xyz(size)}/{xyz(start)}"
        body = self._get(path, throttle="on", compression=compression, scale=str(scale))
        if compression == "blocks":
            return {index: label_block(gzip.decompress(data)) for index, data in records(body)}
        return {i: self._unpacked(data, RAW_BLOCK).reshape((BLOCK,) * 3) for i, data in records(body)}

    def get_specificblocks3d(
        self, instance: str, blocks: Sequence[Corner], dtype: type[np.generic], **query: str
    ) -> dict[Corner, Voxels]:
        """Uncompressed, by their index."""
        wanted = ",".join(str(n) for block in blocks for n in block[::-1])
        body = self._get(f"{instance}/specificblocks", blocks=wanted, compression="uncompressed", **query)
        return {index: np.frombuffer(data, dtype).reshape((BLOCK,) * 3) for index, data in records(body)}

    def prefetch_specificblocks3d(self, instance: str, blocks: Sequence[Corner]) -> None:
        wanted = ",".join(str(n) for block in blocks for n in block[::-1])
        assert self._get(f"{instance}/specificblocks", blocks=wanted, prefetch="on") == b""

    @staticmethod
    def _unpacked(data: bytes, length: int) -> Voxels:
        return np.frombuffer(lz4.block.decompress(data, uncompressed_size=length), np.uint64)
