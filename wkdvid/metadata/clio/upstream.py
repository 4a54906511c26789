"""Users and public datasets as clio-store's ``scripts/export_auth.py`` writes them (clio.md C.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from wkdvid.core.users import User, Users
from wkdvid.errors import InvalidRequest
from wkdvid.metadata.clio.datasets import Datasets


def check(document: Any) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """
    Raises:
        InvalidRequest: it is no such document; what is wrong, and where.
    """
    if not isinstance(document, dict) or not isinstance(document.get("users"), dict):
        raise InvalidRequest('expected {"users": {EMAIL: ...}, "datasets": {NAME: ...}}')
    datasets = document.get("datasets", {})
    for email, one in document["users"].items():
        if "@" not in email or not isinstance(one, dict):
            raise InvalidRequest(f"users.{email[:80]}: expected an email, and an object")
        held = one.get("datasets", {})
        lists = [one.get("global_roles", []), one.get("groups", [])]
        if not isinstance(held, dict) or not all(map(_are_texts, [*lists, *held.values()])):
            raise InvalidRequest(f"users.{email[:80]}: roles, everywhere and by dataset, and groups are lists of texts")
    if not isinstance(datasets, dict) or not all(isinstance(one, dict) for one in datasets.values()):
        raise InvalidRequest("datasets: expected an object of objects")
    return {"users": document["users"], "datasets": datasets}


async def take(document: Any, users: Users, datasets: Datasets, by: str) -> None:
    """Users replace those of the same email; of datasets, whether they are public is taken.

    Raises:
        InvalidRequest: as ``check``; then nothing is changed.
        DatabaseUnavailable: the database cannot be written.
    """
    found = check(document)
    stored = await datasets.all()
    documents = {
        name: {"description": "", **stored.get(name, {}), "public": one.get("public") is True}
        for name, one in found["datasets"].items()
    }
    await users.change({email.lower(): partial(_user, email.lower(), one) for email, one in found["users"].items()}, by)
    await datasets.put(documents, by, lambda *_: None)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _user(email: str, given: Mapping[str, Any], stored: User | None) -> User:
    user = stored or User(email=email)
    name = given.get("name")
    return replace(
        user,
        name=name if isinstance(name, str) else user.name,
        disabled=given.get("disabled") is True,
        global_roles=tuple(given.get("global_roles", ())),
        datasets={dataset: tuple(roles) for dataset, roles in given.get("datasets", {}).items()},
        groups=tuple(given.get("groups", ())),
    )
