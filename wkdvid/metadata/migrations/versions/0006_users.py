"""Users, groups, tokens, and the record of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("email", sa.String(320), primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("org", sa.Text),
        sa.Column("picture", sa.Text),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("global_roles", sa.Text, nullable=False),
        sa.Column("datasets", sa.Text, nullable=False),
        sa.Column("token_epoch", sa.Float, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
    op.create_table(
        "user_groups",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("email", sa.String(320), primary_key=True, index=True),
    )
    op.create_table(
        "api_tokens",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("email", sa.String(320), nullable=False, index=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("dataset", sa.String(300)),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_table(
        "clio_datasets",
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
        sa.Column("by", sa.String(320), nullable=False),
    )
