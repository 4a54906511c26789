"""Parquet. Tags and properties are JSON, as a column has one type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from wkdvid.core.annotations import Annotation
from wkdvid.export.annotations.rows import COLUMNS, CORNERS, texts
from wkdvid.extras import imported

CONTENT_TYPE = "application/vnd.apache.parquet"


def write(pages: Iterable[Sequence[Annotation]], file: IO[bytes]) -> None:
    """Columns are ``rows.COLUMNS``: coordinates int64, all else text; null where there is nothing.

    Raises:
        UnsupportedRequest: the library is not installed.
    """
    core, io = (imported(f"arro3.{name}", "clio", "Parquet needs arro3") for name in ("core", "io"))
    types = {name: core.DataType.int64() if name in CORNERS else core.DataType.string() for name in COLUMNS}
    schema = core.Schema([core.Field(name, kind) for name, kind in types.items()])

    def batches() -> Iterator[Any]:
        for page in pages:
            columns = _columns(page)
            arrays = [core.Array(columns[name], type=kind) for name, kind in types.items()]
            yield core.RecordBatch.from_arrays(arrays, schema=schema)

    io.write_parquet(core.RecordBatchReader.from_batches(schema, batches()), file, compression="zstd(3)")


def _columns(page: Sequence[Annotation]) -> dict[str, list[Any]]:
    cells = [texts(one) for one in page]
    columns: dict[str, list[Any]] = {name: [row.get(name) or None for row in cells] for name in COLUMNS}
    for place, name in enumerate(CORNERS):
        columns[name] = [one.pos[place] if place < len(one.pos) else None for one in page]
    return columns
