"""Data instances in a database, for tests of what they hold."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

from wkdvid.core.repositories import DataInstance, Node, Repository
from wkdvid.core.stored_values import StoredValues
from wkdvid.metadata.engine import transaction
from wkdvid.metadata.schema import data_instances, nodes, repositories
from wkdvid.metadata.values import SqlValueStore

Values: TypeAlias = Callable[..., StoredValues]
"""Of one data instance, as a node of this name sees them; through another store if one is given."""

PARENTS = {"root": None, "child": "root", "side": "root", "leaf": "child"}


def new_instance(engine: sa.Engine, store: SqlValueStore, *, versioned: bool = True) -> Values:
    """A data instance in a repository of its own, of the nodes of ``PARENTS``."""
    name, data_uuid = secrets.token_hex(4), secrets.token_hex(16)
    born = {"created": "", "updated": ""}
    with transaction(engine) as connection:
        row = {"root": f"{name}root", "alias": "", "description": "", "log": "[]", "changed": 0}
        repository = _insert(connection, repositories, {**row, **born})
        versions: dict[str, int] = {}
        for node, parent in PARENTS.items():
            row = {"uuid": f"{name}{node}", "repository": repository, "branch": node, "note": "", "log": "[]"}
            of = None if parent is None else versions[parent]
            versions[node] = _insert(connection, nodes, {**row, "parent": of, "locked": False, **born})
        row = {"data_uuid": data_uuid, "repository": repository, "name": "kv", "typename": "keyvalue", "tags": "null"}
        _insert(connection, data_instances, {**row, "versioned": versioned, "settings": "{}"})
    tree = {
        f"{name}{node}": Node(uuid=f"{name}{node}", version=versions[node], parent=parent and f"{name}{parent}")
        for node, parent in PARENTS.items()
    }
    known = Repository(root=f"{name}root", nodes=tree)
    instance = DataInstance(name="kv", typename="keyvalue", data_uuid=data_uuid, versioned=versioned)
    return lambda node, through=store: through.at(known, tree[f"{name}{node}"], instance)


def _insert(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> int:
    inserted = connection.execute(sa.insert(table).values(row)).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])
