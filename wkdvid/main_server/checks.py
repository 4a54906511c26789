"""Whether a main server and this datastore work together, as far as that can be seen from here, in plain words."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from wkdvid.main_server.row import Row

PATIENCE_S = 10.0
ANSWER_BYTES = 1 << 20
BUCKETS = "/data/datasets/organization/dataset/layers/layer/data"
"""A route of which browsers ask first whether they may; it need not be there for that."""


@dataclass(frozen=True, slots=True)
class Finding:
    is_good: bool
    text: str


@dataclass(frozen=True, slots=True)
class _Heard:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        """Its JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class _Unheard(Exception):
    """No answer; the text says why."""


async def examine(row: Row, main_url: str, stored: Mapping[str, object] | None) -> AsyncIterator[Finding]:
    """
    Args:
        row: What this server is, with its key.
        main_url: Of the main server, without a slash at the end.
        stored: The row in the main server's database, by lower-case column names, where that can be seen.
    """
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
        for finding in _row_findings(row, stored) if stored is not None else ():
            yield finding
        main = await _main_answers(session, main_url)
        yield main
        if main.is_good:  # nobody else is shown the key
            yield await _main_knows_us(session, main_url, row)
        if main.is_good and stored is None and (listed := await _listed_address(session, main_url, row)) is not None:
            yield listed
        for finding in _address_findings(row, main_url):
            yield finding
        for url in dict.fromkeys((row.url, row.public_url)):
            yield await _we_answer(session, url)
        yield await _pages_may_ask(session, row.public_url, main_url)


def _row_findings(row: Row, stored: Mapping[str, object]) -> Sequence[Finding]:
    """What differs between the row and what this server is."""
    pairs = (("url", "url", row.url), ("public url", "publicurl", row.public_url))
    findings = [
        Finding(False, f"the row's {what} is {stored[column]}, and this server's is {ours}")
        for what, column, ours in pairs
        if column in stored and stored[column] != ours
    ]
    if stored["key"] != row.key:
        findings.append(Finding(False, "the row's key is not the one that is configured here"))
    if stored.get("isdeleted"):
        findings.append(Finding(False, "the row is marked as deleted"))
    return findings or [
        Finding(True, f"the row of {row.name!r} has the name, the key and the addresses of this server")
    ]


async def _main_answers(session: aiohttp.ClientSession, main_url: str) -> Finding:
    try:
        heard = await _ask(session, "GET", f"{main_url}/api/buildinfo")
    except _Unheard as reason:
        return Finding(False, f"this machine does not reach the main server at {main_url}: {reason}")
    document = heard.document()
    if heard.status != 200 or not isinstance(document, dict) or not {"webknossos", "httpApiVersioning"} & set(document):
        return Finding(False, f"what answers at {main_url} is no main server of webKnossos{_moved(heard)}")
    about = document.get("webknossos")
    version = about.get("version") if isinstance(about, dict) else None
    return Finding(True, f"the main server answers at {main_url}{f' (webKnossos {version})' if version else ''}")


async def _main_knows_us(session: aiohttp.ClientSession, main_url: str, row: Row) -> Finding:
    """By the report that the running server makes too."""
    address = f"{main_url}/api/datastores/{quote(row.name, safe='')}/status?key={quote(row.key or '', safe='')}"
    try:
        heard = await _ask(session, "PATCH", address, json={"ok": True, "url": row.url})
    except _Unheard as reason:
        return Finding(False, f"the main server could not be told that {row.name!r} is there: {reason}")
    if heard.status == 200:
        return Finding(True, f"it knows a datastore {row.name!r} with this key")
    if heard.status == 403:
        return Finding(
            False,
            f"it knows no datastore {row.name!r} with this key: the row is missing, or has another key;"
            " 'wkdvid register --database-url URL' mends either",
        )
    return Finding(False, f"told that {row.name!r} is there it answers with status {heard.status}{_moved(heard)}")


async def _listed_address(session: aiohttp.ClientSession, main_url: str, row: Row) -> Finding | None:
    """To which address it sends browsers, where it tells that without a login."""
    try:
        listed = (await _ask(session, "GET", f"{main_url}/api/datastores")).document()
    except _Unheard:
        return None
    ours = [one for one in listed if isinstance(one, dict) and one.get("name") == row.name] if listed else []
    if not ours:
        return None
    sent_to = str(ours[0].get("url")).rstrip("/")
    if sent_to == row.public_url:
        return Finding(True, f"it sends browsers to {sent_to}, as it should")
    return Finding(
        False,
        f"it sends browsers to {sent_to[:600]} (publicUrl of the row), and this server calls itself {row.public_url}",
    )


