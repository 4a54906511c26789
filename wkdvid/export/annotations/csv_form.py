"""CSV: a header, then a row for each annotation.

A spreadsheet takes a text that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and runs it: such a text has an
apostrophe before it, which is taken away again when it is read.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from wkdvid.core.annotations import Annotation
from wkdvid.errors import InvalidRequest
from wkdvid.export.annotations.rows import COLUMNS, SHOWN, Found, Wrong, found, texts

CONTENT_TYPE = "text/csv; charset=utf-8"
_NEEDED = ("x", "y", "z")
_FREE = ("user", "title", "description")
"""Columns of any text."""
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def header() -> bytes:
    return ",".join(COLUMNS).encode() + b"\r\n"


def rows(annotations: Iterable[Annotation]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\r\n")  # so that a lone \r is quoted too
    for one in annotations:
        cells = texts(one)
        writer.writerow({**cells, **{name: _guarded(cells[name]) for name in _FREE}})
    return out.getvalue().encode()


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def read(body: bytes, email: str) -> Iterator[Found]:
    """
    Args:
        body: UTF-8. Its header has ``x``, ``y`` and ``z`` and of ``COLUMNS`` what else there is, in any order.
        email: Whose the rows are that do not say.
    Raises:
        InvalidRequest: no such header, or no CSV.
    """
    lines = io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(lines, strict=True)
    try:
        names = _names(next(reader, []))
        begin = reader.line_num + 1
        for row in reader:
            if row:
                yield _found(begin, names, row, email)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InvalidRequest(f"line {reader.line_num}: not CSV: {error}") from error


def _names(row: Sequence[str]) -> Sequence[str]:
    names = [name.strip().lower() for name in row]
    unknown = [name[:SHOWN] for name in names if name not in COLUMNS]
    missing = [name for name in _NEEDED if name not in names]
    if unknown or missing or len(set(names)) < len(names):
        wrong = f"no column {', '.join(missing)}" if missing else f"unknown or repeated columns {unknown or names}"
        raise InvalidRequest(f"line 1: {wrong}; a header has {', '.join(COLUMNS)}, of which x, y and z are needed")
    return names


def _found(line: int, names: Sequence[str], row: Sequence[str], email: str) -> Found:
    if len(row) != len(names):
        return Wrong(line, f"{len(row)} cells, where the header has {len(names)}")
    if any("\ud800" <= letter <= "\udfff" for cell in row for letter in cell):
        return Wrong(line, "not UTF-8")
    cells: Mapping[str, str] = dict(zip(names, row, strict=True))
    return found(line, {**cells, **{name: _plain(cells[name]) for name in _FREE if name in cells}}, email)


def _plain(text: str) -> str:
    return text[1:] if _GUARDED.match(text) else text
