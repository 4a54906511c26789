"""Which of the server's credentials go to which address: what the operator granted, else none (guards.md S8).

Credentials are named, never held: a variable, a file, a profile. They are looked up again at each opening.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from wkdvid.core.secrets import Reference, covers, look_up
from wkdvid.core.service_account import Key, ServiceAccount
from wkdvid.core.source import Access, Scheme, Source, read_source
from wkdvid.errors import AuthRejected, ConfigError, InvalidRequest

ANONYMOUS_S3: Mapping[str, object] = MappingProxyType({"aws_credentials": {"type": "anonymous"}})
GOOGLE_STORAGE = "https://storage.googleapis.com"
KINDS: Mapping[Scheme, tuple[str, ...]] = {
    "s3": ("environment", "profile", "endpoint", "region", "requester_pays"),
    "gs": ("environment", "service_account"),
    "http": ("bearer", "headers"),
    "https": ("bearer", "headers"),
}
"""What can be granted for the addresses of a scheme."""
ALONE = frozenset({"environment", "profile", "service_account"})
"""Of these one at most."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, token
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """``[[sources.credentials]]``: what goes along to the addresses below a prefix."""

    prefix: str
    """What the addresses begin with, in whole components: a bucket, a host, a folder of one."""
    environment: bool = False
    """The process's own credentials: of S3 the ``AWS_*`` variables, of Google the default chain."""
    profile: str | None = None
    """Of the AWS credentials file."""
    endpoint: str | None = None
    """Another S3 than Amazon's."""
    region: str | None = None
    requester_pays: bool = False
    """Agrees to pay for what is read from a bucket that asks for it."""
    service_account: Path | None = None
    """JSON key of a Google service account."""
    bearer: Reference | None = None
    """Sent as ``Authorization: Bearer``."""
    headers: Mapping[str, Reference] = field(default_factory=dict)

    @property
    def references(self) -> Sequence[Reference]:
        return [*([self.bearer] if self.bearer else []), *self.headers.values()]


def check_credential(credential: Credential) -> None:
    """
    Raises:
        ConfigError: the prefix is no address, or what is granted does not fit it.
    """
    try:
        scheme = read_source(credential.prefix).scheme
    except InvalidRequest as error:
        raise ConfigError(f"prefix: {error}") from None
    kinds = KINDS.get(scheme, ())
    given = [name for names in KINDS.values() for name in names if getattr(credential, name)]
    unfit = [name for name in given if name not in kinds]
    if unfit or not given:
        what = f"{unfit[0]} is not for {scheme}" if unfit else f"nothing is granted for {credential.prefix}"
        raise ConfigError(f"{what}; of {scheme} there are {', '.join(kinds) or 'none'}")
    if len(ALONE.intersection(given)) > 1:
        raise ConfigError(f"{' and '.join(sorted(ALONE.intersection(given)))} for {credential.prefix}: one of them")
    for name in credential.headers:
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigError(f"headers: {name!r} cannot be the name of a header")


def check_present(granted: Sequence[Credential], environ: Mapping[str, str]) -> None:
    """
    Raises:
        ConfigError: something that is granted is not there; its place is named, and nothing of it shown.
    """
    for reference in (reference for credential in granted for reference in credential.references):
        if not _HEADER_VALUE.fullmatch(look_up(reference, environ) or ""):
            raise ConfigError(f"sources.credentials: {reference}: no such secret, or none that can stand in a header")
    for key in (credential.service_account for credential in granted):
        if key is not None and not key.is_file():
            raise ConfigError(f"sources.credentials: service_account: there is no file {key}")


ByScheme: TypeAlias = Mapping[Scheme, Access]


def own_access(environ: Mapping[str, str]) -> ByScheme:
    """All that the process itself may read: for a server that its operator alone reaches."""
    return {"s3": Access(options=s3_options(environ), granted=True), "gs": Access(granted=True)}


def anonymous_access(environ: Mapping[str, str]) -> ByScheme:
    """No credentials. Where S3 and Google Storage are is still the environment's to say.

    TensorStore's driver for Google has one identity for the whole process, so what is read without goes over HTTP.
    """
    return {
        "s3": Access(options={**s3_place(environ), **ANONYMOUS_S3}),
        "gs": Access(endpoint=_google_endpoint(environ)),
    }


def s3_options(environ: Mapping[str, str]) -> Mapping[str, object]:
    """What the environment adds to a TensorStore S3 spec: where the store is, and where the credentials are."""
    credentials: Mapping[str, object] = ANONYMOUS_S3
    if environ.get("AWS_ACCESS_KEY_ID"):
        credentials = {"aws_credentials": {"type": "environment"}}
    elif profile := environ.get("AWS_PROFILE"):
        credentials = _profile(profile, environ)
    return {**s3_place(environ), **credentials}


