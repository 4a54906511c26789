"""pydvid's ``VoxelsNddataCodec``: arrays as DVID sends them, to and from streams."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from wkdvid.client import decoding
from wkdvid.client.decoding import Array
from wkdvid.client.errors import InvalidArgument


class VoxelsNddataCodec:
    VOLUME_MIMETYPE = "application/octet-stream"

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def decode_to_ndarray(self, stream: IO[bytes], full_roi_shape: Sequence[int]) -> Array:
        """Read an array (c, x, y, z), Fortran order, and no byte more.

        Raises:
            ValueError: the stream ends too early.
        """
        size = self.calculate_buffer_len(full_roi_shape)
        return decoding.voxels(bytearray(stream.read(size)), [int(n) for n in full_roi_shape], self.dtype)

    def encode_from_ndarray(self, stream: IO[bytes], array: Array) -> None:
        stream.write(self._encoded(array))

    def create_encoded_stream_from_ndarray(self, array: Array) -> IO[bytes]:
        return io.BytesIO(self._encoded(array))

    def calculate_buffer_len(self, shape: Sequence[int]) -> int:
        """In bytes."""
        return math.prod(int(n) for n in shape) * self.dtype.itemsize

    def _encoded(self, array: Array) -> bytes:
        if array.dtype != self.dtype:
            raise InvalidArgument(f"an array of {array.dtype}, expected {self.dtype}")
        return decoding.wire_bytes(array)
