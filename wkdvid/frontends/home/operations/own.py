"""The routes that are this server's own: pages, inspections, jobs, flame graphs."""

from __future__ import annotations

from collections.abc import Mapping

from wkdvid.frontends.home.operations.operation import HTML, JSON, OCTETS, TEXT, Operation

_JOBS: Mapping[str, Operation] = {
    "POST /api/jobs": Operation(
        "Begin long work, or go on with it; the body names kind (pyramid, index, signatures, transfer), dataset, layer",
        "The job.",
        body=JSON,
    ),
    "GET /api/jobs": Operation("List the newest jobs", "A list."),
    "GET /api/jobs/{job}": Operation("How far a job is", "State, tasks done, tasks in all, and a message."),
    "DELETE /api/jobs/{job}": Operation("Cancel a job and remove what it has made", "The job."),
    "GET /api/jobs/{job}/events": Operation(
        "Follow a job until it ends", "Server-sent events, each the job as it is then.", "text/event-stream"
    ),
}
_LINKS: Mapping[str, Operation] = {
    "POST /api/links": Operation(
        'Share a dataset, or a layer of it, by a link: {"dataset": "ORGANIZATION/DATASET", "layer": ..., "days": 7}',
        "The link, with its token and its url.",
        body=JSON,
    ),
    "GET /api/links": Operation(
        "List the links to a dataset, or all", "A list.", query={"dataset": "ORGANIZATION/DATASET; without it all"}
    ),
    "DELETE /api/links/{link}": Operation("Revoke a link", "The link."),
    "GET /shared/{token}": Operation(
        "What a link shares: below it all reading routes answer by its token", "The page (302).", HTML, success=302
    ),
}
_SEARCH = {
    "q": "Words, all of which are in the name, the organization or the names of layers",
    "organization": "Only datasets of this one",
    "format": "Only datasets that have a layer of this backend",
    "state": "Only datasets that are `open`, `pending` or `unavailable`",
    "page": "From 1 on",
}
_DATASET = "/datasets/{organization}/{name}"
_POSITION = dict.fromkeys("xyz", "Position, in voxels of mag 1; the middle if not given")
_CONTRAST = {"low": "The value that is shown black", "high": "The value that is shown white"}
_SECONDS = {"seconds": "1 to 60; 20 if not given"}
_TRACE: Mapping[str, Operation] = {
    **{f"GET {path}": Operation("The page that records", "A page.", HTML) for path in ("/trace", "/triggers/trace")},
    "POST /trace": Operation("Record what the server spends its time on", "A flame graph.", "image/svg+xml", _SECONDS),
    "POST /triggers/trace": Operation("Record what the server spends its time on", "Ok", TEXT, _SECONDS),
    "GET /triggers/trace/flame.svg": Operation("What was recorded last", "A flame graph.", "image/svg+xml"),
}
FORM = "application/x-www-form-urlencoded"
_ONE = "/datasets/{organization}/{name}"
_USER = "/people/{email}"


def _page(summary: str) -> Operation:
    return Operation(summary, "A page.", HTML)


def _form(summary: str) -> Operation:
    """Such as a page sends. Who has signed in there sends it from a page of this server alone."""
    return Operation(
        summary, "The next page (303), or this one with what is wrong (400).", HTML, body=FORM, success=303
    )


