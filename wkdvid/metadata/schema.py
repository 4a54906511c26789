"""The tables, as the newest migration leaves them."""

from __future__ import annotations

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

REVISION = "0004"
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
