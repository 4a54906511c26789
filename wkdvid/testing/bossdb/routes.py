"""The routes of the stand-in: from a request to the answer that the server gives. Any path may stand before them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from wkdvid.testing.bossdb.accounts import Accounts
from wkdvid.testing.bossdb.cutouts import cutout, encode
from wkdvid.testing.bossdb.documents import (
    Refusal,
    absent,
    channel_document,
    collection_document,
    downsample_document,
    experiment_document,
    frame_document,
)
from wkdvid.testing.bossdb.volume import Channel, Experiment

JSON = "application/json"

_API = re.compile(r".*/(?:v1|latest)/(?P<route>collection|coord|downsample|cutout)(?P<rest>/.*)?")
_KEYCLOAK = re.compile(r".*/auth/realms/(?:BOSS|boss)/protocol/openid-connect/(?P<action>token|logout)/?")


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    """Without the query, percent-decoded."""
    headers: Mapping[str, str]
    form: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    content_type: str
    body: bytes


def json_reply(document: Mapping[str, Any], status: int = HTTPStatus.OK) -> Reply:
    return Reply(status=status, content_type=JSON, body=json.dumps(document).encode())


@dataclass(frozen=True)
class Routes:
    """The answers of one experiment."""

    experiment: Experiment
    accounts: Accounts

    def reply(self, request: Request) -> Reply:
        """What the server answers where nothing goes wrong."""
        try:
            return self._reply(request)
        except PermissionError:
            return json_reply({"detail": "Invalid token."}, HTTPStatus.UNAUTHORIZED)
        except Refusal as refusal:
            return json_reply(refusal.document, refusal.status)

    def _reply(self, request: Request) -> Reply:
        if found := _KEYCLOAK.fullmatch(request.path):
            return self._keycloak(found["action"], request)
        if request.path.rstrip("/").endswith("/ping"):
            return json_reply({"ip": "127.0.0.1"})
        found = _API.fullmatch(request.path)
        if found is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, 9003, "there is no such route")
        trusted = self.accounts.is_trusted(request.headers.get("Authorization", ""))
        parts = [part for part in (found["rest"] or "").split("/") if part]
        if found["route"] == "cutout":
            return self._cutout(parts, trusted, request.headers.get("Accept", "*/*"))
        answers = {"collection": self._collection, "coord": self._coord, "downsample": self._downsample}
        return json_reply(answers[found["route"]](parts, trusted))

    def _keycloak(self, action: str, request: Request) -> Reply:
        if request.method != "POST":
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, 9003, "POST a form")
        if action == "token":
            return json_reply(self.accounts.grant(request.form))
        self.accounts.log_out(request.form)
        return Reply(status=HTTPStatus.NO_CONTENT, content_type=JSON, body=b"")

    def _collection(self, parts: list[str], trusted: bool) -> Mapping[str, Any]:
        """``collection[/C[/experiment[/E[/channel[/CH]]]]]``"""
        experiment = self.experiment
        shown = [channel.name for channel in experiment.channels if channel.public or trusted]
        names, kinds = parts[::2], parts[1::2]
        if kinds != ["experiment", "channel"][: len(kinds)]:
            raise Refusal(HTTPStatus.BAD_REQUEST, 1000, "bad URL")
        if not names:
            return {"collections": [experiment.collection]}
        self._check(names[:2])
        if len(names) == 3:
            return channel_document(experiment, self._channel(names[2], trusted))
        if len(names) == len(kinds):
            return {"experiments": [experiment.name]} if len(kinds) == 1 else {"channels": shown}
        if len(names) == 1:
            return collection_document(experiment.collection, [experiment.name])
        return experiment_document(experiment, shown)

    def _coord(self, parts: list[str], _: bool) -> Mapping[str, Any]:
        if not parts:
            return {"coords": [self.experiment.frame_name]}
        if parts != [self.experiment.frame_name]:
            raise absent("coordinate frame", parts[0])
        return frame_document(self.experiment)

    def _downsample(self, parts: list[str], trusted: bool) -> Mapping[str, Any]:
        return downsample_document(self.experiment, self._resource(parts, trusted))

    def _cutout(self, parts: list[str], trusted: bool, accept: str) -> Reply:
        """``C/E/CH/R/x0:x1/y0:y1/z0:z1[/t0:t1]``"""
        if len(parts) not in (7, 8):
            raise Refusal(HTTPStatus.BAD_REQUEST, 1000, "bad URL")
        channel = self._resource(parts[:3], trusted)
        content_type, body = encode(cutout(self.experiment, channel, parts[3], parts[4:]), accept)
        return Reply(status=HTTPStatus.OK, content_type=content_type, body=body)

    def _resource(self, names: Sequence[str], trusted: bool) -> Channel:
        if len(names) != 3:
            raise Refusal(HTTPStatus.BAD_REQUEST, 1000, "bad URL")
        self._check(names[:2])
        return self._channel(names[2], trusted)

    def _check(self, names: Sequence[str]) -> None:
        """Collection and, perhaps, experiment."""
        known = (self.experiment.collection, self.experiment.name)
        for kind, name, expected in zip(("collection", "experiment"), names, known, strict=False):
            if name != expected:
                raise absent(kind, name)

    def _channel(self, name: str, trusted: bool) -> Channel:
        channel = self.experiment.channel(name)
        if channel is None:
            raise absent("channel", name)
        if not channel.public and not trusted:
            raise Refusal(HTTPStatus.FORBIDDEN, 3001, "missing permission: read")
        return channel
