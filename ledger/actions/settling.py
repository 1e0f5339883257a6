"""From the moment before the hand-over to its end, and what to do when nobody saw the end."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from ledger.actions.claiming import ClaimedAction
from ledger.tables import UNFINISHED_ACTIONS, action_events, actions, attempts
from schemas.actions import Outcome
from schemas.reasons import Reason
from schemas.states import OPEN_ACTIONS, ActionState

_FINAL = (ActionState.DONE, ActionState.SKIPPED, ActionState.FAILED, ActionState.UNKNOWN)


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
            actions.c.state.in_(OPEN_ACTIONS),
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
