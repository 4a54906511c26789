"""``wkdvid annotations``: typed annotations from a file into the database, or out of it, without a running server."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wkdvid.cli.accounts import add_database_arguments, opened_database
from wkdvid.cli.text import complain
from wkdvid.errors import ConfigError

if TYPE_CHECKING:
    from wkdvid.export.annotations.streams import Parts
    from wkdvid.metadata.clio.annotations import Annotations

NAME = "annotations"
HELP = "import or export points, lines and spheres"
EXAMPLES = """\
Forms are csv, nml (both ways), parquet and dvid (export). DATASET is ORG/DATASET where it is registered, else the name
that it has at clio. With --dry-run an import only tells what is wrong, by line; without, nothing is changed unless all
is right.

examples:
  wkdvid annotations import lab/brain synapses.csv --email ada@lab.org --dry-run
  wkdvid annotations import lab/brain tracing.nml --email ada@lab.org
  wkdvid annotations export lab/brain all.csv
  wkdvid annotations export lab/brain hers.nml --email ada@lab.org
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("act", choices=("import", "export"))
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--format", help="csv, nml, parquet or dvid (default: as the file's name ends)")
    parser.add_argument("--email", help="whose: needed to import what does not say; exported is everybody's without")
    parser.add_argument("--dry-run", action="store_true", help="import nothing, tell what is wrong")
    parser.add_argument("--skip-errors", action="store_true", help="import what is right")
    add_database_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import asyncio

    from wkdvid.metadata.clio.annotations import Annotations
    from wkdvid.metadata.queries import Queries

    form = args.format or args.file.suffix.lower().removeprefix(".")
    with opened_database(args) as (engine, _):
        store = Annotations(Queries(engine))
        if args.act == "export":
            asyncio.run(_export(args, form, store))
            return 0
        return asyncio.run(_import(args, form, store))


async def _export(args: argparse.Namespace, form: str, store: Annotations) -> None:
    from wkdvid.core.annotations import Selection
    from wkdvid.export.annotations import streams

    wanted = Selection(dataset=args.dataset, emails=[args.email.lower()] if args.email else None)
    pages = store.pages(wanted)
    forms: dict[str, Parts] = {
        "csv": streams.as_csv(pages),
        "nml": streams.as_nml(pages, args.dataset, (1.0, 1.0, 1.0)),
        "parquet": streams.as_parquet(pages),
        "dvid": streams.as_elements(pages),
    }
    if form not in forms:
        raise ConfigError(f"--format: expected one of {', '.join(forms)}, got {form[:40]!r}")
    with args.file.open("wb") as file:
        async for part in forms[form]:
            file.write(part)


async def _import(args: argparse.Namespace, form: str, store: Annotations) -> int:
    from wkdvid.export.annotations.imports import FORMS, Source
    from wkdvid.metadata.clio.annotations import Puts

    if form not in FORMS:
        raise ConfigError(f"--format: expected one of {', '.join(FORMS)}, got {form[:40]!r}")
    if "@" not in (args.email or ""):
        raise ConfigError("--email: needed, as the one who imports")
    source = Source(form, args.file.read_bytes(), args.email.lower(), for_others=True)
    report = source.check()
    for one in report.problems:
        complain(f"{args.file}:{one.line}", one.problem)
    if report.wrong and not args.skip_errors:
        print(f"{report.right} right, {report.wrong} wrong: nothing imported", file=sys.stderr)
        return 1
    imported = 0 if args.dry_run else await store.put(args.dataset, Puts(source), source.email)
    print(f"{report.right} right, {report.wrong} wrong, {imported} imported")
    return 0
