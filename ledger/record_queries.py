"""Queries over many records: for comparisons with Nexudus and for finding members by name."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    Table,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    update,
)

from ledger.engine import MANY_AT_ONCE, among, chunks
from ledger.people import name_key
from ledger.records import (
    IS_HERE,
    REFERENCES,
    WAS_READ,
    WAS_SEEN,
    SeenVersion,
    StoredRecord,
    stored_where,
)
from ledger.tables import events, lookups, records
from schemas.actions import LookupState
from schemas.entity import NO_REFERENCES, Entity, References
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.records import CompletedLesson, Record, load_record


@dataclass(frozen=True, slots=True)
class EarlierEnrolment:
    """An enrolment from before the baseline that led to no event."""

    course_member_id: int
    course_id: int | None
    created_at: datetime | None


def count_seen(connection: Connection, entity: Entity) -> int:
    """Count the records of a kind that exist and were listed or decided on."""
    seen = select(func.count()).select_from(records)
    return connection.scalar(seen.where(records.c.entity == entity, WAS_SEEN, IS_HERE)) or 0


def last_read_ids(connection: Connection, entity: Entity, most: int) -> list[int]:
    """Return the Ids of existing records that were read, the most recently read first."""
    rows = connection.scalars(
        select(records.c.record_id)
        .where(records.c.entity == entity, WAS_READ, IS_HERE)
        .order_by(records.c.fetched_at.desc(), records.c.record_id)
        .limit(most)
    )
    return list(rows)


def enrolments_before_start(connection: Connection, coworker_id: int) -> list[EarlierEnrolment]:
    """Return one person's enrolments from before we started, the oldest first."""
    was_found = exists().where(
        events.c.coworker_id == coworker_id,
        events.c.course_member_id == records.c.record_id,
        events.c.kind == EventKind.ENROLLED,
    )
    rows = connection.execute(
        select(records.c.record_id, records.c.course_id, records.c.created_at).where(
            records.c.entity == Entity.COURSE_MEMBER,
            records.c.coworker_id == coworker_id,
            records.c.suppressed_reason == Reason.BEFORE_START,
            IS_HERE,
            ~was_found,
        )
    )
    # Not ordered by the database: SQLite would read all enrolments by the index of that order.
    found = [EarlierEnrolment(*row) for row in rows]
    return sorted(found, key=lambda one: (one.created_at or _NEVER, one.course_member_id))


def enrolment_ids_of(
    connection: Connection, coworker_id: int, course_id: int | None = None
) -> list[int]:
    """Return the Ids of one person's enrolments, gone ones included; with a course, those in it."""
    wanted = select(records.c.record_id, records.c.course_id).where(
        records.c.entity == Entity.COURSE_MEMBER, records.c.coworker_id == coworker_id
    )
    rows = connection.execute(wanted)
    return sorted(row.record_id for row in rows if course_id in {None, row.course_id})


def with_changed_names(
    connection: Connection, entity: Entity, versions: Sequence[SeenVersion]
) -> list[SeenVersion]:
    """Return those of `versions` that are stored without a name or with another one."""
    kept: dict[int, str | None] = {}
    for some in chunks(one.record_id for one in versions):
        rows = connection.execute(
            select(records.c.record_id, records.c.full_name).where(
                records.c.entity == entity, records.c.record_id.in_(some), WAS_SEEN
            )
        )
        kept.update({row.record_id: row.full_name for row in rows})
    return [
        one
        for one in versions
        if one.full_name is not None
        and one.record_id in kept
        and kept[one.record_id] != one.full_name
    ]


def update_names(connection: Connection, entity: Entity, versions: Sequence[SeenVersion]) -> None:
    """Store only the names of these versions."""
    if versions:
        statement = (
            update(records)
            .where(records.c.entity == entity, records.c.record_id == bindparam("which"))
            .values(full_name=bindparam("name"), name_key=bindparam("key"))
        )
        ordered = sorted(versions, key=lambda one: one.record_id)
        connection.execute(
            statement,
            [
                {"which": one.record_id, "name": one.full_name, "key": name_key(one.full_name)}
                for one in ordered
            ],
        )


def present_in_courses(
    connection: Connection, entity: Entity, course_ids: Collection[int]
) -> dict[int, list[Record]]:
    """Return the lessons or sections of these courses that were read and are not gone."""
    found: dict[int, list[Record]] = {}
    for some in chunks(course_ids):
        is_below = and_(records.c.course_id.in_(some), IS_HERE)
        for _, one in sorted(stored_where(connection, entity, is_below).items()):
            found.setdefault(one.references.course_id or 0, []).append(one.record)
    return found


_NEVER = datetime.min.replace(tzinfo=UTC)
_IN_ONE_GO = 5_000  # rows that are in memory at once
_FINISHED = (LookupState.DONE, LookupState.FAILED)


class SeenState(NamedTuple):
    """What lists showed of a record. `suppressed_reason`: why no email is sent about it."""

    suppressed_reason: str | None = None
    gone_at: datetime | None = None
    references: References = NO_REFERENCES
    changed_at: datetime | None = None
    decided_digest: str | None = None


class LookupStatus(NamedTuple):
    """The state of a lookup, and why it waits or failed."""

    state: str
    reason: str | None = None


