"""Single emails: where each stands, whom it is for, and what it is about."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select

from ledger.tables import actions, attempts, copies, people, records
from ledger.upsert import portions
from schemas.entity import Entity
from schemas.reasons import Reason
from schemas.states import ActionState


@dataclass(frozen=True, slots=True)
class EmailStory:
    """One email. `person`, `email`, `course` and `title` are None where not known.

    `title` and `written_at` are those of the copy that is kept. `resend_of` is the email that
    this one repeats, `resent_as` the one that repeats this. `is_person_gone`: Nexudus no longer has
    the person, or the ledger does not know them.
    """

    action_id: int
    kind: str
    state: ActionState
    reason: Reason | None
    rule: str
    event_kind: str
    happened_at: datetime
    planned_at: datetime
    due_at: datetime
    finished_at: datetime | None
    receipt: str | None
    coworker_id: int
    course_id: int
    course_member_id: int
    person: str | None = field(repr=False)
    email: str | None = field(repr=False)
    is_person_gone: bool
    course: str | None
    title: str | None = field(repr=False)
    written_at: datetime | None
    resend_of: int | None
    resent_as: int | None


def emails_of(connection: Connection, action_ids: Collection[int]) -> list[EmailStory]:
    """Return these emails, in the order they were planned; those that do not exist are left out."""
    return [
        found
        for some in portions(action_ids)
        for found in emails_where(connection, actions.c.id.in_(some))
    ]


def emails_where(connection: Connection, where: ColumnElement[bool]) -> list[EmailStory]:
    """Return the emails that meet a condition on `actions`, in the order they were planned."""
    again = actions.alias("again")
    is_course = and_(records.c.entity == Entity.COURSE, records.c.record_id == actions.c.course_id)
    rows = connection.execute(
        select(
            actions,
            people.c.full_name,
            people.c.email,
            (people.c.coworker_id.is_(None) | people.c.gone_at.is_not(None)).label("is_gone"),
            records.c.record,
            copies.c.title,
            copies.c.written_at,
            again.c.id.label("resent_as"),
        )
        .outerjoin(people, people.c.coworker_id == actions.c.coworker_id)
        .outerjoin(records, is_course)
        .outerjoin(copies, copies.c.action_id == actions.c.id)
        .outerjoin(again, again.c.resend_of == actions.c.id)
        .where(where)
        .order_by(actions.c.id)
    )
    return [_story(row) for row in rows]


def _story(row: Row[Any]) -> EmailStory:
    return EmailStory(
        action_id=row.id,
        kind=row.kind,
        state=ActionState(row.state),
        reason=None if row.reason is None else Reason(row.reason),
        rule=row.rule,
        event_kind=row.event_kind,
        happened_at=row.happened_at,
        planned_at=row.planned_at,
        due_at=row.due_at,
        finished_at=row.finished_at,
        receipt=row.receipt,
        coworker_id=row.coworker_id,
        course_id=row.course_id,
        course_member_id=row.course_member_id,
        person=row.full_name,
        email=row.email,
        is_person_gone=bool(row.is_gone),
        course=None if row.record is None else row.record.get("Title"),
        title=row.title,
        written_at=row.written_at,
        resend_of=row.resend_of,
        resent_as=row.resent_as,
    )


def last_detail(connection: Connection, action_id: int) -> str | None:
    """Return what the last attempt at an action that says anything says: an answer, or who."""
    newest = select(func.max(attempts.c.id)).where(
        attempts.c.action_id == action_id, attempts.c.detail.is_not(None)
    )
    detail: str | None = connection.scalar(
        select(attempts.c.detail).where(attempts.c.id == newest.scalar_subquery())
    )
    return detail
