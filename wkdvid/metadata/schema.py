"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0007"
"""Of the newest migration. Kept here, so that a database that is up to date needs no Alembic."""

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("dataset", String(300), nullable=False),
    Column("layer", String(160), nullable=False),
    Column("state", String(16), nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("plan", Text),
    Column("runner", String(64)),
    Column("leased_until", Float, nullable=False),
    Column("created", Float, nullable=False),
)
"""``plan`` is JSON; times are seconds since 1970."""

ACTIVE = text("state IN ('queued', 'running')")

Index(
    "jobs_active",
    *(jobs.c.kind, jobs.c.dataset, jobs.c.layer),
    unique=True,
    sqlite_where=ACTIVE,
    postgresql_where=ACTIVE,
)

job_tasks = Table(
    "job_tasks",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
)
"""The tasks that are done of jobs that are not."""

catalog = Table(
    "catalog",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("entry", Text, nullable=False),
    Column("renewed", BigInteger, nullable=False),
    UniqueConstraint("organization", "dataset", name="catalog_dataset"),
)
"""The datasets, in the order in which they came. ``entry`` is JSON as it was written, its members in their order."""

catalog_state = Table(
    "catalog_state",
    metadata,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("renewed", BigInteger, nullable=False),
)
"""One row, which whoever changes the catalog locks. ``renewed``: since when all sources are to be opened afresh."""

