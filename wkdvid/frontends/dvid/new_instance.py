"""``POST /api/repo/<uuid>/instance``: the settings of a new data instance, as DVID reads them (dvid.md D1).

Names of settings are case-insensitive, and all values are text but for ``versioned``.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.repositories import DataInstance
from wkdvid.core.written_volumes import VoxelSettings
from wkdvid.errors import InvalidRequest, UnsupportedRequest
from wkdvid.frontends.dvid import parse
from wkdvid.frontends.dvid.instances import BLOCK

PYDVID: Mapping[str, str] = {
    "grayscale8": "uint8blk",
    "labels32": "uint32blk",
    "labels64": "labelmap",
    "rgba8": "rgba8blk",
}
"""The types that it makes; what it writes is not aligned to blocks."""
ALIASES: Mapping[str, str] = {**PYDVID, "labelblk": "labelmap", "labelarray": "labelmap"}
"""Types of earlier days."""
VOXELS: Mapping[str, tuple[str, int]] = {
    **{f"{name}blk": (name, 1) for name in ("uint8", "uint16", "uint32", "uint64", "float32")},
    "rgba8blk": ("uint8", 4),
    "labelmap": ("uint64", 1),
}
"""Type of an element, and the elements of a voxel."""
OTHERS = frozenset({"keyvalue", "roi", "annotation"})
RESERVED = frozenset({"log", "branch", "note", "commit", "newversion"})
NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
BLOCK_SIDES = range(8, 129)
LABEL_STEP = 16
"""Label blocks are made of sub-blocks of 8 voxels a side, two of them at least."""
IMAGE_BLOCK = 32
"""Where the client names none; DVID's."""
NANOMETERS = {"nanometers": 1.0, "micrometers": 1e3, "millimeters": 1e6}
LARGEST_VOXEL = 1e9
"""Nanometres: a metre."""
COMPRESSION = re.compile(r"none|snappy|lz4|gzip(:[1-9])?")
MOST_TAGS = 1000
FALSE, TRUE = frozenset({"false", "0"}), frozenset({"true", "1"})


@dataclass(frozen=True, slots=True)
class NewInstance:
    instance: DataInstance
    extent: Box | None
    """Where its voxels are said to be, until there are some."""


def parse_new_instance(body: Mapping[str, Any]) -> NewInstance:
    """
    Args:
        body: The object that the client sent, as JSON has it.
    Raises:
        InvalidRequest, UnsupportedRequest: in DVID's words.
    """
    given = {key.lower(): (key, value) for key, value in body.items()}
    versioned = _versioned(given.pop("versioned", ("", True))[1])
    settings = _Settings({name: _text(key, value) for name, (key, value) in given.items()})
    typename, name = _typename(settings), _name(settings)
    if settings.get("gridstore"):
        raise UnsupportedRequest("GridStore is not offered: register the volume as a dataset")
    voxels = typename in VOXELS
    return NewInstance(
        DataInstance(
            name=name,
            typename=typename,
            data_uuid=secrets.token_hex(16),
            versioned=versioned,
            tags=_tags(settings.get("tags")),
            settings=asdict(_voxel_settings(typename, settings)) if voxels else _other_settings(typename, settings),
        ),
        _extent(settings) if voxels else None,
    )


