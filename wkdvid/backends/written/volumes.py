"""Reading and writing what clients write (``core.written_volumes``)."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from cachebox import LRUCache

from wkdvid.backends.label_index.counting import count_labels
from wkdvid.backends.written.arrays import Arrays, Place, extent
from wkdvid.backends.written.journal import Journal, Note
from wkdvid.backends.written.lineage import Lineage, LineageVolume
from wkdvid.backends.written.targets import Target, layer_info
from wkdvid.core.concurrent import all_ended, to_its_end
from wkdvid.core.geometry import Box, Vec3
from wkdvid.core.layers import Layer
from wkdvid.core.pyramid import downsample, plan_scale
from wkdvid.core.repositories import DataInstance, Node, Repositories, Repository
from wkdvid.core.volume import Array
from wkdvid.core.write_locks import WriteLocks
from wkdvid.core.written_labels import WrittenLabels
from wkdvid.errors import BackendError, InvalidRequest, NotFound, UnsupportedRequest, WkdvidError

Known = TypeVar("Known")

log = logging.getLogger("wkdvid.volumes")

LAYERS = 4096
"""Open at a time in a worker; one costs a few kilobytes."""
BATCH_BYTES = 32 << 20
"""So much of a larger write is stored at a time."""
TWO: Vec3 = (2, 2, 2)


class Volumes:
    """The volumes of all repositories, in one worker."""

    def __init__(
        self,
        arrays: Arrays,
        locks: WriteLocks,
        journal: Journal,
        repositories: Repositories,
        labels: WrittenLabels,
        executor: Executor,
    ) -> None:
        """
        Args:
            executor: Where lower scales are computed and labels counted, off the event loop.
        """
        self._arrays = arrays
        self._locks = locks
        self._journal = journal
        self._repositories = repositories
        self._labels = labels
        self._executor = executor
        self._layers: LRUCache[tuple[object, ...], Layer] = LRUCache(LAYERS)

    # ---- reading --------------------------------------------------------------------------------------------------

    def layer(self, repository: Repository, node: Node, instance: DataInstance) -> Layer:
        return self._layer(Target.of(repository, node, instance))

    def _layer(self, target: Target) -> Layer:
        key = (target.instance.data_uuid, target.version, target.lasting, target.settings)
        if key not in self._layers:
            self._layers[key] = self._opened(target)
        return self._layers[key]

    def _opened(self, target: Target) -> Layer:
        info = layer_info(target)
        what = f"data {target.instance.name!r}"
        arrays = self._arrays
        volume = LineageVolume(info, partial(self._lineage, target), arrays.check_bucket, what, arrays.deadline_s)
        planned = [plan_scale(info.levels, level.mag) for level in info.levels]
        by_mag = {scale.mag: scale for scale in planned if scale is not None}
        return Layer(info, volume, None, None, by_mag, tuple(by_mag), tuple(by_mag.values()), target.lasting)

    async def _lineage(self, target: Target, scale: int) -> Lineage:
        """What an ancestor has not it will never have; the node itself may get it."""
        own, *others = [Place(target.instance.data_uuid, version, scale) for version in target.versions]
        there = await asyncio.gather(*map(self._arrays.exists, others))
        *nearer, root = [own, *itertools.compress(others, there)]
        to_read = partial(self._arrays.to_read, settings=target.settings)
        is_lasting = {place: target.lasting or place != own for place in (own, *others)}
        return Lineage(
            [await to_read(place, fill=False, lasting=is_lasting[place]) for place in nearer],
            await to_read(root, fill=False, lasting=is_lasting[root]),
            await to_read(root, fill=True, lasting=is_lasting[root]),
        )

    async def _stored(self, target: Target, scale: int, indices: Sequence[Vec3]) -> Mapping[Vec3, Array]:
        """Blocks as the node sees them; not to be written to.

        Raises:
            BackendError: one of them cannot be read.
        """
        found = await self._layer(target).volume.read_all(scale, [target.box(index) for index in indices])
        for one in found:
            if isinstance(one, BackendError):
                raise one
        return {index: one for index, one in zip(indices, found, strict=True) if not isinstance(one, BackendError)}

    # ---- writing --------------------------------------------------------------------------------------------------

    async def write(self, repository: Repository, node: Node, instance: DataInstance, box: Box, array: Array) -> None:
        target = Target.of(repository, node, instance)
        _check(target, box)
        async with self._among_writers(target):
            for indices in target.batches(target.blocks(box), BATCH_BYTES):
                async with self._locks.blocks(target.instance.data_uuid, target.version, 0, indices):
                    blocks = await self._whole(target, indices, box, array)
                    await to_its_end(self._change(target, blocks, lower=True))
            await self._extend(target, box)

    async def _whole(self, target: Target, indices: Sequence[Vec3], box: Box, array: Array) -> Mapping[Vec3, Array]:
        """Blocks with what a box has of them, and for the rest what the node sees."""
        boxes = {index: target.box(index) for index in indices}
        cut = await self._stored(target, 0, [index for index, whole in boxes.items() if not box.contains(whole)])
        return {
            index: _with(cut[index], whole, box, array) if index in cut else array[_place(whole, box)]
            for index, whole in boxes.items()
        }

    async def write_blocks(
        self,
        repository: Repository,
        node: Node,
        instance: DataInstance,
        scale: int,
        blocks: Mapping[Vec3, Array],
        *,
        lower: bool,
        extend: bool,
    ) -> None:
        target = Target.of(repository, node, instance)
        for index in blocks:
            _check(target, target.box(index))
        async with self._among_writers(target):
            for indices in target.batches(blocks, BATCH_BYTES):
                async with self._locks.blocks(instance.data_uuid, target.version, scale, indices):
                    batch = {index: blocks[index] for index in indices}
                    store = self._store(target, scale, batch) if scale else self._change(target, batch, lower=lower)
                    await to_its_end(store)
            if extend:
                await self._extend(target, target.hull(blocks))

    @asynccontextmanager
    async def _among_writers(self, target: Target) -> AsyncIterator[None]:
        """While the node is open.

        Raises:
            UnsupportedRequest: it is committed.
            DatabaseUnavailable: whether it is cannot be known now.
        """
        if not target.instance.versioned:
            yield
            return
        async with self._locks.writing(target.version):
            await self._repositories.be_current()
            found = self._repositories.with_uuid(target.node.uuid)
            if found is None or found[1].locked:
                raise UnsupportedRequest(f"Cannot do POST on locked node {target.node.uuid}")
            yield

    async def _change(self, target: Target, blocks: Mapping[Vec3, Array], *, lower: bool) -> None:
        """Store blocks of scale 0, and make what follows from them. They are locked."""
        lower = lower and target.settings.max_scale > 0
        if not lower and not target.settings.indexed:
            await self._store(target, 0, blocks)
            return
        async with self._journal.noted(Note(target.instance.data_uuid, target.version, tuple(blocks), lower)):
            await all_ended([self._store(target, 0, blocks), self._follow(target, blocks, lower=lower)])

    async def _store(self, target: Target, scale: int, blocks: Mapping[Vec3, Array]) -> None:
        store = partial(self._arrays.write, target.place(scale), target.settings)
        await all_ended([store(target.box(index), array) for index, array in blocks.items()])

    async def _follow(self, target: Target, blocks: Mapping[Vec3, Array], *, lower: bool) -> None:
        """Make what follows from blocks of scale 0. Twice is as good as once: ``mend`` does it again."""
        coarsest = target.settings.max_scale if lower else 0
        await all_ended([self._lower(target, 1, coarsest, blocks), self._index(target, blocks)])

    async def _index(self, target: Target, blocks: Mapping[Vec3, Array]) -> None:
        """Count the labels."""
        if not target.settings.indexed:
            return
        loop = asyncio.get_running_loop()
        counting = (loop.run_in_executor(self._executor, count_labels, array[0]) for array in blocks.values())
        counted = dict(zip(blocks, await asyncio.gather(*counting), strict=True))
        await self._labels.put(target.repository, target.node, target.instance, counted)
        largest = max((int(labels[-1]) for labels, _ in counted.values() if len(labels)), default=0)
        known = self._known(target, Repository.max_label) or 0
        if largest > known:
            await self._repositories.raise_max_label(target.instance.data_uuid, target.node.version, largest)

    async def _lower(self, target: Target, scale: int, coarsest: int, finer: Mapping[Vec3, Array]) -> None:
        """Make the blocks of a scale, and of those below, that follow from blocks of the scale above it.

        Those above stay locked until all is done: of two writers of a block's octants the second one sees the first
        one's, in every scale.
        """
        if scale > coarsest:
            return
        indices = list(dict.fromkeys((x // 2, y // 2, z // 2) for x, y, z in finer))
        async with self._locks.blocks(target.instance.data_uuid, target.version, scale, indices):
            before = await self._stored(target, scale, indices)
            blocks = {index: np.array(array, order="F") for index, array in before.items()}
            del before
            octants = await asyncio.gather(*(self._halved(array) for array in finer.values()))
            half = target.settings.block // 2
            for (x, y, z), octant in zip(finer, octants, strict=True):
                place = (slice(n % 2 * half, n % 2 * half + half) for n in (x, y, z))
                blocks[x // 2, y // 2, z // 2][(slice(None), *place)] = octant
            await all_ended([self._store(target, scale, blocks), self._lower(target, scale + 1, coarsest, blocks)])

    async def _halved(self, labels: Array) -> Array:
        whole = Box((0, 0, 0), (labels.shape[1], labels.shape[2], labels.shape[3]))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, downsample, labels, whole.start, TWO, whole, "segmentation")

    async def _extend(self, target: Target, box: Box) -> None:
        """Have the extent hold a box."""
        known = self._known(target, Repository.written_extent)
        if known is None or not known.contains(box):
            await self._repositories.set_extent(target.instance.data_uuid, target.node.version, box, grow=True)

    def _known(self, target: Target, of: Callable[[Repository, str, DataInstance], Known | None]) -> Known | None:
        """What is known now of an instance as a node sees it."""
        now = self._repositories.with_uuid(target.node.uuid)
        return of(now[0], target.node.uuid, target.instance_of(now[0])) if now is not None else None

    # ---- what was left undone -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def committing(self, node: Node) -> AsyncIterator[None]:
        async with self._locks.committing(node.version):
            for path in self._journal.paths():
                note = self._journal.read(path)
                if note is not None and note.version == node.version:
                    await self._redo(self._target(note), note, path)
            yield

    async def mend(self) -> None:
        for path in self._journal.paths():
            try:
                await self._mend(path)
            except WkdvidError as error:
                if path.exists():  # else a commit came first, and has done it
                    log.warning("a write that was broken off is not mended yet: %s", error)

    async def _mend(self, path: Path) -> None:
        """The node is locked before the note, so that a commit finds the notes of its node free."""
        note = self._journal.read(path)
        if note is not None:
            await self._repositories.catch_up()
            target = self._target(note)
            async with self._among_writers(target):
                await self._redo(target, note, path)

    def _target(self, note: Note) -> Target:
        """
        Raises:
            NotFound: there is no such data instance or node.
        """
        for repository in self._repositories.by_root.values():
            for instance in repository.instances.values():
                for node in repository.nodes.values():
                    if instance.data_uuid == note.data_uuid and note.version in (0, node.version):
                        return Target.of(repository, node, instance)
        raise NotFound(f"data {note.data_uuid}, version {note.version}")

    async def _redo(self, target: Target, note: Note, path: Path) -> None:
        """Unless its writer lives, or it is done. The node is locked."""
        with self._journal.leftover(path) as is_left:
            if is_left:
                async with self._locks.blocks(note.data_uuid, note.version, 0, note.blocks):
                    await self._follow(target, await self._stored(target, 0, note.blocks), lower=note.lower)
                await self._extend(target, target.hull(note.blocks))
                self._journal.forget(path)
                log.info("mended what a broken write has left of data %r", target.instance.name)


def _check(target: Target, box: Box) -> None:
    """
    Raises:
        InvalidRequest: outside the coordinates that there are.
    """
    whole = extent(target.settings.block)
    if not whole.contains(box):
        raise InvalidRequest(f"voxels {box.start} to {box.stop}: coordinates go from {whole.start} to {whole.stop}")


def _with(before: Array, whole: Box, box: Box, array: Array) -> Array:
    """The voxels of ``whole``, those in ``box`` replaced by what is in ``array``."""
    common = whole.intersect(box)
    merged = np.array(before, order="F")
    if common is not None:
        merged[_place(common, whole)] = array[_place(common, box)]
    return merged


def _place(part: Box, whole: Box) -> tuple[slice, ...]:
    """Where a part is in the array (c, x, y, z) of the whole."""
    sides = (slice(a - o, b - o) for a, b, o in zip(part.start, part.stop, whole.start, strict=True))
    return (slice(None), *sides)
