"""Workers of one host, in one process, each with stores and knowledge of its own, that write volumes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tests.volumes import Voxels
from wkdvid.backends.opening import Opener
from wkdvid.backends.written.arrays import Arrays
from wkdvid.backends.written.journal import Journal
from wkdvid.backends.written.volumes import Volumes
from wkdvid.core.catalog_store import SharedCounter
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.guard import Guard
from wkdvid.core.label_index import LabelIndex
from wkdvid.core.layers import Layer
from wkdvid.core.limits import Limits
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.core.source import Source, file_source
from wkdvid.core.write_locks import WriteLocks
from wkdvid.core.written_volumes import VoxelSettings
from wkdvid.metadata.engine import migrate, open_engine
from wkdvid.metadata.label_blocks import SqlWrittenLabels
from wkdvid.metadata.repositories import COUNTER, SqlRepositories, new_uuid
from wkdvid.metadata.schema import repositories_state
from wkdvid.metadata.shared_state import SharedState


class Worker:
    def __init__(self, folder: Path, root: Source | None = None) -> None:
        """
        Args:
            root: Where voxels are; None: in the folder.
        """
        self.folder = folder
        self.executor = ThreadPoolExecutor(2)
        self.engine = open_engine(f"sqlite:///{folder}/wkdvid.db")
        opener = Opener(Guard((), frozenset()), Limits(), pool_bytes=32 << 20, deadline_s=20)
        state = SharedState(self.engine, SharedCounter(folder / COUNTER), repositories_state)
        self.repositories = SqlRepositories(state)
        self.locks = WriteLocks(folder / "state")
        self.journal = Journal(folder / "state" / "writes")
        self.labels = SqlWrittenLabels(self.engine)
        self.volumes = Volumes(
            Arrays(root or file_source(str(folder / "voxels")), opener),
            self.locks,
            self.journal,
            self.repositories,
            self.labels,
            self.executor,
        )

    def close(self) -> None:
        self.labels.close()
        self.executor.shutdown()

    async def at(self, uuid: str, name: str) -> tuple[Repository, Node, DataInstance]:
        await self.repositories.catch_up()
        found = self.repositories.with_uuid(uuid)
        assert found is not None
        return (*found, found[0].instances[name])

    async def layer(self, uuid: str, name: str = "v") -> Layer:
        return self.volumes.layer(*await self.at(uuid, name))

    async def index(self, uuid: str) -> LabelIndex:
        return self.labels.at(*await self.at(uuid, "v"))

    async def read(self, uuid: str, start: Vec3, size: Vec3, scale: int = 0, name: str = "v") -> Voxels:
        """(x, y, z[, c])."""
        found = await (await self.layer(uuid, name)).volume.read(scale, Box.at(start, size))
        return found[0] if len(found) == 1 else np.moveaxis(found, 0, -1)

    async def write(self, uuid: str, start: Vec3, voxels: Voxels, name: str = "v") -> None:
        """
        Args:
            voxels: (x, y, z[, c])
        """
        array = np.asfortranarray(voxels[None] if voxels.ndim == 3 else np.moveaxis(voxels, -1, 0))
        size = array.shape[1:]
        await self.volumes.write(*await self.at(uuid, name), Box.at(start, (size[0], size[1], size[2])), array)

    async def commit(self, uuid: str) -> None:
        await self.repositories.catch_up()
        found = self.repositories.with_uuid(uuid)
        assert found is not None
        async with self.volumes.committing(found[1]):
            await self.repositories.commit(uuid, None, [])

    async def child(self, uuid: str, branch: str | None = None) -> str:
        """A new one of a committed node."""
        return await self.repositories.add_child(uuid, uuid=None, branch=branch, note="")

    async def make(
        self,
        typename: str = "uint8blk",
        block: int = 16,
        *,
        versioned: bool = True,
        max_scale: int = 0,
        said: Box | None = None,
        indexed: bool = False,
    ) -> str:
        """A repository with a data instance ``v`` of voxels, said to be in a box; the UUID of its root."""
        root = await self.repositories.create(None, "", "")
        channels = 4 if typename == "rgba8blk" else 1
        dtype = {"labelmap": "uint64", "rgba8blk": "uint8"}.get(typename, typename.removesuffix("blk"))
        settings = VoxelSettings(
            dtype=dtype,
            num_channels=channels,
            block=block,
            voxel_size=(8, 8, 8),
            compression="lz4",
            max_scale=max_scale,
            indexed=indexed,
        )
        made = DataInstance(
            name="v", typename=typename, data_uuid=new_uuid(), versioned=versioned, settings=asdict(settings)
        )
        await self.repositories.add_instance(root, made, said)
        return root


@contextmanager
def workers(folder: Path, count: int = 1, root: Source | None = None) -> Iterator[list[Worker]]:
    folder.mkdir(exist_ok=True)
    migrate(f"sqlite:///{folder}/wkdvid.db")
    made = [Worker(folder, root) for _ in range(count)]
    try:
        yield made
    finally:
        for worker in made:
            worker.close()


def files(folder: Path) -> list[str]:
    """Chunks that are stored, by their path."""
    found = (os.path.relpath(path, folder) for path in (folder / "voxels").rglob("*") if path.is_file())
    return sorted(name for name in found if not name.endswith("zarr.json"))