def _address_findings(row: Row, main_url: str) -> Sequence[Finding]:
    """What the addresses alone show to be wrong."""
    findings = []
    if _is_loopback(row.url) and not _is_loopback(main_url):
        findings.append(
            Finding(
                False,
                f"{row.url} is this machine's own; the main server does not reach it from elsewhere."
                " server.internalUrl, or server.publicUrl, gives an address of the network",
            )
        )
    if main_url.startswith("https:") and row.public_url.startswith("http:") and not _is_loopback(row.public_url):
        findings.append(
            Finding(
                False, f"pages of {main_url} are https: browsers do not let them read from {row.public_url} by http"
            )
        )
    return findings


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def _we_answer(session: aiohttp.ClientSession, url: str) -> Finding:
    try:
        health, build = [await _ask(session, "GET", f"{url}{path}") for path in ("/data/health", "/api/buildinfo")]
    except _Unheard as reason:
        return Finding(False, f"this server does not answer at {url}: {reason}")
    document = build.document()
    about = document.get("webknossosDatastore") if isinstance(document, dict) else None
    if health.status != 200 or health.body != b"Ok" or not isinstance(about, dict) or about.get("name") != "wkdvid":
        return Finding(False, f"what answers at {url} is not wkdvid (status {health.status}){_moved(health)}")
    return Finding(True, f"this server answers at {url}, asked from this machine")


async def _pages_may_ask(session: aiohttp.ClientSession, url: str, main_url: str) -> Finding:
    """What a browser asks before it fetches buckets for a page of the main server, and what it looks at then."""
    parts = urlsplit(main_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    try:
        first = await _ask(session, "OPTIONS", url + BUCKETS, headers={"Origin": origin, **asked})
        then = await _ask(session, "GET", f"{url}/data/health", headers={"Origin": origin})
    except _Unheard as reason:
        return Finding(False, f"whether pages may read from {url} cannot be seen: {reason}")
    for what, heard in (("preflight (OPTIONS)", first), ("answer", then)):
        if heard.status != 200 or heard.headers.get("Access-Control-Allow-Origin") not in ("*", origin):
            return Finding(
                False,
                f"pages of {origin} may not read from {url}: the {what} has status {heard.status} and"
                f" Access-Control-Allow-Origin {heard.headers.get('Access-Control-Allow-Origin')!r}."
                " Does a proxy in between answer it, or take headers away?",
            )
    if "content-type" not in first.headers.get("Access-Control-Allow-Headers", "").lower():
        return Finding(
            False, f"pages of {origin} may not send JSON to {url}: the preflight does not allow Content-Type"
        )
    return Finding(True, f"pages of {origin} may read from {url} (preflight and answer)")


def _moved(heard: _Heard) -> str:
    """A clause where it sends to another address: requests with a key do not follow."""
    place = heard.headers.get("Location", "")[:300]
    return f": it redirects to {place!r}; give that address" if 300 <= heard.status < 400 else ""


async def _ask(session: aiohttp.ClientSession, method: str, url: str, **more: Any) -> _Heard:
    """
    Raises:
        _Unheard: the text has no address, which may hold the key.
    """
    try:
        async with session.request(method, url, allow_redirects=False, **more) as response:
            return _Heard(response.status, response.headers, await _body(response))
    except aiohttp.ClientConnectorDNSError:
        raise _Unheard("its name cannot be resolved") from None
    except aiohttp.ClientSSLError:
        raise _Unheard("no secure connection can be made; is its certificate trusted here?") from None
    except TimeoutError:
        raise _Unheard(f"no answer within {PATIENCE_S:g} s") from None
    except OSError as error:
        raise _Unheard(os.strerror(error.errno) if error.errno else "no connection can be made") from None
    except aiohttp.ClientError as error:
        raise _Unheard(f"no answer of HTTP ({type(error).__name__})") from None


async def _body(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.content.readexactly(ANSWER_BYTES)
    except asyncio.IncompleteReadError as error:
        return error.partial
