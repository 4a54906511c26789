"""Tokens that this server gives out: JWTs signed with HS256, as clio-store's are (clio.md B.2)."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wkdvid.errors import ConfigError, Unauthorized
from wkdvid.identity.claims import Identity, shown

ISSUER = "flyem-clio-store"
"""What clients look for before they exchange a token for ours."""
LIFE_S = 21 * 86400
COOKIE = "dsg_token"
"""In which a browser keeps the token of who is logged in; the name is the one that clio's pages know."""
LEAST_SECRET = 32
"""Bytes: RFC 7518 wants as many as the hash has."""


class OwnTokens:
    def __init__(self, secret: str) -> None:
        """
        Raises:
            ConfigError: the secret is too short.
        """
        if len(secret.encode()) < LEAST_SECRET:
            raise ConfigError(f"clio.secret: has {len(secret.encode())} bytes, {LEAST_SECRET} are the least")
        self._secret = secret

    def mint(self, email: str, claims: Mapping[str, Any], life_s: float = LIFE_S) -> str:
        """
        Args:
            claims: Of the token that it is given for; of them those that clients want go in.
        """
        import jwt  # noqa: PLC0415 - slow to import, and not needed where nobody has such a token

        now = int(time.time())
        body = {**shown(claims), "email": email, "iat": now, "exp": now + int(life_s), "iss": ISSUER}
        return jwt.encode(body, self._secret, "HS256")

    def verify(self, token: str) -> Identity:
        """
        Raises:
            Unauthorized: not ours, or not valid any more.
        """
        import jwt  # noqa: PLC0415 - as above

        try:
            claims = jwt.decode(token, self._secret, ["HS256"], issuer=ISSUER, options={"require": ["exp", "email"]})
        except jwt.PyJWTError as error:
            raise Unauthorized("Could not validate credentials") from error
        return Identity(
            email=str(claims["email"]).lower(),
            issued=float(claims.get("iat", 0)),
            expires=float(claims["exp"]),
            claims=shown(claims),
        )


def lasting_secret(path: Path) -> str:
    """What is in the file; where there is none, one is made that stays: all workers are to take the same.

    Raises:
        ConfigError: the file cannot be read or made.
    """
    if path.exists():
        return path.read_text(encoding="utf-8").strip()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # fails where somebody was first, and never shows a half one
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
