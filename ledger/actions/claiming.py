"""Claims due actions: a lease on a row whose state stays as it is."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, true, update

from ledger.skew import is_lease_over
from ledger.tables import UNFINISHED_ACTIONS, actions
from ledger.upsert import portions
from schemas.events import EventKind
from schemas.states import OPEN_ACTIONS, ActionState


@dataclass(frozen=True, slots=True)
class ClaimedAction:
    """One action that is ours until its lease ends. `attempts` are those made before.

    `released_at` is when a person last released it after it was held.
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


def claim_actions(  # noqa: PLR0913 - when, whose, how many and of which kinds
    connection: Connection,
    now: datetime,
    token: str,
    *,
    lease_s: float,
    most: int,
    kinds: Collection[str] | None = None,
) -> list[ClaimedAction]:
    """Take up to `most` due actions for `lease_s` seconds, the longest due first.

    Only those of `kinds`, unless it is None. `token` is new and names the holder of the leases.
    """
    chosen = (
        select(actions.c.id)
        .where(
            UNFINISHED_ACTIONS,
            actions.c.state.in_(OPEN_ACTIONS),
            actions.c.due_at <= now,
            _is_free(now, lease_s),
            true() if kinds is None else actions.c.kind.in_(kinds),
        )
        .order_by(actions.c.due_at, actions.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(
        update(actions)
        .where(actions.c.id.in_(chosen))
        .values(lease_until=now + timedelta(seconds=lease_s), lease_token=token)
        .returning(actions)
    ).all()
    return [_claimed(row, token) for row in sorted(rows, key=lambda row: row.id)]


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
    )


def look_at_actions(connection: Connection, action_ids: Collection[int]) -> list[ClaimedAction]:
    """Return these actions without claiming them, in the order in which workers would."""
    found = [
        _claimed(row, "")
        for some in portions(action_ids)
        for row in connection.execute(select(actions).where(actions.c.id.in_(some)))
    ]
    return sorted(found, key=lambda one: (one.due_at, one.action_id))


def open_actions(connection: Connection, coworker_id: int | None = None) -> list[int]:
    """Return the ids of actions that are planned or wait, of everybody or of one person."""
    of_person = true() if coworker_id is None else actions.c.coworker_id == coworker_id
    is_open = and_(UNFINISHED_ACTIONS, actions.c.state.in_(OPEN_ACTIONS))
    return list(connection.scalars(select(actions.c.id).where(is_open, of_person)))


def renew_action(
    connection: Connection, claimed: ClaimedAction, now: datetime, *, lease_s: float
) -> bool:
    """Begin the lease of a claim anew, also during its hand-over.

    False: it is no longer ours, or no longer wanted.
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
    """Give a claim back untouched."""
    connection.execute(
        update(actions)
        .where(actions.c.id == claimed.action_id, actions.c.lease_token == claimed.token)
        .values(lease_until=None, lease_token=None)
    )


def next_action_at(connection: Connection, now: datetime, *, lease_s: float) -> datetime | None:
    """Return when the next action is due (a past time: now); None if there is none.

    `lease_s` is for how long workers claim actions.
    """
    moment: datetime | None = connection.scalar(
        select(func.min(actions.c.due_at)).where(
            and_(
                UNFINISHED_ACTIONS,
                actions.c.state.in_(OPEN_ACTIONS),
                _is_free(now, lease_s),
            )
        )
    )
    return moment


def _is_free(now: datetime, lease_s: float) -> ColumnElement[bool]:
    return or_(actions.c.lease_until.is_(None), is_lease_over(actions.c.lease_until, now, lease_s))
