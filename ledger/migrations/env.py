"""Entry point of Alembic: runs the migrations on the connection that `ledger.upgrade` provides."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from alembic import context
from alembic.migration import MigrationContext
from alembic.runtime.migration import MigrationInfo
from alembic.script import Script
from sqlalchemy import delete, insert, inspect

from ledger.tables import metadata, revisions

connection = context.config.attributes["connection"]


def note_revision(
    ctx: MigrationContext,  # noqa: ARG001 - Alembic's own signature, by name
    step: MigrationInfo,
    heads: Collection[Any],  # noqa: ARG001 - as above
    run_args: Mapping[str, Any],  # noqa: ARG001 - as above
) -> None:
    """Store the oldest code that may run from now on. Before 0004 there is no table for it."""
    if not inspect(connection).has_table(revisions.name):
        return
    if not step.is_upgrade:
        removed = revisions.c.revision.in_(step.up_revision_ids)
        connection.execute(delete(revisions).where(removed))
        return
    connection.execute(
        insert(revisions).values(
            revision=step.up_revision_id,
            oldest_code=cast("Script", step.up_revision).module.oldest_code,
            applied_at=datetime.now(UTC),
        )
    )


context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
    on_version_apply=note_revision,
)
with context.begin_transaction():
    context.run_migrations()
