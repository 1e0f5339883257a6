"""Gathers from the ledger, in one transaction, all that a certificate about these rows needs."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from ledger.engine import Connection
from ledger.people import names_of
from ledger.stories import certificate as story
from schemas.actions import event_key_of
from schemas.entity import FOLLOWED, Entity
from schemas.events import (
    EventKind,
    course_completed_key,
    course_started_key,
    enrolled_key,
    enrolment_requested_key,
    lesson_completed_key,
)
from schemas.records import CompletedLesson, Course, CourseMember, Lesson, Section
from schemas.rules import Rules
from workers.certify.listing import Listed, places
from workers.certify.values import Here, Member, Ref, Schooling, Window
from workers.decide.completion import closed_among, counting_lessons

_ENROLMENT, _COMPLETION = FOLLOWED

RecordT = TypeVar("RecordT", Course, Lesson)


@dataclass(slots=True)
class Gathering:
    """What is gathered, and by what it is looked for."""

    connection: Connection
    listed: Listed
    window: Window
    kept: dict[Ref, story.Kept] = field(default_factory=dict)
    seen: dict[Ref, story.Seen] = field(default_factory=dict)
    asked: dict[Ref, story.Asked] = field(default_factory=dict)
    events: dict[str, story.Happened] = field(default_factory=dict)

    def gather(self, began_at: datetime, rules: Rules) -> Here:
        """Return what the ledger has. Raises `LedgerUnavailable`."""
        self._records()
        outcomes = self._events()
        lessons = [one for one in self.events.values() if one.kind == EventKind.LESSON_COMPLETED]
        self._below({one.course_member_id for one in lessons})
        members = self._members()
        linked = {link.event_id for link in outcomes.links}
        people = {one.coworker_id for one in members.values() if one.coworker_id is not None}
        people |= {one.coworker_id for one in self.events.values()}
        people |= {one.coworker_id for one in outcomes.effects.values()}
        courses = {one.course_id for one in members.values() if one.course_id is not None}
        courses |= {one.course_id for one in self.events.values()}
        return Here(
            self.window,
            began_at,
            frozenset(self.listed.refs),
            self.kept,
            self.seen,
            self.asked,
            self.events,
            outcomes.effects,
            frozenset(outcomes.links),
            frozenset(story.ids_there(self.connection, linked)),
            members,
            story.first_lessons(self.connection, {one.coworker_id for one in lessons}),
            self._schooling({one.course_id for one in lessons}, rules),
            names_of(self.connection, people),
            self._lessons(),
            places(self._kept_of(Entity.COURSE, courses, Course)),
            rules.digest,
            self.listed.stated,
            story.stock_of(self.connection, FOLLOWED, self.window.since, self.window.until),
        )

    def _records(self) -> None:
        window = self.window
        for entity in FOLLOWED:
            ids = [row.record_id for row in self.listed.rows if row.entity is entity]
            made = story.kept_created(self.connection, entity, window.since, window.until)
            self._keep(entity, made)
            self._keep(entity, story.kept_among(self.connection, entity, ids))
            self._see(entity, ids)
            asked = story.asked_among(self.connection, entity, ids)
            self.asked |= {(entity, number): one for number, one in asked.items()}

    def _keep(self, entity: Entity, found: dict[int, story.Kept]) -> None:
        self.kept |= {(entity, number): one for number, one in found.items()}

    def _see(self, entity: Entity, record_ids: Collection[int]) -> None:
        found = story.seen_among(self.connection, entity, record_ids)
        self.seen |= {(entity, number): one for number, one in found.items()}

    def _events(self) -> story.Outcomes:
        """Learn the events of the window, those of its rows, and those that these lead to."""
        connection, window = self.connection, self.window
        self.events |= story.happened_by_key(connection, self._keys())
        self.events |= story.happened_between(connection, window.since, window.until)
        ids = [one.event_id for one in self.events.values()]
        outcomes = story.outcomes_of(connection, ids, window.since, window.until)
        keys = {event_key_of(one.key) for one in outcomes.effects.values()}
        for one in self.events.values():
            keys.add(course_started_key(one.course_id, one.coworker_id))
            keys.add(course_completed_key(one.course_id, one.coworker_id))
        self.events |= story.happened_by_key(connection, keys - self.events.keys())
        return outcomes

    def _keys(self) -> set[str]:
        keys = set()
        for row in self.listed.rows:
            if row.course_member_id is not None and row.lesson_id is not None:
                keys.add(lesson_completed_key(row.course_member_id, row.lesson_id))
            if row.course_id is not None and row.coworker_id is not None:
                keys.add(enrolled_key(row.course_id, row.coworker_id))
        rows = {row.ref for row in self.listed.rows}
        for ref, one in self.kept.items():
            record, record_id = one.record, ref[1]
            made_at = getattr(record, "created_at", self.window.until)
            if ref not in rows and not self.window.holds(made_at):
                continue  # of another day: these are read so that none of ours is overlooked
            if isinstance(record, CompletedLesson):
                keys.add(lesson_completed_key(record.course_member_id, record.lesson_id))
            elif isinstance(record, CourseMember):
                keys.add(enrolled_key(record.course_id, record.coworker_id))
                keys.add(enrolment_requested_key(record_id))
        return keys

    def _below(self, course_member_ids: Collection[int]) -> None:
        """Learn every completion of these enrolments, also of those that are gone."""
        parents = ("course_member_id", course_member_ids)
        self._keep(_COMPLETION, story.kept_below(self.connection, _COMPLETION, *parents))

    def _members(self) -> dict[int, Member]:
        """Return whose enrolments they are, of all that anything here speaks of."""
        ids = {row.course_member_id for row in self.listed.rows}
        ids |= {one.course_member_id for one in self.events.values()}
        ids |= {getattr(one.record, "course_member_id", None) for one in self.kept.values()}
        wanted = {number for number in ids if number is not None}
        self._keep(_ENROLMENT, story.kept_among(self.connection, _ENROLMENT, wanted))
        self._see(_ENROLMENT, wanted)
        found = {
            number: Member(one.course_id, one.coworker_id, one.gone_at is not None)
            for (entity, number), one in self.seen.items()
            if entity is _ENROLMENT and one.course_id is not None
        }
        for (_, number), one in self.kept.items():
            record = one.record
            if isinstance(record, CourseMember):
                gone = one.gone_at is not None
                found[number] = Member(record.course_id, record.coworker_id, gone, record.full_name)
        return found

    def _schooling(self, course_ids: Collection[int], rules: Rules) -> dict[int, Schooling]:
        """Return the lessons of these courses, where it is beyond doubt which of them count."""
        found = {}
        lessons, sections = self._in_courses(course_ids)
        for course_id in course_ids:
            kept = [one for one in lessons if getattr(one.record, "course_id", 0) == course_id]
            parts = [one for one in sections if getattr(one.record, "course_id", 0) == course_id]
            is_closed = closed_among(one.record for one in parts if isinstance(one.record, Section))
            if not kept or is_closed:
                continue
            there = [one.record for one in kept if one.gone_at is None]
            counting = counting_lessons(
                (one for one in there if isinstance(one, Lesson)), rules.counts
            )
            found[course_id] = Schooling(tuple(counting), max(_changes(kept + parts)))
        return found

    def _in_courses(self, course_ids: Collection[int]) -> tuple[list[story.Kept], list[story.Kept]]:
        both = [
            list(story.kept_below(self.connection, entity, "course_id", course_ids).values())
            for entity in (Entity.LESSON, Entity.SECTION)
        ]
        return both[0], both[1]

    def _lessons(self) -> dict[int, str]:
        ids = {row.lesson_id for row in self.listed.rows}
        ids |= {one.lesson_id for one in self.events.values()}
        wanted = {number for number in ids if number is not None}
        found = self._kept_of(Entity.LESSON, wanted, Lesson)
        return {one.record_id: one.title for one in found}

    def _kept_of(
        self, entity: Entity, record_ids: Collection[int], kind: type[RecordT]
    ) -> list[RecordT]:
        kept = story.kept_among(self.connection, entity, record_ids)
        return [one.record for one in kept.values() if isinstance(one.record, kind)]


def _changes(kept: Iterable[story.Kept]) -> Iterable[datetime]:
    for one in kept:
        yield one.record.updated_at
        if one.gone_at is not None:
            yield one.gone_at
