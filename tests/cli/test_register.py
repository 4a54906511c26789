"""``wkdvid register``: the row in a real PostgreSQL, in tables of several years of webKnossos, and ``--check``."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.metadata.databases import PostgreSQL
from tests.servers import Server, free_port, running
from wkdvid.cli import main
from wkdvid.testing.faulty import Answer, FileServer, redirected
from wkdvid.testing.webknossos import MainServer

URL = r"CHECK ({} ~* '^https?://[a-z0-9\.]+.*$')"
COMMON = (
    r"name TEXT PRIMARY KEY NOT NULL CHECK (name ~* '^[A-Za-z0-9\-_\.]+$')",
    f"url TEXT UNIQUE NOT NULL {URL.format('url')}",
    "key VARCHAR(1024) NOT NULL",
    *(f"{flag} BOOLEAN NOT NULL DEFAULT FALSE" for flag in ("isScratch", "isDeleted")),
)
PUBLIC = (f"publicUrl TEXT UNIQUE NOT NULL {URL.format('publicUrl')}", "allowsUpload BOOLEAN NOT NULL DEFAULT TRUE")
IS_CONNECTOR, IS_FOREIGN = (f"{flag} BOOLEAN NOT NULL DEFAULT FALSE" for flag in ("isConnector", "isForeign"))
ONLY = "onlyAllowedOrganization TEXT"
STORAGE = "reportUsedStorageEnabled BOOLEAN NOT NULL DEFAULT FALSE"
TABLES: Mapping[str, tuple[str, ...]] = {
    "2019": (*COMMON, IS_CONNECTOR, IS_FOREIGN),
    "2021": (*COMMON, *PUBLIC, ONLY, IS_FOREIGN, IS_CONNECTOR),
    "2023": (*COMMON, *PUBLIC, ONLY, IS_CONNECTOR),
    "2025": (*COMMON, *PUBLIC, ONLY, STORAGE),
    "2026": (*COMMON, *PUBLIC, ONLY),
}
"""The columns of webknossos.dataStores over the years."""
PRINTED = {"2021": "old", "2023": "old", "2025": "new", "2026": "new"}
SECRET = "it's \\ \"secret\" :'key' $1 %s"
OURS = "https://em.example.org"
PASSWORD = "pa55word"

Register: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], key: str) -> Register:
    """Runs the command; what it says never holds the key, but where that is asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text(f"{key}\n")
    monkeypatch.setenv("WKDVID_WEBKNOSSOS__KEY", "file:key")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["register", *arguments])
        output, errors = capfd.readouterr()
        assert "--show-key" in arguments or key not in output + errors
        return code, output, errors

    return run


@pytest.fixture
def key() -> str:
    return SECRET


def new_database(postgresql: PostgreSQL, columns: tuple[str, ...]) -> str:
    url = postgresql.new_database()
    with psycopg.connect(url) as connection:
        table = f"CREATE SCHEMA webknossos; CREATE TABLE webknossos.dataStores({', '.join(columns)})"
        connection.execute(table.encode())
    return url


