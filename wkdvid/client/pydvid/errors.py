"""pydvid's errors."""

from __future__ import annotations

from wkdvid.client.errors import HttpError


class DvidHttpError(Exception):
    """An answer with another status than 200."""

    def __init__(
        self,
        attempted_action_name: str,
        status_code: int,
        reason: str,
        response_body: str,
        method: str,
        request_uri: str,
        request_body: str = "<unspecified>",
        request_headers: object = "<unspecified>",
    ) -> None:
        super().__init__(attempted_action_name, status_code, reason, response_body, method, request_uri)
        self.attempted_action_name, self.status_code, self.reason = attempted_action_name, status_code, reason
        self.response_body, self.method, self.request_uri = response_body, method, request_uri
        self.request_body, self.request_headers = request_body, request_headers

    @classmethod
    def of(cls, error: HttpError) -> DvidHttpError:
        body = error.body.decode("utf-8", "replace")
        return cls(error.action, error.status, error.reason, body, error.method, error.url)

    def __str__(self) -> str:
        return (
            f'While attempting "{self.attempted_action_name}" DVID returned an error: '
            f'{self.status_code}, "{self.reason}"\n'
            f"Request METHOD: {self.method}\nRequest URI: {self.request_uri}\n"
            f"Response body from server was:\n{self.response_body}\n"
        )


class UnexpectedResponseError(Exception):
    """Success, but a body that is no answer."""
