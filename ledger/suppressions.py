"""Addresses that no email is sent to, because emails to them came back.

They are stored as keyed hashes, so an erase leaves them, and an address that changes in Nexudus is
no longer one of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from ledger.choices import mailbox_hash
from ledger.engine import insert_into
from ledger.tables import people, suppressions
from schemas.mail_reports import Provider, ReportKind

_OF_ADDRESS = select(suppressions).where(suppressions.c.lifted_at.is_(None))


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why and since when no email is sent to an address. `detail` has no addresses."""

    address_hash: str
    kind: ReportKind
    since: datetime
    provider: Provider
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class SuppressedPerson:
    """A suppressed address, and who has it now; None if nobody known here does."""

    suppression: Suppression
    coworker_id: int | None = None
    full_name: str | None = None
    email: str | None = None


def suppress(connection: Connection, found: Suppression) -> None:
    """Send no more to an address, unless it is suppressed already or was allowed again later."""
    values = {
        "kind": found.kind,
        "since": found.since,
        "provider": found.provider,
        "code": found.code,
        "detail": found.detail,
        "lifted_at": None,
    }
    statement = insert_into(connection, suppressions).values(
        address_hash=found.address_hash, **values
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[suppressions.c.address_hash],
            set_=values,
            where=suppressions.c.lifted_at < found.since,
        )
    )


def suppression_of(connection: Connection, hashed: str) -> Suppression | None:
    """Return why no email is sent to the address with this hash; None if it may be written to."""
    row = connection.execute(_OF_ADDRESS.where(suppressions.c.address_hash == hashed)).one_or_none()
    return None if row is None else _suppression(row)


def lifted_at(connection: Connection, hashed: str) -> datetime | None:
    """Return when emails to the address with this hash were allowed again; None if never."""
    return connection.scalar(
        select(suppressions.c.lifted_at).where(suppressions.c.address_hash == hashed)
    )


def lift(connection: Connection, hashed: str, now: datetime) -> bool:
    """Allow emails to an address again: only a later bounce counts.

    Returns False if it is not suppressed.
    """
    done = connection.execute(
        update(suppressions)
        .where(suppressions.c.address_hash == hashed, suppressions.c.lifted_at.is_(None))
        .values(lifted_at=now)
    )
    return done.rowcount == 1


def suppressed_people(connection: Connection, secret_key: str) -> list[SuppressedPerson]:
    """Return all suppressed addresses, the newest first, with the people who have them now.

    The hashes of all known addresses are computed, if any address is suppressed.
    """
    rows = connection.execute(_OF_ADDRESS.order_by(suppressions.c.since.desc())).all()
    owners = _owners(connection, secret_key) if rows else {}
    return [
        SuppressedPerson(_suppression(row), *owner)
        for row in rows
        for owner in owners.get(row.address_hash, [()])
    ]


def _owners(connection: Connection, secret_key: str) -> Mapping[str, list[tuple[Any, ...]]]:
    here = select(people.c.coworker_id, people.c.full_name, people.c.email).where(
        people.c.email.is_not(None), or_(people.c.gone_at.is_(None), people.c.active)
    )
    found: dict[str, list[tuple[Any, ...]]] = {}
    for row in connection.execute(here.order_by(people.c.coworker_id)):
        found.setdefault(mailbox_hash(row.email, secret_key), []).append(tuple(row))
    return found


def _suppression(row: Row[Any]) -> Suppression:
    return Suppression(
        row.address_hash,
        ReportKind(row.kind),
        row.since,
        Provider(row.provider),
        row.code,
        row.detail,
    )
