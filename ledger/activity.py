"""Recent activity: the events that were found and the attempts at actions, each returned once.

Rows are read in the order of their ids. PostgreSQL assigns an id before the transaction commits, so
a row may become visible after rows with higher ids were read. The ids that were missing are
therefore read again, until every transaction that may have been assigned one of them has ended.
SQLite has one writer at a time, so a missing id stays missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, func, select, text

from ledger.tables import actions, attempts, events, people

_MOST_MISSING = 1_000  # how far below the newest id read missing ids are looked for
_SNAPSHOT = text(
    "SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint"
    " FROM pg_current_snapshot() AS now"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of recent activity: an event that was found, or an attempt at an action.

    `action_id` is None for an event. `audience` is whom an action is to; None: the member, `name`.
    """

    at: datetime
    what: str
    name: str | None
    rule: str | None
    outcome: str | None
    reason: str | None
    action_id: int | None = None
    audience: str | None = None


# The missing ids of a table, each with the first transaction id that certainly was not assigned it;
# None until the next read, since a transaction gets its own id after that of the row.
_Missing = Mapping[int, int | None]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a reader has got, and which ids up to there were missing."""

    event_id: int
    attempt_id: int
    missing_events: _Missing = field(default_factory=dict)
    missing_attempts: _Missing = field(default_factory=dict)


def newest_entries(connection: Connection, back: int) -> Bookmark:
    """Return a bookmark `back` rows before the end of events and of attempts."""
    event_id = _before_newest(connection, events, back)
    attempt_id = _before_newest(connection, attempts, back)
    return Bookmark(
        event_id,
        attempt_id,
        _missing(connection, events, event_id),
        _missing(connection, attempts, attempt_id),
    )


def entries_since(connection: Connection, mark: Bookmark) -> tuple[list[Entry], Bookmark]:
    """Return the activity since the bookmark, the earliest first, and the next bookmark."""
    found = _read(connection, _EVENTS, events, mark.event_id, mark.missing_events)
    tried = _read(connection, _ATTEMPTS, attempts, mark.attempt_id, mark.missing_attempts)
    lines = [
        Entry(row.found_at, row.kind, row.full_name, None, None, row.reason) for row in found
    ] + [
        Entry(
            *(row.at, "action", row.full_name, row.rule, row.outcome, row.reason),
            row.action_id,
            row.audience,
        )
        for row in tried
    ]
    running = _running(connection)
    return sorted(lines, key=lambda line: line.at), Bookmark(
        *(_newest(found, mark.event_id), _newest(tried, mark.attempt_id)),
        _still_missing(found, mark.event_id, mark.missing_events, running),
        _still_missing(tried, mark.attempt_id, mark.missing_attempts, running),
    )


_EVENTS = (
    select(events.c.id, events.c.found_at, events.c.kind, events.c.reason, people.c.full_name)
    .outerjoin(people, people.c.coworker_id == events.c.coworker_id)
    .order_by(events.c.id)
)
_ATTEMPTS = (
    select(attempts.c.id, attempts.c.at, attempts.c.outcome, attempts.c.reason)
    .add_columns(people.c.full_name, actions.c.rule, attempts.c.action_id, actions.c.audience)
    .join(actions, actions.c.id == attempts.c.action_id)
    .outerjoin(people, people.c.coworker_id == actions.c.coworker_id)
    .order_by(attempts.c.id)
)


def _read(
    connection: Connection, rows: Select[Any], table: Table, upto: int, missing: _Missing
) -> Sequence[Row[Any]]:
    # Two statements: with one, SQLite would read the whole table in the order of ids.
    late = connection.execute(rows.where(table.c.id.in_(sorted(missing)))).all() if missing else ()
    return [*late, *connection.execute(rows.where(table.c.id > upto)).all()]


def _before_newest(connection: Connection, table: Table, back: int) -> int:
    newest: int = connection.scalar(select(func.max(table.c.id))) or 0
    return max(0, newest - back)


def _missing(connection: Connection, table: Table, upto: int) -> _Missing:
    """Return the ids shortly before this one that may belong to transactions under way."""
    if connection.dialect.name == "sqlite":
        return {}
    first = max(0, upto - _MOST_MISSING)
    ids = connection.scalars(select(table.c.id).where(table.c.id > first, table.c.id <= upto))
    return dict.fromkeys(set(range(first + 1, upto + 1)) - set(ids))


def _running(connection: Connection) -> tuple[int, int] | None:
    """Return the ids of the first transaction under way and of the next one; None on SQLite."""
    if connection.dialect.name == "sqlite":
        return None
    first, following = connection.execute(_SNAPSHOT).one()
    return first, following


def _newest(rows: Sequence[Row[Any]], upto: int) -> int:
    return max([upto, *(int(row.id) for row in rows)])


def _still_missing(
    rows: Sequence[Row[Any]], upto: int, missing: _Missing, running: tuple[int, int] | None
) -> _Missing:
    """Return the ids that are missing up to the newest row, without those that nobody has."""
    if running is None:
        return {}
    first, following = running
    found, newest = {row.id for row in rows}, _newest(rows, upto)
    kept: dict[int, int | None] = {
        one: following if ended_by is None else ended_by
        for one, ended_by in missing.items()
        if one not in found and (ended_by is None or ended_by > first)
    }
    new = range(max(upto, newest - _MOST_MISSING) + 1, newest)
    return kept | dict.fromkeys(set(new) - found)
