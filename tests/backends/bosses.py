"""Stand-ins for BossDB, what they hold, and entries that name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.backends.arrays import Array, labels, noise, sampled
from wkdvid.backends.opening import NO_SECRETS
from wkdvid.backends.registry import Backends
from wkdvid.core.geometry import Vec3, divide_up
from wkdvid.core.secrets import Secrets
from wkdvid.core.volume import Volume
from wkdvid.testing.bossdb import BossDouble, Channel, Experiment
from wkdvid.testing.volume_suite import StoredLevel, make_backends, open_with

SIZE: Vec3 = (530, 40, 37)
"""Two cuboids along x, three along z, none of them whole."""


def image(name: str = "em", dtype: str = "uint8", size: Vec3 = SIZE, **options: Any) -> Channel:
    return Channel(name=name, array=noise(dtype, size)[0], **options)


def annotation(name: str = "ids", size: Vec3 = SIZE, **options: Any) -> Channel:
    return Channel(name=name, array=labels("uint64", size)[0], type="annotation", **options)


def experiment(*channels: Channel, levels: int = 3, **options: Any) -> Experiment:
    return Experiment(
        collection="lab", name="brain", channels=channels or (image(),), num_hierarchy_levels=levels, **options
    )


def stored_levels(array: Array, start: Vec3, factors: Sequence[Vec3]) -> list[StoredLevel]:
    """What must be read: every n-th voxel; where the frame begins beyond 0 it is not downsampled."""
    return [StoredLevel(array=sampled(array[None], mag), start=divide_up(start, mag), mag=mag) for mag in factors]


def entry(double: BossDouble, **options: Any) -> dict[str, Any]:
    """Of a dataset."""
    return {"domain": double.url, "collection": "lab", "experiment": "brain", **options}


def backends_for(double: BossDouble, *, secrets: Secrets = NO_SECRETS, deadline_s: float = 20) -> Backends:
    return make_backends(http_hosts=[double.host], deadline_s=deadline_s, secrets=secrets)


async def open_channel(
    double: BossDouble, channel: str = "em", backends: Backends | None = None, **options: Any
) -> Volume:
    (volume,) = await open_with(backends or backends_for(double), "boss", entry(double, channel=channel, **options))
    return volume


async def open_all(double: BossDouble, backends: Backends | None = None, **options: Any) -> dict[str, Volume]:
    """The layers that the backend finds, by name."""
    backends = backends or backends_for(double)
    entries, problems = backends.parse({"boss": {"lab": {"data": entry(double, **options)}}})
    assert not problems, problems
    return {one.volume.info.name: one.volume for one in await backends.open_layers(entries[0])}
