"""Loads from the ledger what is true just before an action, in one transaction.

What comes from the source was read before that: see `workers.deliver.attempt`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from ledger.actions import count_sent, planned_nearby, reminders_sent, sent_times
from ledger.attempts import SOURCE_REASONS, source_wait
from ledger.choices import choices_of, mailbox_hash
from ledger.clock import Clock
from ledger.controls import accepted_forecast, sending_of
from ledger.courses import courses_of_group, courses_of_person
from ledger.engine import Connection, Engine, writing
from ledger.events import events_of_action
from ledger.heartbeats import gap_ended_by
from ledger.outbox import ClaimedAction, renew_action
from ledger.pauses import open_pauses, pause_of
from ledger.people import person_of
from ledger.records import StoredRecord, present_below, record_of
from ledger.suppressions import suppression_of
from schemas.actions import Outcome, PersonNeeds, step_of
from schemas.choices import stream_of
from schemas.entity import Entity
from schemas.events import ABOUT_LESSONS, Event, EventKind
from schemas.records import (
    Business,
    CompletedLesson,
    Course,
    CourseMember,
    Lesson,
    Message,
    Section,
)
from schemas.rules import Rule, Rules, Stream
from schemas.text import language_tag
from workers.actions.base import Action, ActionContext, Recipient
from workers.decide.completion import closed_among, counting_lessons, next_course, progress
from workers.decide.send_check import (
    SendContext,
    SentReminder,
    StudyState,
    is_weekly,
    refusal,
)
from workers.decide.timing import day_began
from workers.deliver.recipients import host_of, keys_of, recipient_now, recipient_of
from workers.leases import KeyedLock, Lease, LeaseLost
from workers.zones import own_zone

KindT = TypeVar("KindT")

_WEEK = timedelta(days=7)
_NAMED_FOR = timedelta(days=30)  # a course that was not read for longer may be hidden by now


@dataclass(frozen=True, slots=True)
class SendSetup:
    """What every send check uses: rules, default zone, the key of address hashes, kinds of action.

    `zone` and `language` are for people whose own are unknown. `ended_pauses` are the ids of pauses
    that a forecast takes as ended.
    """

    rules: Rules
    zone: ZoneInfo
    secret_key: str
    actions: Mapping[str, Action]
    ended_pauses: frozenset[int] = frozenset()
    language: str = "en"


@dataclass(frozen=True, slots=True)
class LoadedContext:
    """What is true of an action: for the send check, and for preparing it.

    `action` is None if a record is gone. `event_count` counts all events of the action in the
    ledger, also those that no longer hold: those about the `missing` lessons.
    """

    send: SendContext
    action: ActionContext | None
    event_count: int
    missing: frozenset[int]


def not_stopping() -> bool:
    """Return False: the default of a process that is never asked to stop."""
    return False


class Stopping(LeaseLost):
    """The worker was asked to stop before this action began."""


@dataclass(frozen=True, slots=True)
class DeliveryTools:
    """What actions are delivered with.

    `lease_s` is how long a claim lasts unless renewed. Once `is_stopping` returns True, no action
    is started.
    """

    engine: Engine
    setup: SendSetup
    clock: Clock
    lease_s: float
    locks: KeyedLock = field(default_factory=KeyedLock)
    is_stopping: Callable[[], bool] = not_stopping

    @property
    def actions(self) -> Mapping[str, Action]:
        """The kinds of action that can be performed, by name."""
        return self.setup.actions

    def lease_of(self, claimed: ClaimedAction) -> Lease:
        """Return the lease of a claimed action, to renew while it is performed."""

        def renew() -> bool:
            with writing(self.engine) as connection:
                return renew_action(connection, claimed, self.clock.now(), lease_s=self.lease_s)

        return Lease(renew, self.clock, self.lease_s)


def load_context(
    connection: Connection,
    claimed: ClaimedAction,
    setup: SendSetup,
    now: datetime,
    messages: Sequence[Message] | None = None,
) -> LoadedContext:
    """Return what is true of this action now; `messages` as in `SendContext`."""
    lessons = _lessons(connection, claimed.course_id)
    closed = _closed_sections(connection, claimed.course_id)
    completions = _completions(connection, claimed.course_member_id)
    done_ids = {one.lesson_id for one in completions}
    linked = events_of_action(connection, claimed.action_id)
    events = [event for event in linked if _holds(event, done_ids)]
    state = progress(lessons, done_ids, setup.rules.counts, closed)
    send = _send_context(connection, claimed, setup, events, now)
    forecast_per_day, sent_today = _forecast_and_sent(connection, claimed, send.rule, setup, now)
    send = replace(
        send,
        study=_study_of(send.enrolment, completions, is_finished=state.finished),
        forecast_per_day=forecast_per_day,
        sent_today=sent_today,
        messages=messages,
    )
    action = None
    if send.enrolment and send.course and send.person and events:
        to = recipient_of(claimed.audience, send.person, send.host, send.rule)
        action = ActionContext(
            action_key=claimed.key,
            template=claimed.template,
            events=tuple(events),
            enrolment=send.enrolment,
            course=send.course,
            person=send.person,
            lessons=tuple(lessons),
            progress=state,
            first_lesson=next(iter(counting_lessons(lessons, setup.rules.counts, closed)), None),
            started_at=min((one.created_at for one in completions), default=None),
            now=now,
            languages=languages_of(connection, to.language, send.course, setup.language),
            stream=send.rule.stream if send.rule else Stream.SERVICE,
            next_course=_next_course(connection, send.course, claimed.coworker_id, events, now),
            rule=send.rule,
            recipient=to,
            is_weekly=is_weekly(send),
        )
    missing = (event.lesson_id for event in linked if not _holds(event, done_ids))
    return LoadedContext(send, action, len(linked), frozenset(one for one in missing if one))


def _send_context(
    connection: Connection,
    claimed: ClaimedAction,
    setup: SendSetup,
    events: list[Event],
    now: datetime,
) -> SendContext:
    member = record_of(connection, Entity.COURSE_MEMBER, claimed.course_member_id)
    place = record_of(connection, Entity.COURSE, claimed.course_id)
    enrolment, course = still_there(member, CourseMember), still_there(place, Course)
    person = person_of(connection, claimed.coworker_id)
    rule = _rule_of(claimed, setup, course)
    sending = sending_of(connection)
    kind = setup.actions.get(claimed.kind)
    host = host_of(connection, claimed, place)
    to = recipient_of(claimed.audience, person, host, rule)
    wishes = _wishes(connection, to, setup, now)
    return SendContext(
        now=now,
        zone=own_zone(to.zone, setup.zone),
        mode=sending.mode,
        sending_started_at=sending.started_at,
        asked=claimed.asked,
        released_at=claimed.released_at,
        restored_at=gap_ended_by(connection, claimed.planned_at),
        rule=rule,
        needs=kind.needs if kind else PersonNeeds(),
        events=events,
        planned_at=claimed.planned_at,
        # An outage of the source makes an email old, as any other time we cannot work.
        due_at=_due_since(connection, claimed),
        enrolment=enrolment,
        course=course,
        person=person,
        choices=wishes.choices,
        is_snoozed=wishes.is_snoozed,
        chosen_on=wishes.chosen_on,
        sent_at=_sent_times(connection, claimed, now),
        planned_nearby=_planned_nearby(connection, claimed, rule),
        is_paused=_is_paused(connection, claimed, setup, now),
        suppressed_on=_suppressed_on(connection, kind, to, setup),
        step=step_of(claimed.key),
        reminders=_reminders(connection, claimed, rule),
        audience=claimed.audience,
        host=host,
    )


def _suppressed_on(
    connection: Connection, kind: Action | None, to: Recipient, setup: SendSetup
) -> date | None:
    """Return since when the address of a recipient is suppressed, in days of their zone."""
    if kind is None or not kind.needs.address or not to.address:
        return None
    found = suppression_of(connection, mailbox_hash(to.address, setup.secret_key))
    return None if found is None else found.since.astimezone(own_zone(to.zone, setup.zone)).date()


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What a recipient chose, as `SendContext` has it."""

    choices: dict[str, bool]
    is_snoozed: bool
    chosen_on: dict[str, date]


