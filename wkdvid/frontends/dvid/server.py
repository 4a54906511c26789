"""What the server says of itself, and the little that can be set."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from wkdvid import __version__
from wkdvid.errors import InvalidRequest, NotFound
from wkdvid.frontends.dvid import annotation, documents, images, keyvalue, labels, parse, roi
from wkdvid.frontends.dvid.instances import VALUE_TYPES, VOXEL_BYTES
from wkdvid.frontends.dvid.throttle import Throttle

HELP = f"""\
<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>wkdvid: DVID API</title></head><body>
<h1>DVID API of wkdvid {__version__}</h1>
<p>Each dataset is a repository of locked nodes, each layer a data instance of it. Repositories that are made here
have nodes that can be written to until they are committed.</p>
<ul>
<li><a href="/api/server/info">/api/server/info</a>, <a href="/api/server/types">/api/server/types</a></li>
<li><a href="/api/repos/info">/api/repos/info</a>, /api/repo/&lt;uuid&gt;/info</li>
<li>POST /api/repos; /api/repo/&lt;uuid&gt;/instance, log, branch-versions/&lt;branch&gt;</li>
<li>/api/node/&lt;uuid&gt;/status, note, log; POST commit, newversion, branch, tag</li>
<li>/api/node/&lt;uuid&gt;/&lt;instance&gt;/help, for each instance; /api/help/&lt;type&gt; for the types
{", ".join((*VOXEL_BYTES, *VALUE_TYPES))}</li>
</ul></body></html>
"""
VALUE_HELP: Mapping[str, str] = {"keyvalue": keyvalue.HELP, "roi": roi.HELP, "annotation": annotation.HELP}
_COUNTERS = (
    "file bytes read",
    "file bytes written",
    "key bytes read",
    "key bytes written",
    "value bytes read",
    "value bytes written",
    "GET requests",
    "PUT requests",
    "active CGo writes",
    "pending log messages",
)


def help_of_type(typename: str) -> str:
    """
    Raises:
        NotFound: no such type.
    """
    known = {**dict.fromkeys(VOXEL_BYTES, images.HELP), "labelmap": labels.HELP, **VALUE_HELP}
    if typename not in known:
        raise NotFound(f'no data type "{typename[:80]}"; there are {", ".join(known)}')
    return known[typename].format(name="<instance>", typename=typename, last="MaxDownresLevel", block="BlockSize")


def load(throttled: int, passing_answers: int) -> dict[str, int]:
    """DVID's counters, and how often sources made us try again. What DVID counts of its own storage engine is 0."""
    return {
        **dict.fromkeys(_COUNTERS, 0),
        "handlers active": throttled,
        "goroutines": len(asyncio.all_tasks()),
        "source answers to try again": passing_answers,
    }


def info(host: str, started: float, *, read_only: bool) -> dict[str, str]:
    """
    Args:
        host: As the caller wrote it.
        started: ``time.time()`` of the worker's start.
    """
    mode = {"Mode": "read only"} if read_only else {}
    return mode | dict(
        documents.server_info(
            version=__version__,
            host=host,
            cores=os.cpu_count() or 1,
            open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S %z UTC"),
            uptime=_duration(time.time() - started),
        )
    )


def _duration(seconds: float) -> str:
    """As Go prints one: ``1h2m3.5s``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest:.6f}s"


def change(throttle: Throttle, settings: Any) -> str:
    """Change what the settings name; only ``throttle`` means anything here. A line for each change.

    Raises:
        InvalidRequest: not an object of numbers as text.
    """
    if not isinstance(settings, dict):
        raise InvalidRequest('expected a JSON object such as {"throttle": "2"}')
    if "throttle" not in settings:
        return ""
    slots = parse.integer(str(settings["throttle"]), "Atoi")
    if slots < 0:
        raise InvalidRequest(f"throttle: expected 0 or more, got {slots}")
    before, throttle.slots = throttle.slots, slots
    return f"Maximum throttled ops set to {slots} from {before}\n"
