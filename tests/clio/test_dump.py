"""All that clio's clients keep, from one database into another, and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.metadata.databases import PostgreSQL
from wkdvid.cli import main
from wkdvid.core.annotations import Annotation
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.users import User
from wkdvid.errors import InvalidRequest
from wkdvid.metadata.clio import dump
from wkdvid.metadata.clio.annotations import Annotations, Puts
from wkdvid.metadata.clio.datasets import Datasets
from wkdvid.metadata.clio.dump import TABLES, exported, imported
from wkdvid.metadata.clio.neurons import Collection, Neurons
from wkdvid.metadata.clio.points import Points
from wkdvid.metadata.clio.values import Values
from wkdvid.metadata.clio.volumes import SiteReports, Volumes
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.queries import Queries
from wkdvid.metadata.users import SqlUsers

ADA = "ada@lab.org"
NewEngine = Callable[[str], sa.Engine]


@pytest.fixture
def new_engine(tmp_path: Path, postgresql: PostgreSQL) -> Iterator[NewEngine]:
    made: list[sa.Engine] = []

    def new(kind: str) -> sa.Engine:
        url = postgresql.new_database() if kind == "postgresql" else f"sqlite:///{tmp_path / f'{len(made)}.db'}"
        migrate(url)
        made.append(open_engine(url))
        return made[-1]

    yield new
    for engine in made:
        engine.dispose()


async def fill(engine: sa.Engine, folder: Path) -> None:
    """Something in every table."""
    queries, counter = Queries(engine), SharedCounter(folder / "counter")
    users = SqlUsers(engine, counter)
    user = User(email=ADA, name="Ada", global_roles=("admin",), datasets={"a/b": ("clio_read",)}, groups=("g", "h"))
    await users.change({ADA: lambda _: user}, ADA)
    await users.add_token("ab" * 32, ADA, "label", None)
    await Datasets(queries, counter).put({"a/b": {"description": "dé", "public": True}}, ADA, lambda *_: None)
    for kind in ("v1", "search", "atlas"):
        await Points(queries, kind).put("a/b", ADA, (1, -2, 3), ADA, lambda _: ({"title": "t"}, True))
    await Values(queries).put(ADA, "s", "k", {"n": 2**63 - 1, "text": "\0"})
    await Values(queries).hand_in(ADA, "s", "k")
    await Volumes(queries).put({"v": {"bucket": "b", "path": "p"}}, ADA)
    await SiteReports(queries).add(ADA, [1])
    of = Collection("a/b", "neurons")
    for i in range(3):
        await Neurons(queries).put(of, [(7, lambda stored, i=i: {**stored, f"f{i}": i})], ADA, i)  # type: ignore[misc]
    await Neurons(queries).remove(of, 7, ADA)
    await Neurons(queries).put_tag(of, "v0.1", "abc", ADA)
    points = [Annotation(email=ADA, kind="point", pos=(i, 0, 0), fields={}) for i in range(30)]
    await Annotations(queries).put("a/b", Puts(points), ADA)


@pytest.mark.parametrize(("one", "other"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_everything_comes_along(
    new_engine: NewEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: str, other: str
) -> None:
    monkeypatch.setattr(dump, "CHUNK", 7)
    source, target = new_engine(one), new_engine(other)
    asyncio.run(fill(source, tmp_path))
    lines = list(exported(source))
    tables = {json.loads(line)[0] for line in lines}
    assert tables == {*TABLES, "format", "end"}
    rows = len(lines) - 2
    tried = imported(target, lines, dry_run=True)
    assert (tried.added, tried.changed, tried.same) == (rows, 0, 0)
    assert len(list(exported(target))) == 2
    assert imported(target, lines).added == rows
    assert list(exported(target)) == lines
    again = imported(target, lines)
    assert (again.added, again.changed, again.same) == (0, 0, rows)
    assert list(exported(target)) == lines


def test_a_changed_row_is_replaced_and_others_stay(new_engine: NewEngine, tmp_path: Path) -> None:
    engine = new_engine("sqlite")
    asyncio.run(fill(engine, tmp_path))
    lines = list(exported(engine))
    values = Values(Queries(engine))
    asyncio.run(values.put(ADA, "s", "k", {"new": 1}))
    asyncio.run(values.put(ADA, "s", "other", {}))
    assert imported(engine, lines).changed == 1
    kept = asyncio.run(values.in_scope(ADA, "s"))
    assert [(one.key, one.document) for one in kept] == [("k", {"n": 2**63 - 1, "text": "\0"}), ("other", {})]


def broken(lines: list[bytes]) -> Iterator[list[bytes]]:
    yield []
    yield lines[:-1]  # cut off
    yield [*lines[:5], *lines[6:]]  # one is missing
    yield lines[1:]
    yield [*lines, lines[-1]]
    yield [*lines[:3], b"[", *lines[4:]]
    yield [*lines[:3], b"{}", *lines[4:]]
    yield [*lines[:3], b'["jobs", {}]', *lines[4:]]
    yield [*lines[:3], b'["users", {}]', *lines[4:]]
    for wrong in ('"at": "1"', '"at": null', '"document": 1', f'"key": "{"x" * 301}"', '"kind": true'):
        name = wrong.split(":")[0]
        row = json.loads(next(line for line in lines if line.startswith(b'["clio_values"')))[1]
        text = json.dumps(["clio_values", row | json.loads(f"{{{wrong}}}")])
        assert name in text
        yield [*lines[:-2], text.encode(), lines[-1]]


def test_what_is_broken_changes_nothing(new_engine: NewEngine, tmp_path: Path) -> None:
    source, target = new_engine("sqlite"), new_engine("sqlite")
    asyncio.run(fill(source, tmp_path))
    lines = list(exported(source))
    for one in broken(lines):
        with pytest.raises(InvalidRequest):
            imported(target, one)
    assert len(list(exported(target))) == 2


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, old, new = tmp_path / "clio.jsonl", tmp_path / "old", tmp_path / "new"
    auth = tmp_path / "auth.json"
    given = {"Ada@Lab.org": {"name": "Ada", "global_roles": ["clio_general"], "datasets": {"mb20": ["clio_write"]}}}
    auth.write_text(json.dumps({"users": given, "datasets": {"mb20": {"public": True}}}))

    def run(*arguments: str | Path) -> str:
        assert main([*map(str, arguments)]) == 0
        return capsys.readouterr().out

    assert "nothing was changed" in run("import-clio", auth, "--dry-run", "--data-dir", old)
    assert run("export-clio", file, "--data-dir", old) == "0 rows\n"
    assert run("import-clio", auth, "--data-dir", old) == "1 users, 1 datasets\n"
    told = run("user", "list", "--data-dir", old)
    assert told.split() == [
        "ada@lab.org",
        "clio_general,",
        "clio_write",
        "of",
        "mb20",
    ]
    run("export-clio", file, "--data-dir", old)
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("import-clio", file, "--data-dir", new).startswith("4 rows added")
    file.write_bytes(file.read_bytes()[:-20])
    assert main(["import-clio", str(file), "--data-dir", str(new)]) != 0
    assert main(["import-clio", str(tmp_path / "none"), "--data-dir", str(new)]) != 0
