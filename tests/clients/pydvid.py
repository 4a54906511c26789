"""The requests of pydvid 0.1, what it makes of the answers and what it demands of them (dvid.md E2): reading.

It runs on Python 2 only. Arrays are (c, x, y, z), as it has them.
"""

from __future__ import annotations

import contextlib
import json
from http.client import HTTPConnection
from typing import Any

import numpy as np

from tests.volumes import Voxels

Point = tuple[int, ...]
"""(c, x, y, z)."""
UNITS = {"nanometers", "micrometers", "millimeters", ""}
DATA_TYPES = {*(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float32", "float64"}


class Metadata:
    """Of a volume; checked as its schema has it."""

    def __init__(self, document: dict[str, Any]) -> None:
        axes, values = document["Axes"], document["Properties"]["Values"]
        assert axes
        assert values
        for axis in axes:
            assert isinstance(axis["Label"], str)
            assert axis["Resolution"] >= 0
            assert axis["Units"] in UNITS
            assert isinstance(axis["Size"], int)
            assert axis["Size"] >= 0
        assert all(value["DataType"] in DATA_TYPES for value in values)
        self.shape: Point = (len(values), *(axis["Size"] + axis["Offset"] for axis in axes))
        """Where the volume ends."""
        self.minindex: Point = (0, *(axis["Offset"] for axis in axes))
        self.dtype = np.dtype(values[0]["DataType"])
        self.axiskeys = "c" + "".join(axis["Label"].lower() for axis in axes)


class Pydvid:
    def __init__(self, connection: HTTPConnection, uuid: str) -> None:
        self._connection, self._node = connection, f"/api/node/{uuid}"

    def _get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        with contextlib.closing(self._connection.getresponse()) as response:
            body = response.read()
            assert response.status == 200, body
            return body

    def _get_json(self, path: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._get(path))
        return document

    def get_server_info(self) -> dict[str, str]:
        info = self._get_json("/api/server/info")
        assert all(isinstance(value, str) for value in info.values())
        return info

    def get_server_types(self) -> dict[str, str]:
        types = self._get_json("/api/server/types")
        assert all(isinstance(value, str) for value in types.values())
        return types

    def get_repos_info(self) -> dict[str, Any]:
        return self._get_json("/api/repos/info")

    def get_metadata(self, name: str) -> Metadata:
        return Metadata(self._get_json(f"{self._node}/{name}/metadata"))

    def get_ndarray(self, name: str, start: Point, stop: Point, **query: str) -> Voxels:
        """All channels of a box; the body must be neither shorter nor longer."""
        metadata = self.get_metadata(name)
        shape = [b - a for a, b in zip(start[1:], stop[1:], strict=True)]
        dims, size, offset = ("_".join(map(str, part)) for part in (range(len(shape)), shape, start[1:]))
        path = f"{self._node}/{name}/raw/{dims}/{size}/{offset}"
        if query:
            path += "?" + "&".join(f"{key}={value}" for key, value in query.items())
        voxels = np.frombuffer(self._get(path), metadata.dtype)
        return voxels.reshape((metadata.shape[0], *shape), order="F")
