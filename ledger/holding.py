"""Held actions: which there are, and what a person does with them, release or skip.

A released action is due at once and is checked again like any other. Only what made a person look
no longer holds it (`workers.decide.send_check`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from ledger.control_log import log_decision
from ledger.tables import UNDECIDED_ACTIONS, actions, attempts, copies, people, records
from ledger.upsert import portions
from schemas.entity import Entity
from schemas.reasons import Reason
from schemas.states import ActionState


@dataclass(frozen=True, slots=True)
class HeldAction:
    """One held action. `course`, `person`, `email` and `title` are None where not known.

    `title` is that of the email as it was written when it was held.
    """

    action_id: int
    reason: Reason
    rule: str
    event_kind: str
    happened_at: datetime
    planned_at: datetime
    coworker_id: int
    course_id: int
    person: str | None = field(repr=False)
    email: str | None = field(repr=False)
    course: str | None
    title: str | None = field(repr=False)


def hold_for(
    connection: Connection, reason: Reason, where: ColumnElement[bool], now: datetime
) -> list[int]:
    """Hold the actions that meet a condition, with this reason; return their ids."""
    held = _locked(connection, where)
    values = {"state": ActionState.HELD, "reason": reason, "lease_until": None, "lease_token": None}
    for some in portions(held):
        connection.execute(update(actions).where(actions.c.id.in_(some)).values(**values))
    _note(connection, held, now, ActionState.HELD, reason)
    return held


def held_by_reason(connection: Connection) -> dict[Reason, int]:
    """Return how many actions are held for each reason."""
    rows = connection.execute(
        select(actions.c.reason, func.count().label("number"))
        .where(UNDECIDED_ACTIONS, actions.c.state == ActionState.HELD)
        .group_by(actions.c.reason)
        .order_by(actions.c.reason)
    )
    return {Reason(row.reason): row.number for row in rows}


def held_actions(connection: Connection, reason: Reason | None = None) -> list[HeldAction]:
    """Return the held actions, or those held for one reason, in the order they were planned."""
    is_course = and_(records.c.entity == Entity.COURSE, records.c.record_id == actions.c.course_id)
    wanted = (
        select(actions, people.c.full_name, people.c.email, records.c.record, copies.c.title)
        .outerjoin(people, people.c.coworker_id == actions.c.coworker_id)
        .outerjoin(records, is_course)
        .outerjoin(copies, copies.c.action_id == actions.c.id)
        .where(UNDECIDED_ACTIONS, actions.c.state == ActionState.HELD)
        .order_by(actions.c.id)
    )
    if reason is not None:
        wanted = wanted.where(actions.c.reason == reason)
    return [
        HeldAction(
            row.id,
            Reason(row.reason),
            row.rule,
            row.event_kind,
            row.happened_at,
            row.planned_at,
            row.coworker_id,
            row.course_id,
            row.full_name,
            row.email,
            None if row.record is None else row.record.get("Title"),
            row.title,
        )
        for row in connection.execute(wanted)
    ]


def held_for_enrolments(
    connection: Connection, reason: Reason, course_member_ids: Collection[int]
) -> list[int]:
    """Return the ids of the actions about these enrolments that are held for this reason."""
    return [
        action_id
        for some in portions(course_member_ids)
        for action_id in connection.scalars(
            select(actions.c.id).where(
                UNDECIDED_ACTIONS,
                actions.c.state == ActionState.HELD,
                actions.c.reason == reason,
                actions.c.course_member_id.in_(some),
            )
        )
    ]


def states_of(
    connection: Connection, action_ids: Collection[int]
) -> dict[int, tuple[ActionState, Reason | None]]:
    """Return state and reason of these actions; those that do not exist are left out."""
    found: dict[int, tuple[ActionState, Reason | None]] = {}
    for some in portions(action_ids):
        rows = connection.execute(
            select(actions.c.id, actions.c.state, actions.c.reason).where(actions.c.id.in_(some))
        )
        for row in rows:
            reason = None if row.reason is None else Reason(row.reason)
            found[row.id] = (ActionState(row.state), reason)
    return found


def release_held(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime
) -> list[int]:
    """Make held actions due now, and log who released them; return the ids of those still held."""
    changes = {"state": ActionState.WAITING, "reason": None, "due_at": now, "released_at": now}
    return _decide(connection, action_ids, "release", changes, who, now)


def skip_held(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime
) -> list[int]:
    """Never perform held actions, and log who decided so; return the ids of those still held.

    Each keeps the reason it was held for.
    """
    changes = {"state": ActionState.SKIPPED, "finished_at": now}
    return _decide(connection, action_ids, "skip", changes, who, now)


def _decide(  # noqa: PLR0913, PLR0917 - a decision: which, what, who, when
    connection: Connection,
    action_ids: Collection[int],
    what: str,
    changes: dict[str, Any],
    who: str,
    now: datetime,
) -> list[int]:
    done: dict[int, Reason] = {}
    before = states_of(connection, action_ids)
    for some in portions(action_ids):
        is_held = actions.c.id.in_(some) & (actions.c.state == ActionState.HELD)
        held = _locked(connection, is_held)
        changed = connection.scalars(
            update(actions).where(actions.c.id.in_(held)).values(**changes).returning(actions.c.id)
        )
        done |= {action_id: before[action_id][1] for action_id in changed}
    for reason in sorted({reason for reason in done.values() if reason}):
        ids = sorted(one for one, why in done.items() if why is reason)
        _note(connection, ids, now, changes["state"], reason, f"{what} by {who}")
        log_decision(connection, what, who, now, {"reason": reason, "action_ids": ids})
    return sorted(done)


def _locked(connection: Connection, where: ColumnElement[bool]) -> list[int]:
    """Lock the actions that meet a condition, and return their ids.

    PostgreSQL locks rows in the order in which it finds them. In the order of their ids, two that
    decide at the same moment never wait for each other in a circle.
    """
    wanted = select(actions.c.id).where(where).order_by(actions.c.id).with_for_update()
    return list(connection.scalars(wanted))


def _note(  # noqa: PLR0913, PLR0917 - one line of each history
    connection: Connection,
    action_ids: Sequence[int],
    now: datetime,
    outcome: ActionState,
    reason: Reason,
    detail: str | None = None,
) -> None:
    line = {"at": now, "outcome": outcome, "reason": reason, "detail": detail}
    if action_ids:
        connection.execute(insert(attempts), [line | {"action_id": one} for one in action_ids])
