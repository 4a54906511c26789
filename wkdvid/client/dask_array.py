"""A box of a volume as a dask array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wkdvid.client.decoding import Array
from wkdvid.client.errors import InvalidArgument
from wkdvid.client.slicing import Point, size_of
from wkdvid.client.transport import Sync
from wkdvid.extras import install

if TYPE_CHECKING:
    import dask.array as da

    from wkdvid.client.voxels import VoxelsAccessor


class _Box:
    """What dask slices: as an array of numpy, index 0 at ``start``."""

    def __init__(self, volume: VoxelsAccessor[Sync], start: Point, stop: Point) -> None:
        self._volume, self._start = volume, start
        self.shape, self.dtype, self.ndim = size_of(start, stop), volume.dtype, len(start)

    def __getitem__(self, key: tuple[Any, ...]) -> Array:
        """Dask gives an integer or a slice for each axis, perhaps with steps, also backwards."""
        wanted = [
            range(n)[part] if isinstance(part, slice) else range(part, part + 1)
            for part, n in zip(key, self.shape, strict=True)
        ]
        if not all(wanted):
            array = np.empty([len(numbers) for numbers in wanted], self.dtype)
        else:
            low = [min(numbers) for numbers in wanted]
            array = self._dense(low, [max(numbers) + 1 for numbers in wanted])
            if any(numbers.step != 1 for numbers in wanted):
                array = array[np.ix_(*([i - a for i in numbers] for numbers, a in zip(wanted, low, strict=True)))]
        return array[tuple(slice(None) if isinstance(part, slice) else 0 for part in key)]

    def _dense(self, low: list[int], high: list[int]) -> Array:
        """All channels are read, whichever are wanted."""
        start = [a + o for a, o in zip(low, self._start, strict=True)]
        stop = [b + o for b, o in zip(high, self._start, strict=True)]
        index: list[slice] = [slice(None)] * self.ndim
        if "c" in self._volume.axiskeys:
            at = self._volume.axiskeys.index("c")
            index[at] = slice(start[at], stop[at])
            start[at], stop[at] = 0, self._volume.voxels_metadata.channels
        return self._volume.get_ndarray(start, stop)[tuple(index)]


def as_dask(volume: VoxelsAccessor[Sync], start: Point, stop: Point, chunks: Any) -> da.Array:
    try:
        import dask.array as da  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidArgument(f"dask is not installed: {install('client')}") from error
    box = _Box(volume, start, stop)
    meta = np.empty((0,) * box.ndim, box.dtype)
    array: da.Array = da.from_array(  # type: ignore[no-untyped-call]
        box, chunks=chunks, name=False, fancy=False, meta=meta
    )
    return array