def s3_place(
    environ: Mapping[str, str], endpoint: str | None = None, region: str | None = None
) -> Mapping[str, object]:
    """The endpoint with its region, as given or else as the environment says.

    Without an endpoint TensorStore finds the region of each bucket itself, which a fixed region would prevent.
    """
    endpoint, region = endpoint or environ.get("AWS_ENDPOINT_URL"), region or environ.get("AWS_REGION")
    if not endpoint:
        return {}
    return {"endpoint": endpoint.rstrip("/"), **({"aws_region": region} if region else {})}


def _profile(name: str, environ: Mapping[str, str]) -> Mapping[str, object]:
    """TensorStore 0.1.86 finds the files of AWS only if it is told both."""
    keys = Path(environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    settings = Path(environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser()
    files = {"credentials_file": str(keys), "config_file": str(settings if settings.exists() else os.devnull)}
    return {"aws_credentials": {"type": "profile", "profile": name, **files}}


def _google_endpoint(environ: Mapping[str, str]) -> str:
    return environ.get("TENSORSTORE_GCS_HTTP_URL", GOOGLE_STORAGE).rstrip("/")


def _read_key(file: Path) -> Key:
    key: Key = json.loads(file.read_bytes())
    return key


EMPTY_ENVIRONMENT = own_access({})


class Credentials:
    """Says for each source how it is read: as granted for the longest prefix that fits, else as all others are."""

    def __init__(
        self,
        granted: Sequence[Credential] = (),
        otherwise: ByScheme = EMPTY_ENVIRONMENT,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """
        Args:
            granted: As ``check_credential`` lets them pass.
            otherwise: For addresses that nothing is granted for.
        """
        self._environ = environ
        self._otherwise = otherwise
        self._accounts: dict[str, list[ServiceAccount]] = {}
        """By bucket."""
        self._own: Callable[[str], ServiceAccount] | None = None
        found = [(read_source(credential.prefix), credential) for credential in granted]
        found.sort(key=lambda pair: len(pair[0].url), reverse=True)
        self._granted = [(place.url, self._access(place, credential)) for place, credential in found]

    def with_own(self, account: Callable[[str], ServiceAccount]) -> Credentials:
        """The same but for Google buckets, which are read with a dataset's own account (``core.own_accounts``).

        Args:
            account: From the address of a bucket to what it is read with; raises InvalidRequest if there is nothing.
        """
        own = copy.copy(self)
        own._own = account
        return own

    def access(self, source: Source) -> Access:
        """
        Raises:
            InvalidRequest: the dataset's own account is not meant for it.
        """
        if source.scheme == "gs" and self._own is not None:
            return self._google(self._own(source.url))
        fitting = (access for prefix, access in self._granted if covers(prefix, source.url))
        return next(fitting, self._otherwise.get(source.scheme, Access()))

    async def prepare(self, source: Source) -> None:
        """Have fresh tokens for all of a source's bucket, which what its metadata names does not leave.

        Raises:
            AuthRejected, UpstreamUnavailable: there is no token.
            InvalidRequest: as ``access``.
        """
        if source.scheme == "gs":
            accounts = self._accounts.get(source.authority, []) if self._own is None else [self._own(source.url)]
            for account in accounts:
                await account.renew()

    def _access(self, place: Source, credential: Credential) -> Access:
        if place.scheme == "s3":
            return Access(options=self._s3(credential), granted=True)
        if credential.service_account is not None:
            account = ServiceAccount(partial(_read_key, credential.service_account), place.url)
            self._accounts.setdefault(place.authority, []).append(account)
            return self._google(account)
        return Access(headers=self._headers(credential), granted=True)

    def _google(self, account: ServiceAccount) -> Access:
        return Access(endpoint=_google_endpoint(self._environ), headers=account.headers, granted=True)

    def _s3(self, credential: Credential) -> Mapping[str, object]:
        return {
            **(s3_options(self._environ) if credential.environment else ANONYMOUS_S3),
            **s3_place(self._environ, credential.endpoint, credential.region),
            **(_profile(credential.profile, self._environ) if credential.profile else {}),
            **({"requester_pays": True} if credential.requester_pays else {}),
        }

    def _headers(self, credential: Credential) -> Callable[[], Mapping[str, str]]:
        def headers() -> Mapping[str, str]:
            found = {name: self._secret(reference, credential) for name, reference in credential.headers.items()}
            bearer = self._secret(credential.bearer, credential) if credential.bearer else None
            return {**found, **({"Authorization": f"Bearer {bearer}"} if bearer else {})}

        return headers

    def _secret(self, reference: Reference, credential: Credential) -> str:
        secret = look_up(reference, self._environ)
        if not _HEADER_VALUE.fullmatch(secret or ""):
            raise AuthRejected(f"what the server should send to {credential.prefix} is not there any more")
        return secret or ""
