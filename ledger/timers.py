"""Timers: events to come. Each happens once at most, or is cancelled with a reason."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, update

from ledger.engine import chunks, insert_into
from ledger.tables import WAITING_TIMERS, records, timers
from schemas.entity import Entity
from schemas.events import EventKind, Timer
from schemas.reasons import Reason

WAITING, FIRED, CANCELLED = "waiting", "fired", "cancelled"
_IS_UNWANTED = and_(
    timers.c.state == CANCELLED, func.coalesce(timers.c.reason, "") == Reason.KIND_OFF
)
# A lookup that was asked for is not lost; this only covers one that ended without deciding.
_ASK_AGAIN_AFTER = timedelta(hours=6)


def timers_among(
    connection: Connection, course_member_ids: Collection[int]
) -> dict[int, dict[str, tuple[Timer, bool]]]:
    """Return the timers of these enrolments by key, and whether each still waits.

    They are in the order in which they were made. Those that ended because no rule asked for them
    are left out: a rule may ask again.
    """
    found: dict[int, dict[str, tuple[Timer, bool]]] = {}
    for some in chunks(course_member_ids):
        rows = connection.execute(
            select(timers)
            .where(timers.c.course_member_id.in_(some), ~_IS_UNWANTED)
            .order_by(timers.c.id)
        )
        for row in rows:
            of_one = found.setdefault(row.course_member_id, {})
            of_one[row.key] = (_timer(row), row.state == WAITING)
    return found


def _timer(row: Row[Any]) -> Timer:
    return Timer(
        EventKind(row.kind),
        row.key,
        row.due_at,
        row.course_id,
        row.coworker_id,
        row.course_member_id,
        row.lesson_id,
        row.step_s,
    )


def set_timers(connection: Connection, new: Sequence[Timer], now: datetime) -> None:
    """Store new timers. One whose key was ever stored waits again only if no rule asked for it."""
    rows = [
        {
            "key": one.key,
            "kind": one.kind,
            "step_s": one.step_s,
            "course_id": one.course_id,
            "coworker_id": one.coworker_id,
            "course_member_id": one.course_member_id,
            "lesson_id": one.lesson_id,
            "due_at": one.due_at,
            "state": WAITING,
            "made_at": now,
        }
        for one in new
    ]
    if not rows:
        return
    statement = insert_into(connection, timers)
    again = {name: statement.excluded[name] for name in ("due_at", "state", "made_at")}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[timers.c.key],
            set_=again | {"reason": None, "asked_at": None, "ended_at": None},
            where=_IS_UNWANTED,
        ),
        rows,
    )


def move_timer(connection: Connection, key: str, due_at: datetime) -> None:
    """Change when a waiting timer is due."""
    values = {"due_at": due_at, "asked_at": None}
    connection.execute(update(timers).where(_waits(key)).values(**values))


def end_timer(connection: Connection, key: str, reason: Reason | None, now: datetime) -> None:
    """End a waiting timer: its event happened, or will not for this reason."""
    state = FIRED if reason is None else CANCELLED
    values = {"state": state, "reason": reason, "ended_at": now}
    connection.execute(update(timers).where(_waits(key)).values(**values))


def cancel_timers(
    connection: Connection, course_member_id: int, reason: Reason, now: datetime
) -> None:
    """Cancel all waiting timers of an enrolment."""
    connection.execute(
        update(timers)
        .where(timers.c.course_member_id == course_member_id, timers.c.state == WAITING)
        .values(state=CANCELLED, reason=reason, ended_at=now)
    )


def cancel_all_timers(connection: Connection, reason: Reason, now: datetime) -> None:
    """Cancel all waiting timers."""
    values = {"state": CANCELLED, "reason": reason, "ended_at": now}
    connection.execute(update(timers).where(timers.c.state == WAITING).values(**values))


def _waits(key: str) -> ColumnElement[bool]:
    return and_(timers.c.key == key, timers.c.state == WAITING)


def due_enrolments(connection: Connection, now: datetime, most: int) -> list[int]:
    """Return enrolments with due timers that were not asked for lately, the longest due first."""
    due = and_(
        WAITING_TIMERS,
        timers.c.due_at <= now,
        or_(timers.c.asked_at.is_(None), timers.c.asked_at <= now - _ASK_AGAIN_AFTER),
    )
    rows = connection.scalars(
        select(timers.c.course_member_id).where(due).order_by(timers.c.due_at).limit(most)
    )
    return list(dict.fromkeys(rows))


def note_asked(connection: Connection, course_member_ids: Collection[int], now: datetime) -> None:
    """Note that these enrolments were asked for because a timer was due."""
    for some in chunks(course_member_ids):
        of_some = and_(timers.c.course_member_id.in_(some), timers.c.state == WAITING)
        connection.execute(
            update(timers).where(of_some, timers.c.due_at <= now).values(asked_at=now)
        )


def active_since(
    connection: Connection, entity: Entity, since: datetime, after: int, most: int
) -> list[tuple[int, int]]:
    """Return the newest enrolments, or completions, present at the source, and whose they are.

    Those created after `since`, with Ids above `after`, as pairs of Id and Id of the enrolment, in
    the order of Ids.
    """
    rows = connection.execute(
        select(records.c.record_id, records.c.course_member_id)
        .where(
            records.c.entity == entity,
            records.c.created_at > since,
            records.c.gone_at.is_(None),
            records.c.record_id > after,
        )
        .order_by(records.c.record_id)
        .limit(most)
    )
    return [(row.record_id, row.course_member_id or row.record_id) for row in rows]
