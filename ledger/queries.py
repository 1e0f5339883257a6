"""Read-only queries for commands and pages: emails, what needs a person, totals."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select, true

from ledger.engine import chunks
from ledger.tables import (
    UNDECIDED_ACTIONS,
    UNFINISHED_ACTIONS,
    action_events,
    actions,
    attempts,
    copies,
    deliveries,
    events,
    lookups,
    notifications,
    people,
    records,
)
from ledger.tallies import tallies_of
from schemas.actions import ActionState
from schemas.entity import Entity
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class EmailView:
    """One email. `person`, `email`, `course` and `title` are None where unknown.

    `title` and `written_at` are the stored copy's. `resend_of` is the email that this one repeats,
    `resent_as` the one that repeats this. `is_person_gone`: Nexudus no longer has the person, or
    the ledger does not know them. `person` and `email` are those of the member it is about;
    `audience` is whom it is to, None if to them, and `recipient` the address of its stored copy.
    `closed_at` is when a person said that nothing more is to do about it.
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
    audience: str | None = None
    recipient: str | None = field(default=None, repr=False)
    closed_at: datetime | None = None
    template: str | None = None

    @property
    def address(self) -> str | None:
        """The address it is to, as far as known."""
        return self.email if self.audience is None else self.recipient


def emails_of(connection: Connection, action_ids: Collection[int]) -> list[EmailView]:
    """Return these emails in the order they were planned; ids that do not exist are omitted."""
    return [
        found
        for some in chunks(action_ids)
        for found in emails_where(connection, actions.c.id.in_(some))
    ]


# Emails in these states wait, without a person.
_OPEN = (ActionState.PLANNED, ActionState.WAITING)


@dataclass(frozen=True, slots=True)
class EmailFilter:
    """Which emails an operator means; what is given must all match. Without ids: all emails."""

    action_ids: tuple[int, ...] = ()
    reason: Reason | None = None
    rule: str | None = None
    course_id: int | None = None
    coworker_id: int | None = None


def filtered_emails(
    connection: Connection, wanted: EmailFilter, states: Collection[ActionState]
) -> list[EmailView]:
    """Return the emails in one of these states that an operator means, as they were planned.

    Failed and unknown ones that were resent, or that a person closed, are left out.
    """
    return emails_of(connection, filtered_ids(connection, wanted, states))


def filtered_ids(
    connection: Connection, wanted: EmailFilter, states: Collection[ActionState]
) -> list[int]:
    """Return the ids of the emails that `filtered_emails` returns."""
    again = actions.alias("later")
    is_sent_again = select(again.c.id).where(again.c.resend_of == actions.c.id).exists()
    needs_person = and_(actions.c.closed_at.is_(None), ~is_sent_again)
    found: list[int] = []
    for state in states:
        # The condition of the index is repeated, so that only few rows are read.
        indexed = UNFINISHED_ACTIONS if state in _OPEN else UNDECIDED_ACTIONS
        conditions: list[Any] = [indexed, actions.c.state == state]
        if state not in {*_OPEN, ActionState.HELD}:
            conditions.append(needs_person)
        for column, value in (
            (actions.c.reason, wanted.reason),
            (actions.c.rule, wanted.rule),
            (actions.c.course_id, wanted.course_id),
            (actions.c.coworker_id, wanted.coworker_id),
        ):
            if value is not None:
                conditions.append(column == value)
        if wanted.action_ids:
            conditions.append(actions.c.id.in_(wanted.action_ids))
        found += connection.scalars(select(actions.c.id).where(*conditions))
    return sorted(found)


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """How many emails are held for one reason, and about how many people.

    `last_id` is the highest id, 0 if there is none, and `planned_at` when the earliest was planned.
    """

    number: int
    people: int
    last_id: int
    planned_at: datetime | None


def held_group(
    connection: Connection, reason: Reason, only: Collection[int] | None = None
) -> HeldGroup:
    """Count the emails held for this reason, all or those among these few."""
    counted = select(
        func.count(),
        func.count(actions.c.coworker_id.distinct()),
        func.max(actions.c.id),
        func.min(actions.c.planned_at),
    )
    is_held = _is_held(reason, only)
    number, of_people, last_id, planned_at = connection.execute(counted.where(is_held)).one()
    return HeldGroup(number, of_people, last_id or 0, planned_at)


def first_held(
    connection: Connection, reason: Reason, most: int, only: Collection[int] | None = None
) -> list[EmailView]:
    """Return the first emails held for this reason, of all or among these few."""
    first = select(actions.c.id).where(_is_held(reason, only)).order_by(actions.c.id).limit(most)
    return emails_of(connection, list(connection.scalars(first)))


def _is_held(reason: Reason, only: Collection[int] | None) -> ColumnElement[bool]:
    return and_(
        UNDECIDED_ACTIONS,
        actions.c.state == ActionState.HELD,
        actions.c.reason == reason,
        true() if only is None else actions.c.id.in_(only),
    )


@dataclass(frozen=True, slots=True)
class NextEmails:
    """The actions that are due next, and how many of each kind there are to how many people in all.

    `events` is how many things each is about.
    """

    emails: list[EmailView]
    events: dict[int, int]
    by_kind: dict[str, int]
    people: int


def next_emails(connection: Connection, until: datetime, most: int) -> NextEmails:
    """Return the emails that wait and are due before then, the next first, at most so many."""
    is_next = and_(UNFINISHED_ACTIONS, actions.c.state.in_(_OPEN), actions.c.due_at < until)
    first = select(actions.c.id).where(is_next).order_by(actions.c.due_at, actions.c.id).limit(most)
    ids = list(connection.scalars(first))
    counted = select(actions.c.kind, func.count()).where(is_next).group_by(actions.c.kind)
    by_kind = dict[str, int](connection.execute(counted).all())
    to = connection.scalar(select(func.count(actions.c.coworker_id.distinct())).where(is_next))
    emails = {one.action_id: one for one in emails_of(connection, ids)}
    events_each = events_per_email(connection, ids)
    return NextEmails([emails[one] for one in ids], events_each, by_kind, to or 0)


