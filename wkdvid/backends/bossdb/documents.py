"""Reads what the server says of an experiment and its channels."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkdvid.backends.bossdb.api import Api
from wkdvid.backends.bossdb.credentials import http_source, read_credentials
from wkdvid.backends.bossdb.metadata import (
    Channel,
    Experiment,
    Frame,
    Resolution,
    check_resource,
    parse_channel,
    parse_experiment,
    parse_frame,
    parse_resolutions,
)
from wkdvid.backends.opening import Opener
from wkdvid.errors import InvalidRequest, UpstreamUnavailable


@dataclass(frozen=True, slots=True)
class ExperimentReader:
    """Every method raises InvalidRequest for what is not there or cannot be used, and BackendError for what fails."""

    api: Api
    opener: Opener
    path: str
    """``collection/experiment``"""

    @property
    def what(self) -> str:
        return f"{self.api.name} {self.path}"

    async def experiment(self) -> Experiment:
        return parse_experiment(await self._document(self._route, "experiment"), self.what)

    async def channel(self, name: str) -> Channel:
        document = await self._document(f"{self._route}/channel/{name}", f"channel {name!r}")
        return parse_channel(document, f"{self.what}/{name}")

    async def frame(self, name: str) -> Frame:
        return parse_frame(await self._document(f"coord/{name}", f"coordinate frame {name!r}"), f"{self.what}: {name}")

    async def resolutions(self, channel: str, frame: Frame) -> Sequence[Resolution]:
        """Finest first; none if the server cannot describe them, as where anisotropic voxels differ in x and y."""
        found = await self._ask(f"downsample/{self.path}/{channel}")
        return [] if isinstance(found, int) else parse_resolutions(found, frame.unit_nm, f"{self.what}/{channel}")

    @property
    def _route(self) -> str:
        collection, _, experiment = self.path.partition("/")
        return f"collection/{collection}/experiment/{experiment}"

    async def _document(self, path: str, kind: str) -> dict[str, Any]:
        found = await self._ask(path)
        if isinstance(found, int):
            raise InvalidRequest(f"{self.what}: there is no such {kind} (status {found})")
        return found

    async def _ask(self, path: str) -> dict[str, Any] | int:
        try:
            async with asyncio.timeout(self.opener.deadline_s):
                return await self.api.document(path, self.opener.limits.metadata_bytes)
        except TimeoutError as error:
            raise UpstreamUnavailable(f"{self.what}: no answer within {self.opener.deadline_s:g} s") from error


async def open_experiment(options: Mapping[str, Any], opener: Opener) -> ExperimentReader:
    """The experiment that options name, with what gives access to it; layers with the same credentials share that.

    Raises:
        InvalidRequest: an option that is missing or wrong, or a host that is not allowed.
        UpstreamUnavailable: the host's name cannot be resolved.
    """
    domain = await http_source(options.get("domain"), "domain: expected the URL of a BossDB's API", opener)
    collection, experiment = (check_resource(options.get(name), name) for name in ("collection", "experiment"))
    credentials = await read_credentials(options, domain, opener)
    key = (Api, domain.url, credentials, domain.access.through)
    api = opener.shared.setdefault(key, Api(domain, credentials))
    return ExperimentReader(api, opener, f"{collection}/{experiment}")
