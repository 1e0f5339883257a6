"""What may need a person: held, unknown and failed actions, and failed lookups, in numbers."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, TextClause, func, select

from ledger.engine import chunks
from ledger.outages import source_outages
from ledger.tables import (
    DUE_LOOKUPS,
    FAILED_LOOKUPS,
    LEASED_LOOKUPS,
    UNDECIDED_ACTIONS,
    UNFINISHED_ACTIONS,
    actions,
    lookups,
)
from schemas.actions import ActionState, LookupState
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class Undecided:
    """What may need a person: held, unknown and failed actions, and failed lookups.

    Actions are counted by state, then by reason ("" for none), lookups by reason. `kinds` are those
    of the actions in each state.
    """

    actions: dict[str, dict[str, int]]
    lookups: dict[str, int]
    kinds: dict[str, set[str]]


def undecided(connection: Connection) -> Undecided:
    """Count what may need a person. Emails that were resent or closed no longer count."""
    of_actions, of_lookups, of_kinds = _undecided()
    return Undecided(
        _counted(connection, of_actions),
        _counted(connection, of_lookups).get(LookupState.FAILED, {}),
        _kinds_by_state(connection, of_kinds),
    )


@cache
def _undecided() -> tuple[Select[Any], Select[Any], Select[Any]]:
    """Return queries for the numbers of actions and of lookups, and for the kinds of actions."""
    again = actions.alias("again")
    is_sent_again = select(again.c.id).where(again.c.resend_of == actions.c.id).exists()
    is_open = (UNDECIDED_ACTIONS, ~is_sent_again, actions.c.closed_at.is_(None))
    return (
        _by_state(actions, *is_open),
        _by_state(lookups, FAILED_LOOKUPS),
        _by_kind(*is_open),
    )


def undecided_since(connection: Connection) -> datetime | None:
    """Return since when the oldest change waits to be read and decided; None if none does.

    Lookups are found at the ends of indexes, so that a long backlog costs no more than a short one.
    """
    moments = [
        connection.scalar(select(lookups.c.asked_at).where(state).order_by(first).limit(1))
        for state, first in (
            (DUE_LOOKUPS, lookups.c.due_at),
            (LEASED_LOOKUPS, lookups.c.lease_until),
        )
    ]
    moments += [one.since for one in source_outages(connection)]
    return min((one for one in moments if one is not None), default=None)


def held_kinds(
    connection: Connection, reason: Reason | None = None, only: Collection[int] | None = None
) -> dict[Reason, dict[str, int]]:
    """Count the held actions by reason and kind: all, or those of one reason or among these."""
    where: list[ColumnElement[bool] | TextClause] = [
        UNDECIDED_ACTIONS,
        actions.c.state == ActionState.HELD,
    ]
    if reason is not None:
        where.append(actions.c.reason == reason)
    if only is not None:
        where.append(actions.c.id.in_(only))
    both = actions.c.reason, actions.c.kind
    rows = connection.execute(select(*both, func.count()).where(*where).group_by(*both))
    found: dict[Reason, dict[str, int]] = {}
    for held_for, kind, number in rows:
        found.setdefault(Reason(held_for), {})[kind] = number
    return dict(sorted(found.items()))


def kinds_of_open(connection: Connection) -> set[str]:
    """Return the kinds of the actions that are not finished, or may need a person."""
    queries = map(_by_kind, (UNFINISHED_ACTIONS, UNDECIDED_ACTIONS))
    both = (_kinds_by_state(connection, one) for one in queries)
    return {kind for found in both for kinds in found.values() for kind in kinds}


def kinds_of_actions(connection: Connection, action_ids: Collection[int]) -> dict[int, str]:
    """Return the kinds of these actions by Id; those that are not kept any more are omitted."""
    found: dict[int, str] = {}
    for some in chunks(action_ids):
        rows = connection.execute(
            select(actions.c.id, actions.c.kind).where(actions.c.id.in_(some))
        )
        found |= {row.id: row.kind for row in rows}
    return found


def _by_kind(*where: ColumnElement[bool] | TextClause) -> Select[Any]:
    return select(actions.c.state, actions.c.kind).where(*where).distinct()


def _kinds_by_state(connection: Connection, query: Select[Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for state, kind in connection.execute(query):
        found.setdefault(state, set()).add(kind)
    return found


def _by_state(table: Table, *where: ColumnElement[bool] | TextClause) -> Select[Any]:
    counting = select(table.c.state, table.c.reason, func.count().label("number")).where(*where)
    return counting.group_by(table.c.state, table.c.reason)


def _counted(connection: Connection, query: Select[Any]) -> dict[str, dict[str, int]]:
    counted: dict[str, dict[str, int]] = {}
    for row in connection.execute(query):
        counted.setdefault(row.state, {})[row.reason or ""] = row.number
    return counted
