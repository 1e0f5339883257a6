"""Gives each row of the source exactly one outcome, and reports what is wrong with it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from ledger.outcomes import LedgerAction, LedgerEvent
from ledger.record_queries import KnownRecord
from ledger.records import StoredRecord
from schemas.actions import ActionState, LookupState
from schemas.entity import Entity, References
from schemas.events import enrolled_key, enrolment_requested_key, lesson_completed_key
from schemas.reasons import Reason
from schemas.records import CompletedLesson, CourseMember
from workers.sync.evidence import Evidence
from workers.sync.listed_rows import ListRow, Member, Place, clean, event_keys

_UNKNOWN = KnownRecord()
_SAME_MOMENT = timedelta(seconds=1)  # times come with and without fractions (contract, section 2.9)


class RowOutcome(StrEnum):
    """The outcome of a row or an event; each has exactly one."""

    WRITTEN = "written"  # an email about it was sent
    WAITING = "waiting"  # its email is planned
    HELD = "held"  # its email waits for a person
    SKIPPED = "skipped"  # its email was skipped on purpose, just before it was due
    FAILED = "failed"  # its email could not be sent
    UNKNOWN = "unknown"  # the hand-over of its email was interrupted
    UNWRITTEN = "unwritten"  # no email was planned for it
    REPEAT = "repeat"  # it repeats an earlier record with another Id
    NO_EVENT = "no-event"  # this record makes no event
    OPEN = "open"  # it has a pending lookup
    SEEN = "seen"  # listed before the baseline or imported, and not read
    UNACCOUNTED = "unaccounted"  # nothing accounts for it: there is a finding


class FindingKind(StrEnum):
    """What is wrong; each missing row is one finding."""

    MISSING_HERE = "missing-here"
    MISSING_THERE = "missing-there"
    OTHER_KEYS = "other-keys"
    UNREADABLE = "not-read"
    NO_EVENT = "no-event"
    NO_RECORD = "no-record"
    NO_OUTCOME = "no-outcome"
    NO_ACTION = "no-action"
    NO_CAUSE = "no-cause"
    NO_TRACE = "no-trace"


_DETAILS: Mapping[FindingKind, str] = {
    FindingKind.MISSING_HERE: "Nexudus lists it; the ledger has no record of it",
    FindingKind.MISSING_THERE: "The ledger has it, and Nexudus does not list it",
    FindingKind.OTHER_KEYS: "Course, person, enrolment or lesson differ",
    FindingKind.NO_EVENT: "The record is here; it was not decided on, or its event is missing",
    FindingKind.NO_RECORD: "The event is here, but its record is not",
    FindingKind.NO_OUTCOME: "It has neither an action nor a reason",
}

_OUTCOMES: Mapping[str, RowOutcome] = {
    ActionState.DONE: RowOutcome.WRITTEN,
    ActionState.SKIPPED: RowOutcome.SKIPPED,
    ActionState.WAITING: RowOutcome.WAITING,
    ActionState.PLANNED: RowOutcome.WAITING,
    ActionState.PERFORMING: RowOutcome.WAITING,
    ActionState.HELD: RowOutcome.HELD,
    ActionState.FAILED: RowOutcome.FAILED,
    ActionState.UNKNOWN: RowOutcome.UNKNOWN,
}
# With several emails about one event, the first of these is its outcome.
_WEIGHT = (
    RowOutcome.WRITTEN,
    RowOutcome.UNKNOWN,
    RowOutcome.FAILED,
    RowOutcome.HELD,
    RowOutcome.WAITING,
    RowOutcome.SKIPPED,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that is not accounted for, by name. `record_id` is its Id at the source, if known.

    `detail` states what is missing, without an email address.
    """

    kind: FindingKind
    day: date
    location: str
    course: str
    person: str
    lesson: str | None
    entity: Entity | None
    record_id: int | None
    detail: str


