"""Which channels of a source make a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorstore as ts

from wkdvid.core.volume import Volume
from wkdvid.errors import InvalidRequest

RGB = 3

MakeVolume = Callable[[Sequence[ts.TensorStore], str], Volume]


def split_channels(stores: Sequence[ts.TensorStore], channel: object, make: MakeVolume, name: str) -> Sequence[Volume]:
    """One layer for one channel or for RGB; else one layer for each channel, named ``name_c0``, ``name_c1``...

    Args:
        stores: Levels as ``arrange`` returns them.
        channel: The entry's choice; None = all.
    Raises:
        InvalidRequest: a channel that is not there.
    """
    count = stores[0].shape[0]
    if channel is not None:
        if not isinstance(channel, int) or isinstance(channel, bool) or not 0 <= channel < count:
            raise InvalidRequest(f"channel: expected a whole number from 0 to {count - 1}, got {channel!r}")
        return [make(_pick(stores, channel), name)]
    if count == 1 or (count == RGB and stores[0].dtype.name == "uint8"):
        return [make(stores, name)]
    return [make(_pick(stores, c), f"{name}_c{c}") for c in range(count)]


def _pick(stores: Sequence[ts.TensorStore], channel: int) -> list[ts.TensorStore]:
    return [store[channel : channel + 1][ts.d[0].translate_to[0]] for store in stores]
