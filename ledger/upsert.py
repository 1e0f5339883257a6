"""Statements that engines limit or spell differently: conflict clauses and long lists of values."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Insert = postgresql.Insert | sqlite.Insert

_AT_ONCE = 500


def insert_into(connection: Connection, table: Table) -> Insert:
    """Return an INSERT of the connection's own dialect."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: Table) -> Insert:
    """Return an INSERT of the dialect of that name."""
    if dialect == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def portions(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Give these values in order, each once, as many at a time as one statement takes."""
    whole = sorted(set(values))
    return (whole[first : first + _AT_ONCE] for first in range(0, len(whole), _AT_ONCE))
