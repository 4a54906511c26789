"""pydvid's ``voxels``."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from wkdvid.client import decoding, voxels
from wkdvid.client.calls import Call, Effect, segment
from wkdvid.client.connection import create_instance, volume_settings
from wkdvid.client.decoding import Array
from wkdvid.client.metadata import VoxelsMetadata
from wkdvid.client.pydvid.codec import VoxelsNddataCodec
from wkdvid.client.pydvid.errors import DvidHttpError, UnexpectedResponseError
from wkdvid.client.pydvid.transport import ConnectionTransport
from wkdvid.client.retry import Retry
from wkdvid.client.slicing import Corner
from wkdvid.client.transport import Sync
from wkdvid.client.twins import Instance
from wkdvid.client.volume import View

__all__ = [
    "DvidHttpError",
    "RoiMaskAccessor",
    "UnexpectedResponseError",
    "VoxelsAccessor",
    "VoxelsMetadata",
    "VoxelsNddataCodec",
    "create_new",
    "get_metadata",
    "get_ndarray",
    "get_subvolume_response",
    "post_ndarray",
]

BLOCK_SIDE = 32
"""Voxels on each side of the blocks of a new volume."""


def get_metadata(connection: HTTPConnection, uuid: str, data_name: str) -> VoxelsMetadata:
    return ConnectionTransport(connection).run(_metadata_call(uuid, data_name))


def create_new(connection: HTTPConnection, uuid: str, data_name: str, voxels_metadata: VoxelsMetadata) -> None:
    settings, typename = volume_settings(voxels_metadata, BLOCK_SIDE), voxels_metadata.determine_dvid_typename()
    ConnectionTransport(connection).run(create_instance(uuid, data_name, typename, settings))


class VoxelsAccessor(voxels.VoxelsAccessor[Sync]):
    """A volume. See ``wkdvid.client.VoxelsAccessor`` for what slicings are understood."""

    def __init__(
        self,
        connection: HTTPConnection,
        uuid: str,
        data_name: str,
        query_args: Mapping[str, Any] | None = None,
        throttle: bool | None = None,
        retry_timeout: float = 60.0,
        retry_interval: float = 1.0,
        warning_interval: float = 30.0,
        _metadata: VoxelsMetadata | None = None,
        _access_type: str = "raw",
    ) -> None:
        """
        Args:
            query_args: More of the query of each read.
            throttle: Ask for one of the server's slots for large requests.
            retry_timeout: Seconds to ask again while the server says that it is busy (503); not above
                ``retry_interval``, the first pause: not again.
            warning_interval: Seconds after which to warn that it is busy, and again.
        Raises:
            DvidHttpError: there is no such volume.
        """
        retry = Retry(timeout_s=retry_timeout, interval_s=retry_interval, warning_s=warning_interval)
        transport, query = ConnectionTransport(connection, retry), {k: str(v) for k, v in (query_args or {}).items()}
        throttled = query.pop("throttle", "off") == "on" if throttle is None else throttle
        metadata = _metadata or get_metadata(connection, uuid, data_name)
        super().__init__(transport, uuid, data_name, metadata, view=View(throttle=throttled, query=query))
        self.data_name, self.access_type = data_name, _access_type

    def _describe(self) -> Generator[Effect, Any, VoxelsMetadata]:
        return (yield from _metadata_call(self.uuid, self.name))


class RoiMaskAccessor(VoxelsAccessor):
    """A region of interest as voxels: uint8, axes (c, x, y, z), no extent."""

    def __init__(self, connection: HTTPConnection, uuid: str, data_name: str, *args: Any, **options: Any) -> None:
        mask = voxels.RoiMaskAccessor(ConnectionTransport(connection), uuid, data_name)
        options |= {"_metadata": mask.voxels_metadata, "_access_type": mask.access_type}
        super().__init__(connection, uuid, data_name, *args, **options)


def get_ndarray(
    connection: HTTPConnection,
    uuid: str,
    data_name: str,
    access_type: str,
    voxels_metadata: VoxelsMetadata,
    start: Corner,
    stop: Corner,
    query_args: Mapping[str, Any] | None = None,
    throttle: bool = False,
) -> Array:
    """Read the box (c, x, y, z) from ``start`` to ``stop`` (exclusive), with all channels."""
    volume = VoxelsAccessor(
        connection, uuid, data_name, query_args, throttle, _metadata=voxels_metadata, _access_type=access_type
    )
    return volume.get_ndarray(start, stop)


def post_ndarray(
    connection: HTTPConnection,
    uuid: str,
    data_name: str,
    access_type: str,
    voxels_metadata: VoxelsMetadata,
    start: Corner,
    stop: Corner,
    new_data: Array,
    throttle: bool = False,
) -> None:
    """Write a box (c, x, y, z), with all channels."""
    volume = VoxelsAccessor(
        connection, uuid, data_name, throttle=throttle, _metadata=voxels_metadata, _access_type=access_type
    )
    volume.post_ndarray(start, stop, new_data)


def get_subvolume_response(
    connection: HTTPConnection,
    uuid: str,
    data_name: str,
    access_type: str,
    start: Corner,
    stop: Corner,
    format: str = "",  # noqa: A002 - pydvid's name
    query_args: Mapping[str, Any] | None = None,
    throttle: bool = False,
) -> HTTPResponse:
    """The answer with its body unread. All of it must be read before the connection is used again."""
    transport = ConnectionTransport(connection)
    segments = [*voxels.box_segments([int(n) for n in start[1:]], [int(n) for n in stop[1:]]), *filter(None, [format])]
    query = {**{k: str(v) for k, v in (query_args or {}).items()}, **({"throttle": "on"} if throttle else {})}
    path = Instance(transport, uuid, data_name).path(access_type, *segments)
    return transport.stream(Call(action="subvolume query", path=path, query=query, decode=decoding.octets))


def _metadata_call(uuid: str, data_name: str) -> Call[VoxelsMetadata]:
    path = f"/api/node/{segment(uuid)}/{segment(data_name)}/metadata"
    decode = decoding.json_of(dict)
    return Call(action="voxels.metadata", path=path, decode=lambda reply: VoxelsMetadata(decode(reply)))
