"""Chunks in encodings that TensorStore lacks, by the packages that made the encodings popular.

Arrays are (x, y, z, c) as the precomputed format orders them, or a zarr chunk in the order of its dimensions. The
packages follow what the bytes say, out of the buffer and into a crash, and some return what they made of half a chunk:
what can be checked is checked here, and ``decoder_child`` makes the process that may crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]


def decode(decoder: str, data: bytes, shape: Shape, parameters: Mapping[str, Any]) -> Array:
    """
    Args:
        decoder: One of ``DECODERS``.
        shape: Of the array that is expected; one of another shape or type may come of other bytes.
        parameters: Of the zarr decoder: the metadata of an array that is one chunk.
    Raises:
        Exception: whatever a package raises. It may also crash the process.
    """
    return DECODERS[decoder](data, shape, parameters)


def _jxl(data: bytes, shape: Shape, _: object) -> Array:
    """An image of as many pixels as the chunk has voxels; RGB in pixels, or in planes as cloud-volume writes it."""
    import imagecodecs

    pixels: Array = imagecodecs.jpegxl_decode(data, numthreads=1)
    channels = shape[3]
    if channels > 1 and pixels.shape[0] != channels:
        pixels = np.moveaxis(pixels, -1, 0)
    return pixels.reshape(shape[::-1]).T


def _compresso(data: bytes, shape: Shape, _: object) -> Array:
    import compresso

    _check_windows(data, compresso.header(data), compresso.zindex_byte_width(*shape[:2]))
    labels: Array = compresso.decompress(data)
    return labels[..., None]


def _check_windows(data: bytes, header: Mapping[str, int], z_index_width: int) -> None:
    """The package does not notice that bytes are missing at the end: what was left of the windows would do for it.

    A window is a bit per voxel of a step; equal ones stand once among the values. Their run-length code, odd numbers
    for runs of the first and even ones for any, lies between the locations and the index of slices (compresso.hpp).
    """
    step, shape = ([header[f"{kind}{axis}"] for axis in axes] for kind, axes in (("", _STEPS), ("s", "xyz")))
    width = 1 << max(0, (step[0] * step[1] * step[2] - 1).bit_length() - 3)
    start = _COMPRESSO_HEADER + (header["id_size"] + header["location_size"]) * header["data_width"]
    stop = len(data) - (2 * z_index_width * header["sz"] if header["format_version"] else 0)
    codes = np.frombuffer(data[start + header["value_size"] * width : stop], f"<u{width}")
    runs = np.where(codes & 1, codes >> 1, 1).sum(dtype=float)  # of garbage too, which whole numbers would not hold
    if runs != np.prod([-(-a // b) for a, b in zip(shape, step, strict=True)]):
        raise ValueError("compresso: windows are missing, or left over")


_STEPS = ("xstep", "ystep", "zstep")
_COMPRESSO_HEADER = 36


def _crackle(data: bytes, _: Shape, __: object) -> Array:
    """The package leaves slices whose check sum is wrong as the memory was, without a word."""
    import crackle

    header = crackle.header(data)
    labels: Array = crackle.decompress(data, parallel=1)
    if header.format_version > 0:
        sound = crackle.codec.labels_crc(data) == crackle.codec.crc32c(crackle.codec.raw_labels(data).tobytes())
        if sound and not header.is_remapped:  # then labels that were made equal join what the sums tell apart
            again = crackle.codec.crack_crcs(crackle.compress(labels, parallel=1))
            sound = np.array_equal(crackle.codec.crack_crcs(data), again)
        if not sound:
            raise ValueError("crackle: a check sum is wrong")
    return labels[..., None]


def _fpzip(data: bytes, shape: Shape, _: object) -> Array:
    """The package reads on behind the end. Whatever stands there must not matter to the voxels."""
    import fpzip

    behind = 2 * 8 * int(np.prod(shape)) + 4096
    voxels, others = (fpzip.decompress(data + filler * behind, order="F") for filler in (b"\x00", b"\xa5"))
    if not np.array_equal(voxels, others, equal_nan=True):
        raise ValueError("fpzip: bytes are missing")
    return np.asarray(voxels)


def _kempressed(data: bytes, shape: Shape, parameters: object) -> Array:
    """cloud-volume's: fpzip of the voxels plus 2, with z and channels exchanged."""
    x, y, z, c = shape
    return np.asfortranarray(np.swapaxes(_fpzip(data, (x, y, c, z), parameters), 2, 3) - np.float32(2))


