"""Surfaces of voxels, and triangles as files: marching cubes, binary STL, Draco, DVID's ngmesh, legacy fragments.

Triangles are float32 (n, 3, 3): corners, counterclockwise seen from outside, and their (x, y, z).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from wkdvid.extras import imported

Triangles = npt.NDArray[np.float32]

EXTRA = "meshes"
"""That brings zmesh and DracoPy."""
DRACO = "meshes in Draco's form need DracoPy"
"""Where that is not installed."""
CELLS = 32
"""Along one axis of what is meshed at a time: in the worst case that makes 6 MB of triangles."""
AT_A_TIME = 1 << 16
"""Triangles that are reckoned with in float64."""
DRACO_BITS = 16
"""Of each coordinate: an error of at most 2^-17 of a fragment's longest side."""
_STL = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def surfaces(mask: npt.NDArray[np.bool_]) -> Iterator[Triangles]:
    """The surface between voxels that are set and such as are not, piece by piece.

    Marching cubes between the centres of eight neighbouring voxels; a vertex lies in the middle between two voxels. So
    boxes that share one plane of voxels have surfaces that fit each other, corner by corner, and the outermost planes
    are left open.

    Args:
        mask: (x, y, z).
    Returns:
        Corners in voxels; a voxel's own position is its index.
    """
    mesher = imported("zmesh", EXTRA, "surfaces of voxels need zmesh").Mesher((1, 1, 1))
    for start in product(*(range(0, length - 1, CELLS) for length in mask.shape)):
        piece = mask[tuple(slice(a, a + CELLS + 1) for a in start)]
        if not piece.any() or piece.all():
            continue
        mesher.mesh(np.asfortranarray(piece), close=False)
        found = mesher.get(1, normals=False, reduction_factor=0)
        mesher.clear()
        yield found.vertices[found.faces] + np.array(start, np.float32)


def stl_header(count: int) -> bytes:
    """Of a binary STL file of so many triangles."""
    return bytes(80) + count.to_bytes(4, "little")


def stl_triangles(triangles: Triangles) -> bytes:
    """50 bytes for each: the normal, which is 0 where there is none, and the corners."""
    records = np.zeros(len(triangles), _STL)
    records["corners"] = triangles
    for part in _parts(len(triangles)):
        a, b, c = triangles[part].astype(np.float64).swapaxes(0, 1)
        normals = np.cross(b - a, c - a)
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        records["normal"][part] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    return records.tobytes()


def ngmesh(parts: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint32]]]) -> bytes:
    """As DVID keeps a mesh: the number of vertices (uint32), vertices (3 float32 each), triangles (3 uint32 each).

    That is how a fragment of a legacy mesh is stored, too.

    Args:
        parts: Vertices and faces, each of a part by itself.
    """
    firsts = np.cumsum([0, *(len(vertices) for vertices, _ in parts)]).tolist()
    faces = [own + np.uint32(first) for (_, own), first in zip(parts, firsts, strict=False)]
    head = firsts[-1].to_bytes(4, "little")
    return b"".join((head, *(vertices.tobytes() for vertices, _ in parts), *(one.tobytes() for one in faces)))


def merged(triangles: Triangles) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint32]]:
    """Vertices (n, 3), all at different places so that viewers shade smoothly, and faces (m, 3).

    Two coordinates, and then what was found for them and the third, make one number each: that is sorted ten times as
    fast as rows are.
    """
    corners = np.ascontiguousarray(triangles.reshape(-1, 3) + np.float32(0), "<f4")  # -0.0 is at the place of 0.0
    x, y, z = corners.view("<u4").T.astype(np.uint64)
    plane = np.unique(x << np.uint64(32) | y, return_inverse=True)[1].astype(np.uint64)
    _, first, faces = np.unique(plane << np.uint64(32) | z, return_index=True, return_inverse=True)
    return corners[first], faces.astype("<u4").reshape(-1, 3)


def placed(triangles: Triangles, factor: float, position: Sequence[float], scale: Sequence[float]) -> Triangles:
    """Corners c -> ``scale * (position + factor * c)``, which is rounded once."""
    out = np.empty_like(triangles)
    for part in _parts(len(triangles)):
        out[part] = (triangles[part].astype(np.float64) * factor + position) * scale
    return out


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, AT_A_TIME):
        yield slice(start, start + AT_A_TIME)


def draco(vertices: npt.NDArray[Any], faces: npt.NDArray[Any]) -> bytes:
    """Empty where no triangle has an area: Draco knows no such mesh. Equal meshes give equal bytes."""
    if not len(faces):
        return b""
    DracoPy = imported("DracoPy", EXTRA, DRACO)  # noqa: N806 - its name
    try:
        return bytes(DracoPy.encode(vertices, faces, quantization_bits=DRACO_BITS))
    except DracoPy.EncodingFailedException:
        return b""


def legacy_fragment(data: bytes) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint32]]:
    """A fragment of a precomputed mesh of the legacy format (mesh.rst): its vertices (n, 3) and faces (m, 3).

    Raises:
        ValueError: it is none.
    """
    count = int.from_bytes(data[:4], "little")
    if len(data) < 4 + 12 * count or (len(data) - 4) % 12:
        raise ValueError(f"{len(data)} bytes cannot hold {count} vertices and whole triangles")
    vertices = np.frombuffer(data, "<f4", 3 * count, 4).reshape(-1, 3)
    faces = np.frombuffer(data, "<u4", -1, 4 + 12 * count).reshape(-1, 3)
    if faces.size and int(faces.max()) >= count:
        raise ValueError(f"a triangle names vertex {faces.max()} of {count}")
    if not np.isfinite(vertices).all():
        raise ValueError("a vertex is at no finite place")
    return vertices, faces
