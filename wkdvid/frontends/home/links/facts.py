"""What the page says of share links, and what its form takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from wkdvid.core.links import DAYS, MOST_DAYS, Link
from wkdvid.frontends.home.forms import Form


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    layer: str
    """ "": all."""
    expires: str
    by: str
    url: str


def row_of(link: Link, url: str) -> Row:
    until = datetime.fromtimestamp(link.expires, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Row(link.id, link.layer or "", until, link.by, url)


def problems_of(form: Form, layers: Collection[str]) -> Mapping[str, Sequence[str]]:
    errors: dict[str, Sequence[str]] = {}
    if form.text("layer") and form.text("layer") not in layers:
        errors["layer"] = [f"There is no layer {form.text('layer')[:80]!r}."]
    if days_of(form) is None:
        errors["days"] = [f"A number of days above 0, up to {MOST_DAYS:g}."]
    return errors


def days_of(form: Form) -> float | None:
    """None: what is typed is none."""
    try:
        days = float(form.text("days") or DAYS)
    except ValueError:
        return None
    return days if 0 < days <= MOST_DAYS else None
