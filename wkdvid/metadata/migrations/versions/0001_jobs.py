"""Jobs and their tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("dataset", sa.String(300), nullable=False),
        sa.Column("layer", sa.String(160), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("plan", sa.Text),
        sa.Column("runner", sa.String(64)),
        sa.Column("leased_until", sa.Float, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    active = sa.text("state IN ('queued', 'running')")
    op.create_index(
        "jobs_active", "jobs", ["kind", "dataset", "layer"], unique=True, sqlite_where=active, postgresql_where=active
    )
    op.create_table(
        "job_tasks",
        sa.Column("job_id", sa.String(32), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
    )
