"""The client of the source: records by Id, and the lists we need.

Each request stays within the budget, is signed in, and results in a record, `Gone` or an error that
says what to do next. The only retry here is after a token that ended early; the ledger's due times
decide about all others.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

import structlog

from ledger.clock import Clock
from ledger.engine import Engine
from ledger.source_state import SignIn
from schemas.entity import OTHER_PATHS, PATHS, Entity
from schemas.errors import (
    RecordStuck,
    RecordUnreadable,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
)
from schemas.records import Message, Record, is_whole, load_record
from schemas.settings import Settings
from workers.source.answers import Answer, Missing, read_answer, read_written
from workers.source.auth import Credentials, Tokens, credentials_of
from workers.source.http import Transport
from workers.source.limits import Budgeting, Patience, Urgency
from workers.source.lists import Changes, ListRange, Lists, Row

_DENIED_FOR_S = 3600.0
_SHORTEST_BACK_OFF_S = 1.0  # at least, when the source throttles us

_log = structlog.get_logger("source")


class MissingRights:
    """The kinds of record that a fresh token could not read, so that a new sign-in cannot help.

    Shared by the threads of a process.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def note(self, kind: str) -> None:
        """Remember for an hour that the right is missing."""
        self._until[kind] = self._clock.monotonic() + _DENIED_FOR_S

    def forget(self, kind: str) -> None:
        """Remember that the right exists."""
        self._until.pop(kind, None)

    def holds(self, kind: str) -> bool:
        """Return whether the right was missing within the last hour."""
        return self._clock.monotonic() < self._until.get(kind, 0.0)


