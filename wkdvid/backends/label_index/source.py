"""Opens the label index that an entry names for a layer, if it is that of the source as it is now."""

from __future__ import annotations

import asyncio
from pathlib import Path

from wkdvid.backends.label_index.files import MANIFEST, FileLabelIndex, grid_of, manifest, read_index
from wkdvid.backends.opening import Opener
from wkdvid.core.entries import LayerEntry
from wkdvid.core.volume import LayerInfo
from wkdvid.errors import CorruptChunk, InvalidRequest


async def open_index(
    layer: LayerEntry, info: LayerInfo, folder: str, opener: Opener
) -> tuple[FileLabelIndex | None, tuple[str, ...]]:
    """The index; or none, with a note that says why.

    Raises:
        BackendError: it cannot be judged now.
    """
    try:
        return await _open(layer, info, folder, opener), ()
    except (InvalidRequest, CorruptChunk) as error:
        return None, (f"Its label index is not used: {error}; 'wkdvid index' makes another.",)


async def _open(layer: LayerEntry, info: LayerInfo, folder: str, opener: Opener) -> FileLabelIndex:
    source = await opener.source(folder)
    if source.scheme != "file":
        raise InvalidRequest(f"{source.name}: a label index is mapped into memory, so it has to be a local folder")
    document = await opener.read_json(source, MANIFEST)
    if document is None:
        raise InvalidRequest(f"{source.name}: there is no {MANIFEST}")
    if document.get("source") != manifest(layer, info):
        raise InvalidRequest(f"{source.name}: the source is not what it was when this was made")

    def place(file: str) -> Path:
        try:
            return opener.guard.local_path(source.path + file)
        except InvalidRequest:
            raise InvalidRequest(f"{source.name}: {file} is a link that leads elsewhere") from None

    return await asyncio.to_thread(read_index, place, document, grid_of(info), source.name)
