"""Slices as image files, and as arrays read from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from wkdvid.client import decoding
from wkdvid.client.calls import Call, Reply, Steps, segment
from wkdvid.client.decoding import Array
from wkdvid.client.errors import InvalidArgument
from wkdvid.client.slicing import Corner
from wkdvid.client.twins import E, operation
from wkdvid.client.volume import Volume
from wkdvid.codecs import images

T = TypeVar("T")
Size2: TypeAlias = tuple[int, int]

PLANES = ("xy", "xz", "yz")


class SliceOperations(Volume[E]):
    @operation
    def slice_image(
        self, plane: str, size: Size2, offset: Corner, image_format: str = "png", *, isotropic: bool = False
    ) -> Steps[bytes]:
        """A slice as the server's image file.

        Args:
            plane: ``xy``, ``xz`` or ``yz``; the first is the image's width.
            size: Width and height in voxels, with ``isotropic`` in pixels of the finer of both sides.
            offset: Of the first voxel, (x, y, z).
            image_format: ``png``, ``jpg``, ``jpg:90`` (of 1 to 100), ``tif`` or ``bmp``.
        """
        return self._slice(plane, size, offset, image_format, isotropic=isotropic, decode=decoding.octets)

    @operation
    def read_slice(
        self, plane: str, size: Size2, offset: Corner, image_format: str = "png", *, isotropic: bool = False
    ) -> Steps[Array]:
        """A slice as an array (height, width), of RGBA (height, width, 4); ``png`` is exact, ``jpg`` is not.

        Arguments are those of ``slice_image``, formats ``png`` and ``jpg``.
        """
        width, height = size
        metadata = self.voxels_metadata

        def decode(reply: Reply) -> Array:
            return images.decode_slice(bytes(reply.body), (height, width), metadata.dtype, metadata.channels)

        return self._slice(plane, size, offset, image_format, isotropic=isotropic, decode=decode)

    def _slice(
        self,
        plane: str,
        size: Size2,
        offset: Corner,
        image_format: str,
        *,
        isotropic: bool,
        decode: Callable[[Reply], T],
    ) -> Call[T]:
        if plane not in PLANES:
            raise InvalidArgument(f"plane {plane!r}: one of {', '.join(PLANES)}")
        endpoint = "isotropic" if isotropic else "raw"
        parts = (plane, "_".join(map(str, size)), "_".join(map(str, offset)), segment(image_format))
        path = self.path(endpoint, *parts)
        return Call(action="read a slice", path=path, query=self.read_query(), decode=decode)
