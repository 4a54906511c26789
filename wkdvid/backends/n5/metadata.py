"""``attributes.json`` of an array as a value: what TensorStore cannot read is refused by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wkdvid.backends.axes import axes_of_names
from wkdvid.backends.numbers import is_count
from wkdvid.backends.tensorstore_volume import DTYPES
from wkdvid.errors import InvalidRequest

COMPRESSIONS: Mapping[str, Mapping[str, Any]] = {
    "raw": {},
    "gzip": {},
    "bzip2": {},
    "xz": {},
    "zstd": {},
    "blosc": {"cname": "lz4", "clevel": 5, "shuffle": 1},
    "lz4": {},
}
"""By type, with members that TensorStore wants. Reading heeds none of them but gzip's ``useZlib``."""


@dataclass(frozen=True, slots=True)
class ArrayMetadata:
    rank: int
    axes: str | None
    """By the names that Neuroglancer's ``axes`` gives the dimensions, first the fastest."""
    document: dict[str, Any]
    """The attributes that TensorStore is given: writers add members that it does not know (n5-java: ``nthreads``)."""

    @property
    def is_lz4(self) -> bool:
        """Which TensorStore cannot read."""
        return bool(self.document["compression"]["type"] == "lz4")


def parse_array(attributes: Mapping[str, Any], what: str) -> ArrayMetadata:
    """
    Raises:
        InvalidRequest: something that is wrong or cannot be read, by its name.
    """
    if attributes.get("isLabelMultiset"):
        raise InvalidRequest(
            f"{what}: a label multiset (varlength blocks) cannot be shown;"
            " convert it with `paintera-convert extract-to-scalar`"
        )
    dimensions, block_size = (_sizes(attributes.get(name), f"{what}: {name}") for name in ("dimensions", "blockSize"))
    if len(block_size) != len(dimensions):
        raise InvalidRequest(f"{what}: blockSize: expected {len(dimensions)} numbers, got {block_size}")
    data_type = attributes.get("dataType")
    if not isinstance(data_type, str) or data_type not in DTYPES:
        raise InvalidRequest(
            f"{what}: dataType {data_type!r} is not supported; convert the array to one of {', '.join(sorted(DTYPES))}"
        )
    names = attributes.get("axes")
    return ArrayMetadata(
        rank=len(dimensions),
        axes=axes_of_names(names) if isinstance(names, list) and len(names) == len(dimensions) else None,
        document={
            "dimensions": dimensions,
            "blockSize": block_size,
            "dataType": data_type,
            "compression": _compression(attributes, what),
        },
    )


def _compression(attributes: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Before N5 2.0 it was a bare word, ``compressionType``."""
    given = attributes.get("compression")
    members = given if isinstance(given, dict) else {"type": given or attributes.get("compressionType")}
    kind = members.get("type")
    if not isinstance(kind, str) or kind not in COMPRESSIONS:
        raise InvalidRequest(
            f"{what}: compression {kind!r} cannot be read;"
            f" write the array with one of {', '.join(sorted(COMPRESSIONS))}"
        )
    zlib = {"useZlib": True} if kind == "gzip" and members.get("useZlib") else {}
    return {"type": kind, **COMPRESSIONS[kind], **zlib}


def _sizes(value: object, what: str) -> Sequence[int]:
    if isinstance(value, list) and value and all(is_count(n) for n in value):
        return value
    raise InvalidRequest(f"{what}: expected a list of positive whole numbers, got {value!r}")
