"""Reads from the ledger what `coursebell why` and the page of a person tell about them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ledger.checks import CheckKind, last_run
from ledger.choices import choice_keys, choices_of, mailbox_hash
from ledger.controls import sending_of
from ledger.decisions import RuleTrace, decisions_of
from ledger.engine import Connection
from ledger.mail_reports import ReportView, reports_of
from ledger.open_lookups import OpenLookup, open_lookups
from ledger.pauses import open_pauses, pause_of
from ledger.record_queries import EarlierEnrolment, enrolment_ids_of, enrolments_before_start
from ledger.stories import ActionView, TitledEvent, titled_history, titles_of_courses
from ledger.suppressions import Suppression, suppression_of
from schemas.actions import OPEN_ACTIONS, ActionState, Mode
from schemas.choices import Choices
from schemas.entity import Entity
from schemas.errors import ConfigurationError
from schemas.reasons import Reason
from schemas.settings import Settings
from schemas.text import folded
from service.people_search import PersonMatch
from service.sending_outcomes import outcomes_by_sending
from workers.deliver.forecast import Expected, make_send_setup
from workers.secret_key import known_secret_key

# In this order one action of several about an event is named first.
_BY_URGENCY = (
    *(ActionState.FAILED, ActionState.UNKNOWN, ActionState.HELD, ActionState.DONE),
    *(ActionState.PERFORMING, ActionState.WAITING, ActionState.PLANNED, ActionState.SKIPPED),
)
_LISTING = (CheckKind.CHECK, CheckKind.BASELINE, CheckKind.RECONCILE)


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which events are meant: of this course, or about lessons whose title contains this."""

    course_id: int | None = None
    lesson: str | None = None

    def admits(self, one: TitledEvent) -> bool:
        """Return whether this event is meant."""
        if self.course_id not in {None, one.event.course_id}:
            return False
        return self.lesson is None or folded(self.lesson) in folded(one.lesson)


@dataclass(frozen=True, slots=True)
class PersonHistory:
    """One person's events, and their enrolments from before the baseline.

    `with_sending` is, by action, what a change to sending would do to an email held in observe
    mode: what is expected, or the reason why it stays held. `person` is None if neither their
    record nor their name was ever read. `unread` are the changes that were reported and are not
    read yet, or cannot be. `traces` are, by event, how it was decided. `reports` are, by email,
    what the mail provider reported, and `suppression` why nothing is sent to their address.
    `listed_at` is when the finished lessons at Nexudus were last listed.
    """

    coworker_id: int
    person: PersonMatch | None
    events: list[TitledEvent]
    earlier: list[tuple[EarlierEnrolment, str]]
    with_sending: Mapping[int, Expected | Reason]
    paused: frozenset[int] = frozenset()  # emails that wait and will be held by a pause
    unread: tuple[OpenLookup, ...] = ()
    traces: Mapping[int, RuleTrace] = field(default_factory=dict)
    listed_at: datetime | None = None
    mode: Mode = Mode.SENDING
    chosen: Choices = field(default_factory=Choices)
    reports: Mapping[int, list[ReportView]] = field(default_factory=dict)
    suppression: Suppression | None = None


def main_action(actions: Iterable[ActionView]) -> ActionView | None:
    """Return the action that says most about an event: what needs a person, then what was sent.

    Only actions to the member themselves are meant; None if there is none. What follows later, as a
    reminder does, says least.
    """
    own = [one for one in actions if one.audience is None]
    return min(own, key=_urgency, default=None)


def _urgency(action: ActionView) -> tuple[bool, int, int]:
    is_settled = len(_BY_URGENCY) if action.was_resent else 0
    state = ActionState(action.state)
    urgency = is_settled or _BY_URGENCY.index(state)
    return action.is_later_step, urgency, -action.action_id


def person_history(  # noqa: PLR0913 - of whom, which part of it, and when
    connection: Connection,
    settings: Settings,
    coworker_id: int,
    person: PersonMatch | None,
    *,
    wanted: HistoryFilter,
    now: datetime,
    in_full: bool = False,
) -> PersonHistory | None:
    """Return one person's history; None if nothing of them was ever read, listed or found.

    Only `in_full` it has `with_sending` and `traces`, which take long for many events.
    """
    every = titled_history(connection, coworker_id)
    before = enrolments_before_start(connection, coworker_id)
    if not ((person is not None and person.was_read) or every or before):
        return None
    events = [one for one in every if wanted.admits(one)]
    earlier = [
        one for one in before if wanted.course_id in {None, one.course_id} and wanted.lesson is None
    ]
    titles = titles_of_courses(
        connection, {(one.course_id or 0, one.course_member_id) for one in earlier}
    )
    key = known_secret_key(settings)
    enrolments = enrolment_ids_of(connection, coworker_id, wanted.course_id)
    listed = last_run(connection, _LISTING, Entity.COMPLETED_LESSON)
    return PersonHistory(
        coworker_id,
        person,
        events,
        [(one, titles[one.course_id or 0, one.course_member_id]) for one in earlier],
        _outcomes_with_sending(connection, settings, coworker_id, events, now) if in_full else {},
        _paused(connection, coworker_id, events, now),
        tuple(open_lookups(connection, enrolments)),
        decisions_of(connection, [one.event.event_id for one in events]) if in_full else {},
        None if listed is None or listed.reason is not None else listed.begun_at,
        sending_of(connection).mode,
        chosen_by(connection, key, coworker_id, person.email if person else None),
        reports_of(connection, _action_ids(events)),
        _suppression(connection, key, person),
    )


def _action_ids(events: list[TitledEvent]) -> list[int]:
    return [action.action_id for one in events for action in one.event.actions]


def _suppression(
    connection: Connection, key: str | None, person: PersonMatch | None
) -> Suppression | None:
    if key is None or person is None or not person.email:
        return None
    return suppression_of(connection, mailbox_hash(person.email, key))


def chosen_by(
    connection: Connection, key: str | None, coworker_id: int, email: str | None
) -> Choices:
    """Return what this person chose about emails; nothing if there is no key to find it by."""
    if key is None:
        return Choices()
    return choices_of(connection, choice_keys(key, coworker_id, email))


def _outcomes_with_sending(
    connection: Connection,
    settings: Settings,
    coworker_id: int,
    events: list[TitledEvent],
    now: datetime,
) -> dict[int, Expected | Reason]:
    """Return what a change to sending would do to the emails held in observe mode, by action."""
    observed = {
        action.action_id
        for titled in events
        for action in titled.event.actions
        if (action.state, action.reason) == (ActionState.HELD, Reason.OBSERVE)
    }
    if not observed or sending_of(connection).mode is Mode.SENDING:
        return {}
    try:
        setup = make_send_setup(settings)
    except ConfigurationError:
        return {}  # `coursebell status` reports it; what happened can be shown all the same
    outcomes = outcomes_by_sending(connection, setup, now, coworker_id)
    kept = {one: reason for reason, ids in outcomes.kept.items() for one in ids}
    expected = {one.action.action_id: one for one in outcomes.expected}
    return {one: found for one, found in (kept | expected).items() if one in observed}


def _paused(
    connection: Connection, coworker_id: int, events: list[TitledEvent], now: datetime
) -> frozenset[int]:
    """Return the emails that wait and that an open pause will hold once they are due."""
    these = open_pauses(connection)
    return frozenset(
        action.action_id
        for titled in events
        for action in titled.event.actions
        if action.state in OPEN_ACTIONS
        and pause_of(
            these,
            now,
            rule=action.rule,
            course_id=titled.event.course_id or 0,
            coworker_id=coworker_id,
        )
    )
