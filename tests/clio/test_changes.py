"""Changes over both databases: none is lost, none is half, who comes too late is told, and all are on record."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.clio.accounts import DATASET, ON_ONE_DATABASE, OWNER, Clio
from tests.clio.test_routes import ROUTES, path_of

U, V, W = "u@t.com", "v@t.com", "w@t.com"
WRITERS, SOME = 100, 24


def at_once(write: Callable[[int], Any], number: int = WRITERS) -> list[Any]:
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(write, range(number)))


def test_no_merging_write_is_lost(clio: Clio) -> None:
    """100 writers of one record: each field arrives."""
    path = f"/v2/json-annotations/{DATASET}/neurons"
    at_once(lambda i: clio.told(W, "POST", path, {"bodyid": 77, f"f{i}": i}))
    (record,) = clio.told(W, "GET", f"{path}/id-number/77")
    assert record == {"bodyid": 77, **{f"f{i}": i for i in range(WRITERS)}}
    assert len(clio.told(W, "GET", f"{path}/id-number/77?changes=true")) == WRITERS


def test_writers_of_one_annotation_leave_one(clio: Clio) -> None:
    path = f"/v2/annotations/{DATASET}"
    fields = ["title", "description", "prop", "tags"]
    values = {"title": "t", "description": "d", "prop": {"a": 1}, "tags": ["x"]}
    place = {"kind": "point", "pos": [9, 9, 9]}

    def write(i: int) -> None:
        name = fields[i % 4]
        clio.told(U, "POST", f"{path}?replace=false", {**place, name: values[name]})

    at_once(write, SOME)
    (found,) = [one for one in clio.told(U, "GET", path) if one["key"] == "Pt9_9_9"]
    assert {name: found[name] for name in fields} == values


def test_lists_in_opposite_orders_do_not_wait_for_each_other(clio: Clio) -> None:
    places = [{"kind": "point", "pos": [500, i, 0]} for i in range(50)]
    path = f"/v2/annotations/{DATASET}"
    keys = [f"Pt500_{i}_0" for i in range(50)]
    told = at_once(lambda i: clio.told(V, "POST", path, places if i % 2 else places[::-1])["keys"], 8)
    assert all(one in (keys, keys[::-1]) for one in told)
    assert sum(one["key"] in keys for one in clio.told(V, "GET", path)) == 50


def test_writers_of_one_entry_value_and_user(clio: Clio) -> None:
    """One of them is last; the entry keeps its id, and nobody sees parts of two."""
    entry = f"/v2/atlas/{DATASET}?x=1&y=2&z=3"
    ids = {one["id"] for one in at_once(lambda i: clio.told(U, "POST", entry, {"title": str(i), "user": U}), SOME)}
    assert len(ids) == 1
    at_once(lambda i: clio.told(U, "POST", "/v2/kv/race/k", {"a": i, "b": i}), SOME)
    value = clio.told(U, "GET", "/v2/kv/race/k")
    assert value["a"] == value["b"]
    roles = [f"r{i}" for i in range(3)]

    def give(i: int) -> None:
        body = {"raced@t.com": {"global_roles": roles, "groups": roles, "name": str(i)}}
        clio.told(OWNER, "POST", "/v2/users", body)

    at_once(give, SOME)
    user = clio.told(OWNER, "GET", "/v2/users")["raced@t.com"]
    assert user["groups"] == user["global_roles"] == roles


# ---- two who edit one thing -----------------------------------------------------------------------------------------


def winners(ask: Callable[[int], requests.Response]) -> int:
    statuses = [one.status_code for one in at_once(ask, 12)]
    assert {*statuses} <= {200, 409}
    return statuses.count(200)


def test_of_two_who_edit_a_document_one_is_told(clio: Clio) -> None:
    clio.told(OWNER, "POST", "/v2/datasets", {"edited": {"description": "0"}})
    tag = {"If-Match": clio.ask(OWNER, "GET", "/v2/datasets/edited").headers["ETag"]}
    assert (
        winners(lambda i: clio.ask(OWNER, "POST", "/v2/datasets", {"edited": {"description": str(i)}}, headers=tag))
        == 1
    )
    late = clio.ask(OWNER, "POST", "/v2/datasets", {"edited": {"description": "late"}}, headers=tag)
    assert (late.status_code, "read it again" in late.json()["detail"]) == (409, True)
    clio.told(OWNER, "POST", "/v2/datasets", {"edited": {"description": "without"}})
    two = {"edited": {"description": "1"}, "other": {"description": "2"}}
    assert clio.ask(OWNER, "POST", "/v2/datasets", two, headers=tag).status_code == 400


def test_of_two_who_edit_a_user_one_is_told(clio: Clio) -> None:
    clio.told(OWNER, "POST", "/v2/users", {"edited@t.com": {"name": "0"}})
    tag = {"If-Match": f'"{clio.told(OWNER, "GET", "/v2/users")["edited@t.com"]["updated"]!r}"'}
    assert winners(lambda i: clio.ask(OWNER, "POST", "/v2/users", {"edited@t.com": {"name": str(i)}}, headers=tag)) == 1


def test_of_two_who_edit_an_entry_or_a_value_one_is_told(clio: Clio) -> None:
    path = f"/v2/atlas/{DATASET}?x=7&y=7&z=7"
    body = {"title": "t", "user": U}
    entry = clio.told(U, "POST", path, body)
    tag = {"If-Match": f'"{entry["timestamp"]!r}"'}
    verified = clio.told(W, "POST", f"/v2/atlas-verify/{entry['id']}")
    assert verified["verified"] is True
    assert clio.ask(W, "POST", path, {**body, "verified": False}, headers=tag).status_code == 409
    tag = {"If-Match": f'"{verified["timestamp"]!r}"'}
    assert winners(lambda i: clio.ask(W, "POST", path, {**body, "title": str(i)}, headers=tag)) == 1
    clio.told(U, "POST", "/v2/kv/s/edited", {"a": 0})
    tag = {"If-Match": clio.ask(U, "GET", "/v2/kv/s/edited").headers["ETag"]}
    assert winners(lambda i: clio.ask(U, "POST", "/v2/kv/s/edited", {"a": i}, headers=tag)) == 1


@ON_ONE_DATABASE
@pytest.mark.parametrize("tag", ["*", "1", '"x"', '"-1"', '"1e5"', ""])
def test_what_is_no_time_of_a_change(clio: Clio, tag: str) -> None:
    assert clio.ask(U, "POST", "/v2/kv/s/k", {"a": 1}, headers={"If-Match": tag}).status_code == 400


# ---- the record ---------------------------------------------------------------------------------------------------

BODIES = {
    "/users": {"a@b.com": {"global_roles": []}},
    "/datasets": {"made": {"description": "d"}},
    "/volumes": {"vol": {"bucket": "http://127.0.0.1:9", "path": "p"}},
    "/annotations/<dataset:str>": {"kind": "point", "pos": [1, 2, 3]},
    "/atlas/<dataset:str>": {"title": "t", "user": OWNER},
    "/pull-request": {"pull": "kv/s/k"},
    "/json-annotations/<dataset:str>/<type:str>": {"bodyid": 5},
    "/json-annotations/<dataset:str>/<type:str>/versions": {"tag": "v0.1"},
}
"""What changes something; elsewhere any object does."""
NO_CHANGE = re.compile(
    "/(query|token|import|refresh-caches|logout|neuprint/.*|volumes|transfer.*|signatures.*|atlas-verify/.*)$"
)
"""Routes by POST that change nothing, or that need something to be there: volumes, imports, verifying."""
CHANGING = [
    (method, uri)
    for method, uri, _ in ROUTES
    if method != "GET" and uri.startswith("/v2/") and not NO_CHANGE.search(uri) and "bridge" not in uri
]


def test_every_change_is_on_record(clio: Clio) -> None:
    clio.told(OWNER, "POST", "/v2/kv/s/k", {"a": 1})
    for method, uri in CHANGING:
        plain = uri.removeprefix("/v2")
        body = ["none@b.com"] if method == "DELETE" else BODIES.get(plain, {"a": 1})
        before = clio.told(OWNER, "GET", "/v2/audit?size=1")[0]["number"]
        answer = clio.ask(OWNER, method, f"{path_of(uri)}?x=1&y=2&z=3" if "x" else uri, body)
        assert answer.status_code == 200, (method, uri, answer.text)
        (line,) = clio.told(OWNER, "GET", "/v2/audit?size=1")
        assert line["number"] > before, (method, uri)
        assert line["email"] == OWNER


@ON_ONE_DATABASE
def test_the_record_is_read_in_pages(clio: Clio) -> None:
    for i in range(3):
        clio.told(V, "POST", f"/v2/kv/paged/{i}", {"secret": "value"})
    newest = clio.told(OWNER, "GET", f"/v2/audit?size=2&user={V.upper()}")
    older = clio.told(OWNER, "GET", f"/v2/audit?size=1&user={V}&before={newest[1]['number']}")
    assert [line["detail"]["key"] for line in [*newest, *older]] == ["2", "1", "0"]
    assert "secret" not in str(newest)
    assert clio.ask(V, "GET", "/v2/audit").status_code == 403
    assert clio.ask(OWNER, "GET", "/v2/audit?size=x").status_code == 422


# ---- hostile bodies -----------------------------------------------------------------------------------------------


@ON_ONE_DATABASE
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 101 + b"]" * 101,
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": 18446744073709551616}',
        b'{"a": [-9223372036854775809]}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\xff"}',
        b'{"\\ud800": 1}',
    ],
)
@pytest.mark.parametrize("path", ["/v2/kv/s/k", f"/v2/annotations/{DATASET}", f"/v2/atlas/{DATASET}?x=1&y=1&z=1"])
def test_what_is_no_json_is_refused(clio: Clio, path: str, body: bytes) -> None:
    answer = requests.post(clio.server.base + path, data=body, headers=clio.header(U), timeout=60)
    assert answer.status_code == 400, answer.text
    assert "Traceback" not in answer.text


def test_values_and_keys_come_back_as_they_were(clio: Clio) -> None:
    deep: Any = 1
    for _ in range(98):
        deep = [deep]
    values = [
        {"n": 2**64 - 1},
        {"n": -(2**63)},
        {"n": "9" * 30, "f": 1.5e300, "0" * 19: 12345678901234567890.5},
        {"t": "\0\ud7ff🧠", "\0": None},
        [1, 2.5, True, None],
        "text",
        {"d": deep},
    ]
    for value in values:
        clio.told(U, "POST", "/v2/kv/odd/k", value)
        assert clio.told(U, "GET", "/v2/kv/odd/k") == value
    for key in ("a b", "ü", "%2F", "a%2Fb", "🧠", "?"[:0] + "q%3Fx", "%25", ".a", "'", '"', "x" * 300):
        clio.told(U, "POST", f"/v2/kv/odd2/{key}", {"of": key})
        assert clio.told(U, "GET", f"/v2/kv/odd2/{key}") == {"of": key}
    assert len(clio.told(U, "GET", "/v2/kv/odd2")) == 11
    for key in ("%00", "a%0Ab", "x" * 301):
        assert clio.ask(U, "POST", f"/v2/kv/odd3/{key}", {}).status_code == 400
    assert clio.told(U, "GET", "/v2/kv/odd3") == {}


@pytest.mark.parametrize("email", ["a@b\0.com", "@" * 301, "a\n@b.com"])
def test_names_that_no_database_holds(clio: Clio, email: str) -> None:
    assert clio.ask(OWNER, "POST", "/v2/users", {email: {}}).status_code == 400
    assert clio.ask(OWNER, "POST", "/v2/datasets", {email: {"description": "d"}}).status_code == 422
    assert clio.ask(OWNER, "GET", "/v2/annotations/x", params={"user": email}).status_code in {200, 400}


@ON_ONE_DATABASE
def test_too_much_at_a_time(clio: Clio) -> None:
    many = [{"kind": "point", "pos": [0, 0, 0]}] * 100_001
    answer = clio.ask(U, "POST", f"/v2/annotations/{DATASET}", many)
    assert (answer.status_code, "100001 annotations, the limit is 100000" in answer.text) == (413, True)
    large = clio.ask(U, "POST", "/v2/kv/s/k", {"a": "x" * (17 << 20)})
    assert (large.status_code, "limit" in large.text) == (413, True)
