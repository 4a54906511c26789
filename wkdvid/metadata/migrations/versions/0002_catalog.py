"""The catalog."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "catalog",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("entry", sa.Text, nullable=False),
        sa.Column("renewed", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("organization", "dataset", name="catalog_dataset"),
    )
    state = op.create_table(
        "catalog_state",
        sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("renewed", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(state, [{"generation": 0, "renewed": 0}])
