"""An OpenID Connect provider on loopback: discovery, keys, the authorization code flow with PKCE (RFC 6749, 7636)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT, CLIENT_SECRET = "wkdvid-client", "a client's secret"


class Provider:
    """Whoever is at its login page is ``user``, and agrees."""

    def __init__(self) -> None:
        self.keys: dict[str, RSAKey | ECKey] = {"first": RSAKey.generate_key(2048, {"kid": "first"})}
        self.user: dict[str, Any] = {"email": "Ada@Lab.org", "email_verified": True, "name": "Ada"}
        self.redirects: set[str] = set()
        """Registered addresses of the client."""
        self.is_down = False
        self.asks = False
        """Whether its login page waits for somebody to agree there."""
        self.asked: list[str] = []
        """Paths."""
        self._codes: dict[str, Mapping[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.close()

    def close(self) -> None:
        self._server.server_close()

    def published(self) -> Mapping[str, Any]:
        return {"keys": [{**key.as_dict(private=False), "use": "sig"} for key in self.keys.values()]}

    def token(self, kid: str = "first", **claims: Any) -> str:
        """Signed by one of the keys; a claim of None is left out."""
        now = int(time.time())
        standard = {"iss": self.issuer, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 3600}
        body = {name: value for name, value in {**standard, **self.user, **claims}.items() if value is not None}
        key = self.keys[kid]
        algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
        return jwt.encode({"alg": algorithm, "kid": kid}, body, key)

    def answer(self, path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        """Status, and JSON, where it leads, or a page."""
        if self.is_down:
            return 503, {}
        if path == "/.well-known/openid-configuration":
            places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            return 200, {"issuer": self.issuer, **{name: f"{self.issuer}/{one}" for name, one in places.items()}}
        if path == "/keys":
            return 200, self.published()
        return self._authorize(query) if path == "/authorize" else (404, {})

    def _authorize(self, query: Mapping[str, str]) -> tuple[int, Any]:
        known = query["client_id"] == CLIENT and query["redirect_uri"] in self.redirects
        if not known or query["response_type"] != "code" or query["code_challenge_method"] != "S256":
            return 400, {"error": "invalid_request"}
        code = secrets.token_urlsafe()
        self._codes[code] = query
        back = f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
        return (200, f'<a href="{escape(back)}">I am {self.user["name"]}</a>') if self.asks else (302, back)

    def exchange(self, form: Mapping[str, str], authorization: str) -> tuple[int, Any]:
        asked = self._codes.pop(form["code"], None)  # a code counts once
        wanted = "Basic " + base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        if authorization != wanted:
            return 401, {"error": "invalid_client"}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if (
            asked is None
            or asked["code_challenge"] != challenge.decode()
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self.token(nonce=asked.get("nonce"))}


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.provider.asked.append(parts.path)
        self._send(*self.provider.answer(parts.path, _single(parts.query)))

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._send(*self.provider.exchange(_single(form), self.headers.get("Authorization", "")))

    def _send(self, status: int, told: Any) -> None:
        is_page = status == 200 and isinstance(told, str)
        body = told.encode() if is_page else json.dumps(told).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", told)
        self.send_header("Content-Type", "text/html" if is_page else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _single(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
