"""Forecasts the outcomes of actions, and shows one without sending it. Changes nothing.

A worker's own checks and preparation are used, on the records the ledger has now. Nexudus is not
asked, and a worker reads once more before it sends, so a record that changed there meanwhile is
shown as it was last read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from ledger.actions import Copy, copy_of
from ledger.engine import Connection
from ledger.events import events_of_action
from ledger.listings import listed_at
from ledger.outbox import ClaimedAction, read_actions
from ledger.people import person_of
from ledger.queries import EmailView
from ledger.records import record_of
from ledger.retention import COPIES
from schemas.actions import HOST, ActionState, Mode, Outcome
from schemas.entity import Entity
from schemas.records import Course
from schemas.settings import Settings
from workers.actions.base import Prepared
from workers.actions.registry import make_actions
from workers.decide.send_check import SendContext, check_send
from workers.deliver.attempt import prepare
from workers.deliver.context import SendSetup, load_context
from workers.deliver.recipients import assumed_host
from workers.rules_file import read_rules
from workers.secret_key import has_secret_key, secret_key


def make_send_setup(settings: Settings) -> SendSetup:
    """Return the set-up for forecasts: the rules as they are now, and the kinds of action.

    Raises:
        ConfigurationError: every mistake in the rules, or that a file cannot be read.
    """
    # Without a key no member has made a choice yet. No key is created here.
    key = secret_key(settings) if has_secret_key(settings) else ""
    rules, actions = read_rules(settings), make_actions(replace(settings, secret_key=key or None))
    return SendSetup(rules, ZoneInfo(settings.zone), key, actions, language=settings.language)


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected outcome of one action: sent at `at`, unless `outcome` says otherwise.

    `copy` is the action as it would be prepared, or None.
    """

    action: ClaimedAction
    at: datetime
    outcome: Outcome | None
    person: str | None = field(repr=False)
    copy: Copy | None = field(repr=False)

    @property
    def recipient(self) -> str | None:
        """The recipient it would be sent to."""
        return self.copy.recipient if self.copy else None

    @property
    def title(self) -> str | None:
        """The line that would name it in lists."""
        return self.copy.title if self.copy else None

    @property
    def is_sent(self) -> bool:
        """Return whether it would be sent, now or later."""
        return self.outcome is None or self.outcome.state is ActionState.WAITING

    @property
    def sent_at(self) -> datetime:
        """When it would be sent, or decided on again."""
        until = None if self.outcome is None else self.outcome.until
        return until or self.at