class _Settings:
    """Texts by their names in lower case."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def get(self, name: str) -> str:
        """Empty if the client has not named it."""
        return self._texts.get(name, "")

    def number(self, name: str, default: int, allowed: range) -> int:
        text = self.get(name)
        return parse.integer(text, "Atoi", allowed) if text else default


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"Setting for '{key[:80]}' was not a string: {_as_go_prints(value)[:200]}")
    return value.strip()


def _as_go_prints(value: object) -> str:
    if isinstance(value, list):
        return f"[{' '.join(map(_as_go_prints, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "<nil>", True: "true", False: "false"}[value]
    return str(value)


def _versioned(value: object) -> bool:
    if isinstance(value, bool):
        return value
    return _flag("versioned", _text("versioned", value), default=True)


def _flag(name: str, text: str, *, default: bool) -> bool:
    if text and text.lower() not in FALSE | TRUE:
        raise InvalidRequest(f"{name}: expected true or false, got {text[:80]!r}")
    return text.lower() in TRUE if text else default


def _typename(settings: _Settings) -> str:
    wanted = settings.get("typename")
    if not wanted:
        raise InvalidRequest("POST on repo endpoint requires specification of valid 'typename'")
    typename = ALIASES.get(wanted, wanted)
    if typename not in VOXELS and typename not in OTHERS:
        raise UnsupportedRequest(f'Data type "{wanted[:80]}" is not supported by current DVID server')
    return typename


def _name(settings: _Settings) -> str:
    name = settings.get("dataname")
    if not name:
        raise InvalidRequest("POST on repo endpoint requires specification of valid 'dataname'")
    if name in RESERVED:
        raise InvalidRequest(f'cannot use reserved name "{name}"')
    if not NAME.fullmatch(name) or not name.strip("."):
        raise InvalidRequest("dataname: expected 1 to 128 letters, digits, dots, underscores and hyphens")
    return name


def _tags(text: str) -> Mapping[str, str] | None:
    """``a=b,c=d``."""
    if not text:
        return None
    pairs = [pair.partition("=") for pair in text.split(",")]
    if len(pairs) > MOST_TAGS or any(not key.strip() or not equals for key, equals, _ in pairs):
        raise InvalidRequest(f"Tags: expected key=value pairs with commas between them, at most {MOST_TAGS}")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _other_settings(typename: str, settings: _Settings) -> Mapping[str, Any]:
    compression = _compression(settings, "lz4")
    if typename == "roi":
        return {"compression": compression, "block_size": _block(settings, IMAGE_BLOCK)}
    return {"compression": compression}


def _voxel_settings(typename: str, settings: _Settings) -> VoxelSettings:
    labels = typename == "labelmap"
    block = _block(settings, BLOCK if labels else IMAGE_BLOCK)
    if labels and block % LABEL_STEP:
        raise InvalidRequest(f"BlockSize must be multiples of {LABEL_STEP}")
    dtype, num_channels = VOXELS[typename]
    return VoxelSettings(
        dtype=dtype,
        num_channels=num_channels,
        block=block,
        voxel_size=_voxel_size(settings),
        compression=_compression(settings, "gzip" if labels else "lz4", may_be_jpeg=typename == "uint8blk"),
        background=settings.number("background", 0, range(256)),
        max_scale=settings.number("maxdownreslevel", int(block == BLOCK), range(17)) if labels else 0,
        indexed=labels and _flag("IndexedLabels", settings.get("indexedlabels"), default=True),
        relaxed=settings.get("typename") in PYDVID,
    )


def _compression(settings: _Settings, default: str, *, may_be_jpeg: bool = False) -> str:
    text = settings.get("compression") or default
    if not COMPRESSION.fullmatch(text.lower()) and not (may_be_jpeg and text.lower() == "jpeg"):
        raise InvalidRequest(f"Illegal compression specified: {text[:80]}")
    return text.lower()


def _block(settings: _Settings, default: int) -> int:
    sides = _three(settings, "BlockSize", lambda word: parse.integer(word, "Atoi")) or (default,) * 3
    if len({*sides}) > 1 or sides[0] not in BLOCK_SIDES:
        allowed = f"{BLOCK_SIDES[0]} to {BLOCK_SIDES[-1]}"
        raise InvalidRequest(f"BlockSize: expected one number from {allowed} three times, got {sides}")
    return int(sides[0])


def _voxel_size(settings: _Settings) -> tuple[float, float, float]:
    x, y, z = _three(settings, "VoxelSize", _float) or (8.0, 8.0, 8.0)
    a, b, c = _three(settings, "VoxelUnits", _unit) or (1.0, 1.0, 1.0)
    return checked_voxel_size((x * a, y * b, z * c))


def checked_voxel_size(size: tuple[float, float, float]) -> tuple[float, float, float]:
    if not all(math.isfinite(side) and 0 < side <= LARGEST_VOXEL for side in size):
        raise InvalidRequest(f"expected sides of a voxel above 0 and up to {LARGEST_VOXEL:g} nanometers, got {size}")
    return size


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InvalidRequest(f'strconv.ParseFloat: parsing "{word[:80]}": invalid syntax') from None


def _unit(word: str) -> float:
    if word not in NANOMETERS:
        raise InvalidRequest(f"VoxelUnits: expected one of {', '.join(NANOMETERS)}, got {word[:80]!r}")
    return NANOMETERS[word]


def _extent(settings: _Settings) -> Box | None:
    first, last = (_three(settings, name, parse.integer) for name in ("MinPoint", "MaxPoint"))
    return None if first is None or last is None else extent_of(first, last)


def extent_of(first: Vec3, last: Vec3) -> Box:
    """
    Args:
        first, last: The corners (x, y, z), both inclusive.
    """
    if any(b < a for a, b in zip(first, last, strict=True)):
        raise InvalidRequest(f"MaxPoint {last} is before MinPoint {first}")
    return Box(first, (last[0] + 1, last[1] + 1, last[2] + 1))


def _three(settings: _Settings, name: str, read: Callable[[str], Any]) -> tuple[Any, Any, Any] | None:
    """Numbers or words for x, y and z with commas between them; None if the client has not named them."""
    text = settings.get(name.lower())
    if not text:
        return None
    words = [word.strip() for word in text.split(",")]
    if len(words) != 3:
        raise InvalidRequest(f"{name}: expected three values with commas between them, got {text[:80]!r}")
    return (read(words[0]), read(words[1]), read(words[2]))