_ACTS: Mapping[str, Operation] = {
    "GET /sign-in": _page("The page where one signs in"),
    "POST /sign-in": _form("Sign a browser in with a token"),
    "POST /sign-out": _form("Sign a browser out"),
    "GET /add": _page("The page that adds a dataset"),
    "POST /add": _form("Look at an address, or add what was found there"),
    f"GET {_ONE}/edit": _page("The page that edits a dataset's entry"),
    f"POST {_ONE}/edit": _form("Write a dataset's entry anew"),
    f"POST {_ONE}/reload": _form("Open a dataset's sources afresh"),
    f"GET {_ONE}/remove": _page("The page that asks before a dataset is removed"),
    f"POST {_ONE}/remove": _form("Take a dataset out of this server"),
    f"GET {_ONE}/links": _page("The share links of a dataset"),
    f"POST {_ONE}/links": _form("Make a share link"),
    f"POST {_ONE}/links/{{link}}/revoke": _form("Revoke a share link"),
    f"GET {_ONE}/jobs": _page("The jobs of a dataset"),
    f"POST {_ONE}/jobs": _form("Begin a job"),
    "GET /jobs": _page("All jobs"),
    "POST /jobs/{job}/cancel": _form("Cancel a job"),
    "GET /people": _page("All users"),
    "POST /people": _form("Add a user"),
    f"GET {_USER}": _page("A user's roles and tokens"),
    f"POST {_USER}/roles": _form("Give a user a role, or take it away"),
    f"POST {_USER}/tokens": Operation("Mint a token for a user", "A page with the token.", HTML, body=FORM),
    f"POST {_USER}/tokens/revoke": _form("Revoke all tokens of a user"),
    f"GET {_USER}/remove": _page("The page that asks before a user is removed"),
    f"POST {_USER}/remove": _form("Forget a user"),
}
_OPERATIONS: Mapping[str, Operation] = {
    "GET /health/live": Operation("Whether the server turns", "ok", TEXT),
    "GET /health/ready": Operation("Whether requests should be sent here", "200 if so, else 503; and why."),
    "GET /metrics": Operation("What all workers have counted, for Prometheus", "Metrics, also as OpenMetrics.", TEXT),
}
OWN: Mapping[str, Operation] = {
    "GET /": Operation("The page that lists the datasets", "A page.", HTML, _SEARCH),
    f"GET {_DATASET}": Operation(
        "The page of a dataset: slices, histogram, levels, ways in",
        "A page.",
        HTML,
        {**_POSITION, "layer": "Its name; the first image if not given", **_CONTRAST},
    ),
    f"GET {_DATASET}/source": Operation("What an inspection finds at the sources of a dataset", "A page.", HTML),
    f"GET {_DATASET}/picture": Operation("A picture of the middle of a dataset", "JPEG or PNG.", "image/*"),
    f"GET {_DATASET}/layers/{{layer}}/slices/{{plane}}": Operation(
        "A slice of a layer, at the finest scale at which 512 pixels are enough for it",
        "JPEG, of segments PNG.",
        "image/*",
        {"at": "Position along the third axis, in voxels of mag 1; the middle if not given", **_CONTRAST},
    ),
    "GET /neuroglancer/v/view": Operation("Neuroglancer; behind # its state as JSON", "A page.", HTML),
    "GET /neuroglancer/v/view/{name}": Operation("What Neuroglancer loads", "A file.", OCTETS),
    "GET /docs": Operation("This description, to read and to try", "A page.", HTML),
    "GET /redoc": Operation("This description, to read", "A page.", HTML),
    "GET /openapi.json": Operation("This description", "OpenAPI 3.0."),
    "GET /assets/{name}": Operation("What the pages load", "A file.", OCTETS),
    "POST /api/inspect": Operation(
        'Look at a source, as a registration would: {"source": URL}, or an entry with its backend',
        "Layers and levels, a sample of their chunks, what would be served, and what is wrong.",
        body=JSON,
    ),
    "GET /api/entries/{organization}/{name}": Operation(
        "The entry of a dataset", "Its backend, its options without secrets, and a tag of what is stored."
    ),
    "PUT /api/entries/{organization}/{name}": Operation(
        "Write the entry of a dataset anew: options, and the tag that was shown with them", "The dataset.", body=JSON
    ),
    "GET /favicon.ico": Operation("No icon", "Nothing (204).", TEXT),
    **_OPERATIONS,
    **_TRACE,
    **_JOBS,
    **_ACTS,
    **_LINKS,
}
