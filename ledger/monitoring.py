"""Counts for monitoring: refused deliveries, activity, and who reported each change first.

Refusals are one row for each hour and reason: unauthenticated senders can cause them, and the two
keys bound their number. Activity counts events and records that our polls only saw.
`workers.decide.monitoring` judges whether notifications still arrive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    String,
    Subquery,
    bindparam,
    case,
    cast,
    exists,
    func,
    select,
    union,
)

from ledger.engine import insert_into
from ledger.intake import BEARER, Origin
from ledger.records import present_among
from ledger.tables import deliveries, events, mail_reports, notifications, records, refusals
from schemas.entity import FOLLOWED, Entity
from schemas.events import ABOUT_GONE
from schemas.reasons import (
    HOOK_REFUSALS,
    MAIL_REFUSALS,
    NEEDS_PERSON,
    REFUSALS,
    RELAY_REFUSALS,
    Refusal,
)
from schemas.records import Course

REFUSALS_SHOWN_FOR = timedelta(days=1)  # how long refusals are shown


@dataclass(frozen=True, slots=True)
class Refused:
    """How many deliveries were refused for one reason.

    `is_over`: the same kind of sender had a delivery accepted after the last of them.
    """

    reason: Refusal
    count: int
    last_at: datetime
    is_over: bool

    @property
    def needs_person(self) -> bool:
        """Whether a secret or a token is probably wrong, or the receiver is still overloaded."""
        return self.reason in NEEDS_PERSON and not self.is_over

    @property
    def found(self) -> str:
        """How many were refused, when last, and why."""
        what = "1 delivery was" if self.count == 1 else f"{self.count} deliveries were"
        return (
            f"{what} refused within a day, the last {self.last_at:%Y-%m-%d %H:%M} UTC: "
            f"{REFUSALS[self.reason].cause}"
        )

    @property
    def sentence(self) -> str:
        """The same, with what to do."""
        return f"{self.found}; {REFUSALS[self.reason].advice}"


def count_refusals(connection: Connection, counts: Mapping[Refusal, int], now: datetime) -> None:
    """Add to the counts of this hour."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    for reason, count in sorted(counts.items()):
        statement = insert_into(connection, refusals).values(
            hour=hour, reason=reason, count=count, last_at=now
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[refusals.c.hour, refusals.c.reason],
                set_={"count": refusals.c.count + count, "last_at": now},
            )
        )


def refused_since(connection: Connection, since: datetime) -> list[Refused]:
    """Return the refusals since then, the most frequent reason first."""
    rows = connection.execute(_refused(), {"since": since}).all()
    return [
        Refused(
            Refusal(row.reason),
            int(row.number),
            row.last_at,
            _accepted_after(connection, Refusal(row.reason), row.last_at),
        )
        for row in rows
    ]


@cache
def _refused() -> Select[Any]:
    count, last_at = func.sum(refusals.c.count), func.max(refusals.c.last_at)
    return (
        select(refusals.c.reason, count.label("number"), last_at.label("last_at"))
        .where(refusals.c.last_at >= bindparam("since"), refusals.c.reason.in_(list(Refusal)))
        .group_by(refusals.c.reason)
        .order_by(count.desc(), refusals.c.reason)
    )


def _accepted_after(connection: Connection, reason: Refusal, moment: datetime) -> bool:
    later = [deliveries.c.received_at > moment]
    if reason in RELAY_REFUSALS:
        later.append(deliveries.c.signature_form == BEARER)
    elif reason in MAIL_REFUSALS:
        later = [mail_reports.c.received_at > moment]
    elif reason in HOOK_REFUSALS:
        later.append(deliveries.c.signature_form != BEARER)
    return bool(connection.scalar(select(exists().where(*later))))


UNKNOWN_LOCATION = "unknown"
_HOOK, _RELAY = -2, -1  # rank before every id
_AN_HOUR = datetime(2000, 1, 1, tzinfo=UTC)  # the beginning of one, to count from
# Numbers of origins: databases group by numbers faster than by text.
_NUMBERS = {Origin.HOOK: _HOOK, Origin.RELAY: _RELAY} | {
    origin: number
    for number, origin in enumerate(Origin)
    if origin not in {Origin.HOOK, Origin.RELAY}
}
_ORIGINS = {number: origin for origin, number in _NUMBERS.items()}