class KnownRecord(NamedTuple):
    """Everything the ledger knows about one record."""

    seen: SeenState | None = None
    stored: StoredRecord | None = None
    lookup: LookupStatus | None = None

    @property
    def is_here(self) -> bool:
        """Whether the record exists, as far as the ledger knows."""
        return any(one is not None and one.gone_at is None for one in (self.seen, self.stored))

    @property
    def references(self) -> References:
        """What the record refers to, as far as the ledger knows."""
        found = NO_REFERENCES
        for one in (self.seen, self.stored):
            if one is not None and one.gone_at is None:
                found = found.or_else(one.references)
        return found

    @property
    def is_under_way(self) -> bool:
        """Whether a worker is about to read it."""
        return self.lookup is not None and self.lookup.state not in _FINISHED

    @property
    def has_failed(self) -> bool:
        """Whether its last lookup failed and is not retried."""
        return self.lookup is not None and self.lookup.state == LookupState.FAILED

    @property
    def reason(self) -> Reason | None:
        """Why its last lookup found nothing."""
        finished = None if self.is_under_way else self.lookup
        return Reason(finished.reason) if finished is not None and finished.reason else None


_KNOWN_BY = (
    *("record", "fetched_at", "gone_at", "decided_upto", *REFERENCES),
    *("seen_at", "suppressed_reason", "changed_at", "decided_digest"),
)


def known_among(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, KnownRecord]:
    """Return what is known of these records, gone ones included; unknown ones are left out."""
    found: dict[int, KnownRecord] = {}
    statuses: dict[tuple[str, str | None], LookupStatus] = {}
    lookup_of = {
        record_id: statuses.setdefault((state, reason), LookupStatus(state, reason))
        for record_id, state, reason in _rows(
            connection, lookups, entity, record_ids, ("state", "reason")
        )
    }
    for row in _rows(connection, records, entity, record_ids, _KNOWN_BY):
        record_id, values, fetched_at, gone_at, decided_upto, *ids, seen_at, why, at, digest = row
        references = References._make(ids)
        found[record_id] = KnownRecord(
            None if seen_at is None else SeenState(why, gone_at, references, at, digest),
            None
            if fetched_at is None
            else StoredRecord(
                entity, values, fetched_at, gone_at, decided_upto is not None, references
            ),
            lookup_of.pop(record_id, None),
        )
    return found | {record_id: KnownRecord(lookup=one) for record_id, one in lookup_of.items()}


def ids_below(
    connection: Connection, entity: Entity, column: str, parent_ids: Collection[int]
) -> set[int]:
    """Return the Ids of the read records that refer to one of these in `column`, gone or not."""
    found: set[int] = set()
    is_below = and_(
        records.c.entity == entity, WAS_READ, among(connection.dialect.name, records.c[column])
    )
    wanted = select(records.c.record_id).where(is_below)
    for some in chunks(parent_ids, MANY_AT_ONCE):
        found |= set(connection.scalars(wanted, {"these": some}))
    return found


def records_below(
    connection: Connection, entity: Entity, column: str, parent_ids: Collection[int]
) -> dict[int, StoredRecord]:
    """Return the read records that refer to one of these in `column`, gone ones included, by Id."""
    found: dict[int, StoredRecord] = {}
    for some in chunks(parent_ids):
        found |= stored_where(connection, entity, records.c[column].in_(some))
    return found


def created_between(
    connection: Connection, entity: Entity, since: datetime, until: datetime
) -> set[int]:
    """Return the Ids of the records created then, or up to a day before or after, not gone."""
    created, day = records.c.source_created_at, timedelta(days=1)
    wanted = select(records.c.record_id).where(
        records.c.entity == entity, IS_HERE, created.between(since - day, until + day)
    )
    return set(connection.scalars(wanted))


def count_created(connection: Connection, entity: Entity, since: datetime, until: datetime) -> int:
    """Count the existing records created in this window, to the second, in the database."""
    created, first, end = records.c.source_created_at, *map(_to_the_second, (since, until))
    counted = select(func.count()).select_from(records)
    return (
        connection.scalar(
            counted.where(records.c.entity == entity, IS_HERE, created >= first, created < end)
        )
        or 0
    )


def _to_the_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def records_here(
    connection: Connection, entity: Entity, since: datetime | None
) -> Iterator[tuple[int, References]]:
    """Yield every existing record of a kind; with `since`, only those changed since then.

    As lists filter them: completions by creation time, others by their last change.
    """
    wanted = select(
        records.c.record_id,
        *(records.c[name] for name in REFERENCES),
        records.c.changed_at,
        case((records.c.changed_at.is_(None), records.c.record)).label("unlisted"),
    ).where(records.c.entity == entity, IS_HERE)
    if since is not None:
        is_unlisted = and_(records.c.changed_at.is_(None), records.c.updated_at >= since)
        wanted = wanted.where(or_(records.c.changed_at >= since, is_unlisted))
    for row in _streamed(connection, wanted):
        if (
            since is None
            or row.changed_at is not None
            or changed_at(load_record(entity, row.unlisted)) >= since
        ):
            yield row.record_id, References.of(row)


def changed_at(record: Record) -> datetime:
    """Return the time by which lists of changes filter this record."""
    return record.created_at if isinstance(record, CompletedLesson) else record.updated_at


def _rows(
    connection: Connection,
    table: Table,
    entity: Entity,
    record_ids: Collection[int],
    names: Sequence[str],
) -> Iterator[Sequence[Any]]:
    columns = (table.c.record_id, *(table.c[name] for name in names))
    wanted = select(*columns).where(
        table.c.entity == entity, among(connection.dialect.name, table.c.record_id)
    )
    for some in chunks(record_ids, MANY_AT_ONCE):
        yield from connection.execute(wanted, {"these": some}).all()


def _streamed(connection: Connection, statement: Any) -> Iterator[Row[Any]]:  # noqa: ANN401 - a Select of any columns
    return iter(connection.execute(statement, execution_options={"yield_per": _IN_ONE_GO}))
