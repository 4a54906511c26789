"""Which records a query means: an object is AND of its fields, a list of objects OR (clio.md C.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import regex

from wkdvid.errors import InvalidRequest
from wkdvid.frontends.clio.neurons.records import LARGEST_ID, Record

Matches: TypeAlias = Callable[[Record], bool]

REGEX, EXISTS = "re/", "exists/"
REGEX_S = 1.0
"""For one value; the pattern is the client's."""
LONGEST_REGEX = 1000


def compiled(query: Any) -> Matches:
    """
    Raises:
        InvalidRequest: neither an object nor a list of them, an empty list, or a pattern that is none.
    """
    alternatives = query if isinstance(query, list) else [query]
    if not alternatives or not all(isinstance(one, dict) for one in alternatives):
        raise InvalidRequest("expected an object of fields, or a list of such objects that is not empty")
    tests = [_all_of(one) for one in alternatives]
    return lambda record: any(test(record) for test in tests)


def _all_of(query: Mapping[str, Any]) -> Matches:
    tests = [_field(name, wanted) for name, wanted in query.items()]
    return lambda record: all(test(record) for test in tests)


def _field(name: str, wanted: Any) -> Matches:
    if wanted in (f"{EXISTS}0", f"{EXISTS}1"):
        exists = wanted.endswith("1")
        return lambda record: (record.get(name) is not None) == exists
    tests = [_value(one) for one in (wanted if isinstance(wanted, list) else [wanted])]

    def matches(record: Record) -> bool:
        stored = record.get(name)
        if stored is None:
            return False
        return any(test(one) for one in (stored if isinstance(stored, list) else [stored]) for test in tests)

    return matches


def _value(wanted: Any) -> Callable[[Any], bool]:
    if isinstance(wanted, str) and wanted.startswith(REGEX):
        return _pattern(wanted.removeprefix(REGEX))
    if wanted is None:
        return lambda stored: False
    if isinstance(wanted, bool):
        return lambda stored: stored is wanted
    return lambda stored: not isinstance(stored, bool) and bool(stored == wanted)


def _pattern(text: str) -> Callable[[Any], bool]:
    try:
        pattern = regex.compile(text[: LONGEST_REGEX + 1])
    except regex.error as error:
        raise InvalidRequest(f"{text[:80]!r} is no regular expression: {error}") from error
    if len(text) > LONGEST_REGEX:
        raise InvalidRequest(f"a regular expression may have {LONGEST_REGEX} characters, this has {len(text)}")

    def found(stored: Any) -> bool:
        try:
            return isinstance(stored, str) and pattern.search(stored, timeout=REGEX_S) is not None
        except TimeoutError:
            raise InvalidRequest(f"{text[:80]!r} takes longer than {REGEX_S:g} s on one value") from None

    return found


def ids_of(query: Any, id_field: str) -> Sequence[int] | None:
    """Those that a query of nothing else names, in its order; None: it asks for something else."""
    if not isinstance(query, dict) or query.keys() != {id_field}:
        return None
    wanted = query[id_field] if isinstance(query[id_field], list) else [query[id_field]]
    return [one for one in wanted if one <= LARGEST_ID] if all(type(one) is int for one in wanted) else None
