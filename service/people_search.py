"""Finds people by what an operator typed: an address, an Id, or part of a name."""

from dataclasses import dataclass

from ledger.engine import Connection
from ledger.members import members_by_name, name_of_member
from ledger.people import (
    people_by_address_part,
    people_by_email,
    people_by_name,
    person_of,
    persons_of,
)
from schemas.fields import MAX_ID
from schemas.person import Person
from schemas.text import folded, searched

_MOST_FOUND = 20


@dataclass(frozen=True, slots=True)
class PersonMatch:
    """A person who matches the query.

    `was_read`: their own record was read, so `email` is None only if they have none. Of people who
    enrolled before the baseline only the name is known, from lists. `just_asked`: they were just
    read from Nexudus and may not be known here.
    """

    coworker_id: int
    full_name: str
    email: str | None
    was_read: bool = True
    just_asked: bool = False


def matching_people(
    connection: Connection, who: str, most_read: int | None = None, *, by_part: bool = True
) -> list[PersonMatch]:
    """Return the known people who match.

    `who` is an address or part of one with the @, the Id of a coworker, or part of a name or of an
    address before the @. If it is the whole name or address of some, only those are returned.
    With `most_read` a name that fits many is not searched to the end. Without `by_part` nobody is
    found by part of an address, so that no search tells an address letter by letter.
    """
    if "@" in who:
        found = people_by_email(connection, who)
        if by_part and not found:
            found = people_by_address_part(connection, who, most_read)
        return [_read(one) for one in found]
    coworker_id = coworker_id_in(who)
    known = None if coworker_id is None else known_person(connection, coworker_id)
    if known is not None:
        return [known]
    named = _by_name(connection, who, most_read, only_names=not by_part)
    if not by_part:
        named = [one for one in named if _is_named(one, who)]
    return [one for one in named if folded(who) == folded(one.full_name)] or named


def _is_named(one: PersonMatch, part: str) -> bool:
    """Return whether this is part of their name, and their name is not itself an address."""
    return searched(part) in searched(one.full_name) and "@" not in one.full_name


def is_ambiguous(found: list[PersonMatch]) -> bool:
    """Return whether these are several people who do not all share one address."""
    return len(found) > 1 and len({folded(one.email or str(one.coworker_id)) for one in found}) > 1


def _by_name(
    connection: Connection, typed: str, most_read: int | None, *, only_names: bool
) -> list[PersonMatch]:
    """Return the people who were read or only listed, each once, sorted by name."""
    by_name = people_by_name(connection, typed, most_read, only_names=only_names)
    read = {one.coworker_id: one for one in by_name}
    names = {
        one.coworker_id: one.full_name for one in members_by_name(connection, typed, most_read)
    } | {one.coworker_id: one.full_name for one in read.values()}
    first = sorted(names.items(), key=lambda one: (folded(one[1]), one[0]))[:_MOST_FOUND]
    read |= persons_of(connection, [one for one, _ in first if one not in read])
    return [
        _read(read[coworker_id])
        if coworker_id in read
        else PersonMatch(coworker_id, name, None, was_read=False)
        for coworker_id, name in first
    ]


def known_person(connection: Connection, coworker_id: int) -> PersonMatch | None:
    """Return a person by their Id; None if neither they nor their name was ever read."""
    person = person_of(connection, coworker_id)
    if person is not None:
        return _read(person)
    name = name_of_member(connection, coworker_id)
    return None if name is None else PersonMatch(coworker_id, name, None, was_read=False)


def _read(person: Person) -> PersonMatch:
    return PersonMatch(person.coworker_id, person.full_name, person.email)


def coworker_id_in(who: str) -> int | None:
    """Return `who` as an Id, or None if it is not one."""
    text = who.strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))
    return int(text) if is_number and 1 <= int(text) <= MAX_ID else None