def _wishes(connection: Connection, to: Recipient, setup: SendSetup, now: datetime) -> _Wishes:
    chosen, zone = (
        choices_of(connection, keys_of(to, setup.secret_key)),
        own_zone(to.zone, setup.zone),
    )
    days = {name: one.chosen_at.astimezone(zone).date() for name, one in chosen.made.items()}
    return _Wishes(chosen.agreed, chosen.snoozed_until(now) is not None, days)


def refusal_now(
    connection: Connection, claimed: ClaimedAction, setup: SendSetup, now: datetime
) -> Outcome | None:
    """Return why the recipient gets this action no longer: their choice, or their address bounced.

    It reads a few rows, so it can be asked just before the last step of a hand-over.
    """
    kind, rule = setup.actions.get(claimed.kind), setup.rules.by_name(claimed.rule)
    if kind is None or rule is None or not kind.needs.stream:
        return None
    to = recipient_now(connection, claimed, rule)
    wishes = _wishes(connection, to, setup, now)
    return refusal(
        stream_of(rule, claimed.audience),
        wishes.choices,
        wishes.chosen_on,
        _suppressed_on(connection, kind, to, setup),
        is_snoozed=wishes.is_snoozed,
    )


def _sent_times(connection: Connection, claimed: ClaimedAction, now: datetime) -> list[datetime]:
    week_ago, kind = now - _WEEK, claimed.kind
    return sent_times(connection, claimed.coworker_id, week_ago, kind=kind, but=claimed.action_id)


