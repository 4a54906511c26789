"""The index of the labels that clients write, in SQL: how many voxels of a block have a label, in versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa

from wkdvid.core.geometry import Vec3
from wkdvid.core.label_index import MAX_ENTRIES, Blocks, Entries, Labels
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.core.written_labels import Counts
from wkdvid.core.written_volumes import VoxelSettings
from wkdvid.errors import TooLarge
from wkdvid.metadata.asked import Asked
from wkdvid.metadata.repository_rows import number_of
from wkdvid.metadata.schema import data_instances, label_blocks

AT_A_TIME = 500
"""Labels, or blocks, in one statement."""
TOGETHER = 1 << 16
"""Labels of blocks that are stored in one transaction; those of a single block are, however many it has."""
READ_TOGETHER = 1 << 16
"""Blocks of a label that are read at a time."""
LARGEST = (1 << 63) - 1
"""Number of the largest label."""
ORIGIN = 1 << 31
"""Coordinate 0 in a block's key."""

_row = label_blocks.c


class SqlWrittenLabels(Asked):
    """A ``core.written_labels.WrittenLabels``; its methods are described there."""

    def at(self, repository: Repository, node: Node, instance: DataInstance) -> SqlLabelIndex:
        return SqlLabelIndex(
            self,
            _Place.of(repository, node, instance),
            VoxelSettings.of(instance).block,
            repository.max_label(node.uuid, instance),
        )

    async def put(
        self, repository: Repository, node: Node, instance: DataInstance, blocks: Mapping[Vec3, Counts]
    ) -> None:
        place = _Place.of(repository, node, instance)
        for some in _batches(blocks):
            await self.write(partial(place.replace, blocks=some))


