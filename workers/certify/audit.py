"""Follows events to the records that show them and to what came of them. Pure.

What one missing row explains is not told again: `told` are the keys of events of which that was
said already.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ledger.stories.certificate import Happened
from schemas.entity import Entity
from schemas.events import EventKind, course_completed_key, course_started_key
from schemas.reasons import Reason
from schemas.records import CompletedLesson
from workers.certify.chains import Chains
from workers.certify.naming import clean, lesson_of, location_of, person_of, place_of
from workers.certify.values import Difference, Here, Ref
from workers.certify.words import Kind

ENROLMENTS = frozenset({EventKind.ENROLLED, EventKind.ENROLMENT_REQUESTED})


@dataclass(slots=True)
class Audit:
    """Looks at `scope`: the events of the window, and those that its rows led to.

    `rows` says which record of the source shows an event, by its key.
    """

    here: Here
    chains: Chains
    scope: Mapping[str, Happened]
    told: set[str]
    rows: Mapping[str, Ref]
    differences: list[Difference] = field(default_factory=list)
    unlinked: set[str] = field(default_factory=set)  # keys of events that nothing came of
    _missing: set[int] = field(default_factory=set)  # actions that were named
    _members: set[int] = field(default_factory=set)  # enrolments that were ever read
    _done: dict[int, dict[int, datetime | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for (entity, record_id), kept in self.here.kept.items():
            record = kept.record
            if entity is Entity.COURSE_MEMBER:
                self._members.add(record_id)
            elif isinstance(record, CompletedLesson):
                # Also such as is gone shows that it happened; it does not finish a course.
                counts = kept.is_decided and kept.gone_at is None
                done = self._done.setdefault(record.course_member_id, {})
                if counts or record.lesson_id not in done:
                    done[record.lesson_id] = record.created_at if counts else None

    def all(self) -> list[Difference]:
        """Return what is missing."""
        in_order = sorted(self.scope.values(), key=lambda event: (event.happened_at, event.key))
        for event in in_order:
            self._record(event)
            self._outcome(event)
        self._milestones(in_order)
        return self.differences

    def _record(self, event: Happened) -> None:
        if event.kind in ENROLMENTS:
            is_shown = event.course_member_id in self._members
        elif event.kind == EventKind.LESSON_COMPLETED:
            is_shown = event.lesson_id in self._done.get(event.course_member_id, {})
        else:
            return
        if not is_shown and event.key not in self.told:
            self._differs(event, Kind.NO_RECORD, "The event is here, and no record that shows it")

    def _outcome(self, event: Happened) -> None:
        linked = self.chains.actions.get(event.event_id, set())
        if not linked and event.reason is None:
            self.unlinked.add(event.key)
            self._differs(event, Kind.NO_OUTCOME, "No action is about it, and there is no reason")
        for action_id in sorted(linked - self.here.effects.keys() - self._missing):
            self._missing.add(action_id)
            self._differs(event, Kind.NO_ACTION, f"Action {action_id} is not here")

    def _milestones(self, events: Iterable[Happened]) -> None:
        """Look for beginnings and ends of courses that lessons of the window have led to."""
        for event in events:
            whose = (event.course_id, event.coworker_id)
            is_lesson = event.kind == EventKind.LESSON_COMPLETED
            if not is_lesson or not self.here.window.holds(event.happened_at):
                continue
            if event.happened_at == self.here.first_lessons.get(whose):
                self._must_be(event, course_started_key(*whose), "The start of the course")
            if self._gave_way(event) or self._has_finished(event):
                self._must_be(event, course_completed_key(*whose), "The end of the course")

    def _gave_way(self, event: Happened) -> bool:
        """Say whether its email was left to the one about the end of the course.

        That is so only where the end is planned to be written about, so it was there.
        """
        effects = self.chains.effects(event)
        return Reason.SUPERSEDED in {event.reason, *(one.reason for one in effects)}

    def _must_be(self, event: Happened, key: str, what: str) -> None:
        if key not in self.here.events and key not in self.told:
            self.told.add(key)
            self._differs(event, Kind.NO_EVENT, f"{what} is not here")

    def _has_finished(self, event: Happened) -> bool:
        """Say whether, beyond doubt, this lesson was the last of a course as it then was."""
        school = self.here.schooling.get(event.course_id)
        done = self._done.get(event.course_member_id, {})
        moments = [] if school is None else [done.get(one.record_id) for one in school.counting]
        ends = [moment for moment in moments if moment is not None]
        if school is None or not ends or len(ends) < len(moments):
            return False
        effects = self.chains.effects(event)
        same_rules = bool(effects) and all(one.rules_version == self.here.rules for one in effects)
        is_last = done.get(event.lesson_id or 0) == max(ends)
        return is_last and same_rules and school.unchanged_since < event.happened_at

    def _differs(self, event: Happened, kind: Kind, detail: str) -> None:
        ref = self.rows.get(event.key)
        if ref is None and event.kind in ENROLMENTS:
            ref = (Entity.COURSE_MEMBER, event.course_member_id)
        place = place_of(self.here, event.course_id)
        self.differences.append(
            Difference(
                kind,
                self.here.window.day(event.happened_at),
                location_of(place),
                clean(place.title),
                person_of(self.here, event.coworker_id),
                lesson_of(self.here, event.lesson_id),
                None if ref is None else ref[0],
                None if ref is None else ref[1],
                detail,
            )
        )
