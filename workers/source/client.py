"""Fetches records by Id, and the two lists that "course finished" needs.

Callers get a record, `Gone`, or one of the errors that tell them what to do next. Nothing here
retries: waiting is decided by the ledger's due times, once, for every kind of work.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ledger.engine import Engine
from schemas.entity import PATHS, Entity
from schemas.errors import RecordUnreadable, SourceRefused, SourceUnavailable
from schemas.records import Record, load_record
from schemas.records.page import load_page
from workers.source.answers import Answer, Missing, read_answer
from workers.source.sign_in import Credentials, Tokens
from workers.source.transport import Transport

_PAGE_SIZE = 1000  # the documented most; what is cut off is told by HasNextPage
_MOST_PAGES = 100


@dataclass(frozen=True, slots=True)
class Gone:
    """The source no longer has this record. An ordinary outcome, not a fault."""


class Source:
    """One thread's way to the source."""

    def __init__(
        self,
        base_url: str,
        engine: Engine,
        credentials: Credentials | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._transport = Transport(base_url)
        self._tokens = Tokens(engine, lambda: self._transport, credentials, clock)

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
        found = read_answer(self._get(f"{PATHS[entity]}/{record_id}", {}))
        if isinstance(found, Missing):
            if found.certain or self._is_absent(entity, record_id):
                return Gone()
            raise SourceUnavailable("the source answered 500 for a record that it lists")
        record = load_record(entity, found)
        if record.record_id != record_id:
            raise RecordUnreadable(
                f"{entity}: another record came back", {"Id": ["Not asked for."]}
            )
        return record

    def lessons_of(self, course_id: int) -> list[Record]:
        """Return every lesson of a course. Raises as `fetch`."""
        return self._all(Entity.LESSON, "CourseLesson_Course", ("CourseId", course_id))

    def completions_of(self, course_member_id: int) -> list[Record]:
        """Return every completed lesson of an enrolment. Raises as `fetch`."""
        return self._all(
            Entity.COMPLETED_LESSON,
            "CourseCompletedLesson_CourseMember",
            ("CourseMemberId", course_member_id),
        )

    def _all(self, entity: Entity, filter_name: str, must_be: tuple[str, int]) -> list[Record]:
        field, wanted = must_be
        found: dict[int, Record] = {}
        for page_number in range(1, _MOST_PAGES + 1):
            query = {filter_name: str(wanted), "page": str(page_number), "size": str(_PAGE_SIZE)}
            answer = read_answer(self._get(PATHS[entity], query))
            if isinstance(answer, Missing):
                raise SourceUnavailable(f"the list of {entity} did not answer")
            page = load_page(answer)
            for row in page.rows:
                if row.get(field) != wanted:
                    # Unknown filters are ignored and the whole table comes (contract, section 3).
                    raise SourceRefused(f"the list of {entity} ignored the filter {filter_name}")
                record = self._full(entity, row)
                if record is not None:
                    found[record.record_id] = record
            if not page.has_next:
                return list(found.values())
        raise SourceUnavailable(f"the list of {entity} does not end")

    def _full(self, entity: Entity, row: dict[str, object]) -> Record | None:
        """Return a row as a record; rows may be partial, then the record is fetched by its Id."""
        try:
            return load_record(entity, row)
        except RecordUnreadable:
            record_id = row.get("Id")
            if not isinstance(record_id, int):
                raise
            fetched = self.fetch(entity, record_id)
            return None if isinstance(fetched, Gone) else fetched

    def _is_absent(self, entity: Entity, record_id: int) -> bool:
        """Ask the list whether this Id exists: an empty 200 is gone, an error is an outage."""
        found = read_answer(self._get(f"{PATHS[entity]}/", {"id": json.dumps([record_id])}))
        if not isinstance(found, list):
            raise SourceUnavailable("the source answered 500 and its list did not answer either")
        return not any(isinstance(row, dict) and row.get("Id") == record_id for row in found)

    def _get(self, path: str, query: dict[str, str]) -> Answer:
        sign_in = self._tokens.current()
        answer = self._transport.get(path, query, sign_in.access_token or "")
        if answer.status != 401:  # noqa: PLR2004 - the HTTP status for "sign in"
            return answer
        # Once: the token may have been ended by somebody. A second 401 is a missing right.
        sign_in = self._tokens.current(refused_version=sign_in.version)
        return self._transport.get(path, query, sign_in.access_token or "")
