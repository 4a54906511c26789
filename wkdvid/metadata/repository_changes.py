"""Changes of repositories, each within one transaction in which nobody else changes any."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from wkdvid.core.geometry import Box
from wkdvid.core.repositories import DataInstance
from wkdvid.errors import InvalidRequest, NotFound, UnsupportedRequest
from wkdvid.metadata.repository_rows import box_of, corners_of, number_of
from wkdvid.metadata.schema import data_instances, extents, max_labels, nodes, repositories


class Change:
    """One transaction. What is not allowed is refused in DVID's words."""

    def __init__(self, connection: sa.Connection, generation: int) -> None:
        """
        Args:
            generation: Of the state after it.
        """
        self._connection = connection
        self._generation = generation
        self._now = now()

    # ---- repositories ---------------------------------------------------------------------------------------------

    def create(self, root: str, alias: str, description: str) -> None:
        self._require_new(root)
        row = {"root": root, "alias": alias, "description": description, "log": "[]", "changed": self._generation}
        number = self._insert(repositories, {**row, **self._born})
        node = {"uuid": root, "parent": None, "branch": "", "note": "", "log": "[]", "locked": False}
        self._insert(nodes, {**node, "repository": number, **self._born})

    def describe(self, root: str, alias: str | None, description: str | None) -> None:
        given = {"alias": alias, "description": description}
        self._touch(self._repository(root).number, **{name: text for name, text in given.items() if text is not None})

    def append_log(self, root: str, messages: Sequence[str]) -> None:
        row = self._repository(root)
        self._touch(row.number, log=self._longer(row.log, messages))

    def _repository(self, root: str) -> Any:
        return self._one(sa.select(repositories).where(repositories.c.root == root))

    def _touch(self, number: int, **values: str) -> None:
        """Everything that is changed is of a repository, which is then loaded anew."""
        changed = {"updated": self._now, "changed": self._generation, **values}
        self._connection.execute(sa.update(repositories).where(repositories.c.number == number).values(changed))

    # ---- nodes ----------------------------------------------------------------------------------------------------

    def annotate(self, uuid: str, note: str | None, messages: Sequence[str], *, locked: bool = False) -> None:
        row = self._node(uuid)
        if row.locked:
            raise UnsupportedRequest(f"Cannot do post on locked node {uuid}")
        values = {"note": row.note if note is None else note, "log": self._longer(row.log, messages), "locked": locked}
        self._connection.execute(sa.update(nodes).where(nodes.c.uuid == uuid).values(values | {"updated": self._now}))
        self._touch(row.repository)

    def add_child(self, parent: str, uuid: str, branch: str | None, note: str, *, locked: bool) -> None:
        row = self._node(parent)
        if not row.locked:
            raise UnsupportedRequest("can't branch an unlocked node")
        self._require_new(uuid)
        taken = nodes.c.branch == (row.branch if branch is None else branch)
        siblings = nodes.c.parent == row.version if branch is None else nodes.c.repository == row.repository
        if self._connection.execute(sa.select(nodes.c.version).where(taken, siblings).limit(1)).first() is not None:
            raise InvalidRequest("branch already exists with given name")
        node = {"uuid": uuid, "repository": row.repository, "parent": row.version, "note": note, "log": "[]"}
        self._insert(
            nodes, {**node, "branch": row.branch if branch is None else branch, "locked": locked, **self._born}
        )
        self._touch(row.repository)

    def _node(self, uuid: str) -> Any:
        return self._one(sa.select(nodes).where(nodes.c.uuid == uuid))

    def _require_new(self, uuid: str) -> None:
        if self._connection.execute(sa.select(nodes.c.version).where(nodes.c.uuid == uuid)).first() is not None:
            raise InvalidRequest("UUID already exists in datastore")

    # ---- data instances -------------------------------------------------------------------------------------------

    def add_instance(self, uuid: str, instance: DataInstance, extent: Box | None) -> None:
        node = self._node(uuid)
        if node.locked:
            raise UnsupportedRequest(f"New data instance cannot be created on locked node {uuid}")
        repository = self._one(sa.select(repositories).where(repositories.c.number == node.repository))
        named = (data_instances.c.repository == repository.number) & (data_instances.c.name == instance.name)
        if self._connection.execute(sa.select(data_instances.c.number).where(named)).first() is not None:
            raise InvalidRequest(f'Data named "{instance.name}" already exists in repo (root {repository.root})')
        row = {name: getattr(instance, name) for name in ("name", "typename", "data_uuid", "versioned")}
        texts = {"tags": json.dumps(instance.tags), "settings": json.dumps(dict(instance.settings))}
        number = self._insert(data_instances, {**row, **texts, "repository": repository.number})
        if extent is not None:
            self._insert_extent(number, node.version, extent, written=False)
        said = f'New data instance "{instance.name}" of type "{instance.typename}" created'
        self._touch(repository.number, log=self._longer(repository.log, [said]))

    def set_tags(self, data_uuid: str, tags: Mapping[str, str], *, replace: bool) -> None:
        row = self._instance(data_uuid)
        kept = {} if replace else json.loads(row.tags) or {}
        self._change_instance(row, tags=json.dumps({**kept, **tags}))

    def set_settings(self, data_uuid: str, changed: Mapping[str, Any]) -> None:
        row = self._instance(data_uuid)
        self._change_instance(row, settings=json.dumps({**json.loads(row.settings), **changed}))

    def set_extent(self, data_uuid: str, version: int, extent: Box, *, grow: bool) -> None:
        row = self._instance(data_uuid)
        node = self._one(sa.select(nodes).where(nodes.c.version == version))
        if row.versioned and node.locked:
            raise UnsupportedRequest(f'Cannot do POST on endpoint "extents" of locked node {node.uuid}')
        lineage, of = self._lineage(version), extents.c.instance == row.number
        where = version if row.versioned else lineage[-1]
        known = {box.version: box for box in self._connection.execute(sa.select(extents).where(of))}
        seen = next((known[ancestor] for ancestor in lineage if ancestor in known), None)
        if grow and seen is not None and seen.written:
            extent = box_of(seen.corners).join(extent)
        self._connection.execute(sa.delete(extents).where(of, extents.c.version == where))
        self._insert_extent(row.number, where, extent, written=True)
        self._touch(row.repository)

    def raise_max_label(self, data_uuid: str, version: int, label: int) -> None:
        row = self._instance(data_uuid)
        where = version if row.versioned else self._lineage(version)[-1]
        known = (max_labels.c.instance == row.number) & (max_labels.c.version == where)
        found = self._connection.execute(sa.select(max_labels.c.label).where(known)).scalar()
        if found is None or found < number_of(label):
            self._connection.execute(sa.delete(max_labels).where(known))
            raised = {"instance": row.number, "version": where, "label": number_of(label)}
            self._connection.execute(sa.insert(max_labels).values(raised))
            self._touch(row.repository)

    def _insert_extent(self, instance: int, version: int, extent: Box, *, written: bool) -> None:
        row = {"instance": instance, "version": version, "corners": corners_of(extent), "written": written}
        self._connection.execute(sa.insert(extents).values(row))

    def _lineage(self, version: int) -> Sequence[int]:
        """A node and its ancestors, the root last."""
        found: int | None = version
        lineage = []
        while found is not None:
            lineage.append(found)
            found = self._connection.execute(sa.select(nodes.c.parent).where(nodes.c.version == found)).scalar_one()
        return lineage

    def _instance(self, data_uuid: str) -> Any:
        return self._one(sa.select(data_instances).where(data_instances.c.data_uuid == data_uuid))

    def _change_instance(self, row: Any, **values: str) -> None:
        change = sa.update(data_instances).where(data_instances.c.number == row.number)
        self._connection.execute(change.values(values))
        self._touch(row.repository)

    # ---- rows -----------------------------------------------------------------------------------------------------

    @property
    def _born(self) -> Mapping[str, str]:
        return {"created": self._now, "updated": self._now}

    def _longer(self, log: str, messages: Sequence[str]) -> str:
        return json.dumps([*json.loads(log), *(f"{self._now}  {message}" for message in messages)])

    def _one(self, query: sa.Select[Any]) -> Any:
        row = self._connection.execute(query).first()
        if row is None:
            raise NotFound("it is not there any more")
        return row

    def _insert(self, table: sa.Table, values: Mapping[str, Any]) -> int:
        """The number of the new row."""
        inserted = self._connection.execute(sa.insert(table).values(values)).inserted_primary_key
        return int(inserted[0]) if inserted is not None else 0


def now() -> str:
    """RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
