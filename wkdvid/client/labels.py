"""Questions about labels: which is where, how large it is, which voxels it has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wkdvid.client import decoding, sparse
from wkdvid.client.calls import JSON, Call, Reply, Steps
from wkdvid.client.slicing import integer
from wkdvid.client.sparse import SparseVolume
from wkdvid.client.twins import E, Instance, operation
from wkdvid.core.geometry import Vec3

LabelArray = npt.NDArray[np.uint64]

NO_CONTENT = 204


@dataclass(frozen=True, slots=True)
class LabelSize:
    """Of a label, from blocks that it lies in."""

    voxels: int
    blocks: int
    start: Vec3
    """First voxel (x, y, z) of its blocks."""
    stop: Vec3
    """Exclusive end of its blocks."""


class Labels(Instance[E]):
    """A ``labelmap``. What needs an index is refused by servers that have none (``IndexedLabels`` of its info)."""

    @operation
    def label(self, point: Vec3, *, scale: int = 0, supervoxels: bool = False) -> Steps[int]:
        """At one voxel (x, y, z)."""
        return self._get("label", _point(point), query=_query(scale, supervoxels), decode=decoding.member("Label", int))

    @operation
    def labels(self, points: Sequence[Vec3], *, scale: int = 0, supervoxels: bool = False) -> Steps[LabelArray]:
        """At each voxel (x, y, z)."""
        listed = [[integer(n) for n in point] for point in points]
        return self._of_list("labels", listed, _query(scale, supervoxels))

    @operation
    def mapping(self, supervoxels: Sequence[int], *, nolookup: bool = False) -> Steps[LabelArray]:
        """The body of each supervoxel."""
        return self._of_list("mapping", list(map(int, supervoxels)), {"nolookup": "true"} if nolookup else {})

    @operation
    def sizes(self, labels: Sequence[int], *, supervoxels: bool = False) -> Steps[LabelArray]:
        """Voxels of each label; 0 of one that is not there."""
        return self._of_list("sizes", list(map(int, labels)), _query(0, supervoxels))

    @operation
    def size(self, label: int, *, supervoxels: bool = False) -> Steps[int]:
        """
        Raises:
            NotFound: there is no such label.
        """
        return self._get("size", str(label), query=_query(0, supervoxels), decode=decoding.member("voxels", int))

    @operation
    def maxlabel(self) -> Steps[int]:
        return self._get("maxlabel", decode=decoding.member("maxlabel", int))

    @operation
    def nextlabel(self) -> Steps[int]:
        return self._get("nextlabel", decode=decoding.member("nextlabel", int))

    @operation
    def listlabels(self, start: int = 0, number: int | None = None) -> Steps[LabelArray]:
        """Labels from ``start`` on, ascending, at most ``number``."""
        return self._get("listlabels", query=_listing(start, number), decode=_uint64s)

    @operation
    def listsizes(self, start: int = 0, number: int | None = None) -> Steps[LabelArray]:
        """(n, 2): labels as of ``listlabels``, and their voxels."""
        query = {**_listing(start, number), "sizes": "true"}
        return self._get("listlabels", query=query, decode=lambda reply: _uint64s(reply).reshape(-1, 2))

    @operation
    def existing_labels(self) -> Steps[LabelArray]:
        return self._get("existing-labels", decode=decoding.counts)

    @operation
    def supervoxels(self, label: int) -> Steps[LabelArray]:
        return self._get("supervoxels", str(label), decode=decoding.counts)

    @operation
    def lastmod(self, label: int) -> Steps[dict[str, Any]]:
        """Number, user, application and time of its last change."""
        return self._get("lastmod", str(label), decode=decoding.json_of(dict))

    @operation
    def sparsevol(
        self,
        label: int,
        *,
        start: Vec3 | None = None,
        stop: Vec3 | None = None,
        scale: int = 0,
        supervoxels: bool = False,
    ) -> Steps[SparseVolume]:
        """The voxels of a label, of those from ``start`` to ``stop`` (exclusive).

        Raises:
            NotFound: there is no such label, or none of its blocks lies in the bounds.
        """
        query = {**_query(scale, supervoxels), **_bounds(start, stop)}
        return self._get("sparsevol", str(label), query=query, decode=sparse.decode_rles)

    @operation
    def has_sparsevol(self, label: int, *, supervoxels: bool = False) -> Steps[bool]:
        """Whether the label has voxels."""
        return Call(
            action="ask for sparsevol",
            method="HEAD",
            path=self.path("sparsevol", str(label)),
            query=_query(0, supervoxels),
            decode=lambda reply: reply.status != NO_CONTENT,
            accepted=frozenset({200, NO_CONTENT}),
        )

    @operation
    def sparsevol_coarse(
        self, label: int, *, start: Vec3 | None = None, stop: Vec3 | None = None, supervoxels: bool = False
    ) -> Steps[SparseVolume]:
        """As ``sparsevol``, of blocks: their indices, not voxels."""
        query = {**_query(0, supervoxels), **_bounds(start, stop)}
        return self._get("sparsevol-coarse", str(label), query=query, decode=sparse.decode_rles)

    @operation
    def sparsevol_by_point(self, point: Vec3, *, scale: int = 0, supervoxels: bool = False) -> Steps[SparseVolume]:
        """Of the label at a voxel (x, y, z)."""
        query = _query(scale, supervoxels)
        return self._get("sparsevol-by-point", _point(point), query=query, decode=sparse.decode_rles)

    @operation
    def sparsevol_size(self, label: int, *, supervoxels: bool = False) -> Steps[LabelSize]:
        return self._get("sparsevol-size", str(label), query=_query(0, supervoxels), decode=_label_size)

    def _get(self, endpoint: str, *parts: str, decode: Any, query: Mapping[str, str] | None = None) -> Call[Any]:
        return Call(action=f"ask for {endpoint}", path=self.path(endpoint, *parts), query=query or {}, decode=decode)

    def _of_list(self, endpoint: str, items: list[Any], query: Mapping[str, str]) -> Call[LabelArray]:
        """A GET with a list as its body, which DVID answers with a list of as many."""

        def decode(reply: Reply) -> LabelArray:
            found = decoding.counts(reply)
            if len(found) != len(items):
                raise ValueError(f"{len(found)} numbers, expected {len(items)}")
            return found

        return Call(
            action=f"ask for {endpoint}",
            path=self.path(endpoint),
            query=query,
            body=json.dumps(items, separators=(",", ":")).encode(),
            content_type=JSON,
            decode=decode,
        )


def _point(point: Vec3) -> str:
    return "_".join(str(integer(n)) for n in point)


def _query(scale: int, supervoxels: bool) -> dict[str, str]:
    return {**({"scale": str(scale)} if scale else {}), **({"supervoxels": "true"} if supervoxels else {})}


def _listing(start: int, number: int | None) -> dict[str, str]:
    return {"start": str(start), **({} if number is None else {"number": str(number)})}


def _bounds(start: Vec3 | None, stop: Vec3 | None) -> dict[str, str]:
    """DVID's are inclusive."""
    low = {} if start is None else {f"min{axis}": str(n) for axis, n in zip("xyz", start, strict=True)}
    high = {} if stop is None else {f"max{axis}": str(n - 1) for axis, n in zip("xyz", stop, strict=True)}
    return {**low, **high}


def _uint64s(reply: Reply) -> LabelArray:
    return np.frombuffer(reply.body, "<u8").astype(np.uint64)


def _label_size(reply: Reply) -> LabelSize:
    found = decoding.json_of(dict)(reply)
    (x0, y0, z0), (x1, y1, z1) = found["minvoxel"], found["maxvoxel"]
    return LabelSize(found["voxels"], found["numblocks"], (x0, y0, z0), (x1 + 1, y1 + 1, z1 + 1))
