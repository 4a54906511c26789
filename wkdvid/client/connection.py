"""The clients, and what is asked of a server, its repositories and versions."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Any, TypedDict, Unpack

from wkdvid.client import decoding
from wkdvid.client.calls import JSON, Call, Effect, Steps, segment
from wkdvid.client.keyvalue import KeyValue
from wkdvid.client.labels import Labels
from wkdvid.client.metadata import BLOCK, VoxelsMetadata
from wkdvid.client.retry import Retry
from wkdvid.client.roi import Roi
from wkdvid.client.transport import Async, HttpxSync, Settings, Sync
from wkdvid.client.twins import Bound, E, operation
from wkdvid.client.volume import LABELMAPS, View
from wkdvid.client.voxels import RoiMaskAccessor, VoxelsAccessor, described, instance_info

APP = "wkdvid.client"


class Server(Bound[E]):
    @operation
    def server_info(self) -> Steps[dict[str, str]]:
        return _get("server/info", decoding.json_of(dict))

    @operation
    def server_types(self) -> Steps[dict[str, str]]:
        return _get("server/types", decoding.json_of(dict))

    @operation
    def repos_info(self) -> Steps[dict[str, Any]]:
        """Repositories by the UUID of their root."""
        return _get("repos/info", decoding.json_of(dict))

    @operation
    def create_repo(self, alias: str = "", description: str = "", *, root: str | None = None) -> Steps[str]:
        """The UUID of its root.

        Args:
            root: The UUID that it shall have.
        """
        wanted = {"alias": alias, "description": description, **({"root": root} if root else {})}
        return _post("repos", wanted, decoding.member("root", str))

    @operation
    def repo_info(self, uuid: str) -> Steps[dict[str, Any]]:
        return _get(f"repo/{segment(uuid)}/info", decoding.json_of(dict))

    @operation
    def branch_versions(self, uuid: str, branch: str = "master") -> Steps[list[str]]:
        """UUIDs of a branch, the newest first."""
        return _get(f"repo/{segment(uuid)}/branch-versions/{segment(branch)}", decoding.json_of(list))

    @operation
    def is_locked(self, uuid: str) -> Steps[bool]:
        """Whether a version is committed, and so immutable."""
        return _get(f"node/{segment(uuid)}/status", decoding.member("Locked", bool))

    @operation
    def note(self, uuid: str) -> Steps[str]:
        return _get(f"node/{segment(uuid)}/note", decoding.member("note", str))

    @operation
    def log(self, uuid: str) -> Steps[list[str]]:
        return _get(f"node/{segment(uuid)}/log", decoding.member("log", list))

    @operation
    def post_log(self, uuid: str, *messages: str) -> Steps[None]:
        return _post(f"node/{segment(uuid)}/log", {"log": messages}, decoding.nothing)

    @operation
    def commit(self, uuid: str, note: str = "") -> Steps[None]:
        """Make a version immutable, for ever."""
        return _post(f"node/{segment(uuid)}/commit", {"note": note} if note else {}, decoding.nothing)

    @operation
    def new_version(self, uuid: str, note: str = "") -> Steps[str]:
        """A child of a committed version, on the same branch; its UUID."""
        return _post(f"node/{segment(uuid)}/newversion", {"note": note}, decoding.member("child", str))

    @operation
    def new_branch(self, uuid: str, branch: str, note: str = "") -> Steps[str]:
        """A child of a committed version, on a branch of its own; its UUID."""
        wanted = {"branch": branch, "note": note}
        return _post(f"node/{segment(uuid)}/branch", wanted, decoding.member("child", str))

    @operation
    def instance_info(self, uuid: str, name: str) -> Steps[dict[str, Any]]:
        return instance_info(uuid, name, decoding.json_of(dict))

    @operation
    def create_instance(
        self, uuid: str, name: str, typename: str, settings: Mapping[str, str] | None = None
    ) -> Steps[None]:
        """
        Args:
            settings: Of the type, as DVID names them, all as text: ``{"BlockSize": "64,64,64"}``.
        """
        return create_instance(uuid, name, typename, settings or {})

    @operation
    def create_new(
        self, uuid: str, name: str, metadata: VoxelsMetadata, *, typename: str | None = None, block_side: int = BLOCK
    ) -> Steps[None]:
        """A volume.

        Args:
            metadata: Its axes and channels; sizes grow with what is written.
            typename: By default the one that fits; ``labelmap`` for labels with scales.
        """
        settings = volume_settings(metadata, block_side)
        return create_instance(uuid, name, typename or metadata.determine_dvid_typename(), settings)

    @operation
    def voxels(
        self,
        uuid: str,
        name: str,
        *,
        scale: int = 0,
        order: str = "cxyz",
        dtype: Any = None,
        compression: str = "",
        throttle: bool = False,
        query: Mapping[str, str] | None = None,
    ) -> Steps[VoxelsAccessor[E]]:
        """Open a volume: ``View`` explains the arguments. Of images, scale k is the instance ``NAME_k``."""
        view = View(
            order=order, dtype=dtype, scale=scale, compression=compression, throttle=throttle, query=query or {}
        )
        return self._open(uuid, name, view)

    def _open(self, uuid: str, name: str, view: View) -> Generator[Effect, Any, VoxelsAccessor[E]]:
        typename, metadata = yield from described(uuid, name)
        if view.scale and typename in LABELMAPS:
            metadata = metadata.at_scale(view.scale)
        elif view.scale:
            name = f"{name}_{view.scale}"
            typename, metadata = yield from described(uuid, name)
        return VoxelsAccessor(self.transport, uuid, name, metadata, typename, view)

    def roi_mask(self, uuid: str, name: str, *, order: str = "cxyz") -> RoiMaskAccessor[E]:
        """A region of interest as voxels of uint8."""
        return RoiMaskAccessor(self.transport, uuid, name, View(order=order))

    def roi(self, uuid: str, name: str) -> Roi[E]:
        return Roi(self.transport, uuid, name)

    def keyvalue(self, uuid: str, name: str) -> KeyValue[E]:
        return KeyValue(self.transport, uuid, name)

    def labels(self, uuid: str, name: str) -> Labels[E]:
        return Labels(self.transport, uuid, name)


class Options(TypedDict, total=False):
    """Of a client; each may be left out."""

    token: str
    """Sent as ``Authorization: Bearer``."""
    user: str
    """Whom the server is to log."""
    query: Mapping[str, str]
    """Sent with every request, such as ``{"admintoken": ...}``. No error shows it; httpx's log does, at level INFO."""
    timeout_s: float
    """Of silence, before an answer is given up: 600."""
    retry_timeout: float
    """How long to ask again while the server says that it is busy (503), in seconds: 60. 0: not at all."""
    retry_interval: float
    """The first pause before that, in seconds: 0.2. They double up to 15 s."""
    workers: int
    """Requests at once, where one operation needs many: 4."""


