"""Repositories that clients make."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "repositories",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("root", sa.Text, nullable=False, unique=True),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("log", sa.Text, nullable=False),
        sa.Column("created", sa.Text, nullable=False),
        sa.Column("updated", sa.Text, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "nodes",
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("uuid", sa.Text, nullable=False, unique=True),
        sa.Column("repository", sa.Integer, sa.ForeignKey("repositories.number"), nullable=False, index=True),
        sa.Column("parent", sa.Integer, sa.ForeignKey("nodes.version")),
        sa.Column("branch", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("log", sa.Text, nullable=False),
        sa.Column("locked", sa.Boolean, nullable=False),
        sa.Column("created", sa.Text, nullable=False),
        sa.Column("updated", sa.Text, nullable=False),
    )
    op.create_table(
        "data_instances",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("data_uuid", sa.String(32), nullable=False, unique=True),
        sa.Column("repository", sa.Integer, sa.ForeignKey("repositories.number"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("typename", sa.Text, nullable=False),
        sa.Column("versioned", sa.Boolean, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.UniqueConstraint("repository", "name", name="data_instances_name"),
    )
    op.create_table(
        "extents",
        sa.Column("instance", sa.Integer, sa.ForeignKey("data_instances.number"), primary_key=True),
        sa.Column("version", sa.Integer, sa.ForeignKey("nodes.version"), primary_key=True),
        sa.Column("corners", sa.Text, nullable=False),
        sa.Column("written", sa.Boolean, nullable=False),
    )
    state = op.create_table(
        "repositories_state",
        sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    op.bulk_insert(state, [{"generation": 0}])
