"""The outbox: planned actions, who is at them, and how they ended.

A claim is a lease on a row whose state stays as it is; only the moment before the hand-over does
it become `performing`. So a worker killed while it was still reading or writing costs nothing, and
one killed during the hand-over leaves a row that nobody repeats.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, func, insert, or_, select, update

from ledger.tables import UNFINISHED_ACTIONS, action_events, actions, attempts
from ledger.upsert import insert_into
from schemas.actions import Outcome, Plan
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.states import ActionState

_OPEN = (ActionState.PLANNED, ActionState.WAITING)
_FINAL = (ActionState.DONE, ActionState.SKIPPED, ActionState.FAILED, ActionState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class ClaimedAction:
    """One action that is ours until its lease ends. `attempts` are those made before."""

    action_id: int
    key: str
    kind: str
    rule: str
    event_kind: EventKind
    template: str | None
    course_id: int
    coworker_id: int
    course_member_id: int
    happened_at: datetime
    planned_at: datetime
    due_at: datetime
    attempts: int
    token: str


def plan_action(connection: Connection, plan: Plan, event_id: int, now: datetime) -> None:
    """Plan one action for one event, or let the event join the action that is still gathering.

    The caller holds `ledger.engine.lock_decisions`, so nobody else plans meanwhile.
    """
    action_id = _gathering(connection, plan) if plan.gather_until else None
    if action_id is None:
        action_id = _new_action(connection, plan, now)
    if action_id is not None:
        connection.execute(
            insert_into(connection, action_events)
            .values(event_id=event_id, rule=plan.rule, action_id=action_id)
            .on_conflict_do_nothing()
        )


def _gathering(connection: Connection, plan: Plan) -> int | None:
    if plan.gather_until is None:
        return None
    longest = plan.gather_until - plan.happened_at
    row = connection.execute(
        select(actions.c.id, actions.c.happened_at, actions.c.reason)
        .where(
            actions.c.rule == plan.rule,
            actions.c.course_id == plan.course_id,
            actions.c.coworker_id == plan.coworker_id,
            actions.c.state.in_(_OPEN),
            # Lessons of another sitting, found late, are no news of this one.
            actions.c.happened_at.between(plan.happened_at - longest, plan.gather_until),
        )
        .order_by(actions.c.happened_at.desc())
    ).first()
    if row is None:
        return None
    first = min(row.happened_at, plan.happened_at)
    latest = first + longest
    values = {"happened_at": first}
    if row.reason == Reason.GATHERING:
        values["due_at"] = min(plan.due_at, latest)
    connection.execute(update(actions).where(actions.c.id == row.id).values(values))
    return int(row.id)


def _new_action(connection: Connection, plan: Plan, now: datetime) -> int | None:
    gathers = plan.gather_until is not None
    statement = (
        insert_into(connection, actions)
        .values(
            key=plan.key,
            kind=plan.kind,
            rule=plan.rule,
            rules_version=plan.rules_version,
            event_kind=plan.event_kind,
            template=plan.template,
            stream=plan.stream,
            course_id=plan.course_id,
            coworker_id=plan.coworker_id,
            course_member_id=plan.course_member_id,
            happened_at=plan.happened_at,
            planned_at=now,
            state=ActionState.WAITING if gathers else ActionState.PLANNED,
            reason=Reason.GATHERING if gathers else None,
            due_at=plan.due_at,
        )
        .on_conflict_do_nothing(index_elements=[actions.c.key])
        .returning(actions.c.id)
    )
    action_id: int | None = connection.scalar(statement)
    return action_id


def claim_actions(
    connection: Connection, now: datetime, *, lease_s: float, most: int
) -> list[ClaimedAction]:
    """Take up to `most` due actions for `lease_s` seconds, the longest due first."""
    token = secrets.token_hex(16)
    chosen = (
        select(actions.c.id)
        .where(
            UNFINISHED_ACTIONS,
            actions.c.state.in_(_OPEN),
            actions.c.due_at <= now,
            or_(actions.c.lease_until.is_(None), actions.c.lease_until <= now),
        )
        .order_by(actions.c.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(
        update(actions)
        .where(actions.c.id.in_(chosen))
        .values(lease_until=now + timedelta(seconds=lease_s), lease_token=token)
        .returning(actions)
    ).all()
    return [
        ClaimedAction(
            row.id,
            row.key,
            row.kind,
            row.rule,
            EventKind(row.event_kind),
            row.template,
            row.course_id,
            row.coworker_id,
            row.course_member_id,
            row.happened_at,
            row.planned_at,
            row.due_at,
            row.attempts,
            token,
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]


def renew_action(
    connection: Connection, claimed: ClaimedAction, now: datetime, *, lease_s: float
) -> bool:
    """Begin the lease of a claim anew. False: it is no longer ours, or no longer wanted."""
    done = connection.execute(
        update(actions)
        .where(
            actions.c.id == claimed.action_id,
            actions.c.lease_token == claimed.token,
            actions.c.state.in_(_OPEN),
        )
        .values(lease_until=now + timedelta(seconds=lease_s))
    )
    return done.rowcount == 1


def begin_action(
    connection: Connection, claimed: ClaimedAction, now: datetime, *, lease_s: float, events: int
) -> bool:
    """Mark an action as being handed over.

    `events` is how many events its email speaks of. False: it is no longer ours, no longer wanted,
    or another event joined it meanwhile.
    """
    joined = (
        select(func.count())
        .select_from(action_events)
        .where(action_events.c.action_id == claimed.action_id)
    )
    done = connection.execute(
        update(actions)
        .where(
            joined.scalar_subquery() == events,
            actions.c.id == claimed.action_id,
            actions.c.lease_token == claimed.token,
            actions.c.state.in_(_OPEN),
        )
        .values(
            state=ActionState.PERFORMING,
            reason=None,
            attempts=actions.c.attempts + 1,
            lease_until=now + timedelta(seconds=lease_s),
        )
    )
    return done.rowcount == 1


def settle_action(
    connection: Connection, claimed: ClaimedAction, outcome: Outcome, now: datetime
) -> bool:
    """Write down how it ended, and the attempt. False: it is no longer ours; nothing is written.

    A worker that was only slow may still turn `unknown` into what it saw happen.
    """
    ours = (*_OPEN, ActionState.PERFORMING, ActionState.UNKNOWN)
    final = outcome.state in _FINAL
    done = connection.execute(
        update(actions)
        .where(
            actions.c.id == claimed.action_id,
            actions.c.lease_token == claimed.token,
            actions.c.state.in_(ours),
        )
        .values(
            state=outcome.state,
            reason=outcome.reason,
            due_at=outcome.until or actions.c.due_at,
            lease_until=None,
            lease_token=None,
            finished_at=now if final else None,
            receipt=outcome.detail if outcome.state == ActionState.DONE else None,
        )
    )
    if done.rowcount != 1:
        return False
    note_attempt(connection, claimed.action_id, outcome, now)
    return True


def note_attempt(connection: Connection, action_id: int, outcome: Outcome, now: datetime) -> None:
    """Add one line to the history of an action."""
    connection.execute(
        insert(attempts).values(
            action_id=action_id,
            at=now,
            outcome=outcome.state,
            reason=outcome.reason,
            detail=outcome.detail,
        )
    )


def release_action(connection: Connection, claimed: ClaimedAction) -> None:
    """Give a claim back untouched."""
    connection.execute(
        update(actions)
        .where(actions.c.id == claimed.action_id, actions.c.lease_token == claimed.token)
        .values(lease_until=None, lease_token=None)
    )


def expire_hand_overs(connection: Connection, now: datetime, *, repeatable: set[str]) -> int:
    """Settle actions whose worker vanished during the hand-over; return how many.

    Kinds in `repeatable` wait to be done again; of the others nobody knows, and a person looks.
    The token stays, so that a worker that was only slow can still say how it ended.
    """
    vanished = connection.execute(
        select(actions.c.id, actions.c.kind).where(
            UNFINISHED_ACTIONS,
            actions.c.state == ActionState.PERFORMING,
            actions.c.lease_until <= now,
        )
    ).all()
    settled = 0
    for row in vanished:
        again = row.kind in repeatable
        outcome = (
            Outcome.waiting(now, Reason.HANDOVER_UNKNOWN)
            if again
            else Outcome.unknown("the worker ended during the hand-over")
        )
        done = connection.execute(
            update(actions)
            .where(
                actions.c.id == row.id,
                actions.c.state == ActionState.PERFORMING,
                actions.c.lease_until <= now,
            )
            .values(
                state=outcome.state,
                reason=outcome.reason,
                due_at=now if again else actions.c.due_at,
                lease_until=None,
                finished_at=None if again else now,
            )
        )
        if done.rowcount == 1:
            note_attempt(connection, row.id, outcome, now)
            settled += 1
    return settled


def next_action_at(connection: Connection, now: datetime) -> datetime | None:
    """Return when the next action is due (a past time: now); None if there is none."""
    moment: datetime | None = connection.scalar(
        select(func.min(actions.c.due_at)).where(
            and_(
                UNFINISHED_ACTIONS,
                actions.c.state.in_(_OPEN),
                or_(actions.c.lease_until.is_(None), actions.c.lease_until <= now),
            )
        )
    )
    return moment
