"""A transport over the connection that a script has opened."""

from __future__ import annotations

from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, TypeVar

from wkdvid.client.calls import Call, Receiver, Reply, Steps
from wkdvid.client.errors import Busy, HttpError, UnexpectedResponse
from wkdvid.client.pydvid.errors import DvidHttpError, UnexpectedResponseError
from wkdvid.client.retry import Retry
from wkdvid.client.transport import Sync

T = TypeVar("T")

READ_BYTES = 2**18
ONCE = Retry(timeout_s=0)


class ConnectionTransport(Sync):
    """One request at a time. Errors are pydvid's; those of the connection are its own."""

    def __init__(self, connection: HTTPConnection, retry: Retry = ONCE) -> None:
        super().__init__(retry, workers=1)
        self._connection = connection

    def run(self, steps: Steps[T]) -> T:
        try:
            return super().run(steps)
        except Busy as error:
            if self.retry is ONCE:
                raise DvidHttpError.of(error) from error
            raise
        except HttpError as error:
            raise DvidHttpError.of(error) from error
        except UnexpectedResponse as error:
            raise UnexpectedResponseError(str(error)) from error

    def each(self, jobs: Iterable[Steps[None]]) -> None:
        for job in jobs:
            self.run(job)

    def send(self, call: Call[Any]) -> Reply:
        try:
            response = self.open(call)
            receiver = Receiver(call, response.status, response.reason)
            while piece := response.read(READ_BYTES):
                receiver.add(piece)
        except (UnexpectedResponse, HTTPException, OSError):
            self._connection.close()  # what is left of the answer would be taken for that of the next request
            raise
        return receiver.reply

    def open(self, call: Call[Any]) -> HTTPResponse:
        """Send a request; the answer's body is still to be read."""
        headers = {"Content-Type": call.content_type} if call.body else {}
        self._connection.request(call.method, call.target, body=call.body or None, headers=headers)
        return self._connection.getresponse()

    def stream(self, call: Call[Any]) -> HTTPResponse:
        """As ``open``, of a success.

        Raises:
            DvidHttpError: it is none.
        """
        response = self.open(call)
        if response.status not in call.accepted:
            receiver = Receiver(call, response.status, response.reason)
            receiver.add(response.read())
            raise DvidHttpError.of(call.failure(receiver.reply))
        return response
