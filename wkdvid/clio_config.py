"""``[clio]``: what a lab's clio-store is set up with, and clio-store's own environment variables (clio.md B.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wkdvid.errors import ConfigError
from wkdvid.identity.providers import Provider, check_provider
from wkdvid.settings import Layer, Secret, Setting

ANY_ORIGIN = "*"
ALIASES: Mapping[str, str] = {
    "URL_PREFIX": "clio.url_prefix",
    "ALLOWED_ORIGINS": "clio.allowed_origins",
    "OWNER": "clio.owner",
    "TEST_USER": "clio.test_user",
    "SIG_BUCKET": "clio.signatures",
    "TRANSFER_DEST": "clio.transfers",
    "NG_URL": "clio.neuroglancer_url",
    "CLIO_DB": "metadata.database_url",
    "CLIO_PUBLIC_URL": "server.publicUrl",
    "CLIO_ALLOW_TEST_USER": "clio.allow_test_user",
}
"""By variable. They are of one word and may mean something else: they count in mode ``clio`` alone."""
SECRET_ALIASES: Mapping[str, str] = {
    "FLYEM_SECRET": "clio.secret",
    "NEUPRINT_APPLICATION_CREDENTIALS": "clio.neuprint_token",
}
"""Of those that hold a secret themselves."""


@dataclass(frozen=True, kw_only=True)
class ClioConfig:
    """``[clio]``."""

    owner: str | None = None
    """Email of who is an administrator, whatever is stored."""
    url_prefix: str | None = None
    """Before clio's addresses. Neuroglancer's ``clio://`` works without one alone."""
    allowed_origins: tuple[str, ...] = (ANY_ORIGIN,)
    """Origins whose pages may send requests with the login's cookie, and to which a login may lead back."""
    test_user: str | None = None
    """Email of who sends requests without a token; for trying things out on this machine."""
    allow_test_user: bool = False
    """Whether ``test_user`` may be set where the server can be reached from the network."""
    secret: Secret = field(default=None, repr=False)
    """What our own tokens are signed with, 32 bytes or more; None: made at the first start, and kept in the data
    directory."""
    providers: tuple[Provider, ...] = ()
    """OpenID Connect providers whose tokens count."""
    signatures: Path | None = None
    """Folder of the indexes of signatures; None: ``signatures`` in the data directory."""
    transfers: Path | None = None
    """Folder of transferred images; None: ``transfers`` in the data directory."""
    models: Path | None = None
    """Folder of ONNX files of image transfer, each ``MODEL.onnx``; None: ``models`` in the data directory."""
    neuprint_token: Secret = field(default=None, repr=False)
    """Sent to neuPrint servers."""
    neuroglancer_url: str = "https://neuroglancer-demo.appspot.com/"
    """Which Neuroglancer links lead to."""


def alias_layer(environ: Mapping[str, str]) -> Layer:
    """Settings that clio-store's own variables make; ``PORT`` too, which it listens on at every address."""
    layer: Layer = {}
    for variable, name in ALIASES.items():
        if environ.get(variable):
            layer[name] = Setting(environ[variable], f"environment variable {variable}")
    for variable, name in SECRET_ALIASES.items():
        if environ.get(variable):
            layer[name] = Setting(f"${variable}", f"environment variable {variable}")
    if environ.get("PORT"):
        layer["server.httpAddress"] = Setting(f":{environ['PORT']}", "environment variable PORT")
    return layer


def check_clio(clio: ClioConfig, *, reachable: bool) -> None:
    """
    Args:
        reachable: Whether the server can be reached from the network.
    Raises:
        ConfigError: what no single key shows to be wrong.
    """
    for i, provider in enumerate(clio.providers):
        check_provider(f"clio.providers[{i}]", provider)
    if clio.test_user is not None and reachable and not clio.allow_test_user:
        raise ConfigError(
            "clio.test_user: whoever reaches the server would be that user; listen on a loopback address, or set"
            " clio.allow_test_user"
        )
    for name in ("owner", "test_user"):
        email = getattr(clio, name)
        if email is not None and "@" not in email:
            raise ConfigError(f"clio.{name}: {email!r} is no email address")
    prefix = clio.url_prefix
    if prefix is not None and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ConfigError(f"clio.url_prefix: {prefix!r} does not begin with '/', or ends with it")