def rows(url: str) -> dict[str, dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        found = connection.execute("SELECT * FROM webknossos.dataStores").fetchall()
    return {row["name"]: row for row in found}


def expected(columns: tuple[str, ...], **changed: object) -> dict[str, object]:
    values: dict[str, object] = {
        "name": "wkdvid",
        "url": OURS,
        "publicurl": OURS,
        "key": SECRET,
        **dict.fromkeys(("isscratch", "isdeleted", "allowsupload", "isforeign", "reportusedstorageenabled"), False),
        "isconnector": True,
        "onlyallowedorganization": None,
    }
    names = [column.split()[0].lower() for column in columns]
    return {**{name: values[name] for name in names}, **changed}


@pytest.mark.parametrize("year", TABLES)
def test_the_row_is_written_once_and_kept_up_to_date(
    year: str, postgresql: PostgreSQL, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(postgresql, TABLES[year])
    options = ("--public-url", OURS, "--database-url", url)
    assert register(*options) == (0, f"wkdvid: registered, at {OURS}, for browsers at {OURS}\n", "")
    assert rows(url) == {"wkdvid": expected(TABLES[year])}
    assert register(*options) == (0, "wkdvid: is registered so already\n", "")
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE webknossos.dataStores SET key = 'old', isDeleted = TRUE")
    monkeypatch.setenv("WKDVID_SERVER__INTERNAL_URL", "http://10.0.0.1:8000/")
    code, said, _ = register(*options)
    assert (code, said) == (0, "wkdvid: changed (url, key, isdeleted)\n")
    assert rows(url) == {"wkdvid": expected(TABLES[year], url="http://10.0.0.1:8000")}


@pytest.mark.parametrize("year", PRINTED)
def test_the_printed_sql_makes_the_same_row(year: str, postgresql: PostgreSQL, register: Register) -> None:
    url = new_database(postgresql, TABLES[year])
    code, sql, _ = register("--public-url", OURS, "--schema", PRINTED[year], "--show-key")
    assert code == 0
    for conforming in ("on", "off"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"SET standard_conforming_strings = {conforming}".encode())
            connection.execute(sql.encode())
        assert rows(url) == {"wkdvid": expected(TABLES[year])}


def test_psql_fills_the_key_in(postgresql: PostgreSQL, register: Register, tmp_path: Path) -> None:
    url = new_database(postgresql, TABLES["2026"])
    _, sql, _ = register("--public-url", OURS)
    psql = partial(subprocess.run, ["psql", "-qX", "-v", "ON_ERROR_STOP=1", url], text=True, capture_output=True)
    assert psql(input=sql).returncode != 0
    assert rows(url) == {}, "without a key there is no row"
    done = psql(input=f"\\set key `cat {tmp_path / 'key'}`\n{sql}")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(url) == {"wkdvid": expected(TABLES["2026"])}


@pytest.mark.parametrize("column", ["url", "publicUrl"])
def test_an_address_that_another_has_is_explained(column: str, postgresql: PostgreSQL, register: Register) -> None:
    url = new_database(postgresql, TABLES["2026"])
    with psycopg.connect(url) as connection:
        row = {"url": "http://localhost:9000", "publicUrl": "http://localhost:9000", column: OURS}
        connection.execute(
            "INSERT INTO webknossos.dataStores (name, url, publicUrl, key) VALUES ('localhost', %s, %s, 'k')",
            [row["url"], row["publicUrl"]],
        )
    before = rows(url)
    code, said, complaint = register("--public-url", OURS, "--database-url", url)
    assert (code, said, rows(url)) == (1, "", before)
    assert f"the datastore 'localhost' already has the {column.lower()} {OURS}" in complaint
    assert {"url": "server.internalUrl", "publicUrl": "--public-url"}[column] in complaint


def test_what_the_table_does_not_take_is_said_in_its_words(postgresql: PostgreSQL, register: Register) -> None:
    url = new_database(postgresql, (*TABLES["2026"], "realm TEXT NOT NULL"))
    code, _, complaint = register("--public-url", OURS, "--database-url", url)
    assert (code, rows(url)) == (1, {})
    assert "does not take the row" in complaint
    assert '"realm"' in complaint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--name", "em data"], "name: 'em data' is not"),
        (["--public-url", "em.example.org"], "url: 'em.example.org' is not"),
        (["--public-url", "https://em.example.org/?a=b"], "url: 'https://em.example.org/?a=b' is not"),
        (["--key", "s3cr3t"], "a secret is not written here"),
        (["--database-url", "sqlite:///x"], "--database-url: expected postgresql://"),
        (["--database-url", "$NOWHERE"], "--database-url: $NOWHERE: there is no such secret"),
        (["--database-url", f"postgresql://user:{PASSWORD}@host:port/db"], "--database-url: expected"),
        (["--check"], "set webknossos.url, or give --main"),
    ],
)
def test_wrong_usage_is_one_line(options: list[str], words: str, register: Register) -> None:
    code, said, complaint = register("--public-url", OURS, *options)
    assert (code, said, len(complaint.splitlines())) == (2, "", 1)
    assert words in complaint
    assert PASSWORD not in complaint
    assert "s3cr3t" not in complaint


def test_a_database_of_another_kind_or_none(postgresql: PostgreSQL, register: Register, tmp_path: Path) -> None:
    code, _, complaint = register("--public-url", OURS, "--database-url", postgresql.new_database())
    assert (code, "no table webknossos.dataStores" in complaint) == (2, True)
    (tmp_path / "database").write_text(f"postgresql://user:{PASSWORD}@/db?host={tmp_path}\n")
    code, _, complaint = register("--public-url", OURS, "--database-url", "file:database")
    assert (code, "the database cannot be used" in complaint, PASSWORD in complaint) == (1, True, False)


def test_a_key_is_needed_and_the_way_to_one_is_told(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WKDVID_WEBKNOSSOS__KEY")
    code, _, complaint = register("--show-key")
    assert (code, "openssl rand -hex 24" in complaint) == (2, True)
    assert register()[0] == 0


# ---- --check --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def main_server() -> Iterator[MainServer]:
    with MainServer() as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("checked"), {}) as started:
        yield started


