"""People: what is needed of a coworker to email them."""

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    case,
    null,
    or_,
    select,
    update,
)

from ledger.engine import Insert, chunks, insert_for
from ledger.tables import Instant, people
from schemas.entity import CoworkerKind
from schemas.events import TOLERANCE
from schemas.person import Person
from schemas.records import Coworker
from schemas.text import folded, searched

_MOST_FOUND = 20
_LONGEST_KEY = 320  # characters; PostgreSQL refuses index entries of 2,700 bytes
_LONGEST_NAME_KEY = 200
_SPECIAL = re.compile("[%_/]")  # in patterns of LIKE
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def accept_person(
    connection: Connection, coworker: Coworker, now: datetime, zone: str | None = None
) -> None:
    """Store what is needed of this coworker, unless a later read is stored.

    `zone` is the IANA name for the coworker's `time_zone_id`. If there is such an id and `zone` is
    None, it could not be resolved now, and the stored zone is kept.
    """
    accept_people(connection, [(coworker, zone, now)])


def accept_people(
    connection: Connection, several: Iterable[tuple[Coworker, str | None, datetime]]
) -> None:
    """Store these coworkers, each with its zone and time, as `accept_person` does."""
    by_columns: dict[frozenset[str], list[dict[str, Any]]] = {}
    for one in several:
        values = _values(*one)
        by_columns.setdefault(frozenset(values), []).append(values)
    for columns, rows in by_columns.items():
        statement = _accepting(connection.dialect.name, columns - {"coworker_id", "ahead"})
        connection.execute(statement, rows)


def _values(coworker: Coworker, zone: str | None, now: datetime) -> dict[str, Any]:
    email = (coworker.email or "").strip() or None
    values: dict[str, Any] = {
        "coworker_id": coworker.record_id,
        "ahead": now + TOLERANCE,
        "full_name": coworker.full_name,
        "search_key": search_key(coworker.full_name, email),
        "first_name": coworker.first_name,
        "kind": None if coworker.kind is None else coworker.kind.name.lower(),
        "email": email,
        "email_key": None if email is None else folded(email)[:_LONGEST_KEY],
        "active": coworker.active and not coworker.archived,
        "fetched_at": now,
        "gone_at": None,
        "user_id": coworker.user_id,
    }
    if zone is not None or coworker.time_zone_id is None:
        values["zone"] = zone
    return values


@cache
def _accepting(dialect: str, names: frozenset[str]) -> Insert:
    statement = insert_for(dialect, people)
    given = statement.excluded
    values: dict[str, Any] = {name: given[name] for name in sorted(names)}
    # Another account may have another language, so that one is read again.
    is_other = people.c.user_id.is_distinct_from(given.user_id)
    values["language_at"] = case((is_other, null()), else_=people.c.language_at)
    return statement.on_conflict_do_update(
        index_elements=[people.c.coworker_id],
        set_=values,
        # A read by a clock that was ahead does not count as later.
        where=or_(
            people.c.fetched_at <= given.fetched_at,
            people.c.fetched_at > bindparam("ahead", type_=Instant),
        ),
    )


def mark_person_gone(connection: Connection, coworker_id: int, now: datetime) -> None:
    """Mark a person as gone from the source."""
    connection.execute(
        update(people)
        .where(people.c.coworker_id == coworker_id)
        .values(gone_at=now, fetched_at=now)
    )


def require_fresh_read(connection: Connection, coworker_id: int) -> None:
    """Make the next use of this person read them from the source, however recent the copy is."""
    connection.execute(
        update(people)
        .where(people.c.coworker_id == coworker_id)
        .values(fetched_at=_NEVER, language_at=None)
    )


def store_language(
    connection: Connection, coworker_id: int, language: str | None, read_at: datetime
) -> None:
    """Store the tag of the language that this person chose, None for none, and when it was read."""
    connection.execute(
        update(people)
        .where(people.c.coworker_id == coworker_id)
        .values(language=language, language_at=read_at)
    )


_PERSON_OF = select(people).where(people.c.coworker_id == bindparam("this"))
_PERSONS_OF = select(people).where(people.c.coworker_id.in_(bindparam("these", expanding=True)))


def person_of(connection: Connection, coworker_id: int) -> Person | None:
    """Return one person; None if unknown."""
    row = connection.execute(_PERSON_OF, {"this": coworker_id}).first()
    return None if row is None else _person(row)


