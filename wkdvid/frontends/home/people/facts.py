"""What the pages say of users, and what their forms take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from wkdvid.core.users import ADMIN, DATASET_ADMIN, GENERAL, READ, WRITE, User
from wkdvid.frontends.home.forms import Form

ROLES: Mapping[str, str] = {
    READ: "sees a dataset",
    GENERAL: "keeps annotations of one's own too",
    WRITE: "changes those of others",
    DATASET_ADMIN: "all of these, and deletes the dataset",
    ADMIN: "everything",
}
"""What each lets its holder do. Any other name is kept for whoever asks for it."""
LONGEST = 300
MOST_DAYS = 3650

Errors = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Row:
    email: str
    name: str
    address: str
    """Of the user's page, relative to the server's root."""
    roles: Sequence[tuple[str, str]]
    """Each with the dataset on which it is held; "": everywhere."""
    groups: str
    disabled: bool


def row_of(user: User) -> Row:
    held = [(role, "") for role in user.global_roles]
    held += [(role, dataset) for dataset, roles in sorted(user.datasets.items()) for role in roles]
    return Row(user.email, user.name or "", address_of(user.email), held, ", ".join(user.groups), user.disabled)


def address_of(email: str) -> str:
    return f"people/{quote(email, safe='@')}"


def problems_of_user(form: Form) -> Errors:
    email = form.text("email")
    if "@" not in email or not _is_name(email) or " " in email:
        return {"email": [f"{email[:80]!r} is no email address." if email else "Whose?"]}
    wrong = [name for name in ("name", "groups") if form.text(name) and not _is_name(form.text(name))]
    return {name: [f"Up to {LONGEST} printable characters, please."] for name in wrong}


def problems_of_role(form: Form) -> Errors:
    if not form.text("role") or not _is_name(form.text("role")):
        return {"role": [f"Which role? Up to {LONGEST} printable characters."]}
    return {}


def problems_of_token(form: Form) -> Errors:
    days = form.text("days")
    if not (days.isascii() and days.isdigit() and len(days) < 6 and 0 < int(days) <= MOST_DAYS):
        return {"days": [f"A whole number of days, 1 to {MOST_DAYS}."]}
    if len(form.text("label")) > LONGEST:
        return {"label": [f"Up to {LONGEST} characters."]}
    return {}


def _is_name(text: str) -> bool:
    return len(text) <= LONGEST and text.isprintable()
