"""The one adapter from TensorStore arrays to a Volume."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import tensorstore as ts

from wkdvid.backends.failures import status_of, translate
from wkdvid.backends.outcomes import FAILURES, finished, outcomes
from wkdvid.backends.presence import Presence
from wkdvid.core.geometry import Box
from wkdvid.core.upstream import failed, host_of, reading
from wkdvid.core.volume import Array, LayerInfo, StoredFiles
from wkdvid.errors import AuthRejected, BackendError, CorruptChunk, InvalidRequest, SourceGone, UpstreamUnavailable

DTYPES = frozenset({"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"})


class TensorStoreVolume:
    """Levels that are TensorStore arrays with dimensions (c, x, y, z) and the level's voxels as coordinates."""

    def __init__(
        self,
        info: LayerInfo,
        stores: Sequence[ts.TensorStore],
        what: str,
        deadline_s: float,
        files: Sequence[StoredFiles] = (),
    ) -> None:
        """
        Args:
            stores: One per ``info.levels``, as ``arrange`` returns them.
            what: The source, for messages.
            deadline_s: For one ``read`` or ``read_all``.
            files: As ``StoresFiles`` has them.
        """
        self.info = info
        self.files = files
        self._refusal: AuthRejected | None = None
        self.doubt: Callable[[], None] | None = None
        """To be called where stored bytes are not what their metadata says."""
        self.presence: Presence | None = None
        """Of the source: asked before anything counts as never written."""
        self._stores = stores
        self._what = what
        self._host = host_of(what)
        self._deadline_s = deadline_s

    @property
    def trouble(self) -> AuthRejected | SourceGone | None:
        """As ``TellsTrouble`` has it."""
        gone = None if self.presence is None else self.presence.gone
        return gone or self._refusal

    async def read(self, level: int, box: Box) -> Array:
        (found,) = await self.read_all(level, (box,))
        if isinstance(found, BackendError):
            raise found
        return found

    async def read_all(self, level: int, boxes: Sequence[Box]) -> Sequence[Array | BackendError]:
        extent = self.info.levels[level].extent
        insides = [box if extent.contains(box) else extent.intersect(box) for box in boxes]
        wanted = [inside for inside in insides if inside is not None]
        found = iter(await self._found(level, wanted))
        return [
            self._zeros(box) if inside is None else self._result(level, box, inside, next(found))
            for box, inside in zip(boxes, insides, strict=True)
        ]

    async def _found(self, level: int, boxes: Sequence[Box]) -> Sequence[Array | Exception]:
        """The voxels of boxes inside the extent, or what TensorStore raises."""
        with reading(self._host, len(boxes)):
            found = await outcomes(partial(self._begin, self._stores[level]), boxes, self._deadline_s)
        gone = await self._gone()
        return found if gone is None else [gone] * len(found)

    async def _gone(self) -> BackendError | None:
        """What is not there says nothing then."""
        try:
            if self.presence is not None:
                await self.presence.check()
        except BackendError as error:
            return error
        return None

    async def absent(self, level: int, boxes: Sequence[Box], context: ts.Context) -> Sequence[bool] | None:
        """Of boxes that lie within one chunk each: whether that was never written. None: the format does not tell.

        Args:
            boxes: Inside the extent, and known to be readable.
            context: By which the volume was opened.
        """
        # Unbound, a spec names the credentials; else TensorStore would take what it finds in the environment.
        spec = self._stores[level].spec(unbind_context=True)
        try:
            strict = {**spec.to_json(), "fill_missing_data_reads": False}
            del strict["context"]  # it is the one that is given
            store = await finished(ts.open(strict, read=True, open=True, context=context))
        except FAILURES:  # a function that reads chunks has no JSON
            return None
        found = await outcomes(partial(self._begin, store), boxes, self._deadline_s)
        return [isinstance(one, Exception) and status_of(one) == "NOT_FOUND" for one in found]

    @staticmethod
    def _begin(store: ts.TensorStore, box: Box) -> ts.Future[Array]:
        (x0, y0, z0), (x1, y1, z1) = box.start, box.stop
        return store[:, x0:x1, y0:y1, z0:z1].read(order="F")

    def _result(self, level: int, box: Box, inside: Box, found: Array | Exception) -> Array | BackendError:
        if isinstance(found, Exception):
            return self._failure(found, f"level {level}, voxels {inside.start} to {inside.stop}")
        if inside is box:
            return found
        out = self._zeros(box)
        (x0, y0, z0), (x1, y1, z1), (x, y, z) = inside.start, inside.stop, box.start
        out[:, x0 - x : x1 - x, y0 - y : y1 - y, z0 - z : z1 - z] = found
        return out

    def _failure(self, error: Exception, where: str) -> BackendError:
        """What kept ``where`` from being read, as one of ``outcomes`` tells it."""
        if isinstance(error, TimeoutError):
            failure: BackendError = UpstreamUnavailable(f"{self._what}: no answer within {self._deadline_s:g} s")
        else:
            failure = translate(error, f"{self._what}, {where}")
        failed(self._host, failure)
        if isinstance(failure, AuthRejected):
            self._refusal = failure
        elif isinstance(failure, CorruptChunk) and self.doubt is not None:
            self.doubt()
        return failure

    def _zeros(self, box: Box) -> Array:
        return np.zeros((self.info.num_channels, *box.size), self.info.dtype, order="F")

    async def aclose(self) -> None:
        """Nothing to do: an array holds memory only, which goes with the last reference."""


def little_endian(store: ts.TensorStore, what: str) -> np.dtype[np.generic]:
    """The dtype of an array as numpy has it.

    Raises:
        InvalidRequest: a type that no client understands.
    """
    if store.dtype.name not in DTYPES:
        raise InvalidRequest(
            f"{what}: voxels of type {store.dtype.name} are not supported; supported are {', '.join(sorted(DTYPES))}"
        )
    if sys.byteorder != "little":
        raise InvalidRequest("a big-endian machine is not supported")
    return store.dtype.numpy_dtype


def arrange(
    store: ts.TensorStore, axes: str, *, fixed: dict[str, int], translation: Sequence[int] = (0, 0, 0)
) -> ts.TensorStore:
    """View an array as (c, x, y, z).

    Args:
        axes: One letter per dimension of the array: x, y, z, c, or any other that ``fixed`` gives an index for.
        fixed: Index of each dimension to drop, such as ``{"t": 0}``. ``c`` may be in it, to pick one channel.
        translation: Added to the x, y, z coordinates, in voxels of the level.
    """
    rest = axes
    for letter, index in fixed.items():
        if letter in rest:
            store = store[ts.d[rest.index(letter)][index]]
            rest = rest.replace(letter, "")
    for letter in "czyx":
        if letter not in rest:
            store = store[ts.newaxis]
            rest = letter + rest
    store = store[ts.d[:].label[tuple("" for _ in rest)]] if any(store.domain.labels) else store
    store = store.transpose([rest.index(letter) for letter in "cxyz"])
    return store[ts.d[0].translate_to[0]][ts.d[1, 2, 3].translate_by[tuple(translation)]]


def spatial_extent(store: ts.TensorStore) -> Box:
    """The extent of an arranged array, in voxels."""
    (_, *low), (_, *high) = store.domain.inclusive_min, store.domain.exclusive_max
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
