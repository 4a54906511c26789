"""Opens the channels of a BossDB experiment as layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import tensorstore as ts

from wkdvid.backends.bossdb.address import API_PATH, NAMES, with_address
from wkdvid.backends.bossdb.api import Api
from wkdvid.backends.bossdb.cutouts import cutout_path, decode_frame, frame_limit
from wkdvid.backends.bossdb.documents import open_experiment
from wkdvid.backends.bossdb.metadata import check_resource
from wkdvid.backends.bossdb.pyramid import plan_pyramid
from wkdvid.backends.chunk_functions import ReadChunk, chunk_store, decoded
from wkdvid.backends.opening import Opener
from wkdvid.backends.precomputed.source import open_source
from wkdvid.backends.tensorstore_volume import TensorStoreVolume
from wkdvid.core.entries import LayerEntry
from wkdvid.core.geometry import Box
from wkdvid.core.guard import check_name
from wkdvid.core.volume import Array, LayerInfo, Volume
from wkdvid.errors import InvalidRequest

OPTIONS = frozenset({"source", *NAMES, "channels", "channel", "t", "token", "username", "password", "auth"})
PATHS = API_PATH
SECRETS = frozenset({"token", "username", "password"})


async def find_layers(entry: LayerEntry, opener: Opener) -> Sequence[LayerEntry]:
    """One layer for each channel of the experiment, or for each that the entry lists.

    Raises:
        InvalidRequest: there is no such experiment, or no such channel.
        BackendError: the server cannot be read.
    """
    if "channel" in entry.options:
        raise InvalidRequest("channel: is an option of a layer; an entry that lists no layers has channels")
    options = with_address(entry.options)
    reader = await open_experiment(options, opener)
    there = (await reader.experiment()).channels
    chosen = options.get("channels", [options["channel"]] if "channel" in options else list(there))
    if not isinstance(chosen, list) or not chosen:
        raise InvalidRequest(f"channels: expected a list of names, at least one, got {chosen!r}")
    for name in chosen:
        if name not in there:
            raise InvalidRequest(f"channels: {reader.what} has no channel {name!r}; it has {', '.join(there)}")
    return [
        replace(
            entry,
            name=check_name("layer", name),
            options={**options, "channel": name},
            path=f"{entry.path}.layers.{name}",
        )
        for name in chosen
    ]


async def open_layer(entry: LayerEntry, opener: Opener) -> Sequence[Volume]:
    """Open one channel.

    Raises:
        InvalidRequest: it is not there, or not such as can be read; with what would help.
        BackendError: the server cannot be read.
    """
    options = with_address(entry.options)
    reader = await open_experiment(options, opener)
    name = check_resource(options.get("channel", entry.name), "channel")
    experiment = await reader.experiment()
    channel = await reader.channel(name)
    category = entry.category or channel.category
    if channel.bucket is not None:
        source = await opener.source(channel.bucket, "info")
        return await open_source(replace(entry, category=category, options={}), opener, source)
    frame = await reader.frame(experiment.coord_frame)
    resolutions = await reader.resolutions(name, frame)
    what = f"{reader.what}/{name}"
    pyramid = plan_pyramid(channel, frame, resolutions, opener.limits.chunk_bytes, what)
    opener.check_levels(len(pyramid.levels), what)
    time, time_notes = _time(options.get("t"), experiment.time_samples)
    info = LayerInfo(
        name=entry.name,
        category=category,
        dtype=channel.dtype,
        num_channels=1,
        voxel_size_nm=entry.voxel_size_nm or pyramid.voxel_size_nm,
        levels=pyramid.levels,
        format="boss",
        notes=(*pyramid.notes, *time_notes),
    )
    reads = [_chunk_reader(reader.api, f"{reader.path}/{name}", number, time, info) for number in pyramid.numbers]
    return [BossVolume(info, reads, what, opener, reader.api)]


def _time(option: object, samples: int) -> tuple[int | None, tuple[str, ...]]:
    """Which time sample is asked for, if there are several, and what is to be said about that."""
    index = 0 if option is None else option
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < samples:
        raise InvalidRequest(f"t: expected a whole number from 0 to {samples - 1}, got {option!r}")
    if samples == 1:
        return None, ()
    return index, (f"The source has {samples} time points; t = {index} is served.",)


def _chunk_reader(api: Api, channel: str, resolution: int, time: int | None, info: LayerInfo) -> ReadChunk:
    async def read(box: Box) -> Array:
        path = cutout_path(channel, resolution, box, time)
        frame = await api.cutout(path, frame_limit(box.size, info.dtype.itemsize))
        what = f"{api.name} ({path})"
        return await decoded(lambda: decode_frame(frame, info.dtype, box.size, what), what)

    return read


class BossVolume(TensorStoreVolume):
    """A channel whose voxels come from the API."""

    def __init__(self, info: LayerInfo, reads: Sequence[ReadChunk], what: str, opener: Opener, api: Api) -> None:
        """
        Args:
            reads: One for each of ``info.levels``.
        """
        super().__init__(info, [_store(read, info, i, opener) for i, read in enumerate(reads)], what, opener.deadline_s)
        self._api = api

    async def aclose(self) -> None:
        await self._api.aclose()


def _store(read: ReadChunk, info: LayerInfo, level: int, opener: Opener) -> ts.TensorStore:
    return chunk_store(
        read,
        info.levels[level],
        dtype=info.dtype,
        num_channels=info.num_channels,
        context=opener.context,
        deadline_s=opener.deadline_s,
    )