@pytest.fixture
def check(
    register: Register, main_server: MainServer, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    monkeypatch.setenv("DATASTORE_KEY", main_server.key)
    main_server.state.public_url = server.base

    def run(*options: str) -> tuple[int, str]:
        usual = ("--main", main_server.url, "--public-url", server.base, "--key", "$DATASTORE_KEY")
        code, said, complaint = register("--check", *usual, *options)
        assert complaint == ""
        assert main_server.key not in said
        return code, said

    return run


Check: TypeAlias = Callable[..., tuple[int, str]]


def test_all_is_well(check: Check, main_server: MainServer, server: Server) -> None:
    code, said = check()
    assert (code, "WRONG" in said, len(said.splitlines())) == (0, False, 5), said
    assert f"the main server answers at {main_server.url}" in said
    assert "it knows a datastore 'wkdvid' with this key" in said
    assert f"it sends browsers to {server.base}, as it should" in said
    assert f"this server answers at {server.base}" in said
    assert f"pages of {main_server.url} may read from {server.base}" in said
    assert main_server.state.datastore_url == server.base


def test_name_and_key_have_to_be_those_of_the_row(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    for options in (("--name", "other"), ("--key", "$WRONG_KEY")):
        monkeypatch.setenv("WRONG_KEY", "wrong")
        code, said = check(*options)
        assert (code, said.count("WRONG")) == (1, 1)
        assert "the row is missing, or has another key" in said


def test_browsers_have_to_be_sent_here(check: Check, main_server: MainServer) -> None:
    main_server.state.public_url = "https://elsewhere.example.org"
    code, said = check()
    assert (code, said.count("WRONG")) == (1, 1)
    assert "it sends browsers to https://elsewhere.example.org (publicUrl of the row)" in said


def test_the_row_itself_is_looked_at(check: Check, postgresql: PostgreSQL, server: Server, register: Register) -> None:
    url = new_database(postgresql, TABLES["2026"])
    code, _, complaint = register(
        *("--check", "--main", "http://127.0.0.1:1", "--public-url", OURS, "--database-url", url)
    )
    assert (code, complaint) == (1, "wkdvid register: webknossos.dataStores has no row 'wkdvid'\n")
    register("--public-url", OURS, "--database-url", url)
    said = check("--database-url", url)[1]
    assert f"the row's url is {OURS}, and this server's is {server.base}" in said
    assert f"the row's public url is {OURS}" in said
    assert "the row's key is not the one that is configured here" in said
    assert register("--public-url", server.base, "--key", "$DATASTORE_KEY", "--database-url", url)[0] == 0
    code, said = check("--database-url", url)
    assert (code, "the row of 'wkdvid' has the name, the key and the addresses of this server" in said) == (0, True)


def test_the_main_servers_own_way_is_asked_too(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WKDVID_SERVER__INTERNAL_URL", "http://127.0.0.1:1")
    code, said = check()
    assert (code, "this server does not answer at http://127.0.0.1:1" in said) == (1, True), said


def test_who_does_not_answer_is_said(check: Check) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    code, said = check("--main", nowhere)
    assert (code, f"does not reach the main server at {nowhere}" in said) == (1, True)
    code, said = check("--public-url", nowhere)
    assert (code, f"this server does not answer at {nowhere}" in said) == (1, True)
    assert f"whether pages may read from {nowhere} cannot be seen" in said


def test_addresses_that_cannot_work_are_known_without_asking(check: Check) -> None:
    said = check("--main", "https://wk.example.invalid")[1]
    assert "is this machine's own; the main server does not reach it from elsewhere" in said
    said = check("--main", "https://wk.example.invalid", "--public-url", "http://em.example.invalid")[1]
    assert "browsers do not let them read from http://em.example.invalid by http" in said
    assert "its name cannot be resolved" in said


def test_others_that_answer_are_not_taken_for_it(check: Check, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    with FileServer(tmp_path / "web") as web:
        web.fault = lambda path: Answer(status=200, body=b"<html>Welcome</html>")
        there = web.url.rstrip("/")
        assert f"what answers at {there} is no main server of webKnossos" in check("--main", there)[1]
        said = check("--public-url", there)[1]
        assert f"what answers at {there} is not wkdvid (status 200)" in said
        assert f"may not read from {there}: the preflight (OPTIONS) has status" in said
        web.fault = lambda path: redirected("https://wk.example.org/")
        said = check("--main", there)[1]
        assert "it redirects to 'https://wk.example.org/'" in said
        assert not [asked for asked in web.requests if "key=" in asked.target], "nobody else is shown the key"