@dataclass(frozen=True, slots=True)
class ReportCounts:
    """Who reported the new records of one kind at one location.

    `lately` covers the end of the requested period, `before` the rest. A record that a webhook or a
    relay reported counts as theirs even if we found it first: many are slower than our poll.
    """

    business_id: int | None
    location: str
    entity: Entity
    before: Mapping[Origin, int]
    lately: Mapping[Origin, int]


def activity_by_hour(connection: Connection, since: datetime) -> dict[datetime, int]:
    """Return in how many enrolments something happened in each hour, by the hour's start.

    Hours are in UTC; hours without activity are omitted.
    """
    dialect = connection.dialect
    is_sqlite = dialect.name == "sqlite"
    has_bins = not is_sqlite and (dialect.server_version_info or ()) >= (14,)
    query = _activity(is_sqlite=is_sqlite, has_bins=has_bins)
    rows = connection.execute(query, {"since": since})
    # SQLite returns text such as `2026-03-01 15`.
    return {
        datetime.fromisoformat(f"{row.hour}:00+00:00")
        if is_sqlite
        else row.hour.astimezone(UTC): row.number
        for row in rows
    }


@cache
def _activity(*, is_sqlite: bool, has_bins: bool) -> Select[Any]:
    """Return a query for it since the moment `since`; it is built once for each kind of server."""
    hours = [
        _hour_of(column, is_sqlite=is_sqlite, has_bins=has_bins).label("hour")
        for column in (events.c.happened_at, records.c.created_at)
    ]
    since: BindParameter[Any] = bindparam("since")
    happened = select(hours[0], events.c.course_member_id).where(
        events.c.happened_at >= since, events.c.kind.not_in(ABOUT_GONE)
    )
    whose = func.coalesce(records.c.course_member_id, records.c.record_id)
    seen = select(hours[1], whose).where(
        records.c.entity.in_(FOLLOWED), records.c.created_at >= since
    )
    both = union(happened, seen).subquery()
    return select(both.c.hour, func.count().label("number")).group_by(both.c.hour)


def _hour_of(column: ColumnElement[Any], *, is_sqlite: bool, has_bins: bool) -> ColumnElement[Any]:
    """Return the beginning of the hour, in UTC. PostgreSQL has bins from version 14 on."""
    if is_sqlite:
        # The stored text, up to the hour: many times faster than to parse it as a time.
        return func.substr(cast(column, String), 1, 13)
    if has_bins:
        return func.date_bin(timedelta(hours=1), column, _AN_HOUR)
    return func.date_trunc("hour", column, "UTC")  # takes twice as long


def busy_since(connection: Connection, upto: datetime, number: int) -> datetime | None:
    """Return when the last `number` events until `upto` began; None if there are fewer."""
    moment: datetime | None = connection.scalar(_busy(number), {"upto": upto})
    return moment


@cache
def _busy(number: int) -> Select[Any]:
    return (
        select(events.c.happened_at)
        .where(events.c.happened_at <= bindparam("upto"))
        .order_by(events.c.happened_at.desc())
        .offset(number)
        .limit(1)
    )


def last_happened_at(connection: Connection, now: datetime) -> datetime | None:
    """Return when the latest known activity happened.

    Times in the future are ignored: only older versions stored such times.
    """
    moments = [connection.scalar(query, {"now": now}) for query in _latest()]
    return max((moment for moment in moments if moment is not None), default=None)


@cache
def _latest() -> tuple[Select[Any], ...]:
    """Return queries for the latest event, and the latest record of each kind, until `now`."""
    now: BindParameter[Any] = bindparam("now")
    happened = select(func.max(events.c.happened_at)).where(
        events.c.kind.not_in(ABOUT_GONE), events.c.happened_at <= now
    )
    seen = (
        select(func.max(records.c.created_at)).where(
            records.c.entity == entity, records.c.created_at <= now
        )
        for entity in FOLLOWED
    )
    return happened, *seen