@dataclass(frozen=True, slots=True)
class SqlLabelIndex:
    """A ``core.label_index.LabelIndex``; its methods are described there."""

    _database: Asked
    _place: _Place
    block: int
    max_label: int | None

    async def sizes(self, labels: Sequence[int] | Labels) -> Labels:
        wanted, places = np.unique(np.asarray(labels, np.uint64), return_inverse=True)
        found = np.zeros(len(wanted), np.uint64)
        for start in range(0, len(wanted), AT_A_TIME):
            some = wanted[start : start + AT_A_TIME]
            rows = await self._read(self._place.sizes(_row.label.in_(_numbers(some).tolist())))
            labelled, voxels = _sized(rows)
            found[start + np.searchsorted(some, labelled)] = voxels
        return found[places]

    async def entries(self, label: int) -> Entries:
        query = self._place.blocks(_row.label == number_of(label)).limit(MAX_ENTRIES + 1)
        found = await self._database.read(lambda connection: _entries(connection, query))
        if len(found) > MAX_ENTRIES:
            raise TooLarge(f"label {label} is in more than {MAX_ENTRIES} blocks, which is the limit")
        return found

    async def listing(self, start: int, number: int) -> tuple[Labels, Labels]:
        parts = [(np.empty(0, np.uint64), np.empty(0, np.uint64))]
        first = number_of(start)
        while number > 0 and first <= LARGEST and (rows := await self._read(self._place.labels(first).limit(number))):
            last = rows[-1].label
            parts.append(_sized(await self._read(self._place.sizes(_row.label.between(first, last)))))
            number -= len(parts[-1][0])
            first = last + 1
        labels, voxels = zip(*parts, strict=True)
        return np.concatenate(labels), np.concatenate(voxels)

    async def _read(self, query: sa.Select[Any]) -> Sequence[Any]:
        return await self._database.read(lambda connection: connection.execute(query).all())


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the labels of a data instance are, as one node sees them."""

    data_uuid: str
    versions: Sequence[int]
    """That are seen, the node's own first. Children have higher numbers than their parents."""

    @classmethod
    def of(cls, repository: Repository, node: Node, instance: DataInstance) -> _Place:
        return cls(instance.data_uuid, repository.versions(node.uuid, instance))

    def labels(self, first: int) -> sa.Select[Any]:
        """Those from one on that the node or an ancestor has, or had, ascending."""
        return sa.select(_row.label).where(self._seen(), _row.label >= first).distinct().order_by(_row.label)

    def sizes(self, wanted: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """Labels, ascending, with the sums of their voxels.

        Args:
            wanted: Of which labels. Databases find all of these first.
        """
        shown = self._shown(wanted)
        query = sa.select(shown.c.label, sa.func.sum(shown.c.voxels).label("voxels"))
        return query.group_by(shown.c.label).order_by(shown.c.label)

    def blocks(self, wanted: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """Blocks in their order, with their voxels."""
        shown = self._shown(wanted)
        return sa.select(shown.c.block, shown.c.voxels).order_by(shown.c.block)

    def _shown(self, wanted: sa.ColumnElement[bool]) -> sa.Subquery:
        """Rows that no newer one hides, but for those that only hide others."""
        query = sa.select(_row.label, _row.block, _row.voxels, _row.version).where(self._seen(), wanted)
        if len(self.versions) == 1:
            return query.subquery()
        newest = sa.func.max(_row.version).over(partition_by=(_row.label, _row.block))
        seen = query.add_columns(newest.label("newest")).subquery()
        return sa.select(seen).where(seen.c.version == seen.c.newest, seen.c.voxels > 0).subquery()

    def _seen(self) -> sa.ColumnElement[bool]:
        number = sa.select(data_instances.c.number).where(data_instances.c.data_uuid == self.data_uuid)
        return (_row.instance == number.scalar_subquery()) & _row.version.in_(self.versions)

    def replace(self, connection: sa.Connection, blocks: Mapping[Vec3, Counts]) -> None:
        """What the own version has of the blocks; labels of ancestors that are not in them any more are hidden."""
        own, *ancestors = self.versions
        query = sa.select(data_instances.c.number).where(data_instances.c.data_uuid == self.data_uuid)
        number = connection.execute(query).scalar_one()
        rows: dict[tuple[bytes, int], int] = {}
        for keys in _pages([_key(index) for index in blocks]):
            here = (_row.instance == number) & _row.block.in_(keys)
            connection.execute(sa.delete(label_blocks).where(here, _row.version == own))
            if ancestors:
                seen = sa.select(_row.block, _row.label).where(here, _row.version.in_(ancestors), _row.voxels > 0)
                rows |= dict.fromkeys(((bytes(row.block), row.label) for row in connection.execute(seen)), 0)
        for index, (labels, counts) in blocks.items():
            key = _key(index)
            rows |= {(key, label): n for label, n in zip(_numbers(labels).tolist(), counts.tolist(), strict=True)}
        if rows:
            values = ({"block": key, "label": label, "voxels": voxels} for (key, label), voxels in sorted(rows.items()))
            connection.execute(
                sa.insert(label_blocks), [{"instance": number, "version": own, **value} for value in values]
            )


def _numbers(labels: Labels) -> np.ndarray[Any, np.dtype[np.int64]]:
    """As ``number_of``, of many."""
    return (labels.astype(np.uint64) ^ np.uint64(1 << 63)).view(np.int64)


def _sized(rows: Sequence[Any]) -> tuple[Labels, Labels]:
    labels = np.array([row.label for row in rows], np.int64).view(np.uint64) ^ np.uint64(1 << 63)
    return labels, np.array([row.voxels for row in rows], np.uint64)


def _entries(connection: sa.Connection, query: sa.Select[Any]) -> Entries:
    keys, counts = [b""], [np.empty(0, np.uint32)]
    for rows in connection.execute(query, execution_options={"yield_per": READ_TOGETHER}).partitions():
        keys.append(b"".join(row.block for row in rows))
        counts.append(np.array([row.voxels for row in rows], np.uint32))
    return Entries(_blocks(b"".join(keys)), np.concatenate(counts))


def _key(index: Vec3) -> bytes:
    return np.array([n + ORIGIN for n in reversed(index)], ">u4").tobytes()


def _blocks(keys: bytes) -> Blocks:
    zyx = np.frombuffer(keys, ">u4").reshape(-1, 3).astype(np.int64) - ORIGIN
    return np.ascontiguousarray(zyx[:, ::-1])


def _pages(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + AT_A_TIME] for start in range(0, len(keys), AT_A_TIME))


def _batches(blocks: Mapping[Vec3, Counts]) -> Iterator[Mapping[Vec3, Counts]]:
    """Blocks that are stored together."""
    batch: dict[Vec3, Counts] = {}
    held = 0
    for index, counts in blocks.items():
        if batch and held + len(counts[0]) > TOGETHER:
            yield batch
            batch, held = {}, 0
        batch[index] = counts
        held += len(counts[0])
    if batch:
        yield batch
