"""Run by Alembic for each upgrade, within the transaction and the lock of ``metadata.engine.migrate``."""

from __future__ import annotations

from alembic import context

from wkdvid.metadata.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
