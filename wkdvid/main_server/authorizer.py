"""Mode ``webknossos``: the main server says who may do what (webknossos.md B.2, C.1, C.2 M3)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from cachebox import LRUCache

from wkdvid.core.access import Action, Protected
from wkdvid.core.notice import Notice
from wkdvid.core.single_flight import SingleFlight
from wkdvid.main_server.client import IS_PAGE, PAGE, URL_HINT, Answer, Client, MainServerUnavailable, log
from wkdvid.main_server.dataset_ids import DatasetIds

KEPT_S = 120.0
GRACE_S = 60.0
"""How long after that a grant still counts while the main server gives no answer."""
PAUSE_S = 5.0
"""After a question without an answer; meanwhile nobody waits for another one."""
KEPT = 20_000
"""Answers; with a token of usual length one takes some 400 bytes."""
LONGEST_TOKEN = 1000

Question: TypeAlias = tuple[str | None, Action, tuple[str, str] | None]
"""Token, action, organization and name of the dataset."""


@dataclass(frozen=True, slots=True)
class _Known:
    granted: bool
    until: float
    """``time.monotonic()``"""


class MainServerAuthorizer:
    """What it has answered counts for two minutes. What it does not know, such as a dataset of an organization that it
    does not have, is for its administrators alone.
    """

    tokens_expire = True

    def __init__(self, client: Client, ids: DatasetIds) -> None:
        self._client = client
        self._ids = ids
        self._known: LRUCache[Question, _Known] = LRUCache(KEPT)
        self._asking: SingleFlight[bool] = SingleFlight()
        self._notice = Notice(log, "the main server of webKnossos says again who may read")
        self._silent_until = 0.0
        self._silence = ""
        """What it did instead of answering."""
        self._is_legacy = False
        """Whether it is one that knows datasets by their names alone; found out by its answers."""

    def decide(self, token: str | None, action: Action, dataset: Protected | None) -> bool | None:
        dataset = _asked_about(action, dataset)
        if (token is None and dataset is None) or (token is not None and not _is_possible(token)):
            return False
        known: _Known | None = self._known.get((token, action, None if dataset is None else dataset.key))
        if known is None:
            return None
        now = time.monotonic()
        if now < known.until or (known.granted and now < self._silent_until and now < known.until + GRACE_S):
            return known.granted
        return None

    async def ask(self, token: str | None, action: Action, dataset: Protected | None) -> bool:
        """
        Raises:
            MainServerUnavailable: it gives no answer, and has given no grant lately.
        """
        dataset = _asked_about(action, dataset)
        decided = self.decide(token, action, dataset)
        if decided is not None:
            return decided
        question = (token, action, None if dataset is None else dataset.key)
        return await self._asking.ask(question, lambda: self._ask(question, dataset))

    async def _ask(self, question: Question, dataset: Protected | None) -> bool:
        token, action, _ = question
        if time.monotonic() < self._silent_until:
            raise MainServerUnavailable(self._silence)
        try:
            granted = await self._answer(token, action, dataset)
        except MainServerUnavailable as error:
            self._silent_until, self._silence = time.monotonic() + PAUSE_S, error.what
            decided = self.decide(token, action, dataset)
            if decided is None:
                raise
            return decided
        if granted is None:
            return await self.ask(token, Action.ADMINISTRATE, None)
        self._known[question] = _Known(granted, time.monotonic() + KEPT_S)
        return granted

    async def _answer(self, token: str | None, action: Action, dataset: Protected | None) -> bool | None:
        """None: it does not know the dataset.

        One of another generation says 400 to what it does not understand. What says so to both is none at all.
        """
        for is_legacy in (self._is_legacy, not self._is_legacy):
            body = legacy_request(action, dataset) if is_legacy else await self._modern_request(action, dataset)
            if body is None:
                continue
            query = {} if token is None else {"token": token}
            answer = await self._client.ask("POST", "validateUserAccess", query, body)
            if answer.status != HTTPStatus.BAD_REQUEST:
                self._is_legacy = is_legacy
                return self._granted(answer)
        return self._granted(answer) if dataset is None else None

    def _granted(self, answer: Answer) -> bool:
        match answer.body:
            case {"granted": bool(granted)}:
                self._notice.well()
                return granted
        error = MainServerUnavailable(IS_PAGE if answer.body is PAGE else f"does not say who may read; {URL_HINT}")
        self._notice.trouble(str(error))
        raise error

    async def _modern_request(self, action: Action, dataset: Protected | None) -> Mapping[str, Any] | None:
        """None: the dataset has no id there."""
        if dataset is None:
            return {"resourceType": "webknossos", "mode": action.value}
        dataset_id = dataset.chosen_id or await self._ids.find_id(dataset.key)
        return (
            None if dataset_id is None else {"resourceId": dataset_id, "resourceType": "dataset", "mode": action.value}
        )


def _asked_about(action: Action, dataset: Protected | None) -> Protected | None:
    """A main server knows administrators of everything alone: one dataset, it says, may be administrated by nobody."""
    return None if action is Action.ADMINISTRATE else dataset


def legacy_request(action: Action, dataset: Protected | None) -> Mapping[str, Any]:
    """As servers of up to 2023 read it."""
    team, name = ("", "") if dataset is None else dataset.key
    return {"resourceId": {"team": team, "name": name}, "resourceType": "datasource", "mode": action.value}


def _is_possible(token: str) -> bool:
    """Anyone may send what is none; it would be kept with the answer, and databases fail over control characters."""
    return token.isascii() and token.isprintable() and len(token) <= LONGEST_TOKEN
