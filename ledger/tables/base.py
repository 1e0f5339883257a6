"""What all tables are made of: times, ids, words, and where they are written down."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Integer, MetaData, String
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """An aware UTC time on both engines; a naive one is refused before it can be stored."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Bring to UTC; SQLite keeps no zone, so it is taken off there."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes aware times only")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


# SQLite numbers rows by itself only in a column of type INTEGER, which is 64-bit there anyway.
Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()


def id_column() -> Column[int]:
    """Return a column that numbers rows."""
    return Column("id", Id, primary_key=True, autoincrement=True)


def word(name: str, **options: Any) -> Column[Any]:  # noqa: ANN401 - Column's own options
    """Return a column of one short word of ours."""
    return Column(name, String(64), **options)
