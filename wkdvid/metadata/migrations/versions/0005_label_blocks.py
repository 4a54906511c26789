"""Labels that clients write, by blocks and versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "max_labels",
        sa.Column("instance", sa.Integer, sa.ForeignKey("data_instances.number"), primary_key=True),
        sa.Column("version", sa.Integer, sa.ForeignKey("nodes.version"), primary_key=True),
        sa.Column("label", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "label_blocks",
        sa.Column("instance", sa.Integer, sa.ForeignKey("data_instances.number"), primary_key=True),
        sa.Column("label", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("block", sa.LargeBinary(12), primary_key=True),
        sa.Column("version", sa.Integer, sa.ForeignKey("nodes.version"), primary_key=True),
        sa.Column("voxels", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("label_blocks_block", "label_blocks", ["instance", "block", "version"])