class Client(Server[Sync]):
    """A DVID server. Threads may share a client; it keeps connections open until it is closed.

    Args:
        url: ``http://HOST:PORT``; ``http://`` may be left out.
        options: See ``Options``.
    Raises:
        InvalidArgument: ``url`` is none.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        transport = HttpxSync(settings(url, **options))
        super().__init__(transport)
        self._close = transport.close

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient(Server[Async]):
    """As ``Client``, for one event loop: what it asks is awaited, and also what is opened by it."""

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        super().__init__(Async(settings(url, **options)))

    async def aclose(self) -> None:
        await self.transport.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()


def settings(
    url: str,
    *,
    token: str = "",
    user: str = "",
    query: Mapping[str, str] | None = None,
    timeout_s: float = 600.0,
    retry_timeout: float = 60.0,
    retry_interval: float = 0.2,
    workers: int = 4,
) -> Settings:
    return Settings(
        url=(url if "://" in url else f"http://{url}").rstrip("/"),
        headers={"Authorization": f"Bearer {token}"} if token else {},
        query={"app": APP, **({"u": user} if user else {}), **(query or {})},
        timeout_s=timeout_s,
        workers=workers,
        retry=Retry(timeout_s=retry_timeout, interval_s=retry_interval),
    )


def create_instance(uuid: str, name: str, typename: str, wanted: Mapping[str, str]) -> Call[None]:
    document = {"dataname": name, "typename": typename, **wanted}
    return _post(f"repo/{segment(uuid)}/instance", document, decoding.nothing)


def volume_settings(metadata: VoxelsMetadata, block_side: int) -> dict[str, str]:
    axes = metadata["Axes"]
    return {
        "BlockSize": ",".join(str(block_side) for _ in axes),
        "VoxelSize": ",".join(str(float(axis["Resolution"])) for axis in axes),
        "VoxelUnits": ",".join(axis["Units"] or "nanometers" for axis in axes),
    }


def _get(path: str, decode: Any) -> Call[Any]:
    return Call(action=f"ask for {path.rpartition('/')[2]}", path=f"/api/{path}", decode=decode)


def _post(path: str, document: Mapping[str, Any], decode: Any) -> Call[Any]:
    return Call(
        action=f"post {path.rpartition('/')[2]}",
        method="POST",
        path=f"/api/{path}",
        body=json.dumps(document).encode(),
        content_type=JSON,
        decode=decode,
    )
