"""Reads lists of records to their end, and refuses a list that ignored its filter.

The source silently ignores an unknown filter and returns the whole table (contract, section 3), so
every row is checked against the filter. An unreadable row does not affect the others: every row
with an Id can be looked up by it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from marshmallow import ValidationError

from schemas.entity import PATHS, Entity
from schemas.errors import RecordUnreadable, SourceRefused, SourceUnavailable
from schemas.fields import RecordId, SourceTime
from schemas.records.answers import Page, load_page
from workers.source.answers import Missing

Row = dict[str, Any]

_ID = RecordId()
_TIME = SourceTime()

_log = structlog.get_logger("list")


@dataclass(frozen=True, slots=True)
class Changed:
    """One row of a list of changes: which record, and its time of change at the source."""

    record_id: int
    at: datetime
    row: Row


@dataclass(frozen=True, slots=True)
class ReadRows:
    """The rows of one page of changes.

    `rows` have an Id; a row whose time cannot be read gets that of the row before it. `odd` has the
    text of rows without an Id, so that one that is on two pages counts once. `times` are those that
    could be read.
    """

    rows: list[Changed]
    odd: frozenset[str]
    times: tuple[datetime, ...]


def read_rows(entity: Entity, rows: list[Row], field: str, start: datetime) -> ReadRows:
    """Read the rows of a page of changes. `field` has their time; `start` is the requested start.

    Raises:
        RecordUnreadable: there are rows, and none has both an Id and a time.
    """
    found: list[Changed] = []
    odd: set[str] = set()
    times: list[datetime] = []
    is_any_whole = False
    for row in rows:
        record_id, at = _id_in(row), _time_in(row, field)
        if at is not None:
            times.append(at)
        if record_id is None:
            odd.add(json.dumps(row, sort_keys=True, default=str))
            continue
        is_any_whole = is_any_whole or at is not None
        found.append(Changed(record_id, at or (times[-1] if times else start), row))
    if rows and not is_any_whole:
        raise RecordUnreadable(f"no row of the list of {entity} has an Id and its {field}")
    if len(found) < len(rows):
        _log.warning("list.row-unreadable", entity=entity.value, rows=len(rows) - len(found))
    return ReadRows(found, frozenset(odd), tuple(times))


def id_of(row: Row) -> int:
    """Return the Id of a row of a list.

    Raises:
        RecordUnreadable: it has none.
    """
    record_id = _id_in(row)
    if record_id is None:
        raise RecordUnreadable("a row of a list has no Id")
    return record_id


def _id_in(row: Row) -> int | None:
    with suppress(ValidationError):
        found: int | None = _ID.deserialize(row.get("Id"))
        return found
    return None


def _time_in(row: Row, field: str) -> datetime | None:
    with suppress(ValidationError):
        found: datetime | None = _TIME.deserialize(row.get(field))
        return found
    return None


PAGE_SIZE = 1000  # the documented maximum; HasNextPage tells whether more follow
_MOST_PAGES = 1000

# Which of a record's two times shows that it is new or changed (contract, section 3).
_CREATED = "CreatedOn"
CHANGED_BY: Mapping[Entity, str] = {Entity.COMPLETED_LESSON: _CREATED}
_OTHERWISE = "UpdatedOn"


@dataclass(frozen=True, slots=True)
class Changes:
    """One page of changes. `total` is how many there are from this page's minute on, if stated."""

    rows: list[Changed]
    total: int | None


@dataclass(frozen=True, slots=True)
class ListRange:
    """The range of a list: by creation or change, and until a moment, rounded up to the minute."""

    until: datetime | None = None
    by_creation: bool = False


ANY_TIME = ListRange()


class ApiReads(Protocol):
    """Reads JSON values from the source."""

    def get_json(self, path: str, query: Mapping[str, str]) -> object | Missing:
        """Return the JSON value of an answer; see `ApiSession.get_json`."""


