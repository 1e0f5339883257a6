"""Shows one action without sending it: the copy that is kept, or a draft from the ledger alone.

A draft is prepared by the code that prepares what is sent, from the records the ledger has now.
Nexudus is not asked, so a record that changed there meanwhile is shown as it was read last.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ledger.actions import ClaimedAction, look_at_actions
from ledger.copies import Copy, copy_of
from ledger.engine import Connection
from ledger.events import events_of_action
from ledger.people import person_of
from ledger.records import listed_at, record_of
from ledger.retention import COPIES
from ledger.stories.email import EmailStory
from schemas.actions import Outcome
from schemas.entity import Entity
from schemas.records import Course
from schemas.states import ActionState
from workers.deliver.attempt import prepare
from workers.deliver.context import SendSetup, load_context

# Of these a draft would not be what may have left.
_AS_KEPT_ONLY = (ActionState.DONE, ActionState.UNKNOWN, ActionState.PERFORMING)
_NOT_SENT = (ActionState.FAILED, ActionState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Preview:
    """One email to look at.

    `copy` is None if there is nothing to show; `missing` then says why, each a sentence without
    its full stop. Else `missing` is what the draft lacks. `written_at` is when the copy was
    written; None: `copy` is a draft.
    """

    copy: Copy | None
    written_at: datetime | None
    missing: tuple[str, ...] = ()


def preview(
    connection: Connection,
    email: EmailStory,
    setup: SendSetup,
    now: datetime,
) -> Preview:
    """Return an email as it was sent, or as it would be.

    What was not sent and is not going to be is shown as it was written, if it was.
    """
    kept = copy_of(connection, email.action_id)
    if kept is not None and email.state in {*_AS_KEPT_ONLY, *_NOT_SENT}:
        return Preview(kept, email.written_at)
    if email.state in _AS_KEPT_ONLY:
        return Preview(None, None, (_why_not_kept(email, now),))
    draft = _draft(connection, email, setup, now)
    if draft.copy is None and kept is not None:
        return Preview(kept, email.written_at, draft.missing)
    return draft


def _why_not_kept(email: EmailStory, now: datetime) -> str:
    days = COPIES.days
    if email.finished_at is not None and email.finished_at < now - COPIES:
        return f"Its copy was deleted, as copies are {days} days after an email was written"
    return "No copy of it is in the ledger"


def _draft(connection: Connection, email: EmailStory, setup: SendSetup, now: datetime) -> Preview:
    [action] = look_at_actions(connection, [email.action_id])
    absent = tuple(_absent(connection, action))
    if absent:
        return Preview(None, None, absent)
    context = load_context(connection, action, setup, now).action
    if context is None:
        is_over = "What it is about is no longer true: the lesson counts as not finished"
        return Preview(None, None, (is_over,))
    prepared = prepare(setup.actions, action.kind, context)
    if isinstance(prepared, Outcome):
        return Preview(None, None, (f"It cannot be written: {prepared.detail}",))
    return Preview(prepared.copy, None, tuple(_unread(connection, action)))


def _absent(connection: Connection, action: ClaimedAction) -> Iterator[str]:
    """Say which records an email cannot be written without and are not here."""
    for entity, record_id, what in (
        (Entity.COURSE_MEMBER, action.course_member_id, "enrolment"),
        (Entity.COURSE, action.course_id, "course"),
        *((Entity.LESSON, one, "lesson") for one in _lessons_of(connection, action)),
    ):
        known = record_of(connection, entity, record_id)
        if known is None:
            yield f"The {what} {record_id} is not in the ledger"
        elif known.gone_at is not None:
            yield f"Nexudus no longer has the {what} {record_id}"
    person = person_of(connection, action.coworker_id)
    if person is None:
        yield f"The person (coworker {action.coworker_id}) is not in the ledger"
    elif person.gone_at is not None:
        yield f"Nexudus no longer has the person (coworker {action.coworker_id})"


def _lessons_of(connection: Connection, action: ClaimedAction) -> list[int]:
    linked = events_of_action(connection, action.action_id)
    return [event.lesson_id for event in linked if event.lesson_id is not None]


def _unread(connection: Connection, action: ClaimedAction) -> Iterator[str]:
    """Say what was not read yet of what the email would mention."""
    if listed_at(connection, Entity.LESSON, action.course_id) is None:
        known = record_of(connection, Entity.COURSE, action.course_id)
        title = known.record.title if known and isinstance(known.record, Course) else "the course"
        yield f"The lessons of {title} were not read yet, so those it would name are left out"
