"""The client of DVID servers, wkdvid among them: what pydvid was, for Python 3. See docs/client.md.

``Client`` blocks and ``AsyncClient`` is awaited; they are the same otherwise. ``wkdvid.client.pydvid`` runs scripts
that were written for pydvid.
"""

from __future__ import annotations

from wkdvid.client.connection import AsyncClient, Client
from wkdvid.client.errors import (
    Busy,
    ConnectionFailed,
    Denied,
    DvidError,
    HttpError,
    InvalidArgument,
    InvalidSelection,
    NotFound,
    Refused,
    ThrottleTimeoutException,
    UnexpectedResponse,
)
from wkdvid.client.keyvalue import KeyValue
from wkdvid.client.labels import Labels, LabelSize
from wkdvid.client.metadata import VoxelsMetadata
from wkdvid.client.roi import Roi
from wkdvid.client.sparse import SparseVolume
from wkdvid.client.voxels import RoiMaskAccessor, VoxelsAccessor

__all__ = [
    "AsyncClient",
    "Busy",
    "Client",
    "ConnectionFailed",
    "Denied",
    "DvidError",
    "HttpError",
    "InvalidArgument",
    "InvalidSelection",
    "KeyValue",
    "LabelSize",
    "Labels",
    "NotFound",
    "Refused",
    "Roi",
    "RoiMaskAccessor",
    "SparseVolume",
    "ThrottleTimeoutException",
    "UnexpectedResponse",
    "VoxelsAccessor",
    "VoxelsMetadata",
]
