"""Redirects of a source over http: followed to the end, but nowhere that may not be named."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from wkdvid.core.guard import Guard
from wkdvid.errors import InvalidRequest, UpstreamUnavailable

Redirect = Callable[[str], str | None]

BAD_REDIRECTS = (
    *("/login", "/em/info2", "ftp://x/info", "file:///etc/info", "http://u:p@127.0.0.1/info", "http://[::1/info"),
    *("/a/%2e%2e/info", "//127.0.0.3/info", ""),
)


class RedirectingServer(ThreadingHTTPServer):
    """Answers with a redirect to what ``target(path)`` says, else 200; remembers the paths that were asked."""

    def __init__(self, target: Redirect) -> None:
        super().__init__(("127.0.0.1", 0), RedirectingHandler)
        self.target = target
        self.asked: list[str] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class RedirectingHandler(BaseHTTPRequestHandler):
    server: RedirectingServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        location = self.server.target(self.path)
        self.send_response(200 if location is None else 302)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the test's output clean."""


Serve = Callable[[Redirect], RedirectingServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[RedirectingServer] = []

    def start(target: Redirect) -> RedirectingServer:
        servers.append(RedirectingServer(target))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


async def test_the_base_follows_the_probe(serve: Serve) -> None:
    end = serve(lambda path: None)
    start = serve(lambda path: end.origin + path.replace("/old/", "/new/v2/"))
    guard = Guard((), frozenset({"127.0.0.1"}))
    source = guard.parse_source(f"precomputed://{start.origin}/old/em")
    moved = await guard.follow_redirects(source, "info")
    assert (moved.url, moved.format_hint) == (f"{end.origin}/new/v2/em/", "precomputed")
    assert moved.name == f"{start.origin}/old/em/"
    assert guard.child(moved, "s0").name == f"{start.origin}/old/em/s0/"
    assert (start.asked, end.asked) == (["/old/em/info"], ["/new/v2/em/info"])


async def test_a_source_that_stays_is_returned(tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda path: None)
    allowing = Guard((), frozenset({f"127.0.0.1:{server.server_port}"}))
    source = allowing.parse_source(f"{server.origin}/a%2Fb?x=1")
    assert await allowing.follow_redirects(source, "zarr.json") == source
    assert server.asked == ["/a%2Fb/zarr.json?x=1"]
    (tmp_path / "em").mkdir()
    guard = Guard((tmp_path,), frozenset())
    for other in ("em", "gs://bucket/em"):
        assert await guard.follow_redirects(guard.parse_source(other), "info") == guard.parse_source(other)


@pytest.mark.parametrize("hops", [3, 4])
async def test_three_are_followed(serve: Serve, hops: int) -> None:
    server = serve(lambda path: None if path == "/0/info" else f"../{int(path.split('/')[1]) - 1}/info")
    guard = Guard((), frozenset({"127.0.0.1"}))
    following = guard.follow_redirects(guard.parse_source(f"{server.origin}/{hops}"), "info")
    if hops == 3:
        assert (await following).url == f"{server.origin}/0/"
    else:
        with pytest.raises(InvalidRequest, match="more than 3 times"):
            await following
    assert len(server.asked) == 4


async def test_a_private_address_is_not_asked(serve: Serve) -> None:
    private = serve(lambda path: None)
    public = serve(lambda path: f"http://127.0.0.2:{private.server_port}{path}")
    guard = Guard((), frozenset({f"127.0.0.1:{public.server_port}"}))
    source = guard.parse_source(f"{public.origin}/em")
    with pytest.raises(InvalidRequest, match=r"http to '127\.0\.0\.2' is refused"):
        await guard.follow_redirects(source, "info")
    public.target = lambda path: f"https://127.0.0.1:{private.server_port}/info"
    with pytest.raises(InvalidRequest, match="not on the public internet"):
        await guard.follow_redirects(source, "info")
    assert private.asked == []


@pytest.mark.parametrize("location", BAD_REDIRECTS)
async def test_other_places_are_refused(serve: Serve, location: str) -> None:
    server = serve(lambda path: location)
    guard = Guard((), frozenset({"127.0.0.1"}))
    with pytest.raises(InvalidRequest):
        await guard.follow_redirects(guard.parse_source(f"{server.origin}/em"), "info")


async def test_nobody_answers(serve: Serve) -> None:
    server = serve(lambda path: None)
    server.server_close()
    guard = Guard((), frozenset({"127.0.0.1"}))
    with pytest.raises(UpstreamUnavailable, match="does not answer") as caught:
        await guard.follow_redirects(guard.parse_source(f"{server.origin}/em?sig=s3cr3t"), "info")
    assert "s3cr3t" not in str(caught.value)
