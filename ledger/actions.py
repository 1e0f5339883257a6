"""Plans actions under permanent keys, stores their copies, and counts them for caps and limits.

An event may join an action that is still gathering. An action about a completed course supersedes
those about its lessons. A copy is an action's body as prepared: what was or would have been sent.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    false,
    func,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert

from ledger.attempts import note_attempt
from ledger.engine import Insert, insert_for, insert_into
from ledger.heartbeats import last_gap_end
from ledger.tables import PERFORMING_ACTIONS, action_events, actions, copies
from schemas.actions import OPEN_ACTIONS, ActionState, Outcome, Plan, step_of
from schemas.events import EventKind
from schemas.reasons import Reason


def plan_action(connection: Connection, plan: Plan, event_id: int, now: datetime) -> None:
    """Plan one action for one event, or let the event join the action that is still gathering.

    Events that may have been sent before the ledger was restored gather separately from others, and
    so do events whose action is held from the start.
    The caller holds `ledger.engine.lock_decisions`, so no other process plans meanwhile.
    """
    action_id = _gathering(connection, plan)
    if action_id is None:
        action_id = _new_action(connection, plan, now)
    if action_id is not None:
        # An event has one link for each rule and audience; each later email of a sequence needs its
        # own.
        name = f"step:{action_id}" if step_of(plan.key) else _link_name(plan)
        connection.execute(
            _linking(connection.dialect.name),
            {"event_id": event_id, "rule": name, "action_id": action_id},
        )


def _link_name(plan: Plan) -> str:
    if plan.audience is None:
        return plan.rule
    # A digest, since the name of a rule may take all the space.
    digest = hashlib.sha256(f"{plan.rule} {plan.audience}".encode()).hexdigest()
    return f"to:{digest[:32]}"


def is_to(audience: str | None) -> ColumnElement[bool]:
    """Match the actions that are to this audience; None is the member."""
    return actions.c.audience.is_(None) if audience is None else actions.c.audience == audience


@cache
def _linking(dialect: str) -> Insert:
    return insert_for(dialect, action_events).on_conflict_do_nothing()


def _gathering(connection: Connection, plan: Plan) -> int | None:
    if not plan.may_join:
        return None
    restored_at = last_gap_end(connection)
    row = connection.execute(
        select(actions.c.id, actions.c.happened_at, actions.c.reason, actions.c.due_at)
        .where(
            # The index is by person; without it every row would be scanned while other processes
            # wait for the lock.
            actions.c.coworker_id == plan.coworker_id,
            actions.c.rule == plan.rule,
            is_to(plan.audience),
            actions.c.course_member_id == plan.course_member_id,
            _is_alike(plan),
            actions.c.resend_of.is_(None),  # a resend is complete as it is
            or_(_is_one_sitting(plan), actions.c.reason == Reason.WEEKLY),
            true() if restored_at is None else _is_as_sure(plan, restored_at),
        )
        .order_by(actions.c.happened_at.desc())
    ).first()
    if row is None:
        return None
    first = min(row.happened_at, plan.happened_at)
    values: dict[str, Any] = {"happened_at": first}
    if plan.asked:
        values["asked"] = True
    if row.reason == Reason.GATHERING:
        values["due_at"] = plan.due_with(first) if plan.due_with else plan.due_at
    elif row.reason == Reason.WEEKLY:
        # Then it is checked whether the member still wants one email a week.
        values["due_at"] = min(row.due_at, plan.due_at)
    connection.execute(update(actions).where(actions.c.id == row.id).values(values))
    return int(row.id)


def _is_one_sitting(plan: Plan) -> ColumnElement[bool]:
    """Match actions that gather with this event: those of another sitting, found late, do not."""
    if plan.gather_until is None:
        return false()
    longest = plan.gather_until - plan.happened_at
    return actions.c.happened_at.between(plan.happened_at - longest, plan.gather_until)


def _is_alike(plan: Plan) -> ColumnElement[bool]:
    if plan.held_for is None:
        return actions.c.state.in_(OPEN_ACTIONS)
    return and_(actions.c.state == ActionState.HELD, actions.c.reason == plan.held_for)


def _is_as_sure(plan: Plan, restored_at: datetime) -> ColumnElement[bool]:
    """Match actions that, like this event, may or may not have been sent before a restore.

    Those that may have been will be held; one a person released is complete as it is.
    """
    may_be_sent = and_(actions.c.planned_at >= restored_at, actions.c.happened_at <= restored_at)
    if plan.happened_at > restored_at:
        return not_(may_be_sent)
    return and_(may_be_sent, actions.c.released_at.is_(None))


def _new_action(connection: Connection, plan: Plan, now: datetime) -> int | None:
    gathers = plan.gather_until is not None
    state = ActionState.WAITING if gathers else ActionState.PLANNED
    reason = Reason.GATHERING if gathers else None
    if plan.held_for is not None:
        state, reason = ActionState.HELD, plan.held_for
    values = {
        "key": plan.key,
        "kind": plan.kind,
        "rule": plan.rule,
        "rules_version": plan.rules_version,
        "event_kind": plan.event_kind,
        "template": plan.template,
        "stream": plan.stream,
        "course_id": plan.course_id,
        "coworker_id": plan.coworker_id,
        "course_member_id": plan.course_member_id,
        "audience": plan.audience,
        "happened_at": plan.happened_at,
        # Keeps the order, even if the clock was set back across a restore.
        "planned_at": max(now, last_gap_end(connection) or now),
        "asked": plan.asked,
        "state": state,
        "reason": reason,
        "due_at": plan.due_at,
    }
    action_id: int | None = connection.scalar(_planning(connection.dialect.name), values)
    if action_id is not None and plan.held_for is not None:
        note_attempt(connection, action_id, Outcome.held(plan.held_for), now)
    return action_id


@cache
def _planning(dialect: str) -> ReturningInsert[int]:
    statement = insert_for(dialect, actions)
    unless_known = statement.on_conflict_do_nothing(index_elements=[actions.c.key])
    return unless_known.returning(actions.c.id)


_COMPLETIONS_PLANNED = (
    select(
        actions.c.course_id,
        actions.c.coworker_id,
        actions.c.audience,
        func.max(actions.c.happened_at).label("moment"),
    )
    .where(
        actions.c.event_kind == EventKind.COURSE_COMPLETED,
        actions.c.coworker_id.in_(bindparam("coworkers", expanding=True)),
    )
    .group_by(actions.c.course_id, actions.c.coworker_id, actions.c.audience)
)


def completions_planned(
    connection: Connection, coworker_ids: Iterable[int]
) -> dict[tuple[int, int], dict[str | None, datetime]]:
    """Return when these people completed courses, if an action about that was planned.

    By course and person, then by whom the action is to.
    """
    found: dict[tuple[int, int], dict[str | None, datetime]] = {}
    for row in connection.execute(_COMPLETIONS_PLANNED, {"coworkers": sorted(set(coworker_ids))}):
        found.setdefault((row.course_id, row.coworker_id), {})[row.audience] = row.moment
    return found


_SUPERSEDE = (
    update(actions)
    .where(
        actions.c.event_kind == EventKind.LESSON_COMPLETED,
        actions.c.course_id == bindparam("course"),
        actions.c.coworker_id == bindparam("coworker"),
        actions.c.state.in_((ActionState.PLANNED, ActionState.WAITING, ActionState.HELD)),
    )
    .values(state=ActionState.SKIPPED, reason=Reason.SUPERSEDED)
)
_SUPERSEDE_TO_MEMBER = _SUPERSEDE.where(is_to(None))
_SUPERSEDE_TO_OTHERS = _SUPERSEDE.where(actions.c.audience == bindparam("whom"))


def supersede_lessons(
    connection: Connection,
    course_id: int,
    coworker_id: int,
    now: datetime,
    audience: str | None = None,
) -> int:
    """Skip the lesson actions of this person and course that have not started; return how many.

    Only those to this audience.
    """
    values: dict[str, Any] = {"course": course_id, "coworker": coworker_id, "finished_at": now}
    if audience is None:
        return connection.execute(_SUPERSEDE_TO_MEMBER, values).rowcount
    return connection.execute(_SUPERSEDE_TO_OTHERS, values | {"whom": audience}).rowcount


# An action that may have been performed counts as performed.
_LATER_STEPS = "%/step-%"  # keys of later steps of sequences; see `schemas.actions.action_key`
_REMINDER = "reminder"  # the stream that needs consent
_COUNTED = (ActionState.DONE, ActionState.UNKNOWN, ActionState.PERFORMING)


_SENT_TIMES = select(actions.c.finished_at, actions.c.lease_until, actions.c.due_at).where(
    actions.c.coworker_id == bindparam("whose"),
    actions.c.state.in_(_COUNTED),
    actions.c.kind == bindparam("its_kind"),
    is_to(None),
    actions.c.id != bindparam("but"),
)


def sent_times(
    connection: Connection, coworker_id: int, since: datetime, *, kind: str, but: int
) -> list[datetime]:
    """Return when a person was sent actions of this kind after `since`, except `but`."""
    rows = connection.execute(_SENT_TIMES, {"whose": coworker_id, "its_kind": kind, "but": but})
    # One being delivered counts as now, however long ago it was due.
    moments = (row.finished_at or row.lease_until or row.due_at for row in rows)
    return [moment for moment in moments if moment > since]


def reminders_sent(
    connection: Connection, coworker_id: int, *, but: int
) -> list[tuple[datetime, int]]:
    """Return when each reminder was sent to a person, and about which enrolment, except `but`."""
    rows = connection.execute(
        select(
            actions.c.finished_at,
            actions.c.lease_until,
            actions.c.due_at,
            actions.c.course_member_id,
        ).where(
            actions.c.coworker_id == coworker_id,
            actions.c.state.in_(_COUNTED),
            actions.c.stream == _REMINDER,
            is_to(None),
            actions.c.id != but,
        )
    )
    return [
        (row.finished_at or row.lease_until or row.due_at, row.course_member_id) for row in rows
    ]


def count_sent(connection: Connection, rule: str, since: datetime, *, but: int) -> int:
    """Return how many actions of a rule were performed since then, except `but`.

    One that is being performed counts, so that of two workers only one takes the last place. What
    an operator released or resent does not count.
    """
    others = and_(actions.c.rule == rule, actions.c.released_at.is_(None), actions.c.id != but)
    number = select(func.count()).select_from(actions)
    ended = number.where(
        actions.c.finished_at >= since,
        actions.c.state.in_((ActionState.DONE, ActionState.UNKNOWN)),
        others,
    )
    underway = number.where(PERFORMING_ACTIONS, others)
    total: int | None = connection.scalar(
        select(ended.scalar_subquery() + underway.scalar_subquery())
    )
    return total or 0


def planned_nearby(
    connection: Connection,
    planned_at: datetime,
    window: timedelta,
    audience: str | None = None,
) -> int:
    """Return how many actions to an audience were planned within `window` of `planned_at`.

    Resends do not count, nor do later steps of a sequence: they do not indicate an import. What a
    person skipped as part of one does count.
    """
    values: dict[str, Any] = {"begin": planned_at - window, "end": planned_at + window}
    if audience is not None:
        values["whom"] = audience
    count: int | None = connection.scalar(_nearby(to_member=audience is None), values)
    return count or 0


@cache
def _nearby(*, to_member: bool) -> Select[Any]:
    whom = actions.c.audience
    return (
        select(func.count())
        .select_from(actions)
        .where(
            actions.c.planned_at.between(bindparam("begin"), bindparam("end")),
            or_(
                actions.c.state != ActionState.SKIPPED,
                actions.c.reason == Reason.FLOOD_GUARD,
            ),
            actions.c.resend_of.is_(None),
            whom.is_(None) if to_member else whom == bindparam("whom"),
            actions.c.key.not_like(_LATER_STEPS),
        )
    )


@dataclass(frozen=True, slots=True)
class Copy:
    """The body of one action, of type `media_type`, with a title for lists.

    `version` identifies the template or code that rendered it; "" if its kind has none.
    `recipient` is None where a kind has none.
    """

    version: str
    recipient: str | None = field(repr=False)
    title: str = field(repr=False)
    body: bytes = field(repr=False)
    media_type: str

    def row(self, written_at: datetime) -> dict[str, Any]:
        """Return its columns in a table of copies."""
        return {
            "written_at": written_at,
            "version": self.version,
            "recipient": self.recipient,
            "title": self.title,
            "body": self.body,
            "media_type": self.media_type,
        }


def store_copy(connection: Connection, action_id: int, copy: Copy, now: datetime) -> None:
    """Store the copy of an action, replacing an earlier one."""
    values = copy.row(now)
    statement = insert_into(connection, copies).values(action_id=action_id, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[copies.c.action_id], set_=values)
    )


def store_held_copies(connection: Connection, written: Mapping[int, Copy], now: datetime) -> None:
    """Store the copies of those of these actions that are still held.

    The copy of an action released meanwhile is what was sent, and is not replaced.
    """
    held = (
        select(actions.c.id)
        .where(actions.c.id.in_(written), actions.c.state == ActionState.HELD)
        .order_by(actions.c.id)
        .with_for_update()
    )
    for action_id in connection.scalars(held).all():
        store_copy(connection, action_id, written[action_id], now)


def copy_of(connection: Connection, action_id: int) -> Copy | None:
    """Return the copy of an action; None if it was never prepared or has been deleted."""
    row = connection.execute(select(copies).where(copies.c.action_id == action_id)).first()
    if row is None:
        return None
    return Copy(row.version, row.recipient, row.title, row.body, row.media_type)
