"""Forms as a browser without scripts has them: read from a page, sent as they were filled in."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import requests


class Forms(HTMLParser):
    """The fields of every form of a page, by the form's place in it; what is shown, and the errors beside fields."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self.actions: list[str] = []
        self.errors: dict[str, str] = {}
        self._inside: tuple[str, str] = ("", "")
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        named = given.get("name", "")
        if tag == "form":
            self.forms.append({})
            self.actions.append(given.get("action", ""))
        elif tag == "input" and named and (given.get("type") != "checkbox" or "checked" in given):
            self.forms[-1][named] = given.get("value", "")
        elif tag == "select":
            self._select = named
        elif tag == "option" and self._select and ("selected" in given or self._select not in self.forms[-1]):
            self.forms[-1][self._select] = given.get("value", "")
        elif tag == "textarea":
            self._inside = ("area", named)
            self.forms[-1][named] = ""
        elif given.get("id", "").startswith("error-"):
            self._inside = ("error", given["id"].removeprefix("error-"))
            self.errors[self._inside[1]] = ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ("", "") if tag in ("textarea", "span") else self._inside
        self._select = "" if tag == "select" else self._select

    def handle_data(self, data: str) -> None:
        kind, name = self._inside
        if kind == "area":
            self.forms[-1][name] += data.removeprefix("\n")  # which browsers leave out behind the tag
        elif kind == "error":
            self.errors[name] += data


class Visitor:
    """Somebody with a session, who sends forms from the server's own pages."""

    def __init__(self, base: str, cookie: dict[str, str]) -> None:
        self.base = base
        self.session = requests.Session()
        self.session.cookies.update(cookie)
        self.session.headers["Origin"] = base

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.base + path, timeout=60)

    def send(self, path: str, fields: dict[str, str], **options: Any) -> requests.Response:
        return self.session.post(self.base + path, data=fields, timeout=60, allow_redirects=False, **options)
