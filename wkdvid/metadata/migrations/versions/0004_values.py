"""Values by keys, in versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "stored_values",
        sa.Column("data_uuid", sa.String(32), sa.ForeignKey("data_instances.data_uuid"), primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("version", sa.Integer, sa.ForeignKey("nodes.version"), primary_key=True),
        sa.Column("value", sa.LargeBinary),
    )