def events_per_email(connection: Connection, action_ids: Collection[int]) -> dict[int, int]:
    """Return how many events each of these few emails is about."""
    per_email = (
        select(action_events.c.action_id, func.count())
        .where(action_events.c.action_id.in_(action_ids))
        .group_by(action_events.c.action_id)
    )
    return dict[int, int](connection.execute(per_email).all())


def rules_in_use(connection: Connection) -> set[str]:
    """Return the names of the rules of emails that wait or may need a person."""
    of_some = (
        select(actions.c.rule).where(condition).distinct()
        for condition in (UNFINISHED_ACTIONS, UNDECIDED_ACTIONS)
    )
    return {name for each in of_some for name in connection.scalars(each)}


def emails_where(connection: Connection, where: ColumnElement[bool]) -> list[EmailView]:
    """Return the emails that match a condition on `actions`, in the order they were planned."""
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
            copies.c.recipient,
            again.c.id.label("resent_as"),
        )
        .outerjoin(people, people.c.coworker_id == actions.c.coworker_id)
        .outerjoin(records, is_course)
        .outerjoin(copies, copies.c.action_id == actions.c.id)
        .outerjoin(again, again.c.resend_of == actions.c.id)
        .where(where)
        .order_by(actions.c.id)
    )
    return [_email_view(row) for row in rows]


def _email_view(row: Row[Any]) -> EmailView:
    return EmailView(
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
        audience=row.audience,
        recipient=row.recipient,
        closed_at=row.closed_at,
        template=row.template,
    )


def last_detail(connection: Connection, action_id: int) -> str | None:
    """Return the latest detail in an action's attempts: a server's answer, or who decided."""
    newest = select(func.max(attempts.c.id)).where(
        attempts.c.action_id == action_id, attempts.c.detail.is_not(None)
    )
    detail: str | None = connection.scalar(
        select(attempts.c.detail).where(attempts.c.id == newest.scalar_subquery())
    )
    return detail


@dataclass(frozen=True, slots=True)
class DayCounts:
    """How many emails were sent and left out in a time, and how many wait now.

    `paused` are those of any kind that a pause holds.
    """

    sent: int
    not_sent: int
    waiting: int
    paused: int


def count_day(connection: Connection, kind: str, since: datetime, until: datetime) -> DayCounts:
    """Count the actions of one kind that ended in this time, and those that wait."""
    ended = dict[str, int](
        connection.execute(
            select(actions.c.state, func.count())
            .where(
                actions.c.finished_at >= since,
                actions.c.finished_at < until,
                actions.c.kind == kind,
            )
            .group_by(actions.c.state)
        ).all()
    )
    waiting = connection.scalar(
        select(func.count()).select_from(actions).where(UNFINISHED_ACTIONS, actions.c.kind == kind)
    )
    held = tallies_of(connection, actions)[actions.name].get(ActionState.HELD, {})
    paused = held.get(Reason.PAUSED, 0)
    return DayCounts(
        ended.get(ActionState.DONE, 0), ended.get(ActionState.SKIPPED, 0), waiting or 0, paused
    )


def needing_person(
    connection: Connection, held_for: Collection[Reason], most: int
) -> list[EmailView]:
    """Return the newest actions that need a person: failed, unknown, or held for these reasons.

    Those that were resent or closed need nobody.
    """
    again = actions.alias("later")
    is_sent_again = select(again.c.id).where(again.c.resend_of == actions.c.id).exists()
    ended = and_(actions.c.closed_at.is_(None), ~is_sent_again)
    found: list[int] = []
    for state, condition in (
        (ActionState.HELD, actions.c.reason.in_(held_for)),
        (ActionState.FAILED, ended),
        (ActionState.UNKNOWN, ended),
    ):
        found += connection.scalars(
            select(actions.c.id)
            .where(UNDECIDED_ACTIONS, actions.c.state == state, condition)
            .order_by(actions.c.id.desc())
            .limit(most)
        )
    return emails_of(connection, sorted(found, reverse=True)[:most])[::-1]


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals of the whole ledger. Counts are by state, then by reason ("" for none)."""

    deliveries: int
    unreadable_deliveries: int
    notifications: int
    events: int
    lookups: dict[str, dict[str, int]]
    actions: dict[str, dict[str, int]]
    events_without_action: dict[str, int]
    oldest_due_at: datetime | None


def count_totals(connection: Connection, now: datetime) -> Totals:
    """Return the totals that the database keeps, and when the most overdue email was due."""
    oldest = connection.scalar(
        select(actions.c.due_at)
        .where(
            UNFINISHED_ACTIONS,
            actions.c.state.in_([ActionState.PLANNED, ActionState.WAITING]),
            actions.c.due_at <= now,
        )
        .order_by(actions.c.due_at)
        .limit(1)
    )
    found = tallies_of(connection, deliveries, notifications, events, lookups, actions)
    number_of = {
        name: sum(sum(reasons.values()) for reasons in by_state.values())
        for name, by_state in found.items()
    }
    without = found[events.name].get("", {})
    return Totals(
        deliveries=number_of[deliveries.name],
        unreadable_deliveries=sum(found[deliveries.name].get("unreadable", {}).values()),
        notifications=number_of[notifications.name],
        events=number_of[events.name],
        lookups=found[lookups.name],
        actions=found[actions.name],
        events_without_action={reason: number for reason, number in without.items() if reason},
        oldest_due_at=oldest,
    )
