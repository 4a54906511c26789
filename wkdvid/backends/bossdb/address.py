"""Addresses of experiments and channels, in place of the options that name them one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from wkdvid.core.source import read_source
from wkdvid.errors import InvalidRequest

API_PATH = re.compile(r"(.*)/v1/collection/([^/]+)/experiment/([^/]+)(?:/channel/([^/]+))?/?")
"""Of the API's own documents."""
SHORT_PATH = re.compile(r"()/([^/]+)/([^/]+)(?:/([^/]+))?/")
"""As Neuroglancer has it behind ``boss://``."""
NAMES = ("domain", "collection", "experiment")


def with_address(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options in which ``domain``, ``collection``, ``experiment`` and perhaps ``channel`` stand for ``source``.

    Raises:
        InvalidRequest: no address of an experiment, or one beside what it stands for.
    """
    if "source" not in options:
        return options
    doubled = [name for name in NAMES if name in options]
    if doubled:
        raise InvalidRequest(f"source: names the experiment; leave out {', '.join(doubled)}")
    rest = {name: value for name, value in options.items() if name != "source"}
    return {**_parse(options["source"]), **rest}


def _parse(text: object) -> Mapping[str, str]:
    source = read_source(text) if isinstance(text, str) else None
    if source is not None and source.is_http and not source.query:
        pattern = SHORT_PATH if source.format_hint == "boss" else API_PATH
        found = pattern.fullmatch(unquote(source.path))
        if found is not None:
            parts = {"collection": found[2], "experiment": found[3], "channel": found[4]}
            named = {name: part for name, part in parts.items() if part is not None}
            return {"domain": f"{source.scheme}://{source.authority}{found[1]}", **named}
    raise InvalidRequest(
        "source: expected boss://HOST/COLLECTION/EXPERIMENT, with /CHANNEL or not, or"
        f" https://HOST/v1/collection/COLLECTION/experiment/EXPERIMENT, got {text!r}"
    )