def _planned_nearby(connection: Connection, claimed: ClaimedAction, rule: Rule | None) -> int:
    flood = rule.timing.flood if rule else None
    window = timedelta(seconds=flood.window_s if flood else 0)
    return planned_nearby(connection, claimed.planned_at, window, claimed.audience)


def _reminders(
    connection: Connection, claimed: ClaimedAction, rule: Rule | None
) -> list[SentReminder]:
    if rule is None or rule.stream is not Stream.REMINDER:
        return []
    found = reminders_sent(connection, claimed.coworker_id, but=claimed.action_id)
    return [SentReminder(*one) for one in found]


def _forecast_and_sent(
    connection: Connection,
    claimed: ClaimedAction,
    rule: Rule | None,
    setup: SendSetup,
    now: datetime,
) -> tuple[int | None, int]:
    """Return what a brake compares: the rule's forecast per day, and what it sent today."""
    if rule is None or rule.timing.brake is None:
        return None, 0
    accepted = accepted_forecast(connection)
    per_day = accepted.per_day.get(rule.name) if accepted else None
    if per_day is None:
        return None, 0
    today = day_began(now, setup.zone)
    return per_day, count_sent(connection, rule.name, today, but=claimed.action_id)


def _due_since(connection: Connection, claimed: ClaimedAction) -> datetime:
    """Return since when the action is due, however often it waited for the source since."""
    if claimed.reason not in SOURCE_REASONS:
        return claimed.due_at
    waited = source_wait(connection, claimed.action_id)
    return min(claimed.due_at, waited.since) if waited else claimed.due_at


def _study_of(
    enrolment: CourseMember | None, completions: Sequence[CompletedLesson], *, is_finished: bool
) -> StudyState:
    moments = [one.created_at for one in completions]
    if enrolment is not None and enrolment.last_access_at is not None:
        moments.append(enrolment.last_access_at)
    done = frozenset(one.lesson_id for one in completions)
    return StudyState(done, max(moments, default=None), is_finished)


def _rule_of(claimed: ClaimedAction, setup: SendSetup, course: Course | None) -> Rule | None:
    rule = setup.rules.by_name(claimed.rule)
    if rule is None:
        return None
    return setup.rules.for_course(rule, claimed.course_id, course.title if course else None)


def _is_paused(
    connection: Connection, claimed: ClaimedAction, setup: SendSetup, now: datetime
) -> bool:
    these = [one for one in open_pauses(connection) if one.pause_id not in setup.ended_pauses]
    whose = {"course_id": claimed.course_id, "coworker_id": claimed.coworker_id}
    return pause_of(these, now, rule=claimed.rule, **whose) is not None


def _holds(event: Event, done_ids: set[int]) -> bool:
    return event.kind not in ABOUT_LESSONS or event.lesson_id in done_ids


def still_there(known: StoredRecord | None, kind: type[KindT]) -> KindT | None:
    """Return the record that was read last, unless it was never read or is gone."""
    if known is None or known.gone_at is not None or not isinstance(known.record, kind):
        return None
    return known.record


def languages_of(
    connection: Connection, own: str | None, course: Course, otherwise: str
) -> tuple[str, ...]:
    """Return the tags of the languages to write in, the best first."""
    place = still_there(record_of(connection, Entity.BUSINESS, course.business_id), Business)
    tags = (own, language_tag(place.culture) if place else None, otherwise)
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def _next_course(
    connection: Connection, course: Course, coworker_id: int, events: Sequence[Event], now: datetime
) -> Course | None:
    """Return the course that a person who finished this one may take next."""
    finished = any(event.kind is EventKind.COURSE_COMPLETED for event in events)
    if not finished or not course.group_name:
        return None
    others = courses_of_group(connection, course.group_name, now - _NAMED_FOR)
    return next_course(course, others, courses_of_person(connection, coworker_id))


def _lessons(connection: Connection, course_id: int) -> list[Lesson]:
    found = present_below(connection, Entity.LESSON, ("course_id", course_id))
    return [record for record in found if isinstance(record, Lesson)]


def _closed_sections(connection: Connection, course_id: int) -> frozenset[int]:
    found = present_below(connection, Entity.SECTION, ("course_id", course_id))
    return closed_among(record for record in found if isinstance(record, Section))


def _completions(connection: Connection, course_member_id: int) -> list[CompletedLesson]:
    below = ("course_member_id", course_member_id)
    found = present_below(connection, Entity.COMPLETED_LESSON, below)
    return [record for record in found if isinstance(record, CompletedLesson)]
