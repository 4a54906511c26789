"""Voxels by slicing: ``volume[:, 10:110, 20:120, 30:130]``, read and written, in boxes of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from wkdvid.client import decoding
from wkdvid.client.blocks import BlockOperations
from wkdvid.client.calls import Call, Each, Effect, Reply, Steps, Work, segment
from wkdvid.client.decoding import Array
from wkdvid.client.download import Download, Target
from wkdvid.client.errors import Busy, InvalidArgument, InvalidSelection
from wkdvid.client.metadata import VoxelsMetadata
from wkdvid.client.progress import progress_bar
from wkdvid.client.slices import SliceOperations
from wkdvid.client.slicing import Corner, Point, Selection, integer, piece_shape, pieces, select, size_of
from wkdvid.client.transport import Sync
from wkdvid.client.twins import E, operation
from wkdvid.client.volume import View

if TYPE_CHECKING:
    import dask.array as da

T = TypeVar("T")

PIECE_BYTES = 2**24
"""Of voxels in one request; more are asked for in several at once."""
MOST_BYTES = 2**36
"""Of one array in memory."""


class VoxelsAccessor(BlockOperations[E], SliceOperations[E]):
    """Numbers in a slicing are coordinates: ``-5`` is five voxels before the origin, and ``[:]`` begins at 0.

    Axes are (c, x, y, z) with all channels, unless ``view`` says otherwise. Channels may be chosen when reading (all
    are sent), steps too; what is written is dense. On an asynchronous client ``await volume[...]`` reads.
    """

    ThrottleTimeoutException = Busy

    @operation
    def get_ndarray(self, start: Corner, stop: Corner, *, progress: bool = False) -> Steps[Array]:
        """Read the box from ``start`` to ``stop`` (exclusive), axes as in ``axiskeys``; zeros outside the volume.

        Raises:
            InvalidSelection: no box, not all channels, or over 64 GiB.
        """
        return self._read(start, stop, progress=progress)

    @operation
    def post_ndarray(
        self, start: Corner, stop: Corner, new_data: npt.ArrayLike, *, mutate: bool = False
    ) -> Steps[None]:
        """Write a box. Large ones are written in pieces; each is whole or not there, should it be interrupted.

        Args:
            new_data: Of the box's shape, but that axes of one voxel may be missing; or one number.
            mutate: Labels are replaced, as DVID must be told.
        """
        return self._write(start, stop, new_data, mutate=mutate)

    @operation
    def __getitem__(self, key: Any) -> Steps[Array]:
        return self._select(key)

    def __setitem__(self: VoxelsAccessor[Sync], key: Any, array: npt.ArrayLike) -> None:
        self._require_blocking("an assignment")
        selection = select(key, self.axiskeys, self.shape)
        if not selection.is_dense:
            raise InvalidSelection("only dense boxes with all channels can be written: no steps, no single channel")
        self.post_ndarray(selection.start, selection.stop, array)

    def __iter__(self: VoxelsAccessor[Sync]) -> Iterator[Array]:
        """Along the first axis, as far as ``volume[...]`` goes. ``volume[n]`` itself has no end: outside are zeros."""
        self._require_blocking("going through a volume")
        end = self.shape[0]
        if end is None:
            raise InvalidSelection("the volume has no voxels yet")
        return (self[n] for n in range(end))

    def __array__(self: VoxelsAccessor[Sync], dtype: Any = None, copy: bool | None = None) -> Array:
        """All voxels, from coordinate 0 on: ``numpy.asarray(volume)``."""
        self._require_blocking("numpy.asarray")
        if copy is False:
            raise InvalidArgument("voxels that are read are always a copy")
        return np.asarray(self[...], dtype)

    def as_dask(
        self: VoxelsAccessor[Sync],
        start: Corner | None = None,
        stop: Corner | None = None,
        chunks: Any = None,
    ) -> da.Array:
        """The box as a dask array that reads its chunks when it is computed; it may be sent to other processes.

        Args:
            start: The first voxel by default. Index 0 of the array is it.
            stop: All voxels by default.
            chunks: As dask takes them; by default whole blocks of up to 16 MiB.
        """
        from wkdvid.client.dask_array import as_dask  # noqa: PLC0415 - dask is an extra

        self._require_blocking("a dask array")
        low, high = self._bounds(start, stop)
        return as_dask(self, low, high, chunks or self._seen((self.voxels_metadata.channels, *self._piece(low, high))))

    @operation
    def download(
        self,
        path: str | Path,
        start: Corner | None = None,
        stop: Corner | None = None,
        *,
        progress: bool = False,
    ) -> Steps[Path]:
        """Copy a box into a file ``*.npy`` or a folder ``*.zarr`` (zarr 3), several requests at once.

        If it is interrupted, the same call goes on where it was: ``PATH.progress`` says which pieces are there.

        Args:
            start: The first voxel by default. Index 0 of the array is it.
            stop: All voxels by default.
        Raises:
            InvalidArgument: another suffix, or ``path`` holds something else.
        """
        low, high = self._bounds(start, stop)
        return self._download(Path(path), low, high, progress=progress)

    def _require_blocking(self, what: str) -> None:
        if not isinstance(self.transport, Sync):
            raise InvalidArgument(f"{what} cannot be awaited: take get_ndarray or post_ndarray, or a Client")

    def _bounds(self, start: Corner | None, stop: Corner | None) -> tuple[Point, Point]:
        ends = self.shape if stop is None else tuple(stop)
        if None in ends:
            raise InvalidSelection("the volume has no voxels yet, so where to stop must be said")
        return tuple(map(integer, self.minindex if start is None else start)), tuple(map(integer, ends))

    def _select(self, key: Any) -> Generator[Effect, Any, Array]:
        selection = select(key, self.axiskeys, self.shape)
        array = yield from self._read(selection.start, selection.stop)
        return array[selection.index]

    def _piece(self, start: Corner, stop: Corner) -> Point:
        """Voxels (x, y, z) of one request, for a box as it is seen."""
        metadata = self.voxels_metadata
        voxel = metadata.channels * metadata.dtype.itemsize
        return piece_shape(metadata.block_size, size_of(*self._stored(start, stop)), PIECE_BYTES // voxel)

    def _read(self, start: Corner, stop: Corner, *, progress: bool = False) -> Generator[Effect, Any, Array]:
        low, high = self._stored(start, stop)
        shape, dtype = (self.voxels_metadata.channels, *size_of(low, high)), self.voxels_metadata.dtype
        if math.prod(shape) * dtype.itemsize > MOST_BYTES:
            raise InvalidSelection(f"{shape} voxels of {dtype} do not fit {MOST_BYTES} bytes: download() writes files")
        parts = list(pieces(low, high, self._piece(start, stop), (0,) * len(low)))
        if len(parts) == 1 and not progress:
            return self._seen_array((yield from self._get(parts[0])))
        whole = np.empty(shape, dtype, order="F")

        def put(part: Selection, array: Array) -> None:
            _cut(whole, part)[...] = array

        yield from self._each(parts, len(parts), put, progress=progress)
        return self._seen_array(whole)

    def _each(
        self, parts: Iterable[Selection], count: int, take: Callable[[Selection, Array], None], *, progress: bool
    ) -> Generator[Effect, Any, None]:
        """Read boxes (x, y, z), several at once, and give each with its array (c, x, y, z)."""
        with progress_bar(self.name, count, shown=progress) as advance:

            def job(part: Selection) -> Generator[Effect, Any, None]:
                array = yield from self._get(part)
                yield Work(partial(take, part, array))
                advance(1)

            yield Each(job(part) for part in parts)

    def _download(self, path: Path, start: Point, stop: Point, *, progress: bool) -> Generator[Effect, Any, Path]:
        low, high = self._stored(start, stop)
        piece, channels = self._piece(start, stop), self.voxels_metadata.channels
        target = Target(
            path=path,
            shape=size_of(start, stop),
            dtype=self.dtype,
            axes=self.axiskeys,
            chunks=self._seen((channels, *self.voxels_metadata.block_size)),
            about=self._about(start, stop, piece),
        )
        download: Download = yield Work(partial(Download, target))

        def put(part: Selection, array: Array) -> None:
            download.put(part.start, self._seen_index(part.index), self._seen_array(array))

        count = math.prod(-(-n // step) for n, step in zip(size_of(low, high), piece, strict=True))
        missing = (part for part in pieces(low, high, piece, low) if not download.has(part.start))
        yield from self._each(missing, count - len(download.done), put, progress=progress)
        return path

    def _about(self, start: Point, stop: Point, piece: Point) -> dict[str, Any]:
        """What a file is a copy of. Points are in the order of its axes, but ``piece`` (x, y, z)."""
        axes = self.voxels_metadata["Axes"]
        return {
            "uuid": self.uuid,
            "instance": self.name,
            "scale": self.view.scale,
            "query": dict(self.view.query),
            "dtype": self.dtype.name,
            "axes": self.axiskeys,
            "start": start,
            "stop": stop,
            "resolution": self._seen((1, *(axis["Resolution"] for axis in axes))),
            "units": axes[0]["Units"],
            "piece": piece,
        }

    def _write(
        self, start: Corner, stop: Corner, new_data: npt.ArrayLike, *, mutate: bool
    ) -> Generator[Effect, Any, None]:
        low, high = self._stored(start, stop)
        array = self._stored_array(_fitted(np.asarray(new_data), size_of(start, stop)))
        query = {**({"throttle": "on"} if self.view.throttle else {}), **({"mutate": "true"} if mutate else {})}
        if self.view.scale:
            raise InvalidArgument("only the finest scale can be written")
        parts = pieces(low, high, self._piece(start, stop), (0,) * len(low))
        yield Each(self._post(part, _cut(array, part), query) for part in parts)
        metadata = self.voxels_metadata
        if any(
            end is None or a < b or c > end
            for a, b, c, end in zip(low, metadata.minindex[1:], high, metadata.shape[1:], strict=True)
        ):
            self.voxels_metadata = yield from self._describe()

    def _post(self, box: Selection, array: Array, query: Mapping[str, str]) -> Generator[Effect, Any, None]:
        yield from Call(
            action="write voxels",
            method="POST",
            path=self._path_of(box),
            query=query,
            body=decoding.wire_bytes(array),
            decode=decoding.nothing,
        )

    def _path_of(self, box: Selection) -> str:
        return self.path(self.access_type, *box_segments(box.start, box.stop))

    def _get(self, box: Selection) -> Call[Array]:
        metadata, compression = self.voxels_metadata, self.view.compression
        shape, dtype = (metadata.channels, *box.size), metadata.dtype
        query = {**self.read_query(), **({"compression": compression} if compression else {})}

        def decode(reply: Reply) -> Array:
            return decoding.voxels(reply.body, shape, dtype, compression)

        return Call(
            action="read voxels",
            path=self._path_of(box),
            query=query,
            decode=decode,
            limit=decoding.encoded_limit(math.prod(shape) * dtype.itemsize, compression),
        )

    def _describe(self) -> Generator[Effect, Any, VoxelsMetadata]:
        _, metadata = yield from described(self.uuid, self.name)
        return metadata


class RoiMaskAccessor(VoxelsAccessor[E]):
    """A region of interest as voxels of uint8, 1 inside. It has no extent, so boxes must say where they end."""

    access_type = "mask"

    def __init__(self, transport: E, uuid: str, name: str, view: View | None = None) -> None:
        metadata = VoxelsMetadata.create_default_metadata((1, 0, 0, 0), np.uint8, "cxyz", 1, "")
        super().__init__(transport, uuid, name, metadata, "roi", view)


def box_segments(start: Corner, stop: Corner) -> tuple[str, str, str]:
    """``<dims>/<size>/<offset>``, as DVID's paths have a box (x, y, z)."""
    dims, size, offset = ("_".join(map(str, point)) for point in (range(len(start)), size_of(start, stop), start))
    return dims, size, offset


def _cut(array: Array, part: Selection) -> Array:
    """The part (x, y, z) of an array (c, x, y, z)."""
    cut: Array = array[(slice(None), *part.index)]
    return cut


def _fitted(array: Array, shape: Point) -> Array:
    """With axes of one voxel put where they are missing; a number, as often as there are voxels."""
    if array.ndim == 0:
        return np.broadcast_to(array, shape)
    if [n for n in array.shape if n != 1] != [n for n in shape if n != 1]:
        raise InvalidArgument(f"an array of shape {array.shape} does not fit a box of shape {shape}")
    return array.reshape(shape)


def instance_info(uuid: str, name: str, decode: Callable[[Reply], T]) -> Call[T]:
    path = f"/api/node/{segment(uuid)}/{segment(name)}/info"
    return Call(action="ask for an instance", path=path, decode=decode)


def described(uuid: str, name: str) -> Call[tuple[str, VoxelsMetadata]]:
    """The type of a volume, and what it is."""

    def decode(reply: Reply) -> tuple[str, VoxelsMetadata]:
        info = decoding.json_of(dict)(reply)
        return decoding.typed(info["Base"]["TypeName"], str), VoxelsMetadata.of_instance(info)

    return instance_info(uuid, name, decode)
