"""Repositories as the rows of SQL's tables have them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from wkdvid.core.geometry import Box
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.metadata.schema import data_instances, extents, nodes, repositories


def read_changed(connection: sa.Connection, since: int) -> Sequence[Repository]:
    """Those of which anything was changed after that generation, in the order in which they came."""
    changed = connection.execute(
        sa.select(repositories).where(repositories.c.changed > since).order_by(repositories.c.number)
    ).all()
    of = [row.number for row in changed]
    versions = _grouped(connection, sa.select(nodes).order_by(nodes.c.version), nodes.c.repository, of)
    data = sa.select(data_instances).order_by(data_instances.c.number)
    instances = _grouped(connection, data, data_instances.c.repository, of)
    numbers = [row.number for rows in instances.values() for row in rows]
    boxes = _grouped(connection, sa.select(extents), extents.c.instance, numbers)
    return [_repository(row, versions[row.number], instances[row.number], boxes) for row in changed]


def _grouped(
    connection: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], values: Sequence[int]
) -> Mapping[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query.where(column.in_(values))):
        found[row._mapping[column]].append(row)
    return found


def _repository(
    row: Any, versions: Iterable[Any], instances: Iterable[Any], boxes: Mapping[int, Iterable[Any]]
) -> Repository:
    uuids = {version.version: version.uuid for version in versions}
    return Repository(
        root=row.root,
        alias=row.alias,
        description=row.description,
        log=json.loads(row.log),
        created=row.created,
        updated=row.updated,
        nodes={version.uuid: node_of(version, uuids.get(version.parent)) for version in versions},
        instances={one.name: _instance(one, boxes.get(one.number, ())) for one in instances},
    )


def node_of(row: Any, parent: str | None) -> Node:
    return Node(
        uuid=row.uuid,
        version=row.version,
        branch=row.branch,
        note=row.note,
        log=json.loads(row.log),
        locked=row.locked,
        parent=parent,
        created=row.created,
        updated=row.updated,
    )


def _instance(row: Any, boxes: Iterable[Any]) -> DataInstance:
    return DataInstance(
        name=row.name,
        typename=row.typename,
        data_uuid=row.data_uuid,
        versioned=row.versioned,
        tags=json.loads(row.tags),
        settings=json.loads(row.settings),
        extents={box.version: box_of(box.corners) for box in boxes},
    )


def box_of(corners: str) -> Box:
    (a, b, c), (d, e, f) = json.loads(corners)
    return Box((a, b, c), (d, e, f))


def corners_of(box: Box) -> str:
    return json.dumps([box.start, box.stop])
