"""Finds people by what an operator typed: an address, an Id, or part of a name."""

import os
from dataclasses import dataclass

import click

from ledger.engine import Connection
from ledger.people import people_by_address_part, people_by_email, people_by_name, person_of
from ledger.record_queries import members_by_name, name_of_member
from schemas.errors import SourceError
from schemas.fields import MAX_ID
from schemas.person import Person
from schemas.settings import Settings
from schemas.text import folded, is_one_line
from service.cli.common import command_clock, printable, reason_given, shortened, with_own_broker
from service.cli.source_access import open_sync
from workers.source.limits import Patience, Urgency
from workers.source.reads import enrolled_coworkers

NOBODY_KNOWN = "Coursebell knows no member with this name, address or Id."
_MOST_FOUND = 20
_LONGEST_ADDRESS = 254  # characters; RFC 5321, section 4.5.3.1
_PATIENCE_S = 10.0  # no request to Nexudus starts later than this


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


@dataclass(frozen=True, slots=True)
class PeopleQuery:
    """Who has an address at Nexudus. `error` is why Nexudus could not be asked."""

    people: list[PersonMatch]
    error: str | None = None


def matching_people(connection: Connection, who: str) -> list[PersonMatch]:
    """Return the known people who match.

    `who` is an address or part of one with the @, the Id of a coworker, or part of a name or of an
    address before the @. If it is the whole name or address of some, only those are returned.

    Raises:
        click.UsageError: it is not text in the encoding of this terminal, nor in UTF-8.
    """
    typed = _as_typed(who)
    if "@" in typed:
        found = people_by_email(connection, typed) or people_by_address_part(connection, typed)
        return [_read(one) for one in found]
    coworker_id = coworker_id_in(typed)
    known = None if coworker_id is None else _known(connection, coworker_id)
    if known is not None:
        return [known]
    named = _by_name(connection, typed)
    return [one for one in named if folded(typed) == folded(one.full_name)] or named


def unknown_address(who: str, known: list[PersonMatch]) -> str | None:
    """Return `who` if it is a whole address that none of these people has, else None."""
    typed = _as_typed(who).strip()
    name, _, domain = typed.rpartition("@")
    is_whole = name and "." in domain.strip(".") and len(typed) <= _LONGEST_ADDRESS
    if not is_whole or not is_one_line(typed) or len(typed.split()) > 1:
        return None
    return None if any(folded(one.email) == folded(typed) for one in known) else typed


def people_at_nexudus(settings: Settings, address: str) -> PeopleQuery:
    """Ask Nexudus which enrolled people have this address. Nothing is stored.

    Raises as `opened_ledger`.
    """
    patience = Patience(Urgency.PERSON, command_clock().monotonic() + _PATIENCE_S, lambda: None)
    try:
        with (
            open_sync(with_own_broker(settings)) as sync,
            sync.source(patience) as source,
        ):
            found = enrolled_coworkers(source, address)
    except SourceError as error:
        return PeopleQuery([], reason_given(error))
    return PeopleQuery(
        [PersonMatch(one.record_id, one.full_name, one.email, just_asked=True) for one in found]
    )


def is_ambiguous(found: list[PersonMatch]) -> bool:
    """Return whether these are several people who do not all share one address."""
    return len(found) > 1 and len({folded(one.email or str(one.coworker_id)) for one in found}) > 1


def print_candidates(found: list[PersonMatch], *, whole: bool) -> None:
    """Print the matching people on standard error, and how to choose one."""
    click.echo("Several people match. Use the Id of one of them:", err=True)
    for one in found:
        address = one.email if whole else shortened(one.email)
        line = f"  {one.coworker_id}  {one.full_name}{f'  {address}' if address else ''}"
        click.echo(printable(line), err=True)


def _by_name(connection: Connection, typed: str) -> list[PersonMatch]:
    """Return the people who were read or only listed, each once, sorted by name."""
    found = {one.coworker_id: _read(one) for one in people_by_name(connection, typed)}
    for listed in members_by_name(connection, typed):
        if listed.coworker_id not in found:
            person = person_of(connection, listed.coworker_id)
            found[listed.coworker_id] = (
                PersonMatch(listed.coworker_id, listed.full_name, None, was_read=False)
                if person is None
                else _read(person)
            )
    in_order = sorted(found.values(), key=lambda one: (folded(one.full_name), one.coworker_id))
    return in_order[:_MOST_FOUND]


def _known(connection: Connection, coworker_id: int) -> PersonMatch | None:
    person = person_of(connection, coworker_id)
    if person is not None:
        return _read(person)
    name = name_of_member(connection, coworker_id)
    return None if name is None else PersonMatch(coworker_id, name, None, was_read=False)


def _read(person: Person) -> PersonMatch:
    return PersonMatch(person.coworker_id, person.full_name, person.email)


def _as_typed(argument: str) -> str:
    """Decode what Python could not: the locale may be ASCII where UTF-8 is typed."""
    try:
        is_text = argument.isascii() or bool(argument.encode())
    except UnicodeEncodeError:
        is_text = False
    try:
        return argument if is_text else os.fsencode(argument).decode()
    except UnicodeDecodeError:
        raise click.UsageError(
            "The name or address contains bytes that are not UTF-8 text. Use a terminal and a "
            "locale with UTF-8, for example LC_ALL=C.UTF-8."
        ) from None


def coworker_id_in(who: str) -> int | None:
    """Return `who` as an Id, or None if it is not one."""
    text = who.strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ID))
    return int(text) if is_number and 1 <= int(text) <= MAX_ID else None
