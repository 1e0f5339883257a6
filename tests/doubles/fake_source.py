"""A source that answers from memory. tests/contract/test_source_double.py holds it to the real one.

Trouble is only raised, never waited for.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from schemas.entity import Entity
from schemas.errors import (
    CoursebellError,
    RecordStuck,
    RecordUnreadable,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
)
from schemas.records import (
    CompletedLesson,
    CourseMember,
    Coworker,
    Lesson,
    Message,
    Record,
    Section,
    dump_record,
)
from tests.doubles.staff_session import StaffSession
from workers.source.client import Gone
from workers.source.lists import Changed, Changes, Row


class FakeSource:
    """The interface of `Source`. `asked` is every question, in order: its kind and its Id."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.session = StaffSession()
        self._records: dict[tuple[Entity, int], Record] = {}
        self._broken: set[tuple[Entity, int]] = set()
        self._trouble: CoursebellError | None = None
        self._next: list[CoursebellError] = []
        self._listed: dict[tuple[Entity, int], Record] = {}
        self._changed: dict[tuple[Entity, int], Record] = {}
        self._several: dict[tuple[Entity, int], Record] = {}
        self._left_out: set[tuple[Entity, str]] = set()
        self._left_out_of_changes: set[tuple[Entity, str]] = set()
        self._lacking: set[int] = set()
        self._totals: dict[Entity, int] = {}
        self._hidden: set[Entity] = set()
        self._before: dict[str, Callable[[], None]] = {}
        self._stuck: set[tuple[Entity, int]] = set()

    def have(self, entity: Entity, *records: Record) -> None:
        """Have these records from now on, in place of older ones with the same Id."""
        self._records.update({(entity, record.record_id): record for record in records})

    def lose(self, entity: Entity, record_id: int) -> None:
        """Have this record no longer; with an enrolment its completions go too."""
        del self._records[entity, record_id]
        if entity is Entity.COURSE_MEMBER:
            for completed in self._completions(record_id):
                del self._records[Entity.COMPLETED_LESSON, completed.record_id]

    def list_as(self, entity: Entity, record: Record) -> None:
        """Show this in lists in place of the record with its Id, as a source with stale lists."""
        self._listed[entity, record.record_id] = record

    def change_as(self, entity: Entity, record: Record) -> None:
        """Show this in lists of changes in place of the record with its Id."""
        self._changed[entity, record.record_id] = record

    def several_as(self, entity: Entity, record: Record) -> None:
        """Show this among several, in place of the record with its Id."""
        self._several[entity, record.record_id] = record

    def say_total(self, entity: Entity, total: int) -> None:
        """Say of a list of changes that it has so many rows."""
        self._totals[entity] = total

    def hide(self, entity: Entity) -> None:
        """Show no record of this kind by its Id until `recover`."""
        self._hidden.add(entity)

    def when_asked(self, question: str, happens: Callable[[], None]) -> None:
        """Let this happen each time before such a question is answered; it may raise."""
        self._before[question] = happens

    def be_stuck(self, entity: Entity, record_id: int) -> None:
        """List this record and fail to show it by its Id."""
        self._stuck.add((entity, record_id))

    def leave_out(self, entity: Entity, field: str) -> None:
        """Leave a field out of the rows of several Ids."""
        self._left_out.add((entity, field))

    def leave_out_of_changes(self, entity: Entity, field: str) -> None:
        """Leave a field out of the rows of lists of changes."""
        self._left_out_of_changes.add((entity, field))

    def leave_out_of_below(self, record_id: int) -> None:
        """Lack this completion on the list of its enrolment, until `recover`."""
        self._lacking.add(record_id)

    def break_record(self, entity: Entity, record_id: int) -> None:
        """Answer something for this record that does not fit our schema."""
        self._broken.add((entity, record_id))

    def mend_record(self, entity: Entity, record_id: int) -> None:
        """End what `break_record` began."""
        self._broken.discard((entity, record_id))

    def be_slow(self) -> None:
        """Answer nothing in time from now on, as during an outage."""
        self._trouble = SourceUnavailable("the source did not finish its answer in time")

    def be_busy(self, retry_after_s: float | None = None) -> None:
        """Ask to slow down from now on."""
        self._trouble = SourceThrottled("the source answered 409", retry_after_s=retry_after_s)

    def refuse(self) -> None:
        """Refuse everything from now on."""
        self._trouble = SourceRefused("the source answered 403: sign-in or rights are missing")

    def recover(self) -> None:
        """End what `be_slow`, `be_busy`, `refuse`, `hide` and `be_stuck` began."""
        self._trouble = None
        self._hidden.clear()
        self._stuck.clear()
        self._lacking.clear()

    def fail_next(self, *errors: CoursebellError) -> None:
        """Raise these, one for each question to come."""
        self._next.extend(errors)

    def close(self) -> None:
        """Close nothing; see `Source.close`."""

    def fetch(self, entity: Entity, record_id: int) -> Record | Gone:
        """Return the record or `Gone`; see `Source.fetch`."""
        self._ask(entity.value, record_id)
        if (entity, record_id) in self._stuck:
            raise RecordStuck("the source lists a record but does not return it")
        found = None if entity in self._hidden else self._records.get((entity, record_id))
        return Gone() if found is None else self._whole(entity, found)

    def lessons_of(self, course_id: int) -> list[Record]:
        """Return every lesson of a course; see `Source.lessons_of`."""
        self._ask("lessons_of", course_id)
        lessons = [
            record
            for _, record in sorted(self._records.items(), key=lambda item: item[0])
            if isinstance(record, Lesson) and record.course_id == course_id
        ]
        return [self._whole(Entity.LESSON, record) for record in lessons]

    def sections_of(self, course_id: int) -> list[Record]:
        """Return every section of a course; see `Source.sections_of`."""
        self._ask("sections_of", course_id)
        return [
            self._whole(Entity.SECTION, record)
            for _, record in sorted(self._records.items(), key=lambda item: item[0])
            if isinstance(record, Section) and record.course_id == course_id
        ]

    def all_of(self, entity: Entity) -> list[Record]:
        """Return every record of a kind; see `Source.all_of`."""
        self._ask(f"all_of {entity}", 0)
        found = sorted(self._records.items(), key=lambda item: item[0])
        return [self._whole(kind, record) for (kind, _), record in found if kind is entity]

    def several(self, entity: Entity, record_ids: Sequence[int]) -> list[Row]:
        """Return the rows of several records; see `Source.several`."""
        self._ask(f"several {entity}", len(record_ids))
        keys = [(entity, record_id) for record_id in sorted(record_ids)]
        found = [self._several.get(key, self._records.get(key)) for key in keys]
        rows = [dump_record(entity, record) for record in found if record is not None]
        left_out = {field for kind, field in self._left_out if kind is entity}
        return [{name: row[name] for name in row if name not in left_out} for row in rows]

    def changed_since(self, entity: Entity, moment: datetime) -> Iterator[Changes]:
        """Yield what changed since then, on one page; see `Source.changed_since`."""
        self._ask(f"changed_since {entity}", 0)
        by = "created_at" if entity is Entity.COMPLETED_LESSON else "updated_at"
        yield self._changes(entity, by, moment, None)

    def created_between(
        self, entity: Entity, since: datetime, until: datetime
    ) -> Iterator[Changes]:
        """Yield what was created then, on one page; see `Source.created_between`."""
        self._ask(f"created_between {entity}", 0)
        yield self._changes(entity, "created_at", since, until)

    def enrolments_of(self, coworker_id: int) -> list[Record]:
        """Return every enrolment of a person; see `Source.enrolments_of`."""
        self._ask("enrolments_of", coworker_id)
        return [
            self._row(Entity.COURSE_MEMBER, record)
            for _, record in sorted(self._records.items(), key=lambda item: item[0])
            if isinstance(record, CourseMember) and record.coworker_id == coworker_id
        ]

    def enrolled_with(self, email: str, most: int) -> list[int]:
        """Return coworkers with enrolments and this address; see `Source.enrolled_with`."""
        self._ask("enrolled_with", 0)
        enrolled = {
            one.coworker_id for one in self._records.values() if isinstance(one, CourseMember)
        }
        found = [
            one.record_id
            for one in self._records.values()
            if isinstance(one, Coworker) and one.email == email and one.record_id in enrolled
        ]
        return sorted(found)[:most]

    def messages_to(self, coworker_id: int, since: datetime) -> list[Message]:
        """Return what the source sent to a person after a moment; see `Source.messages_to`."""
        self._ask("messages_to", coworker_id)
        found = [
            one
            for one in self._records.values()
            if isinstance(one, Message)
            and one.coworker_id == coworker_id
            and not one.incoming
            and one.created_at > since
        ]
        for one in found:
            self._whole(Entity.MESSAGE, one)
        return sorted(found, key=lambda one: one.created_at, reverse=True)

    def completions_of(self, course_member_id: int) -> list[Record]:
        """Return every completed lesson of an enrolment; see `Source.completions_of`."""
        self._ask("completions_of", course_member_id)
        return [
            self._row(Entity.COMPLETED_LESSON, record)
            for record in self._completions(course_member_id)
        ]

    def _ask(self, question: str, record_id: int) -> None:
        self.asked.append((question, record_id))
        self._before.get(question, lambda: None)()
        if self._next:
            raise self._next.pop(0)
        if self._trouble is not None:
            raise self._trouble

    def _changes(self, entity: Entity, by: str, since: datetime, until: datetime | None) -> Changes:
        start = since.replace(second=0, microsecond=0)
        end = None if until is None else until.replace(second=0, microsecond=0)
        shown = {
            number: self._changed.get((kind, number), record)
            for (kind, number), record in self._records.items()
            if kind is entity
        }
        rows = [
            Changed(number, getattr(record, by), self._partial(entity, record))
            for number, record in shown.items()
            if getattr(record, by) >= start
            and (end is None or getattr(record, by) <= end + timedelta(minutes=1))
        ]
        total = self._totals.get(entity, len(rows))
        return Changes(sorted(rows, key=lambda row: (row.at, row.record_id)), total)

    def _partial(self, entity: Entity, record: Record) -> Row:
        left_out = {field for kind, field in self._left_out_of_changes if kind is entity}
        row = dump_record(entity, record)
        return {name: row[name] for name in row if name not in left_out}

    def _completions(self, course_member_id: int) -> list[Record]:
        return [
            record
            for _, record in sorted(self._records.items(), key=lambda item: item[0])
            if isinstance(record, CompletedLesson)
            and record.course_member_id == course_member_id
            and record.record_id not in self._lacking
        ]

    def _row(self, entity: Entity, record: Record) -> Record:
        return self._whole(entity, self._listed.get((entity, record.record_id), record))

    def _whole(self, entity: Entity, record: Record) -> Record:
        if (entity, record.record_id) in self._broken:
            raise RecordUnreadable(f"{entity}: unreadable field Id", {"Id": ["Broken on purpose."]})
        return record