def reports_by_location(
    connection: Connection, since: datetime, lately: datetime, until: datetime
) -> list[ReportCounts]:
    """Return who reported records created from `since` to `until`, by location and kind.

    Only records that were read count. The location is the course's.
    """
    period = {"since": since, "lately": lately, "until": until}
    rows = connection.execute(_reports(), period).all()
    course_ids = {row.course_id for row in rows if row.course_id is not None}
    courses = present_among(connection, Entity.COURSE, sorted(course_ids))
    counted: dict[tuple[str, Entity, int], dict[bool, dict[Origin, int]]] = {}
    for row in rows:
        known = courses.get(row.course_id)
        place = _place(None if known is None else known.record)
        entity = Entity.COURSE_MEMBER if row.is_enrolment else Entity.COMPLETED_LESSON
        by_time = counted.setdefault((place[0], entity, place[1] or 0), {})
        by_origin = by_time.setdefault(bool(row.is_late), {})
        origin = _ORIGINS[row.reported_by]
        by_origin[origin] = by_origin.get(origin, 0) + int(row.number)
    return [
        ReportCounts(number or None, name, entity, by.get(False, {}), by.get(True, {}))
        for (name, entity, number), by in sorted(counted.items())
    ]


def _place(course: object) -> tuple[str, int | None]:
    if not isinstance(course, Course):
        return UNKNOWN_LOCATION, None
    return course.business_name or f"location {course.business_id}", course.business_id


@cache
def _reports() -> Select[Any]:
    """Return a query that counts the records of a period by who reported them and by course."""
    each, one, member = _by_report(), notifications, records.alias("member")
    named = (
        select(
            *(each.c.is_enrolment, each.c.is_late, each.c.member_id),
            case(
                (each.c.best < 0, each.c.best),
                else_=case(
                    {origin.value: number for origin, number in _NUMBERS.items()},
                    value=select(one.c.origin).where(one.c.id == each.c.best).scalar_subquery(),
                ),
            ).label("reported_by"),
        )
        .where(each.c.best.is_not(None))
        .offset(0)
        .subquery()
    )
    found = select(*named.c, func.count().label("number")).group_by(*named.c).offset(0).subquery().c
    course_id = select(member.c.course_id).where(
        member.c.entity == Entity.COURSE_MEMBER, member.c.record_id == found.member_id
    )
    of_course = (
        select(found.is_enrolment, found.is_late, found.reported_by, found.number)
        .add_columns(course_id.scalar_subquery().label("course_id"))
        .offset(0)
        .subquery()
    )
    kept = [of_course.c[name] for name in ("is_enrolment", "is_late", "reported_by", "course_id")]
    return select(*kept, func.sum(of_course.c.number).label("number")).group_by(*kept)


def _by_report() -> Subquery:
    """Return each record and the best of its reports: a hook's, a relay's, or else the first.

    `offset(0)`, here and above, keeps SQLite from merging the nested queries and finding everything
    twice.
    """
    record, one = records.alias("record"), notifications
    is_hook, is_relay = (one.c.origin == origin for origin in (Origin.HOOK, Origin.RELAY))
    # All others rank by their ids: the lowest is the first. One index has all that this reads.
    best = select(func.min(case((is_hook, _HOOK), (is_relay, _RELAY), else_=one.c.id))).where(
        one.c.entity == record.c.entity, one.c.record_id == record.c.record_id
    )
    member_id = case(
        (record.c.entity == Entity.COURSE_MEMBER, record.c.record_id),
        else_=record.c.course_member_id,
    )
    made_at = record.c.source_created_at
    found = select(
        (record.c.entity == Entity.COURSE_MEMBER).label("is_enrolment"),
        best.scalar_subquery().label("best"),
        (made_at >= bindparam("lately")).label("is_late"),
        member_id.label("member_id"),
    )
    in_time = (made_at >= bindparam("since"), made_at < bindparam("until"))
    return found.where(record.c.entity.in_(FOLLOWED), *in_time).offset(0).subquery()
