"""What clio keeps: users, groups, tokens, datasets, annotations, key-values; and the record of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


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
    op.create_table(
        "point_annotations",
        sa.Column("id", sa.String(20), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("dataset", sa.String(300), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("locationkey", sa.String(64), nullable=False),
        sa.Column("verified", sa.Boolean, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.UniqueConstraint("kind", "dataset", "email", "locationkey", name="point_annotations_place"),
    )
    op.create_table(
        "typed_annotations",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("dataset", sa.String(300), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("key", sa.String(160), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("cell", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("x0", "y0", "z0", "x1", "y1", "z1")),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.UniqueConstraint("dataset", "email", "key", name="typed_annotations_key"),
    )
    op.create_index("typed_annotations_place", "typed_annotations", ["dataset", "cell", "number"])
    op.create_table(
        "clio_values",
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("email", sa.String(320), primary_key=True),
        sa.Column("scope", sa.String(300), primary_key=True),
        sa.Column("key", sa.String(300), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "site_reports",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "clio_volumes",
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "neuron_states",
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("dataset", sa.String(300), nullable=False),
        sa.Column("type", sa.String(100), nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("neuron_states_place", "neuron_states", ["dataset", "type", "id", "version", "revision"])
    op.create_table(
        "neuron_tags",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("dataset", sa.String(300), nullable=False),
        sa.Column("type", sa.String(100), nullable=False),
        sa.Column("tag", sa.String(100), nullable=False),
        sa.Column("uuid", sa.String(100), nullable=False),
        sa.UniqueConstraint("dataset", "type", "tag", name="neuron_tags_name"),
    )
