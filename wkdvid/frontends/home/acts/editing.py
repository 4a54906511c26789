"""The form by which a dataset's entry is changed: some options have fields, the rest is JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import orjson

from wkdvid.core.entry_text import EntryText
from wkdvid.errors import InvalidEntry, RequestError
from wkdvid.frontends.home.forms import Form

TEXTS = ("note", "clio_name")
"""Options that are texts with a field."""
SIZE = "voxel_size"
AXES = "xyz"
FIELDS = frozenset({"public", SIZE, *TEXTS})


def form_of(entry: EntryText) -> Form:
    options = entry.options
    values = {name: str(options.get(name) or "") for name in TEXTS}
    size = options.get(SIZE)
    if is_size(size):
        values[SIZE] = ", ".join(map(str, size))  # in full: what is not touched is stored as it was
    if options.get("public", True) is True:
        values["public"] = "yes"
    rest = {name: value for name, value in options.items() if not _has_field(name, value)}
    values["rest"] = orjson.dumps(rest, option=orjson.OPT_INDENT_2).decode()
    return Form({**values, "tag": entry.tag})


def is_size(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(n, int | float) for n in value)


def _has_field(name: str, value: object) -> bool:
    """What a field cannot show, since it was written by hand, stays in the JSON."""
    if name == SIZE:
        return is_size(value)
    return isinstance(value, bool) if name == "public" else name in TEXTS and isinstance(value, str)


def options_of(form: Form, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options as they are to be stored.

    Args:
        before: Those that are stored. ``public`` is written where it is false, or stood there.
    Raises:
        InvalidEntry: what is typed is no JSON object, or no voxel size.
    """
    options = dict(_rest(form.text("rest")))
    options |= {name: form.text(name) for name in TEXTS if form.text(name)}
    if form.text(SIZE):
        options[SIZE] = _size(form.text(SIZE))
    is_public = "public" in form.values
    if not is_public or "public" in before:
        options["public"] = is_public
    return options


def _rest(text: str) -> Mapping[str, Any]:
    try:
        rest = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidEntry(
            [f"rest: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}"]
        ) from error
    if not isinstance(rest, dict):
        raise InvalidEntry(["rest: expected an object"])
    doubled = sorted(FIELDS.intersection(rest))
    if doubled:
        raise InvalidEntry([f"rest: {doubled[0]}: has a field of its own"])
    return rest


def _size(text: str) -> Sequence[float]:
    try:
        return [int(part) if part.strip().isdecimal() else float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidEntry([f"{SIZE}: expected three numbers x, y, z, got {text[:80]!r}"]) from error


def problems_by_field(path: str, error: RequestError) -> Mapping[str, Sequence[str]]:
    """
    Args:
        path: Of the dataset in a document, with which problems begin.
    """
    if not isinstance(error, InvalidEntry):
        return {"": [str(error)]}
    errors: dict[str, list[str]] = {}
    for problem in error.problems:
        text = problem.removeprefix(f"{path}.").removeprefix(f"{path}: ")
        option, _, words = text.partition(": ")
        known = option in FIELDS or option == "rest"
        errors.setdefault(option if known else "rest", []).append(words if known else text)
    return errors
