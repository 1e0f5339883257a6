"""The log of decisions about the service: who decided what, and when. Lines are only added."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from ledger.tables import control_log

BY_ITSELF = "coursebell"  # who decided, where no person did


@dataclass(frozen=True, slots=True)
class Decision:
    """One line. `detail` holds ids and counts, never names or addresses."""

    at: datetime
    who: str
    what: str
    detail: Mapping[str, Any]


def log_decision(
    connection: Connection, what: str, who: str, now: datetime, detail: Mapping[str, Any]
) -> None:
    """Add a line to the log."""
    row = {"at": now, "who": who[:64], "what": what, "detail": dict(detail)}
    connection.execute(insert(control_log).values(**row))


def decisions(connection: Connection) -> list[Decision]:
    """Return the log, oldest line first."""
    rows = connection.execute(select(control_log).order_by(control_log.c.id))
    return [Decision(row.at, row.who, row.what, row.detail or {}) for row in rows]