@dataclass(slots=True)
class _Earlier:
    """What earlier actions of one forecast change for later ones."""

    zone: ZoneInfo  # in which days are counted
    sent_at: dict[int, list[datetime]] = field(default_factory=dict)  # by coworker
    sent_on: Counter[tuple[str, date]] = field(default_factory=Counter)  # by rule and day
    # By audience: when each was planned.
    skipped: dict[str | None, list[datetime]] = field(default_factory=dict)

    def applied_to(self, context: SendContext, coworker_id: int) -> SendContext:
        flood = context.rule.timing.flood if context.rule else None
        window = timedelta(seconds=flood.window_s if flood else 0)
        rule = context.rule.name if context.rule else ""
        skipped = self.skipped.get(context.audience, ())
        fewer = sum(abs(one - context.planned_at) <= window for one in skipped)
        return replace(
            context,
            sent_at=[*context.sent_at, *self.sent_at.get(coworker_id, ())],
            planned_nearby=context.planned_nearby - fewer,
            sent_today=context.sent_today + self.sent_on[rule, self.day_of(context.now)],
        )

    def day_of(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()

    def note(self, expected: Expected) -> None:
        action, outcome = expected.action, expected.outcome
        if outcome is None:
            if action.audience is None:
                self.sent_at.setdefault(action.coworker_id, []).append(expected.at)
            if action.released_at is None:
                self.sent_on[action.rule, self.day_of(expected.at)] += 1
        elif outcome.state is ActionState.SKIPPED:
            self.skipped.setdefault(action.audience, []).append(action.planned_at)


def forecast(
    connection: Connection,
    setup: SendSetup,
    wanted: Sequence[ClaimedAction],
    now: datetime,
    started_at: datetime | None,
) -> list[Expected]:
    """Return the expected outcomes of these actions, in this order, if the mode were sending.

    `started_at` is when sending began. Later ones are judged by what is known now.
    """
    earlier = _Earlier(setup.zone)
    found = []
    for action in wanted:
        at = max(now, action.due_at)
        loaded = load_context(connection, action, setup, at)
        context = earlier.applied_to(loaded.send, action.coworker_id)
        context = replace(context, mode=Mode.SENDING, sending_started_at=started_at)
        is_unread = context.audience == HOST and context.host is None
        if is_unread:
            context = replace(context, host=assumed_host(context.course))
        outcome = check_send(context)
        prepared: Prepared | Outcome | None = None
        if not is_unread and (outcome is None or outcome.state is not ActionState.SKIPPED):
            prepared = prepare(setup.actions, action.kind, loaded.action)
        if isinstance(prepared, Outcome):
            # A waiting action is prepared when it is due, and ends the same way.
            outcome = prepared
        copy = prepared.copy if isinstance(prepared, Prepared) else None
        expected = Expected(
            action,
            at,
            outcome,
            context.person.full_name if context.person else None,
            copy,
        )
        earlier.note(expected)
        found.append(expected)
    return found


@dataclass(frozen=True, slots=True)
class Lack:
    """What an email lacks: a sentence without its full stop, and the values to put into it."""

    sentence: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence.format(**self.values)


_NOT_STORED = {
    Entity.COURSE_MEMBER: Lack("The enrolment {id} is not in the ledger"),
    Entity.COURSE: Lack("The course {id} is not in the ledger"),
    Entity.LESSON: Lack("The lesson {id} is not in the ledger"),
    Entity.COWORKER: Lack("The person (coworker {id}) is not in the ledger"),
}
_GONE = {
    Entity.COURSE_MEMBER: Lack("Nexudus no longer has the enrolment {id}"),
    Entity.COURSE: Lack("Nexudus no longer has the course {id}"),
    Entity.LESSON: Lack("Nexudus no longer has the lesson {id}"),
    Entity.COWORKER: Lack("Nexudus no longer has the person (coworker {id})"),
}
# For these a draft might differ from what was sent.
_AS_KEPT_ONLY = (ActionState.DONE, ActionState.UNKNOWN, ActionState.PERFORMING)
_NOT_SENT = (ActionState.FAILED, ActionState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Preview:
    """One email to show.

    With `copy` None, `missing` says why; else it lists what the draft lacks. `written_at` is when
    the copy was written, or None for a draft.
    """

    copy: Copy | None
    written_at: datetime | None
    missing: tuple[Lack, ...] = ()


def preview(
    connection: Connection,
    email: EmailView,
    setup: SendSetup,
    now: datetime,
) -> Preview:
    """Return an email as it was sent, or as it would be.

    One that was not and will not be sent is shown as written, if it ever was.
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


def _why_not_kept(email: EmailView, now: datetime) -> Lack:
    if email.finished_at is not None and email.finished_at < now - COPIES:
        return Lack(
            "Its copy was deleted, as copies are {days} days after an email was written",
            {"days": COPIES.days},
        )
    return Lack("No copy of it is in the ledger")


def _draft(connection: Connection, email: EmailView, setup: SendSetup, now: datetime) -> Preview:
    [action] = read_actions(connection, [email.action_id])
    absent = tuple(_absent(connection, action))
    if absent:
        return Preview(None, None, absent)
    context = load_context(connection, action, setup, now).action
    if context is None:
        is_over = Lack("What it is about is no longer true: the lesson counts as not finished")
        return Preview(None, None, (is_over,))
    prepared = prepare(setup.actions, action.kind, context)
    if isinstance(prepared, Outcome):
        why = Lack("It cannot be written: {detail}", {"detail": prepared.detail})
        return Preview(None, None, (why,))
    return Preview(prepared.copy, None, tuple(_unread(connection, action)))


def _absent(connection: Connection, action: ClaimedAction) -> Iterator[Lack]:
    """Yield each record that the email needs and the ledger lacks."""
    for entity, record_id in (
        (Entity.COURSE_MEMBER, action.course_member_id),
        (Entity.COURSE, action.course_id),
        *((Entity.LESSON, one) for one in _lessons_of(connection, action)),
    ):
        known = record_of(connection, entity, record_id)
        if known is None or known.gone_at is not None:
            lacks = _NOT_STORED if known is None else _GONE
            yield replace(lacks[entity], values={"id": record_id})
    person = person_of(connection, action.coworker_id)
    if person is None or person.gone_at is not None:
        lacks = _NOT_STORED if person is None else _GONE
        yield replace(lacks[Entity.COWORKER], values={"id": action.coworker_id})


def _lessons_of(connection: Connection, action: ClaimedAction) -> list[int]:
    linked = events_of_action(connection, action.action_id)
    return [event.lesson_id for event in linked if event.lesson_id is not None]


def _unread(connection: Connection, action: ClaimedAction) -> Iterator[Lack]:
    """Yield what the email would mention but was not read yet."""
    if listed_at(connection, Entity.LESSON, action.course_id) is None:
        known = record_of(connection, Entity.COURSE, action.course_id)
        title = known.record.title if known and isinstance(known.record, Course) else "the course"
        yield Lack(
            "The lessons of {title} were not read yet, so those it would name are left out",
            {"title": title},
        )
