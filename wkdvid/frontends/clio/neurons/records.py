"""What becomes of a record when a client posts some of its fields, and what of a record is shown (clio.md C.3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from wkdvid.errors import InvalidRequest

Record: TypeAlias = Mapping[str, Any]

ID = "bodyid"
WHO, WHEN = "_user", "_time"
_OF_CHANGES = (WHO, WHEN)
_UNSTAMPED = frozenset({ID, "user"})
EMPTY: tuple[Any, ...] = (None, "", [], {})
"""What ``conditional`` does not protect."""
LARGEST_ID = 2**63 - 1


def record_id(record: Record, id_field: str = ID) -> int:
    """
    Raises:
        InvalidRequest: there is none, or it is no whole number above 0 of 63 bits.
    """
    number = record.get(id_field)
    if type(number) is not int or not 0 < number <= LARGEST_ID:
        raise InvalidRequest(f"a record needs {id_field!r}: a whole number from 1 to {LARGEST_ID}, got {number!r:.40}")
    for ending in _OF_CHANGES:
        if id_field + ending in record:
            raise InvalidRequest(f"{id_field + ending!r} cannot be set")
    return number


def is_stamp(field: str) -> bool:
    """Whether a field says who or when another was changed."""
    return field.endswith(_OF_CHANGES)


def updated(
    posted: Record,
    stored: Record,
    *,
    user: str,
    time: str,
    replace: bool = False,
    conditional: Collection[str] = (),
) -> dict[str, Any]:
    """The record after a post.

    Args:
        posted: Fields; a null deletes one.
        stored: The record as it was; empty where there was none.
        time: RFC 3339.
        replace: Whether fields that are not posted go away.
        conditional: Fields that keep what they have, unless that is empty. Ignored with ``replace``.
    """
    deleted = {name for name, value in posted.items() if value is None}
    given = {name: value for name, value in posted.items() if value is not None}
    changed = {name for name, value in given.items() if name not in stored or stored[name] != value}
    if replace:
        kept = {name: value for name, value in stored.items() if is_stamp(name) and _stem(name) in given}
    else:
        kept = {name: value for name, value in stored.items() if name not in deleted}
        protected = {name for name in conditional if stored.get(name) not in EMPTY}
        changed -= protected
        given = {name: value for name, value in given.items() if name not in protected}
    stamps: dict[str, Any] = {}
    for name in changed | deleted:
        if not is_stamp(name) and name not in _UNSTAMPED:
            stamps |= {name + WHO: user, name + WHEN: time}
    return {**kept, **stamps, **given}


def _stem(stamp: str) -> str:
    return stamp.removesuffix(WHO).removesuffix(WHEN)


def shown(record: Record, show: str = "", fields: Collection[str] = ()) -> dict[str, Any]:
    """
    Args:
        show: ``user``, ``time`` or ``all``: which of the fields about changes are shown too.
        fields: To show no others; none: all.
    """
    wanted = {"user": (WHO,), "time": (WHEN,), "all": _OF_CHANGES}.get(show, ())

    def is_shown(name: str) -> bool:
        if is_stamp(name):
            return name.endswith(wanted) and (not fields or _stem(name) in fields)
        return not fields or name == ID or name in fields

    return {name: value for name, value in record.items() if is_shown(name)}
