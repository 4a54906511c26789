"""A repository that a test makes over DVID's API; each request has a connection of its own."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.servers import Server


@dataclass(frozen=True)
class Repository:
    """One node of it."""

    server: Server
    uuid: str

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """
        Args:
            path: Below the node.
        """
        return ask(self.server, method, f"/api/node/{self.uuid}/{path}", body)

    def get(self, path: str) -> bytes:
        status, body = self.ask("GET", path)
        assert status == 200, body
        return body

    def post(self, path: str, body: bytes) -> bytes:
        status, answer = self.ask("POST", path, body)
        assert status == 200, answer
        return answer

    def refused(self, path: str, body: bytes) -> str:
        """The text of a 400."""
        status, answer = self.ask("POST", path, body)
        assert status == 400, answer
        return answer.decode()

    def add(self, name: str, **settings: str) -> None:
        """A data instance."""
        body = json.dumps({"dataname": name, **settings}).encode()
        status, answer = ask(self.server, "POST", f"/api/repo/{self.uuid}/instance", body)
        assert status == 200, answer

    def version(self) -> Repository:
        """Commit the node; its child."""
        self.post("commit", b"{}")
        return Repository(self.server, json.loads(self.post("newversion", b"{}"))["child"])


def new_repository(server: Server) -> Repository:
    status, answer = ask(server, "POST", "/api/repos", b"{}")
    assert status == 200, answer
    return Repository(server, json.loads(answer)["root"])


def ask(server: Server, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    address = urlsplit(server.base)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.request(method, path, body or None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
