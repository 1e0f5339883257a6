"""How often a report was not sent, by reason; and what alerts said that never left is said again.

Revision ID: 0028
Revises: 0027
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None
# Older code ignores the column, and reads what is noted about alerts as before.
oldest_code = "0023"

_BEGUN = sa.text(
    "SELECT state FROM reports WHERE name = :name AND audience = :audience AND attempts > 0"
    " ORDER BY id DESC LIMIT 1"
)
_NOTED = sa.text("SELECT value FROM controls WHERE name = :control")
_NOTE = sa.text("UPDATE controls SET value = :value WHERE name = :control")


def upgrade() -> None:
    op.add_column("reports", sa.Column("tries", sa.JSON(none_as_null=True), nullable=True))
    for name in ("attention", "trouble"):
        _forget_unsaid(name)


def _forget_unsaid(name: str) -> None:
    """Count as not said what earlier code noted as said when it only tried to."""
    connection, control = op.get_bind(), f"report_state.{name}"
    stored = connection.scalar(_NOTED, {"control": control})
    if stored is None:
        return
    states = json.loads(json.loads(stored))
    for audience, state in states.items():
        last = connection.scalar(_BEGUN, {"name": name, "audience": audience})
        if last not in {None, "done"}:
            state["known"] = {}
    value = json.dumps(json.dumps(states))
    connection.execute(_NOTE, {"value": value, "control": control})


def downgrade() -> None:
    op.drop_column("reports", "tries")
