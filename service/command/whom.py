"""Who is meant by what somebody typed: an address, an Id, or a part of a name."""

from ledger.engine import Connection
from ledger.people import Person, people_by_email, people_by_name, person_of
from schemas.fields import LARGEST_ID


def people_meant(connection: Connection, who: str) -> list[Person]:
    """Return everybody this may mean, of those we know.

    It is an address, the Id of a coworker, or a part of a name or of what stands before the @.
    """
    if "@" in who:
        return people_by_email(connection, who)
    coworker_id = coworker_id_in(who)
    known = None if coworker_id is None else person_of(connection, coworker_id)
    return people_by_name(connection, who) if known is None else [known]


def coworker_id_in(who: str) -> int | None:
    """Return the Id that this is, or None."""
    text = who.strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_ID))
    return int(text) if is_number and 1 <= int(text) <= LARGEST_ID else None
