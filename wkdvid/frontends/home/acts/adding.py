"""The form by which a dataset is added: what was found -> fields -> a document -> what is wrong, by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import orjson

from wkdvid.core.entries import Document
from wkdvid.core.guard import NameKind, check_name
from wkdvid.errors import InvalidRequest
from wkdvid.frontends.home.forms import Form

BOSS = "boss"
BOSS_HOST = "boss://api.bossdb.io/"
"""Before COLLECTION/EXPERIMENT."""
TYPES = {"color": "image", "segmentation": "segmentation"}
"""What an entry calls a layer's category."""
MOST_LAYERS = 256
"""On the page."""


def source_of(form: Form) -> Mapping[str, str]:
    """What is to be inspected."""
    source, backend = form.text("source"), form.text("format")
    if backend == BOSS and source and "://" not in source:
        source = BOSS_HOST + source.strip("/")
    return {"source": source, **({"backend": backend} if backend else {})}


def shown(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was found, as far as the page shows it."""
    count = len(found["layers"])
    if count <= MOST_LAYERS:
        return found
    words = f"Of {count} layers the first {MOST_LAYERS} are shown: wkdvid add takes the others."
    return {**found, "layers": found["layers"][:MOST_LAYERS], "problems": [*found["problems"], words]}


def filled(form: Form, found: Mapping[str, Any], organization: str) -> Form:
    """The form with what was found, for who has typed nothing yet.

    Args:
        found: As ``POST /api/inspect`` tells it, with ``name``.
        organization: That is likely meant.
    """
    values = {
        **{name: form.text(name) for name in ("source", "format")},
        "backend": found["backend"],
        "organization": organization,
        "dataset": found["name"],
        "public": "yes",
    }
    for i, layer in enumerate(found["layers"]):
        values |= _fields(i, layer)
        if layer["served"]["webknossos"] is not None:
            values[f"take.{i}"] = "yes"
    return Form(values)


def _fields(i: int, layer: Mapping[str, Any]) -> Mapping[str, str]:
    kind = TYPES[layer["category"]]
    entry = orjson.dumps(layer["entry"]).decode()
    return {f"name.{i}": layer["name"], f"type.{i}": kind, f"found.{i}": kind, f"entry.{i}": entry}


def matched(form: Form, found: Mapping[str, Any]) -> bool:
    """Whether what is there now is what the form is about."""
    now = [_fields(i, layer)[f"entry.{i}"] for i, layer in enumerate(found["layers"])]
    return form.text("backend") == found["backend"] and now == [form.text(f"entry.{i}") for i in _numbers(form)]


@dataclass(frozen=True, slots=True)
class Addition:
    document: Document
    path: str
    """Of the dataset in the document, with which its problems begin."""
    layers: Mapping[str, int]
    """The number of each layer in the form."""


def addition_of(form: Form) -> Addition:
    """The dataset as it is to be registered. ``form_problems`` has seen that it can be one.

    Raises:
        InvalidRequest: the hidden fields are not as they were sent.
    """
    organization, dataset, backend = (form.text(name) for name in ("organization", "dataset", "backend"))
    taken = {form.text(f"name.{i}"): i for i in _taken(form)}
    options: dict[str, Any] = {"layers": {name: _entry(form, i) for name, i in taken.items()}}
    if "public" not in form.values:
        options["public"] = False
    if form.text("note"):
        options["note"] = form.text("note")
    return Addition({backend: {organization: {dataset: options}}}, f"{backend}.{organization}.{dataset}", dict(taken))


def form_problems(form: Form) -> Mapping[str, Sequence[str]]:
    """What can be said before anything is looked at."""
    fields: dict[str, NameKind] = {"organization": "organization", "dataset": "dataset"}
    fields |= {f"name.{i}": "layer" for i in _taken(form)}
    errors: dict[str, Sequence[str]] = {
        field: said for field, kind in fields.items() if (said := _unfit(form, field, kind))
    }
    names = [form.text(f"name.{i}") for i in _taken(form)]
    for i, name in zip(_taken(form), names, strict=True):
        if names.count(name) > 1:
            errors.setdefault(f"name.{i}", ["Another layer has this name."])
    return errors if names else {**errors, "": ["Take at least one layer."]}


def _unfit(form: Form, field: str, kind: NameKind) -> Sequence[str]:
    if not form.text(field):
        return ["This needs a name."]
    try:
        check_name(kind, form.text(field))
    except InvalidRequest as error:
        return [str(error).removeprefix(f"{kind}: ")]
    return []


def registration_problems(addition: Addition, problems: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """By the field that each problem of a registration is about."""
    errors: dict[str, list[str]] = {}
    for problem in problems:
        field, text = _place(addition, problem)
        errors.setdefault(field, []).append(text)
    return errors


def _place(addition: Addition, problem: str) -> tuple[str, str]:
    below = problem.removeprefix(f"{addition.path}.layers.")
    if below != problem:
        for name in sorted(addition.layers, key=len, reverse=True):
            rest = below.removeprefix(name)
            if rest != below and rest[:1] in (":", "."):
                text = rest.lstrip(":. ")
                return f"{'type' if text.startswith('type:') else 'name'}.{addition.layers[name]}", text
    text = problem.removeprefix(f"{addition.path}: ").removeprefix(f"{addition.path}.")
    if text == problem:
        return "", problem
    field = next((name for name in ("organization", "note") if text.startswith(f"{name}:")), "dataset")
    return field, text


def _numbers(form: Form) -> Iterator[int]:
    """Of the layers in the form."""
    return takewhile(lambda i: f"name.{i}" in form.values, range(MOST_LAYERS))


def _taken(form: Form) -> Iterator[int]:
    return (i for i in _numbers(form) if f"take.{i}" in form.values)


def _entry(form: Form, i: int) -> Mapping[str, Any]:
    try:
        entry = orjson.loads(form.text(f"entry.{i}"))
    except orjson.JSONDecodeError:
        entry = None
    if not isinstance(entry, dict):
        raise InvalidRequest(f"entry.{i}: expected a JSON object; look at the address again")
    kind = form.text(f"type.{i}")
    return {**entry, "type": kind} if "type" in entry or kind != form.text(f"found.{i}") else entry
