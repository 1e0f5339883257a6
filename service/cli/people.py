"""Finds people by what an operator typed: an address, an Id, or part of a name."""

import os
from dataclasses import dataclass

import click

from schemas.errors import SourceError
from schemas.settings import Settings
from schemas.text import folded, is_one_line
from service.cli.common import command_clock, printable, reason_given, shortened, with_own_broker
from service.cli.source_access import open_sync
from service.people_search import PersonMatch
from workers.source.limits import Patience, Urgency
from workers.source.reads import enrolled_coworkers

NOBODY_KNOWN = "Coursebell knows no member with this name, address or Id."
_MOST_FOUND = 20
_LONGEST_ADDRESS = 254  # characters; RFC 5321, section 4.5.3.1
_PATIENCE_S = 10.0  # no request to Nexudus starts later than this


@dataclass(frozen=True, slots=True)
class PeopleQuery:
    """Who has an address at Nexudus. `error` is why Nexudus could not be asked."""

    people: list[PersonMatch]
    error: str | None = None


def unknown_address(who: str, known: list[PersonMatch]) -> str | None:
    """Return `who` if it is a whole address that none of these people has, else None."""
    typed = as_typed(who).strip()
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


def print_candidates(found: list[PersonMatch], *, whole: bool) -> None:
    """Print the matching people on standard error, and how to choose one."""
    click.echo("Several people match. Use the Id of one of them:", err=True)
    for one in found:
        address = one.email if whole else shortened(one.email)
        line = f"  {one.coworker_id}  {one.full_name}{f'  {address}' if address else ''}"
        click.echo(printable(line), err=True)


def as_typed(argument: str) -> str:
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
