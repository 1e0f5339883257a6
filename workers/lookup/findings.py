"""What one look-up learned from the source, before any of it is committed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from schemas.entity import Entity
from schemas.records import (
    CompletedLesson,
    Course,
    CourseMember,
    Coworker,
    Lesson,
    Record,
    Section,
)


@dataclass(slots=True)
class Findings:
    """Records as the source has them now. What was fresh enough in the ledger is not read again.

    `asked_at` is before the first question: what others kept later may be missing on these lists.

    `records` are to be accepted, `listings` as all there is below a parent (column name
    and Id), `gone` are no longer there, `people` come with the name of their time zone. `decided`
    are those records that need no look-up of their own any more for what was said of them up to the
    notification `upto`. The rest is what deciding needs.
    """

    asked_at: datetime
    upto: int = 0
    records: list[tuple[Entity, Record]] = field(default_factory=list)
    listings: list[tuple[Entity, tuple[str, int], Sequence[Record]]] = field(default_factory=list)
    gone: list[tuple[Entity, int]] = field(default_factory=list)
    people: list[tuple[Coworker, str | None]] = field(default_factory=list)
    decided: list[tuple[Entity, int]] = field(default_factory=list)
    enrolment: CourseMember | None = None
    course: Course | None = None
    lessons: Sequence[Lesson] = ()
    sections: Sequence[Section] = ()
    completions: Sequence[CompletedLesson] = ()
