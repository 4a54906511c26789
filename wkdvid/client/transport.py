"""Carrying out what ``Steps`` ask for: blocking, or on an event loop. All else of the client is written once."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import httpx

from wkdvid.client.calls import Call, Each, Effect, Pause, Receiver, Reply, Send, Steps, Work, query_text
from wkdvid.client.errors import ConnectionFailed, DvidError, InvalidArgument, UnexpectedResponse
from wkdvid.client.retry import Retry, answered

T = TypeVar("T")

CONNECT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the server is, and how it is asked."""

    url: str
    """Scheme, host and port, perhaps a path; no slash at the end."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request, shown in no error."""
    timeout_s: float = 600.0
    """Of silence, of a server that has accepted the connection."""
    workers: int = 4
    """Requests at once, where one operation needs many."""
    retry: Retry = field(default_factory=Retry)

    def __post_init__(self) -> None:
        try:
            host = httpx.URL(self.url).host if self.url.startswith(("http://", "https://")) else ""
        except httpx.InvalidURL:
            host = ""
        if not host:
            raise InvalidArgument(f"{self.url!r} is no address of a server; http://HOST:PORT is expected")
        if self.workers < 1:
            raise InvalidArgument(f"workers: {self.workers}, at least 1 is needed")

    def http_options(self) -> dict[str, Any]:
        return {
            "headers": dict(self.headers),
            "verify": self.url.startswith("https:"),  # certificates take 20 ms to load; http needs none
            "timeout": httpx.Timeout(self.timeout_s, connect=CONNECT_S),
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=max(self.workers, 20)),
        }

    def request_options(self, call: Call[Any]) -> dict[str, Any]:
        query = query_text({**call.query, **self.query})
        options: dict[str, Any] = {"method": call.method, "url": self.url + call.path + (f"?{query}" if query else "")}
        if call.body or call.method == "POST":
            options |= {"content": call.body, "headers": {"Content-Type": call.content_type}}
        return options


class Sync(ABC):
    """A transport that blocks."""

    def __init__(self, retry: Retry, workers: int) -> None:
        self.retry, self.workers = retry, workers

    @abstractmethod
    def send(self, call: Call[Any]) -> Reply:
        """
        Raises:
            ConnectionFailed: there was no whole answer.
            UnexpectedResponse: it is longer than it may be.
        """

    def run(self, steps: Steps[T]) -> T:
        generator = iter(steps)
        go_on: Callable[[], Effect] = partial(next, generator)
        while True:
            try:
                effect = go_on()
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                go_on = partial(generator.send, self._perform(effect))
            except BaseException as error:
                go_on = partial(generator.throw, error)

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Call():
                return self.run(answered(effect, self.retry))
            case Send(call):
                return self.send(call)
            case Pause(seconds):
                return time.sleep(seconds)
            case Work(function):
                return function()
            case Each(jobs):
                return self.each(jobs)

    def each(self, jobs: Iterable[Steps[None]]) -> None:
        """The first failure ends it; what has begun then is finished."""
        source, lock, ended = iter(jobs), threading.Lock(), threading.Event()

        def drain() -> None:
            while not ended.is_set():
                with lock:
                    job = next(source, None)
                if job is None:
                    return
                try:
                    self.run(job)
                except BaseException:
                    ended.set()
                    raise

        with ThreadPoolExecutor(self.workers) as pool:
            futures = [pool.submit(drain) for _ in range(self.workers)]
            try:
                for future in futures:
                    future.result()
            finally:
                ended.set()


class HttpxSync(Sync):
    """Threads may share it; a pickle of it opens connections of its own. Whoever forgets to close it need not."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.retry, settings.workers)
        self.settings, self._http = settings, httpx.Client(**settings.http_options())
        self.close = weakref.finalize(self, self._http.close)

    def __reduce__(self) -> tuple[type[HttpxSync], tuple[Settings]]:
        return HttpxSync, (self.settings,)

    def send(self, call: Call[Any]) -> Reply:
        try:
            with self._http.stream(**self.settings.request_options(call)) as response:
                receiver = Receiver(call, response.status_code, response.reason_phrase)
                for piece in response.iter_bytes():
                    receiver.add(piece)
        except httpx.HTTPError as error:
            raise _failed(call, error) from error
        return receiver.reply


class Async:
    """A transport for one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._http = settings, httpx.AsyncClient(**settings.http_options())

    async def aclose(self) -> None:
        await self._http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        generator = iter(steps)
        go_on: Callable[[], Effect] = partial(next, generator)
        while True:
            try:
                effect = go_on()
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                go_on = partial(generator.send, await self._perform(effect))
            except BaseException as error:
                go_on = partial(generator.throw, error)

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Call():
                return await self.run(answered(effect, self._settings.retry))
            case Send(call):
                return await self._send(call)
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Work(function):
                return await asyncio.to_thread(function)
            case Each(jobs):
                return await self._each(jobs)

    async def _send(self, call: Call[Any]) -> Reply:
        try:
            async with self._http.stream(**self._settings.request_options(call)) as response:
                receiver = Receiver(call, response.status_code, response.reason_phrase)
                async for piece in response.aiter_bytes():
                    receiver.add(piece)
        except httpx.HTTPError as error:
            raise _failed(call, error) from error
        return receiver.reply

    async def _each(self, jobs: Iterable[Steps[None]]) -> None:
        """The first failure ends it; what has begun then is cancelled."""
        source = iter(jobs)

        async def drain() -> None:
            for job in source:
                await self.run(job)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._settings.workers):
                    group.create_task(drain())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None


def _failed(call: Call[Any], error: httpx.HTTPError) -> DvidError:
    kind = UnexpectedResponse if isinstance(error, httpx.DecodingError) else ConnectionFailed
    return kind(f"{call.action}: {call.method} {call.target}: {str(error) or type(error).__name__}")
