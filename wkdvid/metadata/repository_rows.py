"""Repositories as the rows of SQL's tables have them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from wkdvid.core.geometry import Box
from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.metadata.schema import data_instances, extents, max_labels, nodes, repositories

LABELS_BELOW_0 = 1 << 63
"""Databases have no unsigned numbers; so many labels are stored as negative ones."""


def read_changed(connection: sa.Connection, since: int) -> Sequence[Repository]:
    """Those of which anything was changed after that generation, in the order in which they came."""
    is_changed = repositories.c.changed > since
    numbers = sa.select(repositories.c.number).where(is_changed)
    in_changed = data_instances.c.repository.in_(numbers)
    versions = sa.select(nodes).where(nodes.c.repository.in_(numbers)).order_by(nodes.c.version)
    data = sa.select(data_instances).where(in_changed).order_by(data_instances.c.number)
    changed_data = sa.select(data_instances.c.number).where(in_changed)
    boxes = sa.select(extents).where(extents.c.instance.in_(changed_data))
    labels = sa.select(max_labels).where(max_labels.c.instance.in_(changed_data))
    of_nodes, of_instances = (_grouped(connection, query, "repository") for query in (versions, data))
    of_voxels = tuple(_grouped(connection, query, "instance") for query in (boxes, labels))
    changed = connection.execute(sa.select(repositories).where(is_changed).order_by(repositories.c.number))
    return [_repository(row, of_nodes[row.number], of_instances[row.number], *of_voxels) for row in changed]


def _grouped(connection: sa.Connection, query: sa.Select[Any], column: str) -> Mapping[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        found[getattr(row, column)].append(row)
    return found


def _repository(
    row: Any,
    versions: Iterable[Any],
    instances: Iterable[Any],
    boxes: Mapping[int, Sequence[Any]],
    labels: Mapping[int, Iterable[Any]],
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
        instances={
            one.name: _instance(one, boxes.get(one.number, ()), labels.get(one.number, ())) for one in instances
        },
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


def _instance(row: Any, boxes: Sequence[Any], labels: Iterable[Any]) -> DataInstance:
    return DataInstance(
        name=row.name,
        typename=row.typename,
        data_uuid=row.data_uuid,
        versioned=row.versioned,
        tags=json.loads(row.tags),
        settings=json.loads(row.settings),
        extents={box.version: box_of(box.corners) for box in boxes if box.written},
        said_extent=next((box_of(box.corners) for box in boxes if not box.written), None),
        max_labels={one.version: label_of(one.label) for one in labels},
    )


def box_of(corners: str) -> Box:
    (a, b, c), (d, e, f) = json.loads(corners)
    return Box((a, b, c), (d, e, f))


def label_of(number: int) -> int:
    """The label that a signed number of 64 bits stands for."""
    return number + LABELS_BELOW_0


def number_of(label: int) -> int:
    """The other way round."""
    return label - LABELS_BELOW_0


def corners_of(box: Box) -> str:
    return json.dumps([box.start, box.stop])
