"""One definition of an operation, for both transports."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from wkdvid.client.calls import Steps, segment
from wkdvid.client.transport import Async, Sync

P = ParamSpec("P")
T = TypeVar("T")
O = TypeVar("O", bound="Bound[Any]")  # noqa: E741 - the owner
E = TypeVar("E", bound=Sync | Async)


class Bound(Generic[E]):
    """Something that is asked over a transport."""

    def __init__(self, transport: E) -> None:
        self.transport = transport


class operation(Generic[O, P, T]):  # noqa: N801 - a decorator
    """A method that gives ``Steps`` becomes one that takes them: a plain one on ``Sync``, a coroutine on ``Async``."""

    def __init__(self, steps: Callable[Concatenate[O, P], Steps[T]]) -> None:
        self.steps, self.__doc__ = steps, steps.__doc__

    @overload
    def __get__(self, bound: None, owner: type | None = None) -> operation[O, P, T]: ...
    @overload
    def __get__(self, bound: Bound[Sync], owner: type | None = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, bound: Bound[Async], owner: type | None = None) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, bound: Any, owner: type | None = None) -> Any:
        if bound is None:
            return self

        @functools.wraps(self.steps)
        def run(*args: P.args, **options: P.kwargs) -> Any:
            return bound.transport.run(self.steps(bound, *args, **options))

        return run


class Instance(Bound[E]):
    """One data instance at one version."""

    def __init__(self, transport: E, uuid: str, name: str) -> None:
        super().__init__(transport)
        self.uuid, self.name = uuid, name

    def path(self, *parts: str) -> str:
        return "/".join(("/api/node", segment(self.uuid), segment(self.name), *parts))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uuid}/{self.name}>"
