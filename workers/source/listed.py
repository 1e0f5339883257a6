"""Rows of one page of a list, as far as their Id and their time can be read.

One row that cannot be read must not keep all others from being seen: what has an Id can still be
asked about by it. Which rows were asked for is not judged here, see `workers.source.lists`.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from marshmallow import ValidationError

from schemas.entity import Entity
from schemas.errors import RecordUnreadable
from schemas.fields import RecordId, SourceTime

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

    `rows` have an Id; one whose time cannot be read has that of its neighbour before it. `odd` is
    the text of those without an Id, so that one which comes on two pages counts once. `times` are
    those that could be read.
    """

    rows: list[Changed]
    odd: frozenset[str]
    times: tuple[datetime, ...]


def read_rows(entity: Entity, rows: list[Row], field: str, start: datetime) -> ReadRows:
    """Read the rows of a page of changes; `field` has their time, `start` is what was asked for.

    Raises:
        RecordUnreadable: there are rows, and not one of them has an Id and a time.
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
