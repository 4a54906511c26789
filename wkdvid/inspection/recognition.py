"""Which formats an address may be of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from wkdvid.backends.opening import Opener
from wkdvid.backends.registry import Backend
from wkdvid.core.source import Source, read_source
from wkdvid.errors import BackendError, InvalidRequest

HINTS: Mapping[str, str] = {"zarr2": "zarr", "zarr3": "zarr"}
"""Format in front of a URL -> backend, where they differ."""


async def candidates(url: str, backends: Mapping[str, Backend], opener: Opener) -> Sequence[str]:
    """Backends that may read what is there: the one that the URL names, or its file's name, else those with a marker.

    Raises:
        InvalidRequest: not an address, or not one that is allowed; or nothing is there.
        BackendError: nothing is known to be there, and something could not be looked at.
    """
    source = await opener.source(url)
    if source.format_hint is not None:
        return [HINTS.get(source.format_hint, source.format_hint)]
    by_name = [backend for backend, known in backends.items() if known.paths.fullmatch(source.path)]
    if by_name:
        return by_name
    keys = [(backend, key) for backend, known in backends.items() for key in known.markers]
    answers = await asyncio.gather(*(_has(url, key, opener) for _, key in keys))
    found = [backend for (backend, _), answer in zip(keys, answers, strict=True) if answer is True]
    failures = [answer for answer in answers if isinstance(answer, Exception)]
    if found:
        return list(dict.fromkeys(found))
    if failures:
        raise failures[0]
    known = {backend: known.markers[0] for backend, known in backends.items() if known.markers}
    raise InvalidRequest(
        f"{source.name}: no {_listed(list(known))} volume is there (no {', '.join(known.values())}...); name the folder"
        " that holds one of them, or put the format before the address, as in precomputed://"
    )


async def _has(url: str, key: str, opener: Opener) -> bool | InvalidRequest | BackendError:
    """Whether the document is there, or why that is not known: some hosts refuse, or redirect, what they lack."""
    try:
        return await opener.read_start(await opener.source(url, key), key, 1) is not None
    except (InvalidRequest, BackendError) as error:
        return error


def _listed(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def layer_name(url: str) -> str:
    """What a layer may be called whose entry does not say it: the last part of the path, or the host or bucket.

    Raises:
        InvalidRequest: not an address.
    """
    source: Source = read_source(url)
    path = unquote(source.path) if source.is_http else source.path
    last = path.rstrip("/").rpartition("/")[2] or source.authority
    return (
        re.sub(r"[^A-Za-z0-9_$@-]+", lambda other: "." if other[0] == "." else "_", last).lstrip(".")[:128] or "layer"
    )
