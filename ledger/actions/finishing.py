"""A finished course speaks for its lessons: who was told so, and what that makes needless."""

from datetime import datetime

from sqlalchemy import Connection, func, select, update

from ledger.tables import actions
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.states import ActionState


def finish_announced_at(
    connection: Connection, course_id: int, coworker_id: int
) -> datetime | None:
    """Return when the course was finished, if an action about that was planned; else None."""
    moment: datetime | None = connection.scalar(
        select(func.max(actions.c.happened_at)).where(
            actions.c.event_kind == EventKind.COURSE_COMPLETED,
            actions.c.course_id == course_id,
            actions.c.coworker_id == coworker_id,
        )
    )
    return moment


def supersede_lessons(
    connection: Connection, course_id: int, coworker_id: int, now: datetime
) -> int:
    """Skip the lesson actions of this person and course that have not begun; return how many."""
    waiting = (ActionState.PLANNED, ActionState.WAITING, ActionState.HELD)
    done = connection.execute(
        update(actions)
        .where(
            actions.c.event_kind == EventKind.LESSON_COMPLETED,
            actions.c.course_id == course_id,
            actions.c.coworker_id == coworker_id,
            actions.c.state.in_(waiting),
        )
        .values(state=ActionState.SKIPPED, reason=Reason.SUPERSEDED, finished_at=now)
    )
    return done.rowcount