def persons_of(connection: Connection, coworker_ids: Iterable[int]) -> dict[int, Person]:
    """Return these people by Id; unknown ones are omitted."""
    found: dict[int, Person] = {}
    for some in chunks(coworker_ids):
        rows = connection.execute(_PERSONS_OF, {"these": some})
        found.update({row.coworker_id: _person(row) for row in rows})
    return found


def present_people(connection: Connection, most: int) -> list[int]:
    """Return the Ids of coworkers who are not gone, the most recently read first."""
    rows = connection.scalars(
        select(people.c.coworker_id)
        .where(people.c.gone_at.is_(None))
        .order_by(people.c.fetched_at.desc(), people.c.coworker_id)
        .limit(most)
    )
    return list(rows)


def people_by_email(connection: Connection, email: str) -> list[Person]:
    """Return everyone with this address, compared by `folded`.

    An ASCII address uses the index. Others are rare and are compared one by one, since the keys of
    people stored by an earlier version are only in lower case.
    """
    wanted = folded(email)
    where = people.c.email_key == wanted[:_LONGEST_KEY]
    if not email.isascii():
        where = people.c.search_key.endswith(f"\n{searched(email)}", autoescape=True)
    rows = connection.execute(select(people).where(where).order_by(people.c.coworker_id))
    return [_person(row) for row in rows if folded(row.email) == wanted]


def people_by_name(
    connection: Connection, part: str, most_read: int | None = None, *, only_names: bool = False
) -> list[Person]:
    """Return up to 20 people with this in their name, or in their address before the @.

    With `only_names`, no address is searched.

    Compared by `searched`. With `most_read` the search ends after so many matches, and the 20 are
    the first by name of those.
    """
    wanted = searched(part)
    if not wanted:
        return []
    end = "\n" if only_names else "@"
    return _first_by_name(connection, f"%{_escaped(wanted)}%{end}%", most_read)


def people_by_address_part(
    connection: Connection, part: str, most_read: int | None = None
) -> list[Person]:
    """Return up to 20 people with this anywhere in their address, as `people_by_name` does."""
    return _first_by_name(connection, f"%\n%{_escaped(searched(part))}%", most_read)


def search_key(name: str, email: str | None) -> str:
    """Return what a search by a part reads of a person: name and address, folded, in two lines.

    The second always has an @, so what comes before an @ is a name, or an address without its
    domain. Folded text has no line breaks.
    """
    local, _, domain = searched(email).rpartition("@")
    return f"{searched(name)}\n{local}@{domain}"


def name_key(name: str | None) -> str | None:
    """Return a listed member's name as a search compares it, not longer than an index allows."""
    return None if name is None else searched(name)[:_LONGEST_NAME_KEY]


def _escaped(text: str) -> str:
    """Return a text as a part of a pattern for LIKE."""
    return _SPECIAL.sub(r"/\g<0>", text)


def _first_by_name(connection: Connection, pattern: str, most_read: int | None) -> list[Person]:
    rows = connection.execute(
        select(people.c.coworker_id, people.c.search_key)
        .where(people.c.search_key.like(pattern, escape="/"))
        .order_by(people.c.coworker_id)
        .limit(most_read)
    )
    found = sorted((row.search_key, row.coworker_id) for row in rows)
    return _people_of(connection, [coworker_id for _, coworker_id in found[:_MOST_FOUND]])


def _people_of(connection: Connection, coworker_ids: list[int]) -> list[Person]:
    """Return these people in this order."""
    found = persons_of(connection, coworker_ids)
    return [found[one] for one in coworker_ids if one in found]


def names_of(connection: Connection, coworker_ids: Collection[int]) -> dict[int, str]:
    """Return the full names of these people; unknown ones are omitted."""
    found: dict[int, str] = {}
    for some in chunks(coworker_ids):
        rows = connection.execute(
            select(people.c.coworker_id, people.c.full_name).where(people.c.coworker_id.in_(some))
        )
        found.update({row.coworker_id: row.full_name for row in rows})
    return found


def _person(row: Row[Any]) -> Person:
    return Person(
        row.coworker_id,
        row.full_name,
        row.first_name,
        None if row.kind is None else CoworkerKind[row.kind.upper()],
        row.email,
        row.active,
        row.fetched_at,
        row.gone_at,
        row.zone,
        row.user_id,
        row.language,
        row.language_at,
    )
