"""Forms of the pages: what was typed, and what is wrong with it, each beside its field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from wkdvid.errors import InvalidRequest

MOST_FIELDS = 2000


@dataclass(frozen=True, slots=True)
class Form:
    values: Mapping[str, str] = field(default_factory=dict)
    """By field. A box that is not ticked has none."""
    errors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By field; those of "" are of the whole."""

    def text(self, name: str) -> str:
        """Without space at its ends; "" where there is none."""
        return self.values.get(name, "").strip()

    def with_errors(self, errors: Mapping[str, Sequence[str]]) -> Form:
        return Form(self.values, errors)


def read_form(body: bytes) -> Form:
    """As browsers send forms, ``application/x-www-form-urlencoded``; of fields of one name the last.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise InvalidRequest(f"not a form of up to {MOST_FIELDS} fields as UTF-8") from error
    return Form({name: value.replace("\r\n", "\n") for name, value in pairs})