class ApiSession:
    """One thread's signed-in requests within the budget. `patience`: who waits, and how long."""

    def __init__(  # noqa: PLR0913, PLR0917 - what one request needs
        self,
        transport: Transport,
        tokens: Tokens,
        budget: Budgeting,
        patience: Patience,
        denials: MissingRights,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._denials = denials
        self._transport = transport
        self._tokens = tokens
        self._budget = budget
        self.patience = patience

    def get_json(self, path: str, query: Mapping[str, str]) -> object | Missing:
        """Return the JSON value of the answer, or `Missing`.

        Raises:
            SourceError: see `read_answer`.
        """
        answer = self.get_answer(path, query)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            _log.error("source.refused", status=answer.status, path=_kind(path))
        with self._sharing_back_off():
            return read_answer(answer)

    def get_answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """Return the raw answer, after a retry if the token had ended."""
        return self._signed_in(_kind(path), lambda token: self._transport.get(path, query, token))

    def send(self, method: str, path: str, value: object) -> object:
        """Write one JSON value with POST or PUT, and return `Value` of the answer.

        It is repeated only if the token had ended, since then it was not processed. After
        `SourceUnavailable` it is unknown whether it was done.

        Raises:
            SourceError: see `read_written`.
        """
        # The right to write differs from the right to read.
        kind = f"{method} {_kind(path)}"
        answer = self._signed_in(
            kind, lambda token: self._transport.send_json(method, path, value, token)
        )
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            _log.error("source.refused", status=answer.status, path=kind)
        with self._sharing_back_off():
            return read_written(answer)

    def _signed_in(self, kind: str, exchange: Callable[[str], Answer]) -> Answer:
        """Return the answer to an exchange with a token, or to a second one with a newer token."""
        if self._clock.monotonic() > self.patience.until:
            raise SourceUnavailable("the source answers too slowly")
        self._budget.take(self.patience)
        sign_in = self._sign_in()
        answer = exchange(sign_in.access_token or "")
        if answer.status == HTTPStatus.UNAUTHORIZED:
            answer = self._once_more(answer, sign_in.version, kind, exchange)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            self._denials.forget(kind)
        return answer

    def _once_more(
        self, refused: Answer, version: int, kind: str, exchange: Callable[[str], Answer]
    ) -> Answer:
        """Repeat a refused exchange with a newer token, if one exists or a sign-in may help."""
        renewed: SignIn | None
        if self._denials.holds(kind):
            # A sign-in would not help, but another process may have made one.
            renewed = self._tokens.newer_than(version)
        else:
            renewed = self._sign_in(refused_version=version)
        if renewed is None or renewed.version == version:
            return refused
        self._budget.take(self.patience)
        answer = exchange(renewed.access_token or "")
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._denials.note(kind)
        return answer

    def _sign_in(self, refused_version: int | None = None) -> SignIn:
        with self._sharing_back_off():
            return self._tokens.current(refused_version=refused_version, keep=self.patience.keep)

    @contextmanager
    def _sharing_back_off(self) -> Iterator[None]:
        """Share a back-off that the source requests with all processes."""
        try:
            yield
        except SourceThrottled as error:
            self._budget.back_off(max(_SHORTEST_BACK_OFF_S, error.retry_after_s or 0.0))
            raise


def _kind(path: str) -> str:
    """Return the path without the Id: the kind of record."""
    return "/".join(path.split("/")[:2])


MOST_IDS = 100  # in one request; ASP.NET accepts queries of about 2,000 characters
MOST_MESSAGES = 100  # their bodies may come with them, and an answer is limited to `MAX_BYTES`


@dataclass(frozen=True, slots=True)
class Gone:
    """The source no longer has this record. An ordinary outcome, not a fault."""


class Source:
    """The client of one thread. `Sources.lend` sets the `patience` of its requests."""

    def __init__(  # noqa: PLR0913, PLR0917 - what one client is made of
        self,
        base_url: str,
        engine: Engine,
        credentials: Credentials | None,
        clock: Clock,
        budget: Budgeting,
        denials: MissingRights | None = None,
    ) -> None:
        self._transport = Transport(base_url)
        tokens = Tokens(engine, lambda: self._transport, credentials, clock)
        patience = Patience(Urgency.WORK, float("inf"), lambda: None)
        denied = denials or MissingRights(clock)
        self.session = ApiSession(self._transport, tokens, budget, patience, denied, clock)
        self.lists = Lists(self.session)

    def close(self) -> None:
        """Close the kept connections."""
        self._transport.close()

    def fetch(self, entity: Entity, record_id: int) -> Record | Gone:
        """Return the record as it stands now, or `Gone`.

        Two notifications may find the same state; the second then has nothing left to do.

        Raises:
            SourceThrottled: the source asked us to slow down; carries `retry_after_s`.
            SourceUnavailable: no usable answer (timeout, 5xx, broken connection).
            SourceRefused: the source refused; a retry cannot help.
            RecordUnreadable: the answer does not fit our schema; carries the field errors.
        """
        found = self.session.get_json(f"{PATHS[entity]}/{record_id}", {})
        if isinstance(found, Missing):
            if not found.certain and not self._is_absent(entity, record_id):
                raise RecordStuck("the source lists a record but does not return it")
            found = self._elsewhere(entity, record_id)
            if isinstance(found, Gone):
                return found
        record = load_record(entity, found)
        if record.record_id != record_id:
            raise RecordUnreadable(
                f"{entity}: the source returned another record", {"Id": ["Not the requested Id."]}
            )
        return record

    def several(self, entity: Entity, record_ids: Sequence[int]) -> list[Row]:
        """Return the rows of these records (contract, section 2.8); at most `MOST_IDS` of them.

        Rows may be partial, and a record that is gone has none: see `reads.probe_all` for when they
        may be used. An answer of another shape counts as no rows. Raises as `fetch`.
        """
        asked = json.dumps(sorted(record_ids), separators=(",", ":"))
        found = self.session.get_json(f"{PATHS[entity]}/", {"id": asked})
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
        """Return every record of a kind that has few. Raises as `fetch`."""
        return self._full(entity, self.lists.whole(entity))

    def changed_since(self, entity: Entity, moment: datetime) -> Iterator[Changes]:
        """Yield the records that changed since `moment` or shortly before, page by page.

        See `Lists.since`. Rows may be partial: `whole_record` says which may be used as records.
        """
        return self.lists.since(entity, moment)

    def created_between(
        self, entity: Entity, since: datetime, until: datetime
    ) -> Iterator[Changes]:
        """Yield the records that were created then, or shortly before or after, page by page.

        Rows may be partial, and are in the order of creation. Raises as `Lists.since`.
        """
        return self.lists.since(entity, since, ListRange(until, by_creation=True))

    def enrolments_of(self, coworker_id: int) -> list[Record]:
        """Return every enrolment of a person. Raises as `fetch`."""
        return self._below(Entity.COURSE_MEMBER, "Coworker", "CoworkerId", coworker_id)

    def messages_to(self, coworker_id: int, since: datetime) -> list[Message]:
        """Return what the source itself sent to a person after `since`, with one request.

        These are the newest, at most `MOST_MESSAGES` with those that the person sent, which are
        left out. What a row omits counts as not set, so that no second request is needed.

        Raises:
            SourceRefused: the filter was ignored. Otherwise as `fetch`.
        """
        kind = Entity.MESSAGE
        rows = self.lists.newest_below(
            kind, "Coworker", "CoworkerId", coworker_id, since, MOST_MESSAGES
        )
        found = (load_record(kind, row) for row in rows)
        return [
            one
            for one in found
            if isinstance(one, Message) and not one.incoming and one.created_at > since
        ]

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
        """Return rows as records; the record of a partial row is fetched by its Id."""
        found = []
        for row in rows:
            record = whole_record(entity, row) or self.fetch(entity, row["Id"])
            if not isinstance(record, Gone):
                found.append(record)
        return found

    def _elsewhere(self, entity: Entity, record_id: int) -> object | Gone:
        """Try the other path that one document gives for such records. Errors are ignored."""
        if entity in OTHER_PATHS:
            with suppress(SourceRefused, SourceUnavailable):
                found = self.session.get_json(f"{OTHER_PATHS[entity]}/{record_id}", {})
                if not isinstance(found, Missing):
                    return found
        return Gone()

    def _is_absent(self, entity: Entity, record_id: int) -> bool:
        """Return whether the list lacks this Id: an empty 200 means gone, an error an outage."""
        found = self.session.get_json(f"{PATHS[entity]}/", {"id": json.dumps([record_id])})
        if not isinstance(found, list):
            raise SourceUnavailable("the source answered 500 and its list did not answer either")
        return not any(isinstance(row, dict) and row.get("Id") == record_id for row in found)


def whole_record(entity: Entity, row: Row) -> Record | None:
    """Return a row of a list as a record; None if fields are missing."""
    with suppress(RecordUnreadable):
        return load_record(entity, row) if is_whole(entity, row) else None
    return None


class Sources:
    """A pool of clients that threads borrow, to reuse their connections."""

    def __init__(self, make: Callable[[], Source]) -> None:
        self._make = make
        self._free: list[Source] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, patience: Patience) -> Iterator[Source]:
        """Lend a client to one thread; `patience` says who waits, and for how long."""
        with self._lock:
            source = self._free.pop() if self._free else None
        source = source or self._make()
        source.session.patience = patience
        try:
            yield source
        finally:
            with self._lock:
                self._free.append(source)

    def close(self) -> None:
        """Close those that are free."""
        with self._lock:
            while self._free:
                self._free.pop().close()


def make_sources(settings: Settings, engine: Engine, clock: Clock, budget: Budgeting) -> Sources:
    """Return what lends connections to the source."""
    credentials, denials = credentials_of(settings), MissingRights(clock)
    return Sources(
        lambda: Source(settings.nexudus_url, engine, credentials, clock, budget, denials)
    )
