"""What clio-store answers to what: the examples of its description, over a real server."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from tests.clio.accounts import DATASET, OWNER, Clio

U, V, W, R = "u@t.com", "v@t.com", "w@t.com", "r@t.com"
D = "d@t.com"
"""Administrates the dataset."""
GIVEN = {"datasets": {DATASET: ["clio_general"]}}
NEURONS = "/v2/json-annotations/cns/neurons"


def test_without_a_token_nothing_is_told(clio: Clio) -> None:
    answer = clio.ask(None, "GET", "/v2/datasets")
    assert (answer.status_code, answer.json()) == (401, {"detail": "Could not validate credentials"})
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_who_one_is(clio: Clio) -> None:
    assert clio.told(U, "GET", "/v2/roles") == {
        "email": U,
        "name": "U",
        "org": None,
        "picture": None,
        "disabled": False,
        "global_roles": [],
        "datasets": {DATASET: ["clio_general"]},
        "datasets_ignore_tos": {},
        "missing_tos": [],
        "groups": ["g1"],
    }
    assert clio.told("nobody@t.com", "GET", "/roles")["datasets"] == {}
    assert clio.ask("off@t.com", "GET", "/v2/roles").status_code == 403


def test_a_token_of_ours(clio: Clio) -> None:
    token = clio.told(OWNER, "POST", "/v2/server/token")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iss"], claims["email"], claims["exp"] - claims["iat"]) == ("flyem-clio-store", OWNER, 1814400)
    assert clio.told(None, "GET", "/v2/roles", headers={"Authorization": f"Bearer {token}"})["email"] == OWNER


def test_users_are_the_administrators_to_change(clio: Clio) -> None:
    body = {"a@b.com": {"global_roles": ["clio_general"], "datasets": {"hemibrain": ["clio_write", "own_role"]}}}
    assert clio.ask(U, "POST", "/users", body).status_code == 403
    assert clio.told(OWNER, "POST", "/users", body) is None
    found = clio.told(OWNER, "GET", "/users")["a@b.com"]
    assert found["datasets"] == {"hemibrain": ["clio_write", "own_role"]}
    assert found["global_roles"] == ["clio_general"]
    malformed = {"a@b.com": {"global_roles": []}, "datasets": {"hemibrain": ["clio_write"]}}
    refused = clio.ask(OWNER, "POST", "/users", malformed)
    assert refused.status_code == 400
    assert "'datasets' is no email address" in refused.json()["detail"]
    assert clio.told(OWNER, "GET", "/users")["a@b.com"] == found
    assert clio.told(OWNER, "DELETE", "/users", ["A@b.com"]) is None
    assert "a@b.com" not in clio.told(OWNER, "GET", "/v2/users")


def test_roles_on_a_dataset_are_its_administrators_to_give(clio: Clio) -> None:
    full = {"global_roles": ["own_role"], "groups": ["g"], "datasets": {"other": ["clio_read"], DATASET: ["clio_read"]}}
    clio.told(OWNER, "POST", "/users", {"x@b.com": full})
    clio.told(D, "POST", "/users", {"X@b.com": {"datasets": {DATASET: ["clio_write"]}}, "new@b.com": GIVEN})
    found = clio.told(OWNER, "GET", "/users")
    assert found["x@b.com"]["datasets"] == {"other": ["clio_read"], DATASET: ["clio_write"]}
    assert (found["x@b.com"]["global_roles"], found["x@b.com"]["groups"]) == (["own_role"], ["g"])
    assert found["new@b.com"]["datasets"] == GIVEN["datasets"]
    seen = clio.told(D, "GET", "/users")
    assert (seen["x@b.com"]["datasets"], seen["x@b.com"]["groups"]) == ({DATASET: ["clio_write"]}, [])
    assert "nobody@t.com" not in seen
    too_much: list[Any] = [
        {"datasets": {"other": ["clio_read"]}},
        {"datasets": {DATASET: [], "other": []}},
        {**GIVEN, "global_roles": ["admin"]},
        {**GIVEN, "disabled": True},
        {},
    ]
    for more in too_much:
        refused = clio.ask(D, "POST", "/users", {"y@b.com": GIVEN, "x@b.com": more})
        assert refused.status_code == 403, more
    assert clio.ask(D, "DELETE", "/users", ["x@b.com"]).status_code == 403
    now = clio.told(OWNER, "GET", "/users")
    assert now == found
    clio.told(D, "POST", "/users", {"x@b.com": {"datasets": {DATASET: []}}})
    assert clio.told("x@b.com", "GET", "/roles")["datasets"] == {"other": ["clio_read"], DATASET: []}


def test_a_dataset_is_its_administrators_to_remove(clio: Clio) -> None:
    document = clio.told(D, "GET", f"/datasets/{DATASET}")
    for names in (["other"], [DATASET, "other"]):
        assert clio.ask(D, "DELETE", "/datasets", names).status_code == 403
    assert clio.told(D, "DELETE", "/datasets", [DATASET]) is None
    assert DATASET not in clio.told(OWNER, "GET", "/datasets")
    clio.told(OWNER, "POST", "/datasets", {DATASET: document})


def test_datasets(clio: Clio) -> None:
    template = {
        "description": "d",
        "tag": "v1.2",
        "uuid": "abc123",
        "mainLayer": "{tag}-em",
        "neuroglancer": {"layers": [{"name": "{tag}-em", "source": "dvid://h/{uuid}/gs"}]},
        "k{tag}": "{uuid}",
        "transfer": ["identity"],
    }
    assert clio.ask(U, "POST", "/v2/datasets", {"made": template}).status_code == 403
    assert clio.told(OWNER, "POST", "/v2/datasets", {"made": template}) is None
    found = clio.told(OWNER, "GET", "/v2/datasets")["made"]
    assert found["mainLayer"] == "v1.2-em"
    assert found["neuroglancer"]["layers"] == [{"name": "v1.2-em", "source": "dvid://h/abc123/gs"}]
    assert found["kv1.2"] == "abc123"
    assert clio.told(OWNER, "GET", "/v2/datasets/made?templates=true") == template
    assert "made" not in clio.told(U, "GET", "/datasets")
    assert clio.ask(U, "GET", "/v2/datasets/made").status_code == 403
    older = {"made": {"description": "d", "tag": "v1.0"}, "other": {"description": "d"}}
    assert clio.ask(OWNER, "POST", "/v2/datasets", older).status_code == 400
    assert "other" not in clio.told(OWNER, "GET", "/v2/datasets")  # all or none
    wrong = clio.ask(OWNER, "POST", "/v2/datasets", {"made": {"location": "d"}})
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["body", "made", "description"])
    assert clio.told(OWNER, "POST", "/v2/datasets", {"made": {**template, "public": True}}) is None
    assert "made" in clio.told(U, "GET", "/v2/datasets/")
    assert clio.told(OWNER, "DELETE", "/v2/datasets", ["made"]) is None
    assert "made" not in clio.told(OWNER, "GET", "/v2/datasets")


TAGS = [("v0.9", "v0.10", 200), ("v0.10", "v0.9", 400), ("1.2", "v1.2.1", 200), ("v2", "v1.999.999", 400)]


@pytest.mark.parametrize(("stored", "posted", "status"), [*TAGS, ("v1", "latest", 400), ("v1", None, 200)])
def test_tags_are_compared_as_numbers(clio: Clio, stored: str, posted: str | None, status: int) -> None:
    clio.told(OWNER, "DELETE", "/v2/datasets", ["tagged"])
    clio.told(OWNER, "POST", "/v2/datasets", {"tagged": {"description": "d", "tag": stored}})
    document = {"description": "d", **({} if posted is None else {"tag": posted})}
    assert clio.ask(OWNER, "POST", "/v2/datasets", {"tagged": document}).status_code == status
    kept = clio.told(OWNER, "GET", "/v2/datasets/tagged?templates=true").get("tag")
    assert kept == (posted if status == 200 else stored)


# ---- annotations --------------------------------------------------------------------------------------------------

TYPED = f"/v2/annotations/{DATASET}"


@pytest.fixture
def clean(clio: Clio) -> Clio:
    for user in (U, V):
        for one in clio.told(user, "GET", TYPED):
            if one["user"] == user:
                clio.told(user, "DELETE", f"{TYPED}/{one['key']}")
    return clio


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"kind": "point", "pos": [1, 2, 3], "prop": {"comment": "hi"}, "tags": ["a"], "title": "t"}, "Pt1_2_3"),
        ({"kind": "lineseg", "pos": [1, 2, 3, 4, 5, 6]}, "Ln1_2_3_4_5_6"),
        ({"kind": "sphere", "pos": [1, 2, 3, 4, 5, 6]}, "Sp1_2_3_4_5_6"),
        ({"kind": "point", "pos": [1.7, "2.2", -3.9]}, "Pt1_2_-3"),
    ],
)
def test_the_key_of_an_annotation(clean: Clio, body: dict[str, Any], key: str) -> None:
    assert clean.told(U, "POST", TYPED, body) == {"key": key}
    assert [one["key"] for one in clean.told(U, "GET", TYPED)] == [key]


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "sphere", "pos": [1, 2, 3, 4]},
        {"kind": "box", "pos": [1, 2, 3]},
        {"pos": [1, 2, 3]},
        {"kind": "point"},
        {"kind": "point", "pos": [1, 2, 2**63]},
        {"kind": "point", "pos": [1, 2, float("1e300")]},
        {"kind": "point", "pos": [1, 2, 3], "tags": "a"},
        [{"kind": "point", "pos": [1, 2, 3]}, {"kind": "point", "pos": []}],
        "text",
    ],
)
def test_what_is_no_annotation_changes_nothing(clean: Clio, body: Any) -> None:
    assert clean.ask(U, "POST", TYPED, body).status_code == 422
    assert clean.told(U, "GET", TYPED) == []


def test_lists_of_annotations(clean: Clio) -> None:
    assert clean.told(U, "POST", TYPED, []) == {"keys": []}
    two = [{"kind": "point", "pos": [7, 7, 7]}, {"kind": "point", "pos": [8, 8, 8]}]
    assert clean.told(U, "POST", TYPED, two) == {"keys": ["Pt7_7_7", "Pt8_8_8"]}
    empty = {"prop": None, "tags": None, "title": None, "description": None}
    assert clean.told(U, "GET", TYPED) == [
        {"user": U, "key": "Pt7_7_7", "kind": "point", "pos": [7, 7, 7], **empty},
        {"user": U, "key": "Pt8_8_8", "kind": "point", "pos": [8, 8, 8], **empty},
    ]
    assert list(clean.told(U, "GET", f"{TYPED}?format=dict")) == ["Pt7_7_7", "Pt8_8_8"]


def test_an_annotation_is_moved_and_merged(clean: Clio) -> None:
    clean.told(U, "POST", TYPED, {"kind": "point", "pos": [1, 2, 3], "prop": {"comment": "hi"}})
    moved = {"kind": "point", "pos": [1, 2, 30], "prop": {"comment": "moved"}}
    assert clean.told(U, "POST", f"{TYPED}?move_key=Pt1_2_3", moved) == {"key": "Pt1_2_30"}
    assert [one["key"] for one in clean.told(U, "GET", TYPED)] == ["Pt1_2_30"]
    place = {"kind": "point", "pos": [1, 2, 30]}
    clean.told(U, "POST", f"{TYPED}?replace=false", {**place, "title": "T2"})
    clean.told(
        U,
        "POST",
        f"{TYPED}?replace=false&conditional=title,description",
        {**place, "title": "T3", "description": "new"},
    )
    (found,) = clean.told(U, "GET", TYPED)
    assert (found["prop"], found["title"], found["description"]) == ({"comment": "moved"}, "T2", "new")
    clean.told(U, "POST", TYPED, {**place, "title": "alone"})
    (found,) = clean.told(U, "GET", TYPED)
    assert (found["prop"], found["title"]) == (None, "alone")
    assert clean.told(U, "DELETE", f"{TYPED}/Pt1_2_30") is None
    assert clean.told(U, "DELETE", f"{TYPED}/Pt1_2_30") is None


def test_annotations_of_others(clean: Clio) -> None:
    of_v = {"kind": "point", "pos": [5, 5, 6], "user": V}
    refused = clean.ask(U, "POST", TYPED, of_v)
    assert refused.status_code == 403
    assert refused.json()["detail"] == f"no permission to add annotation for user {V} on dataset {DATASET}"
    assert clean.ask(R, "POST", TYPED, {"kind": "point", "pos": [5, 5, 6]}).status_code == 403
    assert clean.told(W, "POST", TYPED, of_v) == {"key": "Pt5_5_6"}
    assert [one["user"] for one in clean.told(V, "GET", TYPED)] == [V]
    assert clean.told(U, "GET", TYPED) == []
    assert [one["user"] for one in clean.told(U, "GET", f"{TYPED}?groups=g1")] == [V]
    assert clean.ask(U, "GET", f"{TYPED}?groups=zz").status_code == 400
    assert clean.ask(U, "GET", f"{TYPED}?user={V}").status_code == 403
    assert [one["user"] for one in clean.told(OWNER, "GET", f"{TYPED}?user={V}")] == [V]
    assert clean.ask(U, "GET", "/v2/annotations/zzz").status_code == 403
    assert clean.ask(U, "DELETE", f"{TYPED}/Pt5_5_6?user_email={V}").status_code == 403
    assert clean.told(W, "DELETE", f"{TYPED}/Pt5_5_6?user_email={V}") is None
    assert clean.told(V, "GET", TYPED) == []


@pytest.mark.parametrize("prefix", ["", "/v1", "/clio_toplevel"])
def test_annotations_of_the_first_version(clio: Clio, prefix: str) -> None:
    path = f"{prefix}/annotations/{DATASET}"
    assert clio.told(U, "POST", f"{path}?x=50&y=30&z=50", {"foo": "bar"}) is None
    (key,), (found,) = zip(*clio.told(U, "GET", path).items(), strict=True)
    assert key == found["locationkey"] == found["locationref"] == "50_30_50"
    assert (found["foo"], found["dataset"], found["location"], found["email"]) == ("bar", DATASET, [50, 30, 50], U)
    assert clio.told(V, "GET", path) == {}
    clio.told(U, "POST", f"{path}?x=50&y=30&z=50", {"foo": "new"})
    assert clio.told(U, "GET", path)["50_30_50"]["foo"] == "new"
    assert clio.told(U, "GET", path)["50_30_50"]["id"] == found["id"]
    assert clio.told(U, "DELETE", f"{path}?x=50&y=30&z=50") is None
    assert clio.told(U, "GET", path) == {}


# ---- atlas --------------------------------------------------------------------------------------------------------


def test_the_atlas(clio: Clio) -> None:
    place, body = f"/v2/atlas/{DATASET}?x=1&y=2&z=3", {"title": "t", "user": U, "kind": "point", "pos": [1, 2, 3]}
    first = clio.told(U, "POST", place, body)
    assert (first["title"], first["location"], first["locationkey"], first["verified"]) == (
        "t",
        [1, 2, 3],
        "1_2_3",
        False,
    )
    assert clio.told(U, "POST", place, {**body, "title": "t2"})["id"] == first["id"]
    assert clio.ask(U, "POST", place, {"title": "t"}).status_code == 400
    missing = clio.ask(U, "POST", f"/v2/atlas/{DATASET}", body)
    assert (missing.status_code, len(missing.json()["detail"])) == (422, 3)
    assert clio.ask(U, "POST", place, {**body, "verified": True}).status_code == 403
    assert clio.ask(U, "POST", place, {**body, "user": W}).status_code == 403
    assert clio.told(W, "POST", place, {**body, "verified": True})["verified"] is True
    refused = clio.ask(U, "POST", place, body)
    assert (refused.status_code, refused.json()["detail"]) == (403, "no permission to modify verified atlas pt")
    assert clio.told(W, "GET", f"/v2/atlas/{DATASET}") == {}
    assert [one["id"] for one in clio.told(W, "GET", "/v2/atlas/all")] == [first["id"]]
    assert clio.told("nobody@t.com", "GET", "/v2/atlas/all") == []
    assert clio.ask(U, "POST", f"/atlas-verify/{first['id']}").status_code == 403
    assert clio.told(W, "POST", f"/atlas-verify/{first['id']}")["verified"] is False
    assert clio.told(V, "GET", "/atlas/all") == []  # not verified, and not V's
    assert clio.ask(W, "POST", "/v2/atlas-verify/none").status_code == 404
    assert clio.told(U, "DELETE", place) is None
    assert clio.told(W, "GET", "/v2/atlas/all") == []


# ---- searches, values ---------------------------------------------------------------------------------------------


def test_saved_searches(clio: Clio) -> None:
    path = f"/v2/savedsearches/{DATASET}"
    assert clio.told(U, "POST", f"{path}?x=1&y=2&z=3", {"note": "n"}) is None
    assert clio.told(U, "POST", f"{path}?x=1&y=2&z=3", {"note": "m"}) is None
    found = clio.told(U, "GET", path)
    assert list(found) == ["1_2_3"]
    assert (found["1_2_3"]["note"], found["1_2_3"]["email"]) == ("m", U)
    assert clio.ask(U, "POST", f"{path}?x=1.5&y=2&z=3", {}).status_code == 422
    assert clio.ask(R, "GET", path).status_code == 403
    assert clio.told(U, "DELETE", f"{path}?x=1&y=2&z=3") is None
    assert clio.told(U, "GET", path) == {}


def test_key_values_and_pull_requests(clio: Clio) -> None:
    assert clio.told(U, "POST", "/v2/kv/sc/k1", {"a": 1}) is None
    assert clio.told(U, "GET", "/v2/kv/sc/k1") == {"a": 1}
    assert clio.told(U, "GET", "/v2/kv/sc/k1?timestamp=true")["_timestamp"] > 1.7e9
    assert clio.told(U, "GET", "/v2/kv/sc") == {"k1": {"a": 1}}
    missing = clio.ask(U, "GET", "/v2/kv/sc/none")
    assert (missing.status_code, missing.json()) == (404, {"detail": "no key-value found for key none, scope sc"})
    assert clio.told(U, "GET", "/v2/kv/none") == clio.told(V, "GET", "/v2/kv/sc") == {}
    assert clio.ask(U, "PUT", "/v2/kv/sc/k1", {}).status_code == 405
    clio.told(U, "POST", "/v2/kv/merges-mb20/mainToOthers", {"1": [2, 3]})
    assert clio.told(U, "POST", "/v2/pull-request", {"pull": "kv/merges-mb20/mainToOthers"}) is None
    clio.told(U, "POST", "/v2/kv/merges-mb20/mainToOthers", {})  # what was handed in stays
    found = clio.told(U, "GET", "/v2/pull-request?user_email=")
    assert found[U]["merges-mb20"]["mainToOthers"].pop("_timestamp") > 1.7e9
    assert found == {U: {"merges-mb20": {"mainToOthers": {"1": [2, 3]}}}}
    assert clio.ask(V, "GET", "/v2/pull-request?user_email=all").status_code == 403
    assert U in clio.told(OWNER, "GET", "/v2/pull-request?user_email=all")
    assert clio.ask(U, "POST", "/v2/pull-request", {"pull": "kv/x"}).status_code == 400
    assert clio.told(U, "DELETE", "/v2/kv/sc/k1") is None


# ---- JSON annotations ---------------------------------------------------------------------------------------------


def test_records_keep_who_changed_what(clio: Clio) -> None:
    clio.told(OWNER, "POST", NEURONS, {"bodyid": 1, "number": 1234, "string": "foo"})
    clio.told(
        OWNER, "POST", f"{NEURONS}?designated_user=user3@t.com", {"bodyid": 1, "number_user": "1a", "string": "moo"}
    )
    assert clio.told(OWNER, "GET", f"{NEURONS}/id-number/1") == [{"bodyid": 1, "number": 1234, "string": "moo"}]
    (found,) = clio.told(OWNER, "GET", f"{NEURONS}/id-number/1?show=all")
    assert (found["number_user"], found["string_user"]) == ("1a", "user3@t.com")
    assert found["string_time"] >= found["number_time"]


def test_fields_are_deleted_and_protected(clio: Clio) -> None:
    clio.told(OWNER, "POST", NEURONS, {"bodyid": 3000, "a number": 5, "a list": [23], "somefield": "x"})
    clio.told(OWNER, "POST", NEURONS, {"bodyid": 3000, "a number": None, "a list": [23], "somefield": ""})
    (found,) = clio.told(OWNER, "GET", f"{NEURONS}/id-number/3000?show=user")
    assert "a number" not in found
    assert found["a number_user"] == OWNER
    clio.told(OWNER, "POST", NEURONS, {"bodyid": 1000, "status": "Traced", "empty": ""})
    posted = {"bodyid": 1000, "status": "Anchor", "comment": "changed", "empty": "filled"}
    clio.told(OWNER, "POST", f"{NEURONS}?conditional=status,empty", posted)
    (found,) = clio.told(OWNER, "GET", f"{NEURONS}/id-number/1000")
    assert found == {"bodyid": 1000, "status": "Traced", "comment": "changed", "empty": "filled"}
    clio.told(OWNER, "POST", f"{NEURONS}?replace=true&conditional=status", {"bodyid": 1000, "z": 1})
    assert clio.told(OWNER, "GET", f"{NEURONS}/id-number/1000") == [{"bodyid": 1000, "z": 1}]


QUERIES = [
    ({"class": "9A"}, [2000, 2001, 2002]),
    ([{"bodyid": [2002, 2000]}, {"bodyid": [2001]}], [2000, 2001, 2002]),
    ({"bodyid": [2002, 9999, 2000]}, [2002, 2000]),
    ({"text": "re/^(f|m)oo"}, [2000, 2001]),
    ({"text": ["moo", "goo"], "n": [2, 3]}, [2001]),
    ({"list": ["re/.*x", "re/om"]}, [2002]),
    ({"n": "exists/1", "list": "exists/0", "class": "9A"}, [2000, 2001]),
    ([{"baz": "exists/0", "class": "9A"}, {"baz": ""}], [2000, 2001, 2002]),
    ({"n": 2.0}, [2001]),
    ({"flag": True}, [2002]),
    ({"n": None}, []),
    ({"unused field": "foo"}, []),
    ({"bodyid": [2**64 - 1, 2001]}, [2001]),
    ({"bodyid": [*range(10_000_000, 10_040_000), 2001]}, [2001]),
]


@pytest.fixture(scope="module")
def queried(clio: Clio) -> str:
    path = "/v2/json-annotations/queried/neurons"
    records = [
        {"bodyid": 2000, "class": "9A", "text": "foo", "n": 1},
        {"bodyid": 2001, "class": "9A", "text": "moo", "n": 2},
        {"bodyid": 2002, "class": "9A", "list": ["room", "x"], "n": 4, "flag": True},
    ]
    clio.told(OWNER, "POST", path, records)
    return path


@pytest.mark.parametrize(("query", "ids"), QUERIES)
def test_queries(clio: Clio, queried: str, query: Any, ids: list[int]) -> None:
    assert [one["bodyid"] for one in clio.told(OWNER, "POST", f"{queried}/query", query)] == ids


@pytest.mark.parametrize("query", [[], "x", [1], {"a": "re/("}, {"a": "re/" + "x" * 1001}])
def test_what_is_no_query(clio: Clio, queried: str, query: Any) -> None:
    assert clio.ask(OWNER, "POST", f"{queried}/query", query).status_code == 400


def test_listing_records(clio: Clio, queried: str) -> None:
    assert [one["bodyid"] for one in clio.told(OWNER, "GET", f"{queried}/all?cursor=2000&size=1")] == [2001]
    assert clio.told(OWNER, "POST", f"{queried}/query?onlyid=true", {"n": [1, 4]}) == [2000, 2002]
    assert clio.told(OWNER, "GET", f"{queried}/id-number/2001?fields=n") == [{"bodyid": 2001, "n": 2}]
    assert {"bodyid", "class", "class_user"} <= {*clio.told(OWNER, "GET", f"{queried}/fields")}


def test_records_have_versions_and_a_history(clio: Clio) -> None:
    path = "/v2/json-annotations/dated/neurons"
    for version, query, fields in [
        ("v0.1", "", {"type": "a"}),
        ("v0.1", "", {"type": "b"}),
        ("v0.2", "&conditional=type,new", {"type": "c", "new": "n"}),
        ("v0.0.5", "", {"type": "old"}),
    ]:
        clio.told(OWNER, "POST", f"{path}?version={version}{query}", {"bodyid": 7, **fields})
    newest = {"bodyid": 7, "type": "b", "new": "n"}
    states = [newest, *({"bodyid": 7, "type": one} for one in ("b", "a", "old"))]
    assert clio.told(OWNER, "GET", f"{path}/id-number/7?changes=true") == states
    assert clio.told(OWNER, "GET", f"{path}/id-number/7") == [newest]
    assert clio.told(OWNER, "GET", f"{path}/id-number/7?version=v0.1") == [states[1]]
    assert clio.told(OWNER, "GET", f"{path}/id-number/7?version=v0.0.9") == [states[3]]
    assert clio.told(OWNER, "GET", f"{path}/id-number/7?version=v0.0.1") == []
    clio.told(OWNER, "DELETE", f"{path}/id-number/7")
    assert clio.told(OWNER, "GET", f"{path}/id-number/7") == []
    assert clio.told(OWNER, "GET", f"{path}/id-number/7?version=v0.1") == [states[1]]
    assert clio.told(OWNER, "GET", f"{path}/all") == []


def test_tags(clio: Clio) -> None:
    path = "/v2/json-annotations/tagged/neurons"
    assert clio.ask(OWNER, "GET", f"{path}/head_tag").status_code == 404
    for tag, uuid in (("v0.3", "de"), ("v0.4", "def456"), ("v0.5", "abc123")):
        clio.told(OWNER, "POST", f"{path}/versions", {"tag": tag, "uuid": uuid})
    assert list(clio.told(OWNER, "GET", f"{path}/versions").items()) == [
        ("v0.5", "abc123"),
        ("v0.4", "def456"),
        ("v0.3", "de"),
    ]
    assert clio.told(OWNER, "GET", f"{path}/head_tag") == "v0.5"
    assert clio.told(OWNER, "GET", f"{path}/head_uuid") == "abc123"
    assert clio.ask(OWNER, "GET", f"{path}/tag_to_uuid/zz").status_code == 404
    assert clio.told(OWNER, "GET", f"{path}/uuid_to_tag/abc") == "v0.5"
    for ambiguous in ("d", "def456789"):
        assert clio.ask(OWNER, "GET", f"{path}/uuid_to_tag/{ambiguous}").status_code == 400
    assert clio.ask(OWNER, "GET", f"{path}/uuid_to_tag/zz").status_code == 404
    bad = clio.ask(OWNER, "GET", f"{path}/id-number/1?version=v9")
    assert (bad.status_code, bad.json()["detail"]) == (400, "Bad version v9 used for dataset tagged")


def test_records_are_for_who_has_roles(clio: Clio) -> None:
    path = f"/v2/json-annotations/{DATASET}/neurons"
    assert clio.ask("nobody@t.com", "GET", f"{path}/all").status_code == 403
    assert clio.ask(U, "POST", path, {"bodyid": 1}).status_code == 403
    assert clio.ask(U, "DELETE", f"{path}/id-number/1").status_code == 403
    assert clio.told(W, "POST", path, {"bodyid": 1, "type": "a"}) is None
    assert clio.told(R, "GET", f"{path}/id-number/1") == [{"bodyid": 1, "type": "a"}]
    for wrong in ({"type": "a"}, {"bodyid": 0}, {"bodyid": "1"}, {"bodyid": 2**63}, {"bodyid": 1, "bodyid_user": "x"}):
        assert clio.ask(W, "POST", path, wrong).status_code == 400
