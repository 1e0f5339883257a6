"""The source's records: one by its Id, several by their Ids, and the lists that we need.

Callers get records, `Gone`, or one of the errors that tell them what to do next. Nothing here
retries: waiting is decided by the ledger's due times, once, for every kind of work.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from ledger.clock import Clock
from ledger.engine import Engine
from schemas.entity import OTHER_PATHS, PATHS, Entity
from schemas.errors import RecordStuck, RecordUnreadable, SourceRefused, SourceUnavailable
from schemas.records import Record, is_whole, load_record
from workers.source.answers import Missing
from workers.source.asking import Asking, Denials
from workers.source.budget import Budgeting, Patience, Urgency
from workers.source.http import Transport
from workers.source.lists import Changes, Lists, Row, Within
from workers.source.sign_in import Credentials, Tokens

MOST_IDS = 100  # in one question; ASP.NET takes questions of about 2,000 characters


@dataclass(frozen=True, slots=True)
class Gone:
    """The source no longer has this record. An ordinary outcome, not a fault."""


class Source:
    """One thread's way to the source. Whoever borrows it sets its `patience`."""

    def __init__(  # noqa: PLR0913, PLR0917 - what one way to the source is made of
        self,
        base_url: str,
        engine: Engine,
        credentials: Credentials | None,
        clock: Clock,
        budget: Budgeting,
        denials: Denials | None = None,
    ) -> None:
        self._transport = Transport(base_url)
        tokens = Tokens(engine, lambda: self._transport, credentials, clock)
        patience = Patience(Urgency.WORK, float("inf"), lambda: None)
        denied = denials or Denials(clock)
        self.asking = Asking(self._transport, tokens, budget, patience, denied, clock)
        self.lists = Lists(self.asking)

    def close(self) -> None:
        """Close the kept connections."""
        self._transport.close()

    def fetch(self, entity: Entity, record_id: int) -> Record | Gone:
        """Return the record as it stands now, or `Gone`.

        A notification only says that something changed; this call finds out what is true. Two
        notifications may meet the same state, and the second then finds nothing left to do.

        Raises:
            SourceThrottled: we were asked to slow down; carries `retry_after_s`.
            SourceUnavailable: no usable answer (timeout, 5xx, broken connection).
            SourceRefused: the source understood and said no; asking again cannot help.
            RecordUnreadable: the answer does not fit our schema; carries the field errors.
        """
        found = self.asking.ask(f"{PATHS[entity]}/{record_id}", {})
        if isinstance(found, Missing):
            if not found.certain and not self._is_absent(entity, record_id):
                raise RecordStuck("the source lists a record and does not show it")
            found = self._elsewhere(entity, record_id)
            if isinstance(found, Gone):
                return found
        record = load_record(entity, found)
        if record.record_id != record_id:
            raise RecordUnreadable(
                f"{entity}: another record came back", {"Id": ["Not asked for."]}
            )
        return record

    def several(self, entity: Entity, record_ids: Sequence[int]) -> list[Row]:
        """Return the rows of these records (contract, section 2.8); at most `MOST_IDS` of them.

        Rows may be partial, and none comes for a record that is gone: see `proving` for when they
        may be used. An answer of another shape is no rows. Raises as `fetch`.
        """
        asked = json.dumps(sorted(record_ids), separators=(",", ":"))
        found = self.asking.ask(f"{PATHS[entity]}/", {"id": asked})
        rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        return [row for row in rows if row.get("Id") in record_ids]

    def lessons_of(self, course_id: int) -> list[Record]:
        """Return every lesson of a course. Raises as `fetch`."""
        return self._below(Entity.LESSON, "Course", "CourseId", course_id)

    def sections_of(self, course_id: int) -> list[Record]:
        """Return every section of a course. Raises as `fetch`."""
        return self._below(Entity.SECTION, "Course", "CourseId", course_id)

    def completions_of(self, course_member_id: int) -> list[Record]:
        """Return every completed lesson of an enrolment. Raises as `fetch`."""
        return self._below(
            Entity.COMPLETED_LESSON, "CourseMember", "CourseMemberId", course_member_id
        )

    def all_of(self, entity: Entity) -> list[Record]:
        """Return every record of a kind of which there are few. Raises as `fetch`."""
        return self._full(entity, self.lists.whole(entity))

    def changed_since(self, entity: Entity, moment: datetime) -> Iterator[Changes]:
        """Yield which records changed since `moment`, and somewhat before, page by page.

        See `Lists.since`. Rows may be partial: `whole_record` says which may be used as records.
        """
        return self.lists.since(entity, moment)

    def created_between(
        self, entity: Entity, since: datetime, until: datetime
    ) -> Iterator[Changes]:
        """Yield which records were created then, and somewhat before and after, page by page.

        Rows may be partial, and come in the order of their making. Raises as `Lists.since`.
        """
        return self.lists.since(entity, since, Within(until, by_creation=True))

    def enrolments_of(self, coworker_id: int) -> list[Record]:
        """Return every enrolment of a person. Raises as `fetch`."""
        return self._below(Entity.COURSE_MEMBER, "Coworker", "CoworkerId", coworker_id)

    def enrolled_with(self, email: str, most: int) -> list[int]:
        """Return the Ids of at most `most` coworkers with enrolments who may have this address.

        Enrolments do not show the address, so each coworker has to be read to be sure.

        Raises:
            SourceRefused: more came than `most`, so the filter was ignored. Otherwise as `fetch`.
        """
        asked = {f"{Entity.COURSE_MEMBER}_Coworker_Email": email}
        rows = self.lists.first(Entity.COURSE_MEMBER, asked, MOST_IDS)
        ids = [row.get("CoworkerId") for row in rows]
        found = {one for one in ids if isinstance(one, int) and not isinstance(one, bool)}
        if len(found) > most:
            raise SourceRefused(f"the list of {Entity.COURSE_MEMBER} ignored the filter by address")
        return sorted(found)

    def _below(self, entity: Entity, relation: str, field: str, parent_id: int) -> list[Record]:
        return self._full(entity, self.lists.below(entity, relation, field, parent_id))

    def _full(self, entity: Entity, rows: Sequence[Row]) -> list[Record]:
        """Return rows as records; what a partial row leaves out is fetched by its Id."""
        found = []
        for row in rows:
            record = whole_record(entity, row) or self.fetch(entity, row["Id"])
            if not isinstance(record, Gone):
                found.append(record)
        return found

    def _elsewhere(self, entity: Entity, record_id: int) -> object | Gone:
        """Look where one document says that such records lie; trouble there proves nothing new."""
        if entity in OTHER_PATHS:
            with suppress(SourceRefused, SourceUnavailable):
                found = self.asking.ask(f"{OTHER_PATHS[entity]}/{record_id}", {})
                if not isinstance(found, Missing):
                    return found
        return Gone()

    def _is_absent(self, entity: Entity, record_id: int) -> bool:
        """Ask the list whether this Id exists: an empty 200 is gone, an error is an outage."""
        found = self.asking.ask(f"{PATHS[entity]}/", {"id": json.dumps([record_id])})
        if not isinstance(found, list):
            raise SourceUnavailable("the source answered 500 and its list did not answer either")
        return not any(isinstance(row, dict) and row.get("Id") == record_id for row in found)


def whole_record(entity: Entity, row: Row) -> Record | None:
    """Return a row of a list as a record, if it is one; None if anything is left out of it."""
    with suppress(RecordUnreadable):
        return load_record(entity, row) if is_whole(entity, row) else None
    return None