repositories = Table(
    "repositories",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("root", Text, nullable=False, unique=True),
    Column("alias", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("log", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("updated", Text, nullable=False),
    Column("changed", BigInteger, nullable=False, index=True),
)
"""``changed``: the generation of the last change to anything of it. Logs are JSON."""

nodes = Table(
    "nodes",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("uuid", Text, nullable=False, unique=True),
    Column("repository", ForeignKey(repositories.c.number), nullable=False, index=True),
    Column("parent", ForeignKey("nodes.version")),
    Column("branch", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("log", Text, nullable=False),
    Column("locked", Boolean, nullable=False),
    Column("created", Text, nullable=False),
    Column("updated", Text, nullable=False),
)

data_instances = Table(
    "data_instances",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("data_uuid", String(32), nullable=False, unique=True),
    Column("repository", ForeignKey(repositories.c.number), nullable=False),
    Column("name", Text, nullable=False),
    Column("typename", Text, nullable=False),
    Column("versioned", Boolean, nullable=False),
    Column("tags", Text, nullable=False),
    Column("settings", Text, nullable=False),
    UniqueConstraint("repository", "name", name="data_instances_name"),
)
"""``tags`` and ``settings`` are JSON."""

extents = Table(
    "extents",
    metadata,
    Column("instance", ForeignKey(data_instances.c.number), primary_key=True),
    Column("version", ForeignKey(nodes.c.version), primary_key=True),
    Column("corners", Text, nullable=False),
    Column("written", Boolean, nullable=False),
)
"""Of an instance's voxels in the nodes that changed it; ``corners`` is JSON: ``[start, stop]``.

``written``: else it was said when the instance was made, and what is first written takes its place.
"""

max_labels = Table(
    "max_labels",
    metadata,
    Column("instance", ForeignKey(data_instances.c.number), primary_key=True),
    Column("version", ForeignKey(nodes.c.version), primary_key=True),
    Column("label", BigInteger, nullable=False),
)
"""The largest label that was ever written to a data instance in a node. As in ``label_blocks``."""

label_blocks = Table(
    "label_blocks",
    metadata,
    Column("instance", ForeignKey(data_instances.c.number), primary_key=True),
    Column("label", BigInteger, primary_key=True, autoincrement=False),
    Column("block", LargeBinary(12), primary_key=True),
    Column("version", ForeignKey(nodes.c.version), primary_key=True),
    Column("voxels", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""How many voxels of a block have a label. A row hides those of the same label and block in ancestors; 0 voxels: there
are none any more. Labels are less by 2^63, so that signed numbers of 64 bits have their order. Blocks are z, y, x, each
more by 2^31, as big-endian numbers of 32 bits, so that bytes have theirs."""

Index("label_blocks_block", label_blocks.c.instance, label_blocks.c.block, label_blocks.c.version)

repositories_state = Table(
    "repositories_state",
    metadata,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
)
"""One row, which whoever changes a repository locks."""

stored_values = Table(
    "stored_values",
    metadata,
    Column("data_uuid", ForeignKey(data_instances.c.data_uuid), primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("version", ForeignKey(nodes.c.version), primary_key=True),
    Column("value", LargeBinary),
)
"""What data instances hold that are no voxels. A row hides those of the same key in ancestors; NULL: no value. Keys are
bytes because these are in the same order in every database, whatever its collation."""

users = Table(
    "users",
    metadata,
    Column("email", String(320), primary_key=True),
    Column("name", Text),
    Column("org", Text),
    Column("picture", Text),
    Column("disabled", Boolean, nullable=False),
    Column("global_roles", Text, nullable=False),
    Column("datasets", Text, nullable=False),
    Column("token_epoch", Float, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
)
"""Roles are JSON: a list, and an object of lists by dataset."""

user_groups = Table(
    "user_groups",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("email", String(320), primary_key=True, index=True),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("email", String(320), nullable=False, index=True),
    Column("label", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
)
"""Opaque tokens: of each its SHA-256 in hex."""

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("email", String(320), nullable=False),
    Column("action", String(64), nullable=False),
    Column("dataset", String(300)),
    Column("detail", Text, nullable=False),
)
"""A line for each change that a user makes; ``detail`` is JSON. No secret stands in it."""

clio_datasets = Table(
    "clio_datasets",
    metadata,
    Column("name", String(300), primary_key=True),
    Column("document", Text, nullable=False),
    Column("updated", Float, nullable=False),
    Column("by", String(320), nullable=False),
)
"""``document`` is JSON."""

point_annotations = Table(
    "point_annotations",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("dataset", String(300), nullable=False),
    Column("email", String(320), nullable=False),
    Column("locationkey", String(64), nullable=False),
    Column("verified", Boolean, nullable=False),
    Column("at", Float, nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("kind", "dataset", "email", "locationkey", name="point_annotations_place"),
)
"""Annotations of the first version, saved searches and atlas entries, one of each kind for a user at a place."""

typed_annotations = Table(
    "typed_annotations",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("dataset", String(300), nullable=False),
    Column("email", String(320), nullable=False),
    Column("key", String(160), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("cell", BigInteger, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ("x0", "y0", "z0", "x1", "y1", "z1")),
    Column("at", Float, nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("dataset", "email", "key", name="typed_annotations_key"),
)
"""Points, lines and spheres; the six numbers are the inclusive corners of a box around each, ``cell`` is where it is
(``clio.cells``)."""

Index("typed_annotations_place", *(typed_annotations.c[name] for name in ("dataset", "cell", "number")))

clio_values = Table(
    "clio_values",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("email", String(320), primary_key=True),
    Column("scope", String(300), primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("at", Float, nullable=False),
    Column("document", Text, nullable=False),
)
"""Key-values of users, and what of them was handed in as a pull request."""

site_reports = Table(
    "site_reports",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("email", String(320), nullable=False),
    Column("at", Float, nullable=False),
    Column("document", Text, nullable=False),
)

clio_volumes = Table(
    "clio_volumes",
    metadata,
    Column("name", String(300), primary_key=True),
    Column("document", Text, nullable=False),
)

neuron_states = Table(
    "neuron_states",
    metadata,
    Column("revision", Integer, primary_key=True),
    Column("dataset", String(300), nullable=False),
    Column("type", String(100), nullable=False),
    Column("id", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("document", Text),
    Column("email", String(320), nullable=False),
    Column("at", Float, nullable=False),
)
"""Every state of every record; without a document where it was deleted. The last one of the newest version counts."""

Index(
    "neuron_states_place",
    *(neuron_states.c.dataset, neuron_states.c.type, neuron_states.c.id),
    *(neuron_states.c.version, neuron_states.c.revision),
)

neuron_tags = Table(
    "neuron_tags",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("dataset", String(300), nullable=False),
    Column("type", String(100), nullable=False),
    Column("tag", String(100), nullable=False),
    Column("uuid", String(100), nullable=False),
    UniqueConstraint("dataset", "type", "tag", name="neuron_tags_name"),
)

share_links = Table(
    "share_links",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("dataset", String(300), nullable=False, index=True),
    Column("layer", String(160)),
    Column("made", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("by", String(320), nullable=False),
)
"""Times are seconds since 1970. What a link's token is follows from its id, and is stored nowhere."""

share_links_state = Table(
    "share_links_state",
    metadata,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
)
"""One row, which whoever changes a link locks."""

FIRST_ROWS: Mapping[Table, Mapping[str, Any]] = {
    catalog_state: {"generation": 0, "renewed": 0},
    repositories_state: {"generation": 0},
    share_links_state: {"generation": 0},
}
"""What a new database holds."""
