"""What operators do to actions (hold, release, skip, resend), and the log of decisions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, literal, select, update

from ledger.engine import chunks, insert_into, lock_decisions
from ledger.people import require_fresh_read
from ledger.queries import EmailView, emails_of, emails_where
from ledger.tables import (
    FAILED_LOOKUPS,
    UNDECIDED_ACTIONS,
    action_events,
    actions,
    attempts,
    control_log,
    lookups,
)
from schemas.actions import OPEN_ACTIONS, ActionState, LookupState, resend_key
from schemas.reasons import Reason

AUTOMATIC = "coursebell"  # in place of a person, for automatic decisions


@dataclass(frozen=True, slots=True)
class Decision:
    """One entry of the log. `detail` holds ids and counts, never names or addresses."""

    at: datetime
    who: str
    what: str
    detail: Mapping[str, Any]


def log_decision(
    connection: Connection, what: str, who: str, now: datetime, detail: Mapping[str, Any]
) -> None:
    """Add an entry to the log."""
    row = {"at": now, "who": who[:64], "what": what, "detail": dict(detail)}
    connection.execute(insert(control_log).values(**row))


def decisions(connection: Connection, since: datetime | None = None) -> list[Decision]:
    """Return the log, or what was decided since then, the oldest entry first."""
    wanted = select(control_log).order_by(control_log.c.id)
    rows = connection.execute(wanted if since is None else wanted.where(control_log.c.at >= since))
    return [Decision(row.at, row.who, row.what, row.detail or {}) for row in rows]


def hold_actions(
    connection: Connection, reason: Reason, where: ColumnElement[bool], now: datetime
) -> list[int]:
    """Hold the actions that match a condition, with this reason; return their ids."""
    held = _locked(connection, where)
    values = {"state": ActionState.HELD, "reason": reason, "lease_until": None, "lease_token": None}
    for some in chunks(held):
        connection.execute(update(actions).where(actions.c.id.in_(some)).values(**values))
    note_each(connection, held, now, ActionState.HELD, reason)
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


def held_for_enrolments(
    connection: Connection, reason: Reason, course_member_ids: Collection[int]
) -> list[int]:
    """Return the ids of the actions about these enrolments that are held for this reason."""
    return [
        action_id
        for some in chunks(course_member_ids)
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
    """Return state and reason of these actions; ids that do not exist are omitted."""
    found: dict[int, tuple[ActionState, Reason | None]] = {}
    for some in chunks(action_ids):
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
    """Make held actions due now and log the decision; return the ids of those released."""
    changes = {"state": ActionState.WAITING, "reason": None, "due_at": now, "released_at": now}
    return _decide(connection, action_ids, "release", changes, who, now)


def skip_held(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime
) -> list[int]:
    """Skip held actions and log the decision; return the ids of those skipped.

    Each keeps the reason it was held for.
    """
    changes = {"state": ActionState.SKIPPED, "finished_at": now}
    return _decide(connection, action_ids, "skip", changes, who, now)


def hold_open(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime
) -> list[int]:
    """Hold emails that wait, until a person releases or skips them; return the ids of those held.

    The decision is logged. One that is being handed over is not held.
    """
    held: list[int] = []
    for some in chunks(action_ids):
        waits = and_(actions.c.id.in_(some), actions.c.state.in_(OPEN_ACTIONS))
        held += hold_actions(connection, Reason.ON_HOLD, waits, now)
    if held:
        log_decision(connection, "hold", who, now, {"action_ids": sorted(held)})
    return sorted(held)


def close_ended(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime
) -> list[int]:
    """Close failed and unknown emails, so that they need no one any more; return their ids.

    State and reason stay: an unknown one may have been sent, and counts for limits. The decision is
    logged.
    """
    closed: list[int] = []
    for some in chunks(action_ids):
        is_open = and_(
            actions.c.id.in_(some),
            actions.c.state.in_((ActionState.FAILED, ActionState.UNKNOWN)),
            actions.c.closed_at.is_(None),
        )
        closed += connection.scalars(
            update(actions).where(is_open).values(closed_at=now).returning(actions.c.id)
        )
    if closed:
        log_decision(connection, "close", who, now, {"action_ids": sorted(closed)})
    return sorted(closed)


def close_lookups(connection: Connection, reason: Reason | None, who: str, now: datetime) -> int:
    """Close failed lookups, all or those with one reason; return how many.

    Each keeps its reason, and a new notification makes it due again. The decision is logged.
    """
    wanted = and_(FAILED_LOOKUPS, lookups.c.state == LookupState.FAILED)
    if reason is not None:
        wanted = and_(wanted, lookups.c.reason == reason)
    number = connection.execute(
        update(lookups).where(wanted).values(state=LookupState.DONE)
    ).rowcount
    if number:
        log_decision(connection, "close", who, now, {"lookups": number, "reason": reason})
    return number


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
    for some in chunks(action_ids):
        is_held = actions.c.id.in_(some) & (actions.c.state == ActionState.HELD)
        held = _locked(connection, is_held)
        changed = connection.scalars(
            update(actions).where(actions.c.id.in_(held)).values(**changes).returning(actions.c.id)
        )
        done |= {action_id: before[action_id][1] for action_id in changed}
    for reason in sorted({reason for reason in done.values() if reason}):
        ids = sorted(one for one, why in done.items() if why is reason)
        note_each(connection, ids, now, changes["state"], reason, f"{what} by {who}")
        log_decision(connection, what, who, now, {"reason": reason, "action_ids": ids})
    return sorted(done)


def _locked(connection: Connection, where: ColumnElement[bool]) -> list[int]:
    """Lock the actions that match a condition, and return their ids.

    Locked in the order of their ids, so that concurrent decisions never deadlock.
    """
    wanted = select(actions.c.id).where(where).order_by(actions.c.id).with_for_update()
    return list(connection.scalars(wanted))


def note_each(  # noqa: PLR0913, PLR0917 - one attempt of each action
    connection: Connection,
    action_ids: Sequence[int],
    now: datetime,
    outcome: ActionState,
    reason: Reason,
    detail: str | None = None,
) -> None:
    """Add a line to the history of each of these actions."""
    line = {"at": now, "outcome": outcome, "reason": reason, "detail": detail}
    if action_ids:
        connection.execute(insert(attempts), [line | {"action_id": one} for one in action_ids])


_KEPT = (
    *("kind", "rule", "rules_version", "event_kind", "template", "stream", "happened_at", "asked"),
    *("course_id", "coworker_id", "course_member_id", "audience"),
)
_ENDED = (ActionState.DONE, ActionState.SKIPPED, ActionState.FAILED, ActionState.UNKNOWN)
_MAY_HAVE_LEFT = (ActionState.DONE, ActionState.UNKNOWN)


class ResendRefusal(StrEnum):
    """Why an email is not resent."""

    MISSING = "missing"  # there is no such email
    OPEN = "open"  # it has not been sent yet, and needs no resend
    HELD = "held"  # it waits for a person, who can release it
    UNDERWAY = "underway"  # it is being handed over
    UNCHECKED = "unchecked"  # it may have arrived, and no person confirmed that it did not
    REPEATED = "repeated"  # it was resent already, and that email was or may have been sent
    PERSON_GONE = "person-gone"  # Nexudus no longer has the person


_NOT_ENDED = {
    ActionState.HELD: ResendRefusal.HELD,
    ActionState.PERFORMING: ResendRefusal.UNDERWAY,
}


@dataclass(frozen=True, slots=True)
class ResendCandidate:
    """An email to resend, and why it must not be resent, if so.

    `asked_for` is the requested id; `email` is the last resend of it, or itself; None if missing.
    """

    asked_for: int
    email: EmailView | None
    refusal: ResendRefusal | None


def candidates(
    connection: Connection, action_ids: Iterable[int], *, checked: bool
) -> list[ResendCandidate]:
    """Return what would be resent for these ids, each email once.

    `checked`: a person confirmed that emails that may have arrived did not.
    """
    asked_for: dict[int, int] = {}
    for action_id in action_ids:
        asked_for.setdefault(_last_of(connection, action_id), action_id)
    found = {email.action_id: email for email in emails_of(connection, asked_for)}
    return [
        ResendCandidate(
            asked, found.get(last), _refusal(found.get(last), checked=checked, asked=asked)
        )
        for last, asked in asked_for.items()
    ]


def candidates_for(
    connection: Connection, reason: Reason, since: datetime, *, checked: bool
) -> list[ResendCandidate]:
    """Return the emails that ended for this reason since then and were not resent.

    These are failed or unknown; with `no-email` also skipped ones, as an address may exist now.
    """
    ended = [ActionState.FAILED, ActionState.UNKNOWN]
    if reason is Reason.NO_EMAIL:
        ended.append(ActionState.SKIPPED)
    again = actions.alias("later")
    repeated = select(again.c.id).where(again.c.resend_of == actions.c.id)
    found = emails_where(
        connection,
        and_(
            actions.c.reason == reason,
            actions.c.state.in_(ended),
            actions.c.finished_at >= since,
            actions.c.closed_at.is_(None),
            ~repeated.exists(),
        ),
    )
    return [ResendCandidate(one.action_id, one, _refusal(one, checked=checked)) for one in found]


def send_again(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime, *, checked: bool
) -> dict[int, int]:
    """Plan these emails again, due now, and log the decision; return new ids by old ids.

    Emails that must not be resent are left out, such as those another person resent meanwhile.
    Addresses are read from the source again before anything is sent. `checked` as in
    `candidates`.
    """
    lock_decisions(connection)
    done: dict[int, int] = {}
    for some in chunks(action_ids):
        # Locked, so that a slow worker cannot settle an unknown one meanwhile.
        rows = connection.execute(
            select(actions).where(actions.c.id.in_(some)).order_by(actions.c.id).with_for_update()
        ).all()
        by_id = {email.action_id: email for email in emails_of(connection, some)}
        for row in rows:
            if _refusal(by_id[row.id], checked=checked) is None:
                new_id = _repeat(connection, row, who, now)
                done |= {} if new_id is None else {row.id: new_id}
    if done:
        detail = {"action_ids": list(done), "new_action_ids": list(done.values())}
        log_decision(connection, "resend", who, now, detail | {"checked": checked})
    return done


def _last_of(connection: Connection, action_id: int) -> int:
    """Return the last action in the chain of resends of this one."""
    while True:
        following = select(actions.c.id).where(actions.c.resend_of == action_id)
        next_id: int | None = connection.scalar(following)
        if next_id is None:
            return action_id
        action_id = next_id


def _refusal(
    email: EmailView | None, *, checked: bool, asked: int | None = None
) -> ResendRefusal | None:
    """Return why an email must not be resent, when a person named it, or `asked`, by its id."""
    if email is None:
        return ResendRefusal.MISSING
    if email.state not in _ENDED:
        return _NOT_ENDED.get(email.state, ResendRefusal.OPEN)
    # Repeating a command whose result was not seen must not send another email.
    if asked not in {None, email.action_id} and email.state in _MAY_HAVE_LEFT:
        return ResendRefusal.REPEATED
    if email.is_person_gone:
        return ResendRefusal.PERSON_GONE
    if email.state is ActionState.UNKNOWN and not checked:
        return ResendRefusal.UNCHECKED
    return None


def _repeat(connection: Connection, row: Row[Any], who: str, now: datetime) -> int | None:
    """Plan the action that repeats this one; None if there is one already."""
    values = {name: getattr(row, name) for name in _KEPT} | {
        "key": resend_key(row.key),
        "resend_of": row.id,
        "planned_at": now,
        "due_at": now,
        "released_at": now,
        "state": ActionState.PLANNED,
    }
    new_id: int | None = connection.scalar(
        insert_into(connection, actions)
        .values(**values)
        .on_conflict_do_nothing()
        .returning(actions.c.id)
    )
    if new_id is None:
        return None
    links = select(action_events.c.event_id, literal(f"resend:{new_id}"), literal(new_id))
    connection.execute(
        insert(action_events).from_select(
            ["event_id", "rule", "action_id"], links.where(action_events.c.action_id == row.id)
        )
    )
    # So that a slow worker cannot make the old one wait again beside the new one.
    connection.execute(update(actions).where(actions.c.id == row.id).values(lease_token=None))
    detail = f"resend of {row.id} by {who}"
    connection.execute(
        insert(attempts).values(action_id=new_id, at=now, outcome="planned", detail=detail)
    )
    require_fresh_read(connection, row.coworker_id)
    return new_id
