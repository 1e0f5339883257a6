"""Shared state about the source: the sign-in, the results of probes, and the course catalogue.

A second password grant for the same client id ends the tokens of the first (contract, section 1),
so only one process signs in at a time and the others use its tokens, which are stored only here.
A probe shows whether a request for several Ids returns whole records. The catalogue is used to
find names in rules that no course has; emails take names from records.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from ledger.controls import set_value
from ledger.engine import insert_into
from ledger.tables import controls, sign_ins
from schemas.entity import Entity
from schemas.events import is_within
from schemas.rules import Catalogue

_SOURCE = "source"


@dataclass(frozen=True, slots=True)
class SignIn:
    """A token pair. `version` grows with each sign-in; 0 means there was none.

    `use_until` is shortly before the token expires. No process signs in before `refused_until`:
    repeated refused sign-ins can lock the user (contract, section 1).
    """

    version: int
    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    signed_in_at: datetime | None
    use_until: datetime | None
    refused_until: datetime | None = None


def sign_in_of(connection: Connection) -> SignIn:
    """Return the current sign-in."""
    row = connection.execute(select(sign_ins).where(sign_ins.c.name == _SOURCE)).first()
    if row is None:
        return SignIn(0, None, None, None, None)
    return SignIn(
        row.version,
        row.access_token,
        row.refresh_token,
        row.signed_in_at,
        row.use_until,
        row.refused_until,
    )


def store_sign_in(connection: Connection, sign_in: SignIn) -> None:
    """Store a new sign-in, replacing the old one."""
    values = {
        "version": sign_in.version,
        "access_token": sign_in.access_token,
        "refresh_token": sign_in.refresh_token,
        "signed_in_at": sign_in.signed_in_at,
        "use_until": sign_in.use_until,
        "refused_until": sign_in.refused_until,
    }
    statement = insert_into(connection, sign_ins).values(name=_SOURCE, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[sign_ins.c.name], set_=values)
    )


HOLDS_FOR = timedelta(days=30)  # an older proof is repeated before it is used
_NAME = "several-by-id:"


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of a probe. `sentence`: with how many records, or why it failed."""

    holds: bool
    sentence: str
    probed_at: datetime


def store_proof(connection: Connection, entity: Entity, proof: Proof) -> None:
    """Store the result of a probe, replacing the previous one."""
    values = {
        "value": json.dumps({"holds": proof.holds, "sentence": proof.sentence}),
        "changed_at": proof.probed_at,
        "changed_by": "probe",
    }
    statement = insert_into(connection, controls).values(name=_NAME + entity, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[controls.c.name], set_=values)
    )


def proofs(connection: Connection) -> dict[Entity, Proof]:
    """Return the latest probe of each kind of record."""
    rows = connection.execute(
        select(controls.c.name, controls.c.value, controls.c.changed_at).where(
            controls.c.name.startswith(_NAME)
        )
    )
    found = {}
    for row in rows:
        stored = json.loads(row.value)
        entity = Entity(row.name.removeprefix(_NAME))
        found[entity] = Proof(stored["holds"], stored["sentence"], row.changed_at)
    return found


def proved(connection: Connection, now: datetime) -> frozenset[Entity]:
    """Return the kinds of which several records may be read with one request now."""
    return frozenset(
        entity
        for entity, proof in proofs(connection).items()
        if proof.holds and is_within(proof.probed_at, now, HOLDS_FOR)
    )


_CATALOGUE_NAME = "catalogue"


def store_catalogue(connection: Connection, catalogue: Catalogue) -> None:
    """Store the catalogue, replacing the previous one."""
    value = {
        "courses": list(catalogue.courses.items()),
        "groups": sorted(catalogue.groups, key=str),
        "locations": list(catalogue.locations.items()),
    }
    set_value(connection, _CATALOGUE_NAME, json.dumps(value), "check", catalogue.seen_at)


def catalogue_of(connection: Connection) -> Catalogue | None:
    """Return the catalogue as of the last list of courses; None if there was none."""
    row = connection.execute(select(controls).where(controls.c.name == _CATALOGUE_NAME)).first()
    if row is None:
        return None
    stored = json.loads(json.loads(row.value))
    return Catalogue(
        dict(stored["courses"]),
        frozenset(stored["groups"]),
        dict(stored["locations"]),
        row.changed_at,
    )
