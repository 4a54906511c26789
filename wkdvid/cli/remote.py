"""What the verbs share that ask a running server: where it is, how it is asked, what it answers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from wkdvid.errors import ConfigError, WkdvidError

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from wkdvid.core.entries import DatasetKey

TIMEOUT_S = 300.0
"""A registration opens its sources before it answers, and each may take its time."""


class Refused(WkdvidError):
    """The server did not do it; one line of the message for each of its own."""


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server", metavar="URL", help="of the running server (default: the address in the configuration)"
    )
    parser.add_argument("--token", help="the administrators' token (default: WKDVID_ADMIN_TOKEN)")


def dataset_key(text: str) -> DatasetKey:
    """Read ``ORG/DATASET``.

    Raises:
        ConfigError: it is not of that form.
        InvalidRequest: a name that cannot be one.
    """
    from wkdvid.core.entries import DatasetKey
    from wkdvid.core.guard import check_name

    organization, slash, dataset = text.partition("/")
    if not slash or "/" in dataset:
        raise ConfigError(f"{text!r} is not ORGANIZATION/DATASET")
    return DatasetKey(check_name("organization", organization), check_name("dataset", dataset))


def dataset_path(key: DatasetKey) -> str:
    return f"{quote(key.organization, safe='')}/{quote(key.dataset, safe='')}"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server to be asked. No proxy and no redirect: a token goes to the host that was named, and to no other."""

    url: str
    """Scheme, host, port and perhaps a path; no slash at the end."""
    token: str | None = field(repr=False)

    @classmethod
    def of(cls, args: argparse.Namespace) -> RunningServer:
        """The one that the options name, else the one that the configuration would start.

        Raises:
            ConfigError: not an address.
        """
        from wkdvid.config import load_config

        url = args.server or load_config(None, os.environ, {}).server.local_url
        try:
            parts = urlsplit(url)
            named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # brackets that do not match, or a port that is none
            named = False
        if not named:
            raise ConfigError(f"--server: {url!r} is not an http or https URL")
        return cls(url.rstrip("/"), args.token or os.environ.get("WKDVID_ADMIN_TOKEN"))

    def ask(self, method: str, path: str, document: Mapping[str, Any] | None = None, below: str = "/data") -> bytes:
        """Send one request.

        Args:
            below: What the path begins with.

        Raises:
            Refused: it answered with an error, or not at all.
        """
        import json

        body = None if document is None else json.dumps(document).encode()
        with self._answer(method, f"{below}/{path}", body) as response:
            return response.read()

    def events(self, path: str) -> Iterator[Any]:
        """The server-sent events of a path below ``/api``, each read as JSON, until the server has sent the last one.

        Raises:
            Refused: as ``ask``; also where the connection breaks off.
        """
        import json

        with self._answer("GET", f"/api/{path}", None) as response:
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    @contextmanager
    def _answer(self, method: str, path: str, body: bytes | None) -> Iterator[HTTPResponse]:
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, f"{parts.path}{path}", body, self._headers())
            response = connection.getresponse()
            if response.status != 200:
                raise Refused(_reasons(response, response.read()))
            yield response
        except (OSError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
            raise Refused(f"no server answers at {self.url} ({reason}); 'wkdvid serve' starts one") from error
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Content-Type": "application/json", **authorization}


def _reasons(response: HTTPResponse, answer: bytes) -> str:
    """The server's own words, one line for each; the status where it says nothing, or is none of ours."""
    import json

    lines: list[str] = []
    try:
        lines = [str(message["error"]) for message in json.loads(answer)["messages"]]
    except (ValueError, KeyError, TypeError):
        if response.getheader("Content-Type", "").startswith("text/plain"):
            lines = answer.decode(errors="replace").splitlines()[:1]
    if response.status in (401, 403):
        lines.append("the token is given by --token or WKDVID_ADMIN_TOKEN")
    return "\n".join(lines) or f"the server answered {response.status} {response.reason}"
