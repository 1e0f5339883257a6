"""Who is meant by what somebody typed: an address, an Id, or a part of a name."""

import os

import click

from ledger.engine import Connection
from ledger.people import (
    Person,
    people_by_address_part,
    people_by_email,
    people_by_name,
    person_of,
)
from schemas.fields import LARGEST_ID
from schemas.text import folded
from service.command.common import printable, shortened


def people_meant(connection: Connection, who: str) -> list[Person]:
    """Return everybody this may mean, of those we know.

    It is an address or a part of one with the @, the Id of a coworker, or a part of a name or of
    what stands before the @. Those whose whole name or address it is are meant before all others.

    Raises:
        click.UsageError: it is not text in the encoding of this terminal, nor in UTF-8.
    """
    typed = _as_typed(who)
    if "@" in typed:
        return people_by_email(connection, typed) or people_by_address_part(connection, typed)
    coworker_id = coworker_id_in(typed)
    known = None if coworker_id is None else person_of(connection, coworker_id)
    if known is not None:
        return [known]
    found = people_by_name(connection, typed)
    return [one for one in found if folded(typed) == folded(one.full_name)] or found


def is_ambiguous(found: list[Person]) -> bool:
    """Say whether these are several people; those who share one address are meant together."""
    return len(found) > 1 and len({folded(one.email or str(one.coworker_id)) for one in found}) > 1


def say_which(found: list[Person], *, whole: bool) -> None:
    """Tell on stderr who may be meant, and how to say which."""
    click.echo("That may be each of these; take the Id of one:", err=True)
    for one in found:
        address = one.email if whole else shortened(one.email)
        line = f"  {one.coworker_id}  {one.full_name}{f'  {address}' if address else ''}"
        click.echo(printable(line), err=True)


def _as_typed(argument: str) -> str:
    """Read again what Python could not decode: a locale may say ASCII where UTF-8 is typed."""
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
    """Return the Id that this is, or None."""
    text = who.strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_ID))
    return int(text) if is_number and 1 <= int(text) <= LARGEST_ID else None
