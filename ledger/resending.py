"""Sends emails again, because a person decided so: which may be, and the actions that do it.

An email is repeated by a new action with a permanent key of its own, so each is repeated at most
once however many people ask at the same time; the repeated one can be repeated in turn. The new
action is due at once and is checked before it is sent, as one that was released is.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, literal, select, update

from ledger.control_log import log_decision
from ledger.engine import lock_decisions
from ledger.people import read_anew
from ledger.stories.email import EmailStory, emails_of, emails_where
from ledger.tables import action_events, actions, attempts
from ledger.upsert import insert_into, portions
from schemas.actions import resend_key
from schemas.reasons import Reason
from schemas.states import ActionState

_KEPT = (
    *("kind", "rule", "rules_version", "event_kind", "template", "stream", "happened_at", "asked"),
    *("course_id", "coworker_id", "course_member_id"),
)
_ENDED = (ActionState.DONE, ActionState.SKIPPED, ActionState.FAILED, ActionState.UNKNOWN)
_MAY_HAVE_LEFT = (ActionState.DONE, ActionState.UNKNOWN)


class Refusal(StrEnum):
    """Why an email is not sent again."""

    MISSING = "missing"  # there is no such email
    OPEN = "open"  # it has not been sent yet, and will be decided on by itself
    HELD = "held"  # it waits for a person, who can release it
    UNDERWAY = "underway"  # it is being handed over
    UNCHECKED = "unchecked"  # it may have arrived, and nobody said that they checked
    REPEATED = "repeated"  # it was sent again, and that one left or may have
    PERSON_GONE = "person-gone"  # nobody is left to send it to


@dataclass(frozen=True, slots=True)
class Candidate:
    """What was asked for, the email that would be repeated for it, and why it may not be.

    The email is the last that repeats the one asked for, or that one itself; None if there is none.
    """

    asked_for: int
    email: EmailStory | None
    refusal: Refusal | None


def candidates(
    connection: Connection, action_ids: Iterable[int], *, checked: bool
) -> list[Candidate]:
    """Return what would be repeated for these ids, each email once.

    `checked`: a person made sure that what may have arrived did not.
    """
    asked_for: dict[int, int] = {}
    for action_id in action_ids:
        asked_for.setdefault(_last_of(connection, action_id), action_id)
    found = {email.action_id: email for email in emails_of(connection, asked_for)}
    return [
        Candidate(asked, found.get(last), _refusal(found.get(last), checked=checked, asked=asked))
        for last, asked in asked_for.items()
    ]


def candidates_for(
    connection: Connection, reason: Reason, since: datetime, *, checked: bool
) -> list[Candidate]:
    """Return the emails that ended for this reason since then and were not sent again.

    That is those which failed or are unknown. Missing addresses count too, although such an email
    is skipped: once there is an address, it can go.
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
            ~repeated.exists(),
        ),
    )
    return [Candidate(one.action_id, one, _refusal(one, checked=checked)) for one in found]


def send_again(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime, *, checked: bool
) -> dict[int, int]:
    """Plan these emails anew, due now, and log who decided so; return old and new ids.

    Left out is what may not be repeated (any more), such as what another person sent again
    meanwhile. Addresses are read anew from the source before anything is sent. `checked` as for
    `candidates`.
    """
    lock_decisions(connection)
    done: dict[int, int] = {}
    for some in portions(action_ids):
        # Locked, so that a slow worker does not say meanwhile how an unknown one ended.
        rows = connection.execute(
            select(actions).where(actions.c.id.in_(some)).order_by(actions.c.id).with_for_update()
        ).all()
        stories = {email.action_id: email for email in emails_of(connection, some)}
        for row in rows:
            if _refusal(stories[row.id], checked=checked) is None:
                new_id = _repeat(connection, row, who, now)
                done |= {} if new_id is None else {row.id: new_id}
    if done:
        detail = {"action_ids": list(done), "new_action_ids": list(done.values())}
        log_decision(connection, "resend", who, now, detail | {"checked": checked})
    return done


def _last_of(connection: Connection, action_id: int) -> int:
    """Return the end of the chain of repetitions that this action is in."""
    while True:
        following = select(actions.c.id).where(actions.c.resend_of == action_id)
        next_id: int | None = connection.scalar(following)
        if next_id is None:
            return action_id
        action_id = next_id


def _refusal(
    email: EmailStory | None, *, checked: bool, asked: int | None = None
) -> Refusal | None:
    """Return why an email may not be repeated, when a person named it, or `asked`, by its id."""
    if email is None:
        return Refusal.MISSING
    if email.state not in _ENDED:
        waits = {ActionState.HELD: Refusal.HELD, ActionState.PERFORMING: Refusal.UNDERWAY}
        return waits.get(email.state, Refusal.OPEN)
    # A command that is given again, since nobody saw how it ended, must not send it once more.
    if asked not in {None, email.action_id} and email.state in _MAY_HAVE_LEFT:
        return Refusal.REPEATED
    if email.is_person_gone:
        return Refusal.PERSON_GONE
    if email.state is ActionState.UNKNOWN and not checked:
        return Refusal.UNCHECKED
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
    # A worker that was only slow must not have the old one wait again beside the new one.
    connection.execute(update(actions).where(actions.c.id == row.id).values(lease_token=None))
    detail = f"resend of {row.id} by {who}"
    connection.execute(
        insert(attempts).values(action_id=new_id, at=now, outcome="planned", detail=detail)
    )
    read_anew(connection, row.coworker_id)
    return new_id