def finding(
    evidence: Evidence,
    kind: FindingKind,
    about: ListRow | LedgerEvent | LedgerAction,
    row: ListRow | None = None,
    detail: str | None = None,
) -> Finding:
    """Return a finding about a row, an event or an action; `row` is the source row of an event."""
    names = evidence.names
    if isinstance(about, ListRow):
        row, at, whose = about, about.at, names.whose(about)
    else:
        at, whose = about.happened_at, References.of(about)
    place, person, lesson = place_of(evidence, whose.course_id), whose.coworker_id, None
    if whose.lesson_id is not None:
        title = names.lessons.get(whose.lesson_id) or (row and row.lesson) or ""
        lesson = clean(title) or f"lesson {whose.lesson_id}"
    name = names.people.get(person or 0)
    if row is not None:
        member = names.members.get(row.enrolment_id or 0, Member(None, None))
        name = name or row.person or member.person
    return Finding(
        kind,
        evidence.window.day(at),
        location_of(place),
        clean(place.title),
        clean(name or "") or (f"person {person}" if person else "a person"),
        lesson,
        None if row is None else row.entity,
        None if row is None else row.record_id,
        _DETAILS[kind] if detail is None else detail,
    )


def place_of(evidence: Evidence, course_id: int | None) -> Place:
    """Return the course of that Id and its location."""
    if course_id is None:
        return Place("unknown course")
    return evidence.names.courses.get(course_id) or Place(f"course {course_id}")


def location_of(place: Place) -> str:
    """Return the name of a location."""
    if place.location:
        return clean(place.location)
    return "unknown location" if place.location_id is None else str(place.location_id)


def outcome_of_effect(effect: LedgerAction) -> RowOutcome:
    """Return the outcome of an action."""
    return _OUTCOMES[effect.state]


