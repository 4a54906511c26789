"""Values -> bytes of DVID's API. Arrays are (c, x, y, z) as they are read; what comes out has x fastest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from wkdvid.codecs import block_stream, images, jpeg, label_block, payload, segmentation
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.volume import Array

Encode: TypeAlias = Callable[[Array], payload.Buffer]
"""An array as it is sent (see ``as_sent``) -> payload, which may be a view of the array."""


LARGEST_MIXED = 8
"""Bytes of a voxel from which on none are mixed: floating point does not hold them all, and labels have no mean."""


def as_sent(array: Array, typename: str, box: Box, extent: Box) -> Array:
    """RGB with an alpha of 255 in the volume and 0 outside, labels as uint64, all else as it is.

    Args:
        box: What the array is of.
        extent: Of the volume, in the same voxels.
    """
    if typename == "labelmap":
        return array if array.dtype == np.uint64 else array.astype(np.uint64, order="F")
    if typename == "rgba8blk" and len(array) == 3:
        rgba = np.zeros((4, *array.shape[1:]), np.uint8, order="F")
        rgba[:3] = array
        inside = box.intersect(extent)
        if inside is not None:
            sides = zip(inside.start, inside.stop, box.start, strict=True)
            rgba[3][tuple(slice(a - o, b - o) for a, b, o in sides)] = 255
        return rgba
    return array


def buffer(array: Array) -> memoryview:
    """The memory of a Fortran-contiguous array: x fastest, channels interleaved."""
    return array.T.data.cast("B")


def record(index: Vec3, data: payload.Buffer) -> bytes:
    return b"".join((block_stream.header(index, len(data)), data))


def slice_pixels(array: Array, axes: tuple[int, ...]) -> Array:
    """A box that is one voxel thick -> (height, width), or (height, width, 4) of RGBA.

    Args:
        axes: Of width and height.
    """
    flat = array.squeeze(axis=({0, 1, 2} - set(axes)).pop() + 1)
    pixels: Array = flat.T if len(flat) > 1 else flat[0].T
    return pixels


def slice_image(
    array: Array, axes: tuple[int, ...], size: tuple[int, int], image_format: images.SliceFormat, *, colored: bool
) -> bytes:
    """A box that is one voxel thick as an image.

    Args:
        axes: Of width and height.
        size: Width and height of the image, which the box is stretched to.
        colored: Whether voxels are labels that are to be shown in colours of their own.
    """
    pixels = slice_pixels(array, axes)
    smooth = pixels.itemsize < LARGEST_MIXED
    width, height = size
    drawn = images.pseudocolors(pixels) if colored else pixels
    return images.encode_slice(images.resized(drawn, height, width, smooth=smooth), image_format)


def tall_jpeg(array: Array) -> bytes:
    """All z-slices below each other: an image of width sx and height sy * sz."""
    if array.dtype == np.uint8 and len(array) == 1:
        return jpeg.encode_block(array[0])
    _, sx, sy, sz = array.shape
    plane = array.reshape((len(array), sx, sy * sz, 1), order="F")
    return images.encode_slice(slice_pixels(plane, (0, 1)), images.SliceFormat("jpeg"))


def _label_block(array: Array) -> bytes:
    return payload.gzip(label_block.encode(array[0]))


def _google(array: Array) -> bytes:
    return segmentation.encode(array[0])


IMAGE_ENCODINGS: Mapping[str, Encode] = {
    "jpeg": tall_jpeg,
    "lz4": lambda array: payload.lz4_sized(buffer(array)),
    "none": buffer,
}
"""Of a block of an image, by how it is said to be stored."""
LABEL_ENCODINGS: Mapping[str, Encode] = {
    "lz4": lambda array: payload.lz4(buffer(array)),
    "gzip": lambda array: payload.gzip(buffer(array)),
    "blocks": _label_block,
    "uncompressed": buffer,
}
"""Of a block of labels, by ``compression=``."""
LABEL_VOLUMES: Mapping[str, Encode] = {
    "lz4": lambda array: payload.lz4(buffer(array)),
    "gzip": lambda array: payload.gzip(buffer(array)),
    "google": _google,
    "googlegzip": lambda array: payload.gzip(_google(array)),
}
"""Of a whole box of labels, by ``compression=``."""
