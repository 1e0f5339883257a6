"""Counts of emails and of finished lessons by quarter of an hour, from which pages draw pictures.

Every time zone differs from UTC by whole quarters, so days and hours of any zone can be made of
them, also where a clock is changed meanwhile.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, cast, extract, func, select

from ledger.tables import actions, events
from schemas.actions import ActionState
from schemas.events import EventKind

_QUARTER_S = 900


@dataclass(frozen=True, slots=True)
class QuarterCount:
    """How many there were in the quarter of an hour that begins `at`, of what, if that is known."""

    at: datetime
    number: int
    what: str | None = None


def emails_by_quarter(connection: Connection, kind: str, since: datetime) -> list[QuarterCount]:
    """Return how many actions of a kind were done since then, by template, if they have one."""
    begin = _quarter(actions.c.finished_at)
    rows = connection.execute(
        select(begin.label("begin"), actions.c.template, func.count().label("number"))
        .where(
            actions.c.finished_at >= since,
            actions.c.state == ActionState.DONE,
            actions.c.kind == kind,
        )
        .group_by(begin, actions.c.template)
    )
    return [QuarterCount(_moment(row.begin), row.number, row.template) for row in rows]


def lessons_by_quarter(connection: Connection, since: datetime) -> list[QuarterCount]:
    """Return how many lessons members finished since then."""
    begin = _quarter(events.c.happened_at)
    rows = connection.execute(
        select(begin.label("begin"), func.count().label("number"))
        .where(events.c.happened_at >= since, events.c.kind == EventKind.LESSON_COMPLETED)
        .group_by(begin)
    )
    return [QuarterCount(_moment(row.begin), row.number) for row in rows]


def _quarter(column: Column[Any]) -> ColumnElement[int]:
    # PostgreSQL has fractions of a second here, and rounds where it casts.
    second = extract("epoch", column)
    return cast(second - second % _QUARTER_S, BigInteger)


def _moment(begin: int) -> datetime:
    return datetime.fromtimestamp(begin, UTC)