def _zfpc(data: bytes, _: Shape, __: object) -> Array:
    """A container of zfp streams, which do not say how long they are: the index before them does."""
    import zfpc

    header = zfpc.ZfpcHeader.frombytes(data)
    index = np.frombuffer(data, "<u8", 1 + header.num_streams(), header.header_size)
    if int(index.sum(dtype=float)) != len(data):  # the offset of the first stream, and the sizes of all
        raise ValueError("zfpc: bytes are missing, or left over")
    voxels: Array = zfpc.decompress(data)
    return voxels


def _draco(data: bytes, _: Shape, __: object) -> Array:
    """A fragment of a mesh: the corners (n, 3, 3) of its triangles."""
    import DracoPy

    mesh = DracoPy.decode(data)
    corners: Array = np.asarray(mesh.points, "<f4")[mesh.faces]
    return corners


def _zarr(data: bytes, shape: Shape, parameters: Mapping[str, Any]) -> Array:
    """One chunk of a zarr array, whatever its codecs."""
    import numcodecs
    import zarr
    from zarr.core.buffer.cpu import Buffer
    from zarr.storage import MemoryStore

    numcodecs.register_codec(_checked_blosc())
    array, indices = parameters["array"], ["0"] * len(shape)
    name, key = (".zarray", ".".join(indices))
    if array["zarr_format"] == 3:
        name, key = ("zarr.json", "/".join(["c", *indices]))
        blosc = {"name": "numcodecs.blosc", "configuration": {}}  # all that decoding needs stands in the bytes
        array = {**array, "codecs": [blosc if codec["name"] == "blosc" else codec for codec in array["codecs"]]}
    objects: dict[str, Any] = {name: Buffer.from_bytes(json.dumps(array).encode()), key: Buffer.from_bytes(data)}
    return np.asarray(zarr.open_array(MemoryStore(objects), mode="r")[...])


def _checked_blosc() -> type[Any]:
    """Numcodecs reads on behind the end of what Blosc compressed, and takes it for voxels."""
    from numcodecs import Blosc
    from numcodecs.compat import ensure_bytes

    class CheckedBlosc(Blosc):  # type: ignore[misc]  # numcodecs has no types
        codec_id = "blosc"

        def decode(self, buf: Any, out: Any = None) -> Any:
            data = ensure_bytes(buf)
            if int.from_bytes(data[12:16], "little") != len(data):
                raise ValueError("blosc: bytes are missing, or left over")
            return super().decode(data, out)

    return CheckedBlosc


DECODERS: Mapping[str, Callable[[bytes, Shape, Mapping[str, Any]], Array]] = {
    "jxl": _jxl,
    "compresso": _compresso,
    "crackle": _crackle,
    "fpzip": _fpzip,
    "kempressed": _kempressed,
    "zfpc": _zfpc,
    "draco": _draco,
    "zarr": _zarr,
}
PACKAGES: Mapping[str, Sequence[str]] = {
    "jxl": ("imagecodecs",),
    "compresso": ("compresso",),
    "crackle": ("crackle",),
    "fpzip": ("fpzip",),
    "kempressed": ("fpzip",),
    "zfpc": ("zfpc",),
    "draco": ("DracoPy",),
    "zarr": ("numcodecs", "zarr"),
}
"""What a decoder imports."""
