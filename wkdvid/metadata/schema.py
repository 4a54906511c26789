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
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION = "0006"
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
