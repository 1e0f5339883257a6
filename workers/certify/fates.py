"""Gives each row of the source exactly one fate, and says what is wrong with it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from ledger.stories.certificate import Happened, Kept
from schemas.entity import Entity
from schemas.events import enrolled_key, enrolment_requested_key, lesson_completed_key
from schemas.reasons import Reason
from schemas.records import CompletedLesson, CourseMember
from schemas.states import LookupState
from workers.certify.chains import Chains
from workers.certify.naming import of_row
from workers.certify.values import Difference, Here, SourceRow
from workers.certify.words import Fate, Kind

_SAME_MOMENT = timedelta(seconds=1)  # times come with and without fractions (contract, section 2.9)
_OVER = {LookupState.DONE, LookupState.FAILED}


@dataclass(frozen=True, slots=True)
class Judged:
    """A row and what became of it. `event` is the one that it led to, if it did."""

    row: SourceRow
    fate: Fate
    reason: str | None = None
    is_here: bool = True
    event: Happened | None = None


@dataclass(slots=True)
class Judge:
    """Judges the rows of the source. `told` are the keys of events that were found missing."""

    here: Here
    chains: Chains
    differences: list[Difference] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    _firsts: dict[str, int] = field(default_factory=dict)

    def all(self, rows: Iterable[SourceRow]) -> list[Judged]:
        """Give each row its fate."""
        in_order = sorted(rows, key=lambda row: (row.created_at, row.entity, row.record_id))
        for row in in_order:
            if not self._shows_none(row):
                for key in self._keys(row):
                    self._firsts.setdefault(key, row.record_id)
        return [self._judged(row) for row in in_order]

    def _judged(self, row: SourceRow) -> Judged:
        kept = self.here.kept.get(row.ref)
        asked = self.here.asked.get(row.ref)
        if asked is not None and asked.state == LookupState.FAILED:
            self._differs(row, Kind.UNREADABLE, f"The look-up of it failed: {asked.reason}")
        if kept is None or (kept.gone_at is not None and kept.gone_at < self.here.began_at):
            return self._unread(row, kept)
        if self._refers_elsewhere(row, kept):
            return self._open(row, is_here=True) or self._lost(row, Kind.OTHER_KEYS, is_here=True)
        return self._read(row, kept)

    def _unread(self, row: SourceRow, kept: Kept | None) -> Judged:
        seen, asked = self.here.seen.get(row.ref), self.here.asked.get(row.ref)
        still_open = self._open(row, is_here=False)
        if still_open is not None:
            return still_open
        is_there = seen is not None and (seen.gone_at is None or seen.gone_at >= self.here.began_at)
        if kept is None and asked is None and seen is not None and seen.reason and is_there:
            return Judged(row, Fate.SEEN, seen.reason)
        return self._lost(row, Kind.MISSING_HERE, is_here=False)

    def _read(self, row: SourceRow, kept: Kept) -> Judged:
        event, is_repeat = self._event(row, kept)
        if is_repeat:
            return Judged(row, Fate.REPEAT, Reason.DUPLICATE)
        if event is not None:
            fate, reason = self.chains.fate(event)
            return Judged(row, fate, reason, event=event)
        seen = self.here.seen.get(row.ref)
        if seen is not None and seen.reason and not kept.is_decided:
            return self._open(row, is_here=True) or Judged(row, Fate.SEEN, seen.reason)
        by_rule = self._is_none(kept)
        if by_rule is not None:
            return Judged(row, Fate.NO_EVENT, by_rule)
        return self._open(row, is_here=True) or self._lost(row, Kind.NO_EVENT, is_here=True)

    def _open(self, row: SourceRow, *, is_here: bool) -> Judged | None:
        asked = self.here.asked.get(row.ref)
        if asked is None or asked.state == LookupState.DONE:
            return None
        return Judged(row, Fate.OPEN, asked.reason or "due", is_here)

    def _lost(self, row: SourceRow, kind: Kind, *, is_here: bool) -> Judged:
        details = {
            Kind.MISSING_HERE: "Nexudus lists it; the ledger has no record of it",
            Kind.OTHER_KEYS: "Course, person, enrolment or lesson differ",
            Kind.NO_EVENT: "The record is here; what it means was not decided, or is gone",
        }
        self._differs(row, kind, details[kind])
        self.told.update(self._keys(row))
        return Judged(row, Fate.UNACCOUNTED, None, is_here)

    def _differs(self, row: SourceRow, kind: Kind, detail: str) -> None:
        self.differences.append(of_row(self.here, row, kind, detail))

    def _event(self, row: SourceRow, kept: Kept) -> tuple[Happened | None, bool]:
        """Return the event that a row led to, and whether it only repeats what was before."""
        record, known = kept.record, self.here.events
        if isinstance(record, CompletedLesson):
            key = lesson_completed_key(record.course_member_id, record.lesson_id)
            event = known.get(key)
            came_later = (
                event is not None
                and not event.was_dated_ahead
                and row.created_at > event.happened_at + _SAME_MOMENT
            )
            is_repeat = came_later or self._is_second(key, row)
            return (None, True) if is_repeat else (event, False)
        if isinstance(record, CourseMember):
            key = enrolled_key(record.course_id, record.coworker_id)
            enrolled = known.get(key)
            if enrolled is not None and enrolled.course_member_id == record.record_id:
                return enrolled, False
            if not record.approved:
                return known.get(enrolment_requested_key(record.record_id)), False
            is_repeat = enrolled is not None or self._is_second(key, row)
            return None, is_repeat and not record.blocked
        return None, False

    def _is_second(self, key: str, row: SourceRow) -> bool:
        return self._firsts.get(key, row.record_id) != row.record_id

    def _shows_none(self, row: SourceRow) -> bool:
        kept = self.here.kept.get(row.ref)
        record = None if kept is None else kept.record
        return isinstance(record, CourseMember) and (record.blocked or not record.approved)

    def _is_none(self, kept: Kept) -> str | None:
        """Return why, by the rules, no event had to come of a record; None: one had to."""
        record = kept.record
        if isinstance(record, CourseMember):
            return Reason.BLOCKED if record.blocked else None
        if isinstance(record, CompletedLesson):
            member = self.here.members.get(record.course_member_id)
            return Reason.RECORD_GONE if member is None or member.is_gone else None
        return None

    def _keys(self, row: SourceRow) -> Sequence[str]:
        """Return the keys of the events that a row may lead to."""
        if row.entity is Entity.COMPLETED_LESSON:
            if row.course_member_id is None or row.lesson_id is None:
                return ()
            return (lesson_completed_key(row.course_member_id, row.lesson_id),)
        keys = (enrolment_requested_key(row.record_id),)
        if row.course_id is None or row.coworker_id is None:
            return keys
        return (*keys, enrolled_key(row.course_id, row.coworker_id))

    @staticmethod
    def _refers_elsewhere(row: SourceRow, kept: Kept) -> bool:
        names = ("course_id", "coworker_id", "course_member_id", "lesson_id")
        pairs = ((getattr(row, name), getattr(kept.record, name, None)) for name in names)
        return any(there is not None and there != ours for there, ours in pairs)
