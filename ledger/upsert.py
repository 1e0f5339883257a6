"""INSERT with a conflict clause, which both engines have and SQLAlchemy spells once per engine."""

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Insert = postgresql.Insert | sqlite.Insert


def insert_into(connection: Connection, table: Table) -> Insert:
    """Return an INSERT of the connection's own dialect."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: Table) -> Insert:
    """Return an INSERT of the dialect of that name."""
    if dialect == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
