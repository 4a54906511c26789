"""``wkdvid serve SOURCE...``: a data directory, for as long as the server runs, with what is named as its datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wkdvid.core.source import read_source
from wkdvid.errors import BackendError, ConfigError, InvalidRequest, RequestError

if TYPE_CHECKING:
    from wkdvid.core.entries import DatasetKey
    from wkdvid.inspection.given import Entry
    from wkdvid.inspection.inspector import Inspection

POOL_BYTES = 1 << 26
LABELS = ("uint32", "uint64")


async def write_datasets(sources: Sequence[str], data_dir: Path) -> Sequence[DatasetKey]:
    """Find out what the sources are, and write the data directory's datasets.json.

    Raises:
        ConfigError: one of them is not there, or no volume that can be read, and no folder with any.
    """
    from wkdvid.inspection.given import document_of, keys_of

    absolute = [_absolute(source) for source in sources]
    try:
        document = await document_of(absolute, _inspect)
    except (RequestError, BackendError) as error:
        raise ConfigError(str(error)) from error
    (data_dir / "datasets.json").write_text(json.dumps(document, indent=2))
    return keys_of(document)


async def _inspect(options: Mapping[str, Any]) -> Entry:
    from wkdvid.cli.sources import own_opener
    from wkdvid.inspection.inspector import Inspector

    source = options.get("source") or next(iter(options["layers"].values())).get("source", "/")
    found = await Inspector(own_opener(source, POOL_BYTES)).inspect(options)
    await found.aclose()
    nothing_served = not any(layer.served for layer in found.layers)
    if nothing_served or (found.problems and "source" not in options):  # joined layers all have to fit
        raise InvalidRequest(f"{source}: {' '.join(found.problems)}")
    return found.backend, _with_labels(found)


def _with_labels(found: Inspection) -> Mapping[str, Any]:
    """Integers of 32 and 64 bits are labels, where the source does not say what they are: no microscope makes such."""
    options = dict(found.dataset.entry.options)
    named = options.get("layers", {})
    labels = {one.info.name for one in found.layers if one.info.dtype.name in LABELS and one.info.num_channels == 1}
    options["layers"] = {
        name: {"type": "segmentation", **layer} if name in labels else layer for name, layer in named.items()
    }
    return options if named else found.dataset.entry.options


def settings_for(sources: Sequence[str]) -> dict[str, object]:
    """What the configuration has to allow so that the server may read them, by key."""
    named = [read_source(_absolute(source)) for source in sources]
    paths = [Path(_absolute(source)) for source in sources if "://" not in source]
    return {
        "sources.file_roots": [str(path if path.is_dir() else path.parent) for path in paths],
        "sources.http_hosts": [source.authority for source in named if source.is_http],
    }


def _absolute(source: str) -> str:
    """
    Raises:
        ConfigError: there is none.
    """
    if "://" in source:
        return source
    try:
        return str(Path(source).resolve(strict=True))
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror or error}") from error
