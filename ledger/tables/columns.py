"""What the tables are made of: their columns, indexes, and the metadata that lists them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    TextClause,
)
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """An aware UTC time on both engines; naive times are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; without the zone for SQLite, which stores none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger accepts only aware times")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002 - SQLAlchemy's own signature
        """Return a function that restores the zone; one call for each of many values."""
        return _from_text if dialect.name == "sqlite" else _in_utc


def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(f"{value}+00:00")


def _in_utc(value: datetime | None) -> datetime | None:
    return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


# SQLite numbers rows only in a column of type INTEGER, which is 64-bit there.
Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()


def id_column() -> Column[int]:
    """Return an autoincrementing primary key."""
    return Column("id", Id, primary_key=True, autoincrement=True)


def word(name: str, **options: Any) -> Column[Any]:  # noqa: ANN401 - Column's own options
    """Return a column for a short code."""
    return Column(name, String(64), **options)


def partial_index(name: str, *columns: str, where: TextClause) -> Index:
    """Return an index of the rows that meet a condition, on both engines."""
    # On PostgreSQL it has the same condition. To state it here would import that dialect in every
    # process, and no statement depends on it: migrations create the indexes.
    return Index(name, *columns, sqlite_where=where)
