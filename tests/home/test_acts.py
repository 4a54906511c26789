"""Datasets added, edited and removed on pages, work begun and cancelled there: over HTTP, and in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
import zarr
from playwright.sync_api import Browser, Page, expect

from tests.clients.visit import Visit
from tests.home.axe import barriers
from tests.home.forms import Forms, Visitor
from tests.servers import Server, running
from tests.volumes import write_precomputed
from wkdvid.frontends.http import SESSION_COOKIE
from wkdvid.testing.faulty import Answer, FileServer, none

TOKEN = "administrator's-secret"
LONG_MS = 60_000
LONG_NM = 40.123456789
"""For a job to be taken up, behind what another test has begun."""
BOXES = 3
"""Of a pyramid of ``wide``."""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    folder = tmp_path_factory.mktemp("far")
    x, y, z = np.ogrid[:48, :40, :24]
    write_precomputed(folder / "em", [((1, 1, 1), (x + y + z).astype(np.uint8))], voxel_size_nm=(4, 4, 40))
    write_precomputed(folder / "wide", [((1, 1, 1), np.ones((512, 512, 16), np.uint8))])
    two = zarr.create_array(folder / "two", shape=(2, 8, 8, 8), chunks=(1, 8, 8, 8), dtype="uint16")
    two[...] = 7
    with FileServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def server(far: FileServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ = {
        "WKDVID_ACCESS__MODE": "token",
        "WKDVID_ADMIN_TOKEN": TOKEN,
        "WKDVID_SOURCES__HTTP_HOSTS": far.host,
    }
    with running(tmp_path_factory.mktemp("data"), {}, environ=environ) as started:
        yield started


@pytest.fixture
def visitor(server: Server) -> Iterator[Visitor]:
    """The administrator; whatever was added is gone afterwards."""
    someone = Visitor(server.base, {SESSION_COOKIE: TOKEN})
    yield someone
    for dataset in someone.get("/data/datasets").json():
        someone.send(f"/datasets/{dataset['organization']}/{dataset['name']}/remove", {})


def stored(server: Server) -> object:
    return json.loads((server.data_dir / "datasets.json").read_text())


def add(visitor: Visitor, far: FileServer, volume: str, **fields: str) -> None:
    found = Forms(visitor.send("/add", {"step": "look", "source": far.url + volume}).text).forms[-1]
    answer = visitor.send("/add", {**found, "organization": "lab", "dataset": "brain", **fields})
    assert answer.status_code == 303, answer.text


def slow(path: str) -> Answer | None:
    """Long enough for a job to be seen at work, and cancelled."""
    return Answer(delay_s=4.0) if path.startswith("wide/1") else None


# ---- over HTTP -------------------------------------------------------------------------------------------------------


def test_who_may_not_is_led_to_the_sign_in(server: Server) -> None:
    for path in ("/add", "/jobs", "/datasets/lab/none/edit"):
        answer = server.get(path)
        assert answer.status_code == 401
        assert f'sign-in?next={path[1:]}"' in answer.text
    refused = server.get("/add", headers={"Cookie": f"{SESSION_COOKIE}=wrong"})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ("datasets/lab/brain?x=1", "./datasets/lab/brain?x=1"),
        ("", "./"),
        ("//evil.example", "./"),
        ("https://evil.example", "./"),
        ("\\\\evil.example", "./"),
        ("x\r\nSet-Cookie: a=b", "./"),
    ],
)
def test_a_session_begins_where_it_was_wanted(server: Server, wanted: str, place: str) -> None:
    answer = Visitor(server.base, {}).send(f"/sign-in?{urlencode({'next': wanted})}", {"token": TOKEN})
    assert (answer.status_code, answer.headers["Location"]) == (303, place)
    assert answer.headers["Set-Cookie"] == f"{SESSION_COOKIE}={TOKEN}; Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize("token", ["", "wrong", "two words", "a;b", "x" * 5000])
def test_no_other_token_signs_in(server: Server, token: str) -> None:
    answer = Visitor(server.base, {}).send("/sign-in", {"token": token})
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (400, False)
    assert [*Forms(answer.text).errors] == ["token"]
    assert f'value="{token}"' not in answer.text or not token


FORMS = [
    ("/sign-in", {"token": TOKEN}),
    ("/sign-out", {}),
    ("/add", {"step": "look", "source": "em"}),
    ("/datasets/lab/brain/reload", {}),
    ("/datasets/lab/brain/remove", {}),
    ("/datasets/lab/brain/links", {"days": "7"}),
    ("/jobs/none/cancel", {}),
]


@pytest.mark.parametrize(("path", "fields"), FORMS)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", None])
def test_forms_of_other_pages_are_refused(
    server: Server, visitor: Visitor, path: str, fields: dict[str, str], origin: str | None
) -> None:
    answer = visitor.send(path, fields, headers={"Origin": origin})
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)


def test_pages_with_forms_say_where_they_are_from_to_this_server_alone(server: Server, visitor: Visitor) -> None:
    assert visitor.get("/add").headers["Referrer-Policy"] == "same-origin"
    assert server.get("/sign-in").headers["Referrer-Policy"] == "same-origin"
    assert server.get("/").headers["Referrer-Policy"] == "no-referrer"


def test_channels_are_taken_one_by_one_under_names_of_ones_own(
    server: Server, visitor: Visitor, far: FileServer
) -> None:
    looked = Forms(visitor.send("/add", {"step": "look", "source": far.url + "two"}).text).forms[-1]
    assert (looked["name.0"], looked["name.1"]) == ("two_c0", "two_c1")
    del looked["take.0"], looked["public"]
    chosen = {"organization": "lab", "dataset": "ids", "name.1": "nuclei", "type.1": "segmentation", "note": " N "}
    answer = visitor.send("/add", {**looked, **chosen})
    assert (answer.status_code, answer.headers["Location"]) == (303, "./datasets/lab/ids?done=added")
    layer = {"source": far.url + "two", "channel": 1, "type": "segmentation"}
    options = {"layers": {"nuclei": layer}, "public": False, "note": "N"}
    assert stored(server) == {"zarr": {"lab": {"ids": options}}}


def test_what_is_wrong_is_said_beside_its_field_and_all_that_was_typed_stays(
    server: Server, visitor: Visitor, far: FileServer
) -> None:
    looked = Forms(visitor.send("/add", {"step": "look", "source": far.url + "two"}).text).forms[-1]
    typed = {**looked, "organization": ".lab", "dataset": "", "name.0": "a b", "name.1": "x", "note": "<b>&"}
    answer = visitor.send("/add", typed)
    page = Forms(answer.text)
    assert answer.status_code == 400
    assert [*page.errors] == ["name.0", "organization", "dataset"]
    assert page.errors["organization"].startswith("'.lab' is not a name: 1 to 128 of")
    assert page.forms[-1] == typed
    same = Forms(visitor.send("/add", {**typed, "organization": "lab", "dataset": "d", "name.0": "x"}).text)
    assert same.errors == dict.fromkeys(("name.0", "name.1"), "Another layer has this name.")
    assert stored(server) == {}


def test_what_a_registration_refuses_is_said_beside_its_field(visitor: Visitor, far: FileServer) -> None:
    add(visitor, far, "em")
    looked = Forms(visitor.send("/add", {"step": "look", "source": far.url + "em"}).text).forms[-1]
    assert looked["organization"] == "lab"  # the only one that there is
    again = Forms(visitor.send("/add", {**looked, "dataset": "brain"}).text)
    assert again.errors == {"dataset": "there is a dataset of this name"}
    strange = {**looked, "dataset": "other", "entry.0": '{"source": 7, "sorce": 1}'}
    answer = visitor.send("/add", strange)
    assert Forms(answer.text).errors == {"source": "What is there has changed meanwhile: look at the address again."}
    assert visitor.send("/add", {**looked, "entry.0": "[]"}).status_code == 400


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "Say where the volume is."),
        ("/etc", "is outside the directories"),
        ("https://169.254.169.254/x", "not on the public internet"),
        ("nothing", "volume is there"),
    ],
)
def test_an_address_is_looked_at_by_the_servers_own_guard(visitor: Visitor, source: str, words: str) -> None:
    page = Forms(visitor.send("/add", {"step": "look", "source": source}).text)
    assert words in page.errors["source"]
    assert page.forms[-1]["source"] == source


def test_an_entry_is_edited_where_nobody_was_faster(server: Server, visitor: Visitor, far: FileServer) -> None:
    add(visitor, far, "em")
    path = "/datasets/lab/brain/edit"
    form = Forms(visitor.get(path).text).forms[-1]
    assert json.loads(form["rest"]) == {"layers": {"em": {"source": far.url + "em"}}}
    wrong = {**form, "voxel_size": "4, four", "rest": form["rest"]}
    assert [*Forms(visitor.send(path, wrong).text).errors] == ["voxel_size"]
    wrong = {**form, "clio_name": "a b", "rest": '{"layers": {"em": {"source": "/etc"}}, "sorce": 1}'}
    page = Forms(visitor.send(path, wrong).text)
    assert [*page.errors] == ["clio_name", "rest"]
    assert "sorce: unknown option" in page.errors["rest"]
    assert page.forms[-1] == wrong
    for rest in ("", "[]", "{", '{"note": "twice"}'):
        assert [*Forms(visitor.send(path, {**form, "rest": rest}).text).errors] == ["rest"]
    del form["public"]
    answer = visitor.send(path, {**form, "voxel_size": f"4,4,{LONG_NM}", "note": "N"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (303, "text/plain; charset=utf-8")
    options = {
        "layers": {"em": {"source": far.url + "em"}},
        "note": "N",
        "public": False,
        "voxel_size": [4, 4, LONG_NM],
    }
    assert Forms(visitor.get(path).text).forms[-1]["voxel_size"] == f"4, 4, {LONG_NM}"
    assert stored(server) == {"precomputed": {"lab": {"brain": options}}}
    late = visitor.send(path, {**form, "note": "late"})
    assert late.status_code == 400
    assert "was changed meanwhile" in late.text
    assert stored(server) == {"precomputed": {"lab": {"brain": options}}}


def test_a_source_is_looked_at_once_for_all_who_ask(server: Server, visitor: Visitor, far: FileServer) -> None:
    add(visitor, far, "em")
    asked, many = far.count("em/info"), 12
    far.fault = lambda path: Answer(delay_s=0.2) if path == "em/info" else None
    try:
        with ThreadPoolExecutor(many) as pool:
            answers = list(pool.map(lambda _: server.get("/datasets/lab/brain/source").status_code, range(many)))
    finally:
        far.fault = none
    assert answers == [200] * many
    assert 0 < far.count("em/info") - asked < many  # of two inspections, where a minute ends meanwhile


@pytest.mark.parametrize("path", ["/datasets/lab/none/edit", "/datasets/lab/none/remove", "/datasets/lab/none/jobs"])
def test_of_what_there_is_not_there_is_no_page(visitor: Visitor, path: str) -> None:
    assert visitor.get(path).status_code == 404
    assert visitor.send(path, {"rest": "{}"}).status_code == 404


def test_a_dataset_without_its_source_can_be_edited_and_removed(visitor: Visitor, far: FileServer) -> None:
    add(visitor, far, "em")
    far.fault = lambda path: 404
    try:
        assert visitor.send("/datasets/lab/brain/reload", {}).headers["Location"].endswith("?done=reloaded")
        page = visitor.get("/datasets/lab/brain")
        assert page.status_code == 503
        assert "there is no info" in page.text
        assert 'href="../../datasets/lab/brain/remove"' in page.text
    finally:
        far.fault = none


def test_what_is_no_form_is_refused(visitor: Visitor) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"\xff=1", b"&".join(b"a%d=1" % i for i in range(3000))):
        address = f"{visitor.base}/add"
        assert visitor.session.post(address, data=body, headers=headers, timeout=60).status_code == 400


# ---- in a browser ----------------------------------------------------------------------------------------------------


def check_quiet(visit: Visit, server: Server, *refused: str) -> None:
    """Nobody else was asked, and nothing failed but what had to."""
    assert visit.hosts == {urlsplit(server.base).netloc}
    assert visit.refused == [f"400 {server.base}{path}" for path in refused]
    assert len(visit.complaints) == len(refused)


def sign_in(page: Page, server: Server) -> None:
    page.goto(f"{server.base}/sign-in?next=add")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()


def test_a_dataset_comes_and_goes(browser: Browser, server: Server, visitor: Visitor, far: FileServer) -> None:
    with Visit(browser) as visit:
        page = visit.page
        page.goto(server.base)
        page.get_by_role("link", name="Sign in").click()
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_label("Token")).to_have_accessible_description(re.compile("This is not the admin"))
        assert barriers(page) == []
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator(".account")).to_contain_text("Administrator")
        page.get_by_role("link", name="Add a dataset").click()

        page.get_by_label("Address").fill(far.url + "nothing")
        page.get_by_role("button", name="Look").click()
        expect(page.locator("#error-source")).to_contain_text("volume is there")
        page.get_by_label("Address").fill(far.url + "em")
        page.get_by_role("button", name="Look").click()
        picture = page.get_by_alt_text("The middle of em, in x and y")
        assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [48, 40]
        expect(page.get_by_role("group", name="Layer em")).to_contain_text("4 × 4 × 40 nm")
        page.get_by_label("Organization").fill("my/lab")
        page.get_by_label("Name").last.fill("brain")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#error-organization")).to_contain_text("'my/lab' is not a name")
        assert barriers(page) == []
        expect(page.get_by_label("Name").last).to_have_value("brain")
        page.get_by_label("Organization").fill("my lab")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("status").first).to_have_text("Added.")

        page.get_by_role("link", name="Edit").click()
        assert barriers(page) == []
        page.get_by_label("Note").fill("A brain")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").first).to_have_text("Changed.")
        page.get_by_role("button", name="Reload").click()
        expect(page.get_by_role("status").first).to_contain_text("afresh")
        page.get_by_role("link", name="Datasets").click()
        expect(page.get_by_role("article")).to_contain_text("my lab brain")
        page.get_by_role("link", name="my lab brain").click()
        page.get_by_role("link", name="Remove").click()
        assert barriers(page) == []
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_role("article")).to_have_count(0)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        assert page.context.cookies() == []
        check_quiet(visit, server, "/sign-in?next=", "/add", "/add")


def test_without_scripts_all_of_it_works(browser: Browser, server: Server, visitor: Visitor, far: FileServer) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    try:
        sign_in(page, server)
        page.get_by_label("Address").fill(far.url + "wide")
        page.get_by_role("button", name="Look").click()
        page.get_by_label("Organization").fill("lab")
        page.get_by_role("button", name="Add", exact=True).click()
        page.get_by_role("link", name="Jobs").last.click()
        far.fault = slow
        page.get_by_role("button", name="Begin pyramid, wide").click()
        assert page.locator("noscript meta[http-equiv=refresh]").count() == 1
        page.get_by_role("button", name="Cancel pyramid, lab/wide, wide").click()
        expect(page.get_by_role("row").nth(1)).to_contain_text("cancelled")
    finally:
        far.fault = none
        context.close()


def test_a_job_is_watched_and_cancelled(browser: Browser, server: Server, visitor: Visitor, far: FileServer) -> None:
    add(visitor, far, "wide")
    with Visit(browser) as visit:
        page = visit.page
        sign_in(page, server)
        page.goto(f"{server.base}/datasets/lab/brain/jobs")
        far.fault = slow
        page.get_by_role("button", name="Begin pyramid, wide").click()
        first = page.get_by_role("row").nth(1)
        expect(first).to_contain_text(f"0 of {BOXES} boxes", timeout=LONG_MS)
        visitor.session.delete(f"{server.base}/api/jobs/{first.get_attribute('id')}", json={}, timeout=60)
        expect(first.locator("[data-state]")).to_have_text("cancelled")  # without being loaded anew
        assert barriers(page) == []
        far.fault = none
        page.get_by_role("button", name="Begin again: pyramid, wide").click()
        page.evaluate("window.same = true")
        expect(first.locator("[data-state]")).to_have_text("done", timeout=LONG_MS)
        expect(first).to_contain_text(f"{BOXES} of {BOXES} boxes")
        expect(page.get_by_role("progressbar")).to_have_count(0)
        assert page.evaluate("window.same")
        check_quiet(visit, server)
    assert "pyramids" in json.dumps(stored(server))


def test_a_link_is_made_and_revoked(browser: Browser, server: Server, visitor: Visitor, far: FileServer) -> None:
    add(visitor, far, "em")
    with Visit(browser) as visit:
        page = visit.page
        sign_in(page, server)
        page.goto(f"{server.base}/datasets/lab/brain")
        page.get_by_role("link", name="Share").click()
        page.get_by_label("Days").fill("400")
        page.get_by_role("button", name="Make a link").click()
        expect(page.locator("#error-days")).to_contain_text("up to 366")
        page.get_by_label("Days").fill("2")
        page.get_by_label("What it shares").select_option("em")
        page.get_by_role("button", name="Make a link").click()
        assert barriers(page) == []
        shared = page.locator(".way code").inner_text()
        assert server.get(urlsplit(shared).path + "datasets/lab/brain").status_code == 200
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_text("There are no links")).to_be_visible()
        assert server.get(urlsplit(shared).path + "datasets/lab/brain").status_code == 404
        check_quiet(visit, server, "/datasets/lab/brain/links")


def test_nothing_of_the_server_is_told_to_who_looks(server: Server, tmp_path: Path, visitor: Visitor) -> None:
    answer = visitor.send("/add", {"step": "look", "source": str(tmp_path)})
    assert str(server.data_dir) not in answer.text
    assert TOKEN not in visitor.get("/add").text
