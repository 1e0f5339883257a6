"""Stores what members chose about emails, under keyed hashes, so that it survives an erase.

A choice is stored under the hash of an address and under that of the coworker's Id. So it still
counts after the address changed in Nexudus, after the member was erased, and for a new record with
the same address.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from ledger.engine import insert_into
from ledger.tables import choices
from schemas.choices import Choice, ChoiceOrigin, Choices, combined
from schemas.text import ascii_domain

_CHOICES_OF = select(choices).where(choices.c.address_hash.in_(bindparam("these", expanding=True)))


def address_hash(email: str, secret_key: str) -> str:
    """Return the keyed hash of an address.

    Only case and composed or decomposed accents are ignored, less than in `folded`: a choice must
    not apply to another mailbox.
    """
    address = unicodedata.normalize("NFC", email.strip()).lower()
    return _hashed(address, secret_key)


def mailbox_hash(email: str, secret_key: str) -> str:
    """Return the keyed hash of an address as mail servers name it: with its domain in ASCII.

    Nexudus may have the domain in its own script, and a mail provider report it in ASCII. For most
    addresses it is the same as `address_hash`.
    """
    local, _, domain = unicodedata.normalize("NFC", email.strip()).rpartition("@")
    return address_hash(f"{local}@{ascii_domain(domain.lower()) or domain}", secret_key)


def choice_keys(secret_key: str, coworker_id: int, email: str | None) -> frozenset[str]:
    """Return the keys under which the choices of a coworker with this address are stored."""
    # Addresses are hashed in lower case, so none has this hash.
    own = _hashed(f"COWORKER {coworker_id}", secret_key)
    return address_keys(secret_key, email) | {own}


def address_keys(secret_key: str, email: str | None) -> frozenset[str]:
    """Return the keys under which the choices of an address are stored."""
    if not email:
        return frozenset()
    return frozenset({address_hash(email, secret_key), mailbox_hash(email, secret_key)})


def _hashed(text: str, secret_key: str) -> str:
    return hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def choices_of(connection: Connection, keys: Collection[str]) -> Choices:
    """Return what the member with these keys chose."""
    rows = connection.execute(_CHOICES_OF, {"these": sorted(keys)})
    return combined((row.stream, _choice(row)) for row in rows)


def all_choices(connection: Connection) -> dict[str, list[tuple[str, Choice]]]:
    """Return all choices by key, each with its stream; combine those of one member's keys."""
    found: dict[str, list[tuple[str, Choice]]] = {}
    for row in connection.execute(select(choices)):
        found.setdefault(row.address_hash, []).append((row.stream, _choice(row)))
    return found


def store_choices(
    connection: Connection, keys: Collection[str], chosen: Mapping[str, Choice]
) -> None:
    """Store choices by stream, "all" or "snooze" under each of these keys."""
    # In one order, so that two transactions never deadlock.
    for key in sorted(keys):
        for name, choice in sorted(chosen.items()):
            values = {
                "choice": "yes" if choice.agreed else "no",
                "chosen_at": choice.chosen_at,
                "until": choice.until,
                "origin": choice.origin,
            }
            statement = insert_into(connection, choices).values(
                address_hash=key, stream=name, **values
            )
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[choices.c.address_hash, choices.c.stream], set_=values
                )
            )


def _choice(row: Row[Any]) -> Choice:
    return Choice(
        row.choice == "yes",
        row.chosen_at,
        row.until,
        None if row.origin is None else ChoiceOrigin(row.origin),
    )
