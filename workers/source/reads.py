"""What the rest of us asks the source for: `Source` over HTTP, and a double in tests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Protocol

from schemas.entity import Entity
from schemas.errors import RecordStuck, RecordUnreadable
from schemas.records import Coworker, Record
from schemas.text import folded
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

MOST_COWORKERS = 5  # who may have one address, before the answer is taken for all enrolments


def enrolled_coworkers(source: BurstReads, email: str) -> list[Coworker]:
    """Return the coworkers with an enrolment who have exactly this address; nothing is written.

    A source may ignore the filter, so each of at most `MOST_COWORKERS` is read by Id, and the
    address compared as `folded` says. One that cannot be read is left out.

    Raises:
        SourceError: the source gave no usable answer.
    """
    found = []
    for coworker_id in source.enrolled_with(email, MOST_COWORKERS):
        with suppress(RecordUnreadable, RecordStuck):
            record = source.fetch(Entity.COWORKER, coworker_id)
            if isinstance(record, Coworker) and folded(record.email) == folded(email):
                found.append(record)
    return found
