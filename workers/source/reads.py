"""What the rest of us asks the source for: `Source` over HTTP, and a double in tests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from schemas.entity import Entity
from schemas.records import Record
from workers.source.budget import Patience
from workers.source.client import Gone
from workers.source.lists import Changes, Row


class SourceReads(Protocol):
    """What we ask the source for: `workers.source.client.Source`, or a double in tests."""

    def fetch(self, entity: Entity, record_id: int) -> Record | Gone:
        """Return one record as it is now."""

    def lessons_of(self, course_id: int) -> Sequence[Record]:
        """Return all lessons of a course."""

    def sections_of(self, course_id: int) -> Sequence[Record]:
        """Return all sections of a course."""

    def completions_of(self, course_member_id: int) -> Sequence[Record]:
        """Return all completed lessons of an enrolment."""

    def all_of(self, entity: Entity) -> Sequence[Record]:
        """Return all records of a kind of which there are few."""


class BurstReads(SourceReads, Protocol):
    """What the source is asked for in a burst, on top."""

    def several(self, entity: Entity, record_ids: Sequence[int]) -> list[Row]:
        """Return the rows of several records."""

    def changed_since(self, entity: Entity, moment: datetime) -> Iterator[Changes]:
        """Yield what changed since then, page by page."""

    def created_between(
        self, entity: Entity, since: datetime, until: datetime
    ) -> Iterator[Changes]:
        """Yield what was created then, page by page."""

    def enrolments_of(self, coworker_id: int) -> Sequence[Record]:
        """Return all enrolments of a person."""

    def enrolled_with(self, email: str, most: int) -> Sequence[int]:
        """Return the Ids of a few coworkers with enrolments who may have this address."""


# A way to the source, for a while.
Lend = Callable[[Patience], AbstractContextManager[BurstReads]]
