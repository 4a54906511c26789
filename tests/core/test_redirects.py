"""Redirects of a source over http: followed to the end, but nowhere that may not be named (F25)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from wkdvid.core.guard import Guard
from wkdvid.errors import InvalidRequest, UpstreamUnavailable
from wkdvid.testing.faulty import Answer, FileServer, redirected

Serve = Callable[[Callable[[str], str | None]], FileServer]

BAD_REDIRECTS = (
    *("/login", "/em/info2", "ftp://x/info", "file:///etc/info", "http://u:p@127.0.0.1/info", "http://[::1/info"),
    *("/a/%2e%2e/info", "//127.0.0.3/info", ""),
)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server that redirects a path to what is told of it; what has no target is there."""
    with ExitStack() as servers:

        def start(target: Callable[[str], str | None]) -> FileServer:
            def answer(path: str) -> Answer:
                location = target(path)
                return Answer(body=b"{}") if location is None else redirected(location)

            server = servers.enter_context(FileServer(tmp_path))
            server.fault = answer
            return server

        yield start


async def test_the_base_follows_the_probe(serve: Serve) -> None:
    end = serve(lambda path: None)
    start = serve(lambda path: end.url + path.replace("old/", "new/v2/"))
    guard = Guard((), frozenset({"127.0.0.1"}))
    source = guard.parse_source(f"precomputed://{start.url}old/em")
    moved = await guard.follow_redirects(source, "info")
    assert (moved.url, moved.format_hint) == (f"{end.url}new/v2/em/", "precomputed")
    assert moved.name == f"{start.url}old/em/"
    assert guard.child(moved, "s0").name == f"{start.url}old/em/s0/"
    assert (start.paths, end.paths) == (["old/em/info"], ["new/v2/em/info"])


async def test_a_source_that_stays_is_returned(tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda path: None)
    allowing = Guard((), frozenset({server.host}))
    source = allowing.parse_source(f"{server.url}a%2Fb?x=1")
    assert await allowing.follow_redirects(source, "zarr.json") == source
    assert [asked.target for asked in server.requests] == ["/a%2Fb/zarr.json?x=1"]
    (tmp_path / "em").mkdir()
    guard = Guard((tmp_path,), frozenset())
    for other in ("em", "gs://bucket/em"):
        assert await guard.follow_redirects(guard.parse_source(other), "info") == guard.parse_source(other)


@pytest.mark.parametrize("hops", [3, 4])
async def test_three_are_followed(serve: Serve, hops: int) -> None:
    server = serve(lambda path: None if path == "0/info" else f"../{int(path.split('/')[0]) - 1}/info")
    guard = Guard((), frozenset({"127.0.0.1"}))
    following = guard.follow_redirects(guard.parse_source(f"{server.url}{hops}"), "info")
    if hops == 3:
        assert (await following).url == f"{server.url}0/"
    else:
        with pytest.raises(InvalidRequest, match="more than 3 times"):
            await following
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("place", "refusal"),
    [("http://127.0.0.2", r"http to '127\.0\.0\.2' is refused"), ("https://127.0.0.1", "not on the public internet")],
)
async def test_a_private_address_is_not_asked(serve: Serve, place: str, refusal: str) -> None:
    private = serve(lambda path: None)
    port = private.host.partition(":")[2]
    public = serve(lambda path: f"{place}:{port}/{path}")
    guard = Guard((), frozenset({public.host}))
    with pytest.raises(InvalidRequest, match=refusal):
        await guard.follow_redirects(guard.parse_source(f"{public.url}em"), "info")
    assert private.requests == []


@pytest.mark.parametrize("location", BAD_REDIRECTS)
async def test_other_places_are_refused(serve: Serve, location: str) -> None:
    server = serve(lambda path: location)
    guard = Guard((), frozenset({"127.0.0.1"}))
    with pytest.raises(InvalidRequest):
        await guard.follow_redirects(guard.parse_source(f"{server.url}em"), "info")


async def test_nobody_answers(tmp_path: Path) -> None:
    with FileServer(tmp_path) as server:
        pass
    guard = Guard((), frozenset({"127.0.0.1"}))
    with pytest.raises(UpstreamUnavailable, match="does not answer") as caught:
        await guard.follow_redirects(guard.parse_source(f"{server.url}em?sig=s3cr3t"), "info")
    assert "s3cr3t" not in str(caught.value)
