"""A source that answers from memory. tests/contract/test_source_double.py holds it to the real one.

Trouble is only raised, never waited for.
"""

from schemas.entity import Entity
from schemas.errors import (
    CoursebellError,
    RecordUnreadable,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
)
from schemas.records import CompletedLesson, Lesson, Record
from workers.source.client import Gone


class FakeSource:
    """The interface of `Source`. `asked` is every question, in order: its kind and its Id."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self._records: dict[tuple[Entity, int], Record] = {}
        self._broken: set[tuple[Entity, int]] = set()
        self._trouble: CoursebellError | None = None
        self._next: list[CoursebellError] = []

    def have(self, entity: Entity, *records: Record) -> None:
        """Have these records from now on, in place of older ones with the same Id."""
        self._records.update({(entity, record.record_id): record for record in records})

    def lose(self, entity: Entity, record_id: int) -> None:
        """Have this record no longer; with an enrolment its completions go too."""
        del self._records[entity, record_id]
        if entity is Entity.COURSE_MEMBER:
            for completed in self._completions(record_id):
                del self._records[Entity.COMPLETED_LESSON, completed.record_id]

    def break_record(self, entity: Entity, record_id: int) -> None:
        """Answer something for this record that does not fit our schema."""
        self._broken.add((entity, record_id))

    def be_slow(self) -> None:
        """Finish no answer in time from now on, as one that is down does not."""
        self._trouble = SourceUnavailable("the source did not finish its answer in time")

    def be_busy(self, retry_after_s: float | None = None) -> None:
        """Ask everybody to slow down from now on."""
        self._trouble = SourceThrottled("the source answered 409", retry_after_s=retry_after_s)

    def refuse(self) -> None:
        """Say no to everything from now on."""
        self._trouble = SourceRefused("the source answered 403: sign-in or rights are missing")

    def recover(self) -> None:
        """End what `be_slow`, `be_busy` and `refuse` began."""
        self._trouble = None

    def fail_next(self, *errors: CoursebellError) -> None:
        """Raise these, one for each question to come."""
        self._next.extend(errors)

    def close(self) -> None:
        """Close nothing; see `Source.close`."""

    def fetch(self, entity: Entity, record_id: int) -> Record | Gone:
        """Return the record or `Gone`; see `Source.fetch`."""
        self._ask(entity.value, record_id)
        found = self._records.get((entity, record_id))
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

    def completions_of(self, course_member_id: int) -> list[Record]:
        """Return every completed lesson of an enrolment; see `Source.completions_of`."""
        self._ask("completions_of", course_member_id)
        return [
            self._whole(Entity.COMPLETED_LESSON, record)
            for record in self._completions(course_member_id)
        ]

    def _ask(self, question: str, record_id: int) -> None:
        self.asked.append((question, record_id))
        if self._next:
            raise self._next.pop(0)
        if self._trouble is not None:
            raise self._trouble

    def _completions(self, course_member_id: int) -> list[Record]:
        return [
            record
            for _, record in sorted(self._records.items(), key=lambda item: item[0])
            if isinstance(record, CompletedLesson) and record.course_member_id == course_member_id
        ]

    def _whole(self, entity: Entity, record: Record) -> Record:
        if (entity, record.record_id) in self._broken:
            raise RecordUnreadable(f"{entity}: unreadable field Id", {"Id": ["Broken on purpose."]})
        return record