class Lists:
    """The lists of the source, read through `session`."""

    def __init__(self, session: ApiReads) -> None:
        self._session = session

    def whole(self, entity: Entity, query: Mapping[str, str] | None = None) -> list[Row]:
        """Return all rows, each once. Raises as `ApiSession.get_json`.

        Raises:
            SourceUnavailable: the list does not end, or changed while it was read.
            RecordUnreadable: an answer is not a page of a list.
        """
        found: dict[int, Row] = {}
        totals: set[int | None] = set()
        for number in range(1, _MOST_PAGES + 1):
            page = self._page(entity, dict(query or {}), number)
            known = len(found)
            totals.add(page.total)
            found.update({id_of(row): row for row in page.rows})
            if page.has_next:
                if len(found) == known:
                    break
                continue
            # A row may have moved to a page that was already read; it must not look deleted.
            came = len(page.rows) if number == 1 else len(found)
            if len(totals) > 1 or came < (page.total or 0):
                raise SourceUnavailable(f"the list of {entity} changed while it was read")
            return list(found.values())
        raise SourceUnavailable(f"the list of {entity} does not end")

    def below(self, entity: Entity, relation: str, field: str, wanted: int) -> list[Row]:
        """Return all rows below a parent; `relation` is the filter's name, `field` the row's.

        Raises:
            SourceRefused: the filter was ignored. Otherwise as `whole`.
        """
        rows = self.whole(entity, {f"{entity}_{relation}": str(wanted)})
        return _only(rows, entity, relation, field, wanted)

    def newest_below(  # noqa: PLR0913, PLR0917 - as `below`, since when and how many
        self, entity: Entity, relation: str, field: str, wanted: int, since: datetime, size: int
    ) -> list[Row]:
        """Return at most `size` rows below a parent, the newest first, with one request.

        They were created since `since`, or shortly before: the filter has a resolution of minutes,
        and a source may ignore it. Raises as `below`.
        """
        query = {
            f"{entity}_{relation}": str(wanted),
            f"from_{entity}_{_CREATED}": _in_minutes(since),
            "orderBy": _CREATED,
            "dir": "-1",
        }
        return _only(self.first(entity, query, size), entity, relation, field, wanted)

    def first(self, entity: Entity, query: Mapping[str, str], size: int) -> list[Row]:
        """Return the first rows, at most `size`. They are not checked against the filter.

        Raises as `whole`.
        """
        return list(self._page(entity, dict(query), 1, size).rows)

    def since(
        self, entity: Entity, moment: datetime, within: ListRange = ANY_TIME
    ) -> Iterator[Changes]:
        """Yield what was changed (created, for completions) since `moment`, page by page.

        `within` narrows it to creation times, and to an end.

        The filter has a resolution of minutes, so rows of the whole minute are returned. Each page
        begins at the time at which the one before ended, not at a page number: a row that changes
        meanwhile moves to the end of the list, and another could be missed between two numbered
        pages. If the source ignores the requested order, which the count shows, the list is read
        again by page numbers. A row can still be missed if more rows change in one minute than fit
        on a page, or if the source gives no count. So start somewhat before the moment up to which
        everything is known.

        An unreadable row does not affect the others: see `read_rows`.

        Raises:
            SourceRefused: the filter was ignored.
            RecordUnreadable: a page has rows, and none can be read.
            SourceUnavailable: the list does not end. Otherwise as `ApiSession.get_json`.
        """
        start = _minute(moment)
        total: int | None = None
        met: set[int | str] = set()
        for number, (changes, odd) in enumerate(self._by_time(entity, start, within)):
            total = changes.total if number == 0 else total
            met.update(row.record_id for row in changes.rows)
            met |= odd  # they are included too
            yield changes
        if total is not None and len(met) < total:
            yield from self._by_number(entity, start, within, met)

    def _by_time(
        self, entity: Entity, start: datetime, within: ListRange
    ) -> Iterator[tuple[Changes, frozenset[str]]]:
        number = 1
        seen: set[tuple[int, datetime]] = set()
        for _ in range(_MOST_PAGES):
            page, read = self._changed(entity, start, within, number)
            rows = read.rows
            fresh = [row for row in rows if (row.record_id, row.at) not in seen]
            seen = {(row.record_id, row.at) for row in rows} | (seen if number > 1 else set())
            yield Changes(fresh, page.total), read.odd
            if not page.has_next:
                return
            if number > 1 and not fresh:
                break
            last = _minute(rows[-1].at) if rows and page.total is not None else start
            # After a page full of rows of one minute comes the next page number.
            start, number = (last, 1) if last > start else (start, number + 1)
        raise SourceUnavailable(f"the list of {entity} does not end")

    def _by_number(
        self, entity: Entity, start: datetime, within: ListRange, met: set[int | str]
    ) -> Iterator[Changes]:
        before: list[Changed] = []
        for number in range(1, _MOST_PAGES + 1):
            page, read = self._changed(entity, start, within, number)
            rows = read.rows
            yield Changes([row for row in rows if row.record_id not in met], page.total)
            if not page.has_next:
                return
            if not rows or rows == before:
                break
            before = rows
        raise SourceUnavailable(f"the list of {entity} does not end")

    def _changed(
        self, entity: Entity, start: datetime, within: ListRange, number: int
    ) -> tuple[Page, ReadRows]:
        field = _CREATED if within.by_creation else CHANGED_BY.get(entity, _OTHERWISE)
        asked = {f"from_{entity}_{field}": _in_minutes(start), "orderBy": field, "dir": "1"}
        end = None
        if within.until is not None:
            # "On or before" a minute may mean its beginning or its end, so the next one is
            # requested.
            end = _minute(within.until) + timedelta(minutes=1)
            asked[f"to_{entity}_{field}"] = _in_minutes(end)
        page = self._page(entity, asked, number)
        read = read_rows(entity, page.rows, field, start)
        if any(at < start for at in read.times):
            raise SourceRefused(f"the list of {entity} ignored the filter from_{field}")
        if end is not None and any(at >= end + timedelta(minutes=1) for at in read.times):
            raise SourceRefused(f"the list of {entity} ignored the filter to_{field}")
        return page, read

    def _page(
        self, entity: Entity, query: dict[str, str], number: int, size: int = PAGE_SIZE
    ) -> Page:
        wanted = {**query, "page": str(number), "size": str(size)}
        answer = self._session.get_json(PATHS[entity], wanted)
        if isinstance(answer, Missing):
            raise SourceUnavailable(f"there was no answer for the list of {entity}")
        return load_page(answer)


def _only(rows: list[Row], entity: Entity, relation: str, field: str, wanted: int) -> list[Row]:
    """Return the rows; raise `SourceRefused` if one belongs to another parent."""
    if any(row.get(field) != wanted for row in rows):
        raise SourceRefused(f"the list of {entity} ignored the filter {relation}")
    return rows


def _in_minutes(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


def _minute(moment: datetime) -> datetime:
    return moment - timedelta(seconds=moment.second, microseconds=moment.microsecond)
