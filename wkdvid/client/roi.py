"""Regions of interest: blocks, of 32 voxels a side unless the instance says otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wkdvid.client import decoding
from wkdvid.client.calls import JSON, Call, Reply, Steps
from wkdvid.client.slicing import integer
from wkdvid.client.twins import E, Instance, operation
from wkdvid.core.geometry import Vec3

Spans = npt.NDArray[np.int64]


class Roi(Instance[E]):
    """``Client.roi_mask`` has it as voxels."""

    @operation
    def spans(self) -> Steps[Spans]:
        """(n, 4): z, y, first and last x (included) of runs of blocks."""
        return Call(action="read a region", path=self.path("roi"), decode=_spans)

    @operation
    def put_spans(self, spans: Sequence[Sequence[int]]) -> Steps[None]:
        """Replace the region by runs as ``spans`` gives them."""
        body = json.dumps([[integer(n) for n in span] for span in spans]).encode()
        return Call(
            action="write a region",
            method="POST",
            path=self.path("roi"),
            body=body,
            content_type=JSON,
            decode=decoding.nothing,
        )

    @operation
    def clear(self) -> Steps[None]:
        return Call(action="empty a region", method="DELETE", path=self.path("roi"), decode=decoding.nothing)

    @operation
    def contains(self, points: Sequence[Vec3]) -> Steps[npt.NDArray[np.bool_]]:
        """Whether each voxel (x, y, z) lies inside."""
        return Call(
            action="ask a region for points",
            method="POST",
            path=self.path("ptquery"),
            body=json.dumps([[integer(n) for n in point] for point in points]).encode(),
            content_type=JSON,
            decode=lambda reply: np.array(decoding.json_of(list)(reply), np.bool_),
        )


def _spans(reply: Reply) -> Spans:
    return np.array(decoding.json_of(list)(reply), np.int64).reshape(-1, 4)
