"""What is known of a volume once it is opened, and how its voxels are meant to be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wkdvid.client.decoding import COMPRESSIONS, Array, converted
from wkdvid.client.errors import InvalidArgument, InvalidSelection
from wkdvid.client.metadata import VoxelsMetadata
from wkdvid.client.slicing import Corner, Index, Point, integer
from wkdvid.client.twins import E, Instance

ORDERS = ("cxyz", "zyxc", "zyx")
LABELMAPS = frozenset({"labelmap", "labelarray"})
"""Types whose ``raw`` has scales and compressions."""
COMPRESSING = LABELMAPS | {"labelblk"}
"""Types whose ``raw`` has compressions; others send voxels as they are, whatever is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the voxels of a volume are seen."""

    order: str = "cxyz"
    """``cxyz``: Fortran order, as DVID and pydvid have it. ``zyxc``: transposed, C order. ``zyx``: without channels."""
    dtype: npt.DTypeLike | None = None
    """Of arrays; None: the volume's own. Values that it cannot hold are an error."""
    scale: int = 0
    """How often each axis is halved."""
    compression: str = ""
    """On the way: of labels "", lz4, gzip, google or googlegzip."""
    throttle: bool = False
    """Ask for one of the server's few slots for large requests, which it may refuse with 503."""
    query: Mapping[str, str] = field(default_factory=dict)
    """More of the query of each read, such as ``{"roi": "name"}``."""

    def __post_init__(self) -> None:
        for value, allowed in ((self.order, ORDERS), (self.compression, COMPRESSIONS)):
            if value not in allowed:
                raise InvalidArgument(f"{value!r} is none of {', '.join(map(repr, allowed))}")
        if self.scale < 0:
            raise InvalidArgument(f"scale {self.scale}: 0 is the finest")


class Volume(Instance[E]):
    access_type = "raw"

    def __init__(
        self, transport: E, uuid: str, name: str, metadata: VoxelsMetadata, typename: str = "", view: View | None = None
    ) -> None:
        """
        Args:
            metadata: Of the scale that ``view`` says.
        """
        super().__init__(transport, uuid, name)
        self.voxels_metadata, self.typename, self.view = metadata, typename, view or View()
        if self.view.order == "zyx" and metadata.channels != 1:
            raise InvalidArgument(f"order 'zyx' has no channels, and {name!r} has {metadata.channels}: take 'zyxc'")
        if self.view.compression and typename not in COMPRESSING:
            raise InvalidArgument(f"compression {self.view.compression!r} is of labels; {name!r} is {typename}")

    @property
    def axiskeys(self) -> str:
        """A letter for each axis of arrays: ``cxyz``, or as ``view`` says."""
        keys = self.voxels_metadata.axiskeys
        if self.view.order == "cxyz":
            return keys
        return keys[::-1] if self.view.order == "zyxc" else keys[:0:-1]

    @property
    def ndim(self) -> int:
        return len(self.axiskeys)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Exclusive ends of the axes: coordinates, not lengths. None: no voxels yet."""
        return self._seen(self.voxels_metadata.shape)

    @property
    def minindex(self) -> Point:
        """First coordinates of the axes."""
        return self._seen(self.voxels_metadata.minindex)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.voxels_metadata.dtype if self.view.dtype is None else np.dtype(self.view.dtype)

    def _seen(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """One value for each axis (c, x, y, z) -> in the order that is seen."""
        by_axis = dict(zip(self.voxels_metadata.axiskeys, values, strict=True))
        return tuple(by_axis[key] for key in self.axiskeys)

    def _stored(self, start: Corner, stop: Corner) -> tuple[Point, Point]:
        """A box as it is seen -> of the axes (x, y, z), without channels.

        Raises:
            InvalidSelection: it is none, or has not all channels.
        """
        if not len(start) == len(stop) == self.ndim:
            raise InvalidSelection(f"{tuple(start)} to {tuple(stop)}: {self.ndim} axes ({self.axiskeys}) are expected")
        low, high = (dict(zip(self.axiskeys, map(integer, point), strict=True)) for point in (start, stop))
        if not all(low[key] < high[key] for key in self.axiskeys):
            raise InvalidSelection(f"{tuple(start)} to {tuple(stop)}: each axis must end after its start")
        channels = self.voxels_metadata.channels
        if (low.get("c", 0), high.get("c", channels)) != (0, channels):
            raise InvalidSelection(f"{tuple(start)} to {tuple(stop)}: all {channels} channels are needed")
        keys = self.voxels_metadata.axiskeys[1:]
        return tuple(low[key] for key in keys), tuple(high[key] for key in keys)

    def _seen_array(self, array: Array) -> Array:
        """(c, x, y, z) -> as it is seen; a view where the type is the same."""
        if self.view.order != "cxyz":
            array = array.T if self.view.order == "zyxc" else array[0].T
        return converted(array, self.dtype)

    def _stored_array(self, array: Array) -> Array:
        """The inverse of ``_seen_array``."""
        if self.view.order != "cxyz":
            array = array.T if self.view.order == "zyxc" else array.T[None]
        return converted(array, self.voxels_metadata.dtype)

    def _seen_index(self, index: Index) -> tuple[Any, ...]:
        """A place in an array (x, y, z) -> in one as it is seen."""
        return self._seen((slice(None), *index))

    def read_query(self) -> dict[str, str]:
        query = dict(self.view.query)
        if self.view.scale and self.typename in LABELMAPS:
            query["scale"] = str(self.view.scale)
        if self.view.throttle:
            query["throttle"] = "on"
        return query
