"""Share links."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "share_links",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("dataset", sa.String(300), nullable=False, index=True),
        sa.Column("layer", sa.String(160)),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("by", sa.String(320), nullable=False),
    )
    state = op.create_table(
        "share_links_state",
        sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    op.bulk_insert(state, [{"generation": 0}])
