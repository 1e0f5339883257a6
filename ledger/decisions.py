"""Traces of decisions: which rules were tried on an event, and what their conditions saw."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, select

from ledger.engine import Insert, chunks, insert_for
from ledger.tables import decisions
from schemas.trace import TriedRule, dump_tried, load_tried


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """How an event was decided on: when, by which version of the rules, and the rules tried."""

    decided_at: datetime
    rules_version: str
    tried: tuple[TriedRule, ...]


def store_decisions(
    connection: Connection,
    traces: Mapping[int, tuple[str, tuple[TriedRule, ...]]],
    now: datetime,
) -> None:
    """Store by id of the event the version of the rules and the rules that were tried.

    Nothing is stored of an event for which no rule was tried.
    """
    rows = [
        {
            "event_id": event_id,
            "decided_at": now,
            "rules_version": version,
            "tried": dump_tried(tried),
        }
        for event_id, (version, tried) in traces.items()
        if tried
    ]
    if rows:
        connection.execute(_storing(connection.dialect.name), rows)


@cache
def _storing(dialect: str) -> Insert:
    statement = insert_for(dialect, decisions)
    names = ("decided_at", "rules_version", "tried")
    return statement.on_conflict_do_update(
        index_elements=[decisions.c.event_id],
        set_={name: statement.excluded[name] for name in names},
    )


def decisions_of(connection: Connection, event_ids: Iterable[int]) -> dict[int, RuleTrace]:
    """Return the decisions on these events, by id of the event; older ones were deleted."""
    return {
        row.event_id: RuleTrace(row.decided_at, row.rules_version, load_tried(row.tried))
        for some in chunks(event_ids)
        for row in connection.execute(select(decisions).where(decisions.c.event_id.in_(some)))
    }
