"""The outbox: claims planned actions, and commits each step of performing them.

A claim is a lease on a row and does not change its state. `performing` is committed before the
hand-over, its outcome after it. `expire_handovers` settles actions whose worker vanished.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Update,
    and_,
    bindparam,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from ledger.attempts import count_attempts, note_attempt, note_wait, wait_after_cuts
from ledger.channels import goes_around, goes_through
from ledger.engine import chunks
from ledger.skew import is_lease_over, is_lease_over_now, lease_values
from ledger.tables import (
    PERFORMING_ACTIONS,
    UNFINISHED_ACTIONS,
    action_events,
    actions,
)
from schemas.actions import OPEN_ACTIONS, ActionState, Outcome
from schemas.events import EventKind
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class ClaimedAction:
    """One action that is ours until its lease ends. `attempts` counts earlier attempts.

    `asked`: a person requested it. `released_at`: when a person last released it from a hold.
    `reason` is why it had to wait, if it had. `audience` is whom it is to; None: the member.
    """

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
    asked: bool = False
    released_at: datetime | None = None
    reason: Reason | None = None
    audience: str | None = None


def claim_actions(  # noqa: PLR0913 - when, whose, how many and through which channels
    connection: Connection,
    now: datetime,
    token: str,
    *,
    lease_s: float,
    most: int,
    only: Collection[str] | None = None,
    but: Collection[str] = (),
) -> list[ClaimedAction]:
    """Claim up to `most` due actions for `lease_s` seconds, the longest overdue first.

    Only those through the channels `only`, unless it is None, and never those through `but`.
    `token` is new and identifies the lease holder.
    """
    through = None if only is None else tuple(sorted(only))
    claiming = _claiming(through, tuple(sorted(but)))
    values = lease_values(now, lease_s) | {"holder": token, "most": most}
    rows = connection.execute(claiming, values).all()
    return [_claimed(row, token) for row in sorted(rows, key=lambda row: row.id)]


@lru_cache(maxsize=64)
def _claiming(only: tuple[str, ...] | None, but: tuple[str, ...]) -> ReturningUpdate[Any]:
    is_over = is_lease_over_now(actions.c.lease_until)
    chosen = (
        select(actions.c.id)
        .where(
            UNFINISHED_ACTIONS,
            actions.c.state.in_(OPEN_ACTIONS),
            actions.c.due_at <= bindparam("now"),
            or_(actions.c.lease_until.is_(None), is_over),
            true() if only is None else goes_through(only),
            goes_around(but),
        )
        .order_by(actions.c.due_at, actions.c.id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
        # PostgreSQL may run a subquery once for each row, and would then claim more.
        .cte("chosen")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return (
        update(actions)
        .where(actions.c.id.in_(select(chosen.c.id)))
        .values(lease_until=bindparam("until"), lease_token=bindparam("holder"))
        .returning(actions)
    )


def _claimed(row: Row[Any], token: str) -> ClaimedAction:
    return ClaimedAction(
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
        row.asked,
        row.released_at,
        None if row.reason is None else Reason(row.reason),
        row.audience,
    )


def read_actions(connection: Connection, action_ids: Collection[int]) -> list[ClaimedAction]:
    """Return these actions without claiming them, in the order workers would claim them."""
    found = [
        _claimed(row, "")
        for some in chunks(action_ids)
        for row in connection.execute(select(actions).where(actions.c.id.in_(some)))
    ]
    return sorted(found, key=lambda one: (one.due_at, one.action_id))


def open_actions(connection: Connection, coworker_id: int | None = None) -> list[int]:
    """Return the ids of planned and waiting actions, of everyone or of one person."""
    of_person = true() if coworker_id is None else actions.c.coworker_id == coworker_id
    is_open = and_(UNFINISHED_ACTIONS, actions.c.state.in_(OPEN_ACTIONS))
    return list(connection.scalars(select(actions.c.id).where(is_open, of_person)))


def renew_action(
    connection: Connection, claimed: ClaimedAction, now: datetime, *, lease_s: float
) -> bool:
    """Extend the lease of a claim, also during its hand-over.

    Returns False if it is no longer ours or no longer wanted.
    """
    done = connection.execute(
        update(actions)
        .where(
            actions.c.id == claimed.action_id,
            actions.c.lease_token == claimed.token,
            actions.c.state.in_((*OPEN_ACTIONS, ActionState.PERFORMING)),
        )
        .values(lease_until=now + timedelta(seconds=lease_s))
    )
    return done.rowcount == 1


def release_action(connection: Connection, claimed: ClaimedAction) -> None:
    """Return a claim without changing the action."""
    connection.execute(
        update(actions)
        .where(actions.c.id == claimed.action_id, actions.c.lease_token == claimed.token)
        .values(lease_until=None, lease_token=None)
    )


def next_action_at(
    connection: Connection, now: datetime, *, lease_s: float, resting: Collection[str] = ()
) -> datetime | None:
    """Return when the next action is due (a past time: now); None if there is none.

    `lease_s` is how long workers claim actions. Channels in `resting` are left out.
    """
    moment: datetime | None = connection.scalar(
        select(func.min(actions.c.due_at)).where(
            and_(
                UNFINISHED_ACTIONS,
                actions.c.state.in_(OPEN_ACTIONS),
                _is_free(now, lease_s),
                goes_around(resting),
            )
        )
    )
    return moment


def _is_free(now: datetime, lease_s: float) -> ColumnElement[bool]:
    return or_(actions.c.lease_until.is_(None), is_lease_over(actions.c.lease_until, now, lease_s))


_FINAL = (ActionState.DONE, ActionState.SKIPPED, ActionState.FAILED, ActionState.UNKNOWN)


def begin_action(
    connection: Connection, claimed: ClaimedAction, now: datetime, *, lease_s: float, events: int
) -> bool:
    """Mark an action as being handed over.

    `events` is how many events it was prepared with. Returns False if it is no longer ours, no
    longer wanted, or another event joined it meanwhile.
    """
    values = {"this": claimed.action_id, "holder": claimed.token, "joined": events}
    until = now + timedelta(seconds=lease_s)
    return connection.execute(_beginning(), {**values, "until": until}).rowcount == 1


@cache
def _beginning() -> Update:
    joined = (
        select(func.count())
        .select_from(action_events)
        .where(action_events.c.action_id == bindparam("this"))
    )
    return (
        update(actions)
        .where(
            joined.scalar_subquery() == bindparam("joined"),
            actions.c.id == bindparam("this"),
            actions.c.lease_token == bindparam("holder"),
            actions.c.state.in_(OPEN_ACTIONS),
        )
        .values(
            state=ActionState.PERFORMING,
            reason=None,
            attempts=actions.c.attempts + 1,
            committed_at=None,
            lease_until=bindparam("until"),
        )
    )


def commit_action(
    connection: Connection, claimed: ClaimedAction, now: datetime, *, lease_s: float
) -> bool:
    """Record that the hand-over reaches the step after which a cut leaves its outcome unknown.

    Call it just before that step, and take the step only if this returns True and was committed.
    Returns False if the action is no longer ours: another worker may be performing it.
    """
    done = connection.execute(
        update(actions)
        .where(
            actions.c.id == claimed.action_id,
            actions.c.lease_token == claimed.token,
            actions.c.state == ActionState.PERFORMING,
        )
        .values(committed_at=now, lease_until=now + timedelta(seconds=lease_s))
    )
    return done.rowcount == 1


def settle_action(
    connection: Connection, claimed: ClaimedAction, outcome: Outcome, now: datetime
) -> bool:
    """Store the outcome and the attempt. Returns False if the action is no longer ours.

    A worker that was only slow may still replace `unknown` with the real outcome.
    """
    if not _settle(connection, claimed, outcome, now):
        return False
    note_attempt(connection, claimed.action_id, outcome, now)
    return True


def defer_action(
    connection: Connection, claimed: ClaimedAction, outcome: Outcome, now: datetime, *, tried: bool
) -> bool:
    """Let the action wait before its hand-over. Returns False if it is no longer ours.

    Its history gets one row for each reason, however often it is `tried`.
    """
    if not _settle(connection, claimed, outcome, now):
        return False
    note_wait(connection, claimed.action_id, outcome, now, tried=tried)
    return True


def _settle(
    connection: Connection, claimed: ClaimedAction, outcome: Outcome, now: datetime
) -> bool:
    ours = (*OPEN_ACTIONS, ActionState.PERFORMING, ActionState.UNKNOWN)
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
            committed_at=None,
            finished_at=now if final else None,
            receipt=outcome.detail if outcome.state == ActionState.DONE else None,
        )
    )
    return done.rowcount == 1


def is_settled_as(connection: Connection, action_id: int, outcome: Outcome) -> bool:
    """Return whether the action already ended so, as after a commit whose answer was lost."""
    receipt = outcome.detail if outcome.state == ActionState.DONE else None
    found = connection.execute(
        select(actions.c.state, actions.c.reason, actions.c.receipt).where(
            actions.c.id == action_id, actions.c.lease_token.is_(None)
        )
    ).one_or_none()
    return found is not None and tuple(found) == (outcome.state, outcome.reason, receipt)


@dataclass(frozen=True, slots=True)
class Expired:
    """How many interrupted hand-overs will be repeated, and how many have an unknown outcome."""

    repeated: int = 0
    unknown: int = 0


def expire_handovers(
    connection: Connection, now: datetime, *, lease_s: float, repeatable: set[str]
) -> Expired:
    """Settle actions whose worker vanished during the hand-over; `lease_s` is the lease length.

    Actions cut off before `commit_action`, and all kinds in `repeatable`, wait for a retry. The
    others become `unknown`, for a person. The token stays, so that a worker that was only slow can
    still store the real outcome.
    """
    is_over = is_lease_over(actions.c.lease_until, now, lease_s)
    vanished = connection.execute(
        select(actions.c.id, actions.c.kind, actions.c.committed_at).where(
            PERFORMING_ACTIONS,
            is_over,
        )
    ).all()
    repeated = unknown = 0
    for row in vanished:
        again = row.committed_at is None or row.kind in repeatable
        interrupted = Reason.HANDOVER_UNKNOWN if row.committed_at else Reason.MAIL_INTERRUPTED
        vanished_how = "the worker ended during the hand-over"
        outcome = (
            Outcome.waiting(now + _interrupted_s(connection, row.id), interrupted, vanished_how)
            if again
            else Outcome.unknown(vanished_how)
        )
        done = connection.execute(
            update(actions)
            .where(
                actions.c.id == row.id,
                actions.c.state == ActionState.PERFORMING,
                is_over,
            )
            .values(
                state=outcome.state,
                reason=outcome.reason,
                due_at=outcome.until or actions.c.due_at,
                lease_until=None,
                committed_at=None,
                finished_at=None if again else now,
            )
        )
        if done.rowcount == 1:
            note_attempt(connection, row.id, outcome, now)
            repeated, unknown = repeated + again, unknown + (not again)
    return Expired(repeated, unknown)


def _interrupted_s(connection: Connection, action_id: int) -> timedelta:
    before = count_attempts(
        connection, action_id, {Reason.MAIL_INTERRUPTED, Reason.HANDOVER_UNKNOWN}
    )
    return wait_after_cuts(before)
