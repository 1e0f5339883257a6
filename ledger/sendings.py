"""What left for whom, and how much was planned together: what caps and the flood guard ask."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from ledger.tables import actions
from schemas.states import ActionState

# An action that may have been done counts as done.
_COUNTED = (ActionState.DONE, ActionState.UNKNOWN, ActionState.PERFORMING)


def sent_to(
    connection: Connection, coworker_id: int, since: datetime, *, kind: str, but: int
) -> list[datetime]:
    """Return when actions of this kind about this person were done after `since`, except `but`."""
    rows = connection.execute(
        select(actions.c.finished_at, actions.c.lease_until, actions.c.due_at).where(
            actions.c.coworker_id == coworker_id,
            actions.c.state.in_(_COUNTED),
            actions.c.kind == kind,
            actions.c.id != but,
        )
    )
    # One that is being delivered counts as now, however long ago it was due.
    moments = (row.finished_at or row.lease_until or row.due_at for row in rows)
    return [moment for moment in moments if moment > since]


def planned_nearby(connection: Connection, planned_at: datetime, window: timedelta) -> int:
    """Return how many actions were planned within `window` before or after `planned_at`.

    What a person has sent again does not count: it is no sign of an import.
    """
    count: int | None = connection.scalar(
        select(func.count())
        .select_from(actions)
        .where(
            actions.c.planned_at.between(planned_at - window, planned_at + window),
            actions.c.state != ActionState.SKIPPED,
            actions.c.resend_of.is_(None),
        )
    )
    return count or 0