@dataclass(slots=True)
class EventLinks:
    """The links between events and actions, both ways, also to those that are missing."""

    evidence: Evidence
    actions: dict[int, tuple[int, ...]] = field(default_factory=dict)
    events: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _outcomes: dict[int, tuple[RowOutcome, str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for event_id, action_id in sorted(self.evidence.links):
            self.actions[event_id] = (*self.actions.get(event_id, ()), action_id)
            self.events[action_id] = (*self.events.get(action_id, ()), event_id)

    def effects(self, event: LedgerEvent) -> list[LedgerAction]:
        """Return the actions about an event that exist."""
        found = self.evidence.effects
        return [found[one] for one in self.actions.get(event.event_id, ()) if one in found]

    def outcome(self, event: LedgerEvent) -> tuple[RowOutcome, str | None]:
        """Return the outcome of an event, and its reason."""
        known = self._outcomes.get(event.event_id)
        if known is None:
            known = self._outcomes[event.event_id] = self._outcome(event)
        return known

    def _outcome(self, event: LedgerEvent) -> tuple[RowOutcome, str | None]:
        effects = self.effects(event)
        # What others were sent counts only if nothing was planned for the member.
        own = [effect for effect in effects if effect.audience is None] or effects
        outcomes = [(outcome_of_effect(effect), effect.reason) for effect in own]
        if outcomes:
            return min(outcomes, key=lambda outcome: _WEIGHT.index(outcome[0]))
        if self.actions.get(event.event_id) or event.reason is None:
            return RowOutcome.UNACCOUNTED, None
        return RowOutcome.UNWRITTEN, event.reason


class JudgedRow(NamedTuple):
    """A row and its outcome. `event` is the one it led to, if any."""

    row: ListRow
    outcome: RowOutcome
    reason: str | None = None
    is_here: bool = True
    event: LedgerEvent | None = None


@dataclass(slots=True)
class RowJudge:
    """Judges the rows of the source. `reported` are the keys of events that were found missing."""

    evidence: Evidence
    chains: EventLinks
    findings: list[Finding] = field(default_factory=list)
    reported: set[str] = field(default_factory=set)
    _firsts: dict[str, int] = field(default_factory=dict)

    def all(self, rows: Iterable[ListRow]) -> list[JudgedRow]:
        """Return each row with its outcome."""
        in_order = sorted(rows, key=lambda row: (row.at, row.entity, row.record_id))
        known = [self.evidence.known.get(row.ref, _UNKNOWN) for row in in_order]
        for row, one in zip(in_order, known, strict=True):
            record = None if one.stored is None else one.stored.record
            shows_none = isinstance(record, CourseMember) and (
                record.blocked or not record.approved
            )
            for key in () if shows_none else event_keys(row):
                self._firsts.setdefault(key, row.record_id)
        return list(map(self._judged, in_order, known))

    def _judged(self, row: ListRow, known: KnownRecord) -> JudgedRow:
        if known.lookup is not None and known.has_failed:
            reason = known.lookup.reason
            self._report(row, FindingKind.UNREADABLE, f"Its lookup failed: {reason}")
        stored = known.stored
        if stored is None or self._was_gone(stored.gone_at):
            return self._unread(row, known)
        if row.references.contradict(References.of(stored.record)):
            return _open(row, known) or self._lost(row, FindingKind.OTHER_KEYS)
        return self._read(row, known, stored)

    def _was_gone(self, gone_at: datetime | None) -> bool:
        return gone_at is not None and gone_at < self.evidence.began_at

    def _unread(self, row: ListRow, known: KnownRecord) -> JudgedRow:
        still_open = _open(row, known, is_here=False)
        if still_open is not None:
            return still_open
        seen = known.seen
        is_seen_only = known.stored is None and known.lookup is None
        if (
            is_seen_only
            and seen is not None
            and seen.suppressed_reason
            and not self._was_gone(seen.gone_at)
        ):
            return JudgedRow(row, RowOutcome.SEEN, seen.suppressed_reason)
        return self._lost(row, FindingKind.MISSING_HERE, is_here=False)

    def _read(self, row: ListRow, known: KnownRecord, stored: StoredRecord) -> JudgedRow:
        event, is_repeat = self._event(row, stored)
        if is_repeat:
            return JudgedRow(row, RowOutcome.REPEAT, Reason.DUPLICATE)
        if event is not None:
            outcome, reason = self.chains.outcome(event)
            return JudgedRow(row, outcome, reason, event=event)
        if known.seen is not None and known.seen.suppressed_reason and not stored.is_decided:
            return _open(row, known) or JudgedRow(
                row, RowOutcome.SEEN, known.seen.suppressed_reason
            )
        by_rule = self._is_none(stored)
        if by_rule is not None:
            return JudgedRow(row, RowOutcome.NO_EVENT, by_rule)
        return _open(row, known) or self._lost(row, FindingKind.NO_EVENT)

    def _lost(self, row: ListRow, kind: FindingKind, *, is_here: bool = True) -> JudgedRow:
        self._report(row, kind)
        self.reported.update(event_keys(row))
        return JudgedRow(row, RowOutcome.UNACCOUNTED, None, is_here)

    def _report(self, row: ListRow, kind: FindingKind, detail: str | None = None) -> None:
        self.findings.append(finding(self.evidence, kind, row, detail=detail))

    def _event(self, row: ListRow, stored: StoredRecord) -> tuple[LedgerEvent | None, bool]:
        """Return the event that a row led to, and whether the row repeats an earlier one."""
        record, events = stored.record, self.evidence.events
        if isinstance(record, CompletedLesson):
            key = lesson_completed_key(record.course_member_id, record.lesson_id)
            event = events.get(key)
            came_later = (
                event is not None
                and not event.was_dated_ahead
                and row.at > event.happened_at + _SAME_MOMENT
            )
            is_repeat = came_later or self._is_second(key, row)
            return (None, True) if is_repeat else (event, False)
        if isinstance(record, CourseMember):
            key = enrolled_key(record.course_id, record.coworker_id)
            enrolled = events.get(key)
            if enrolled is not None and enrolled.course_member_id == record.record_id:
                return enrolled, False
            if not record.approved:
                return events.get(enrolment_requested_key(record.record_id)), False
            is_repeat = enrolled is not None or self._is_second(key, row)
            return None, is_repeat and not record.blocked
        return None, False

    def _is_second(self, key: str, row: ListRow) -> bool:
        return self._firsts.get(key, row.record_id) != row.record_id

    def _is_none(self, stored: StoredRecord) -> str | None:
        """Return why a record makes no event; None if it should have made one."""
        record = stored.record
        if isinstance(record, CourseMember):
            return Reason.BLOCKED if record.blocked else None
        if isinstance(record, CompletedLesson):
            member = self.evidence.names.members.get(record.course_member_id)
            return Reason.RECORD_GONE if member is None or member.is_gone else None
        return None


def _open(row: ListRow, known: KnownRecord, *, is_here: bool = True) -> JudgedRow | None:
    if known.lookup is None or known.lookup.state == LookupState.DONE:
        return None
    return JudgedRow(row, RowOutcome.OPEN, known.lookup.reason or "due", is_here)
