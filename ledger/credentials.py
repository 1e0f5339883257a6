"""The sign-in at the source that all processes share, and what its answers were proven to mean.

The one sign-in at the source that all processes share.

A second password grant for the same client id ends the tokens of the first (contract, section 1),
so only one process at a time may sign in; the others wait for what it gets. Tokens are kept in the
database and nowhere else.

What was proved about this tenant, and when: whether rows of several Ids are whole records.

The courses that the source has, by the names that rules may use: one row beside the controls.

It is for finding names that no course has. What an email says comes from the record itself.
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
    """A token pair. `version` grows with each sign-in; 0 means there never was one.

    `use_until` is somewhat before the token expires. Before `refused_until` nobody asks for
    another: a storm of refused sign-ins can lock the user (contract, section 1).
    """

    version: int
    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    signed_in_at: datetime | None
    use_until: datetime | None
    refused_until: datetime | None = None


def sign_in_of(connection: Connection) -> SignIn:
    """Return the sign-in as it stands."""
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
    """Put a new sign-in in place of the old one."""
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


HOLDS_FOR = timedelta(days=30)  # a proof older than that is made again before it is used
_NAME = "several-by-id:"


@dataclass(frozen=True, slots=True)
class Proof:
    """How a probe ended. `sentence` says by how many records, or what stood against it."""

    holds: bool
    sentence: str
    probed_at: datetime


def store_proof(connection: Connection, entity: Entity, proof: Proof) -> None:
    """Keep how a probe ended, in place of the one before."""
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
    """Return the last probe of each kind of record."""
    rows = connection.execute(
        select(controls.c.name, controls.c.value, controls.c.changed_at).where(
            controls.c.name.startswith(_NAME)
        )
    )
    found = {}
    for row in rows:
        said = json.loads(row.value)
        entity = Entity(row.name.removeprefix(_NAME))
        found[entity] = Proof(said["holds"], said["sentence"], row.changed_at)
    return found


def proved(connection: Connection, now: datetime) -> frozenset[Entity]:
    """Return the kinds of which several may be read with one question now."""
    return frozenset(
        entity
        for entity, proof in proofs(connection).items()
        if proof.holds and is_within(proof.probed_at, now, HOLDS_FOR)
    )


_CATALOGUE_NAME = "catalogue"


def store_catalogue(connection: Connection, catalogue: Catalogue) -> None:
    """Keep what the source has, in place of what it had before."""
    value = {
        "courses": list(catalogue.courses.items()),
        "groups": sorted(catalogue.groups, key=str),
        "locations": list(catalogue.locations.items()),
    }
    set_value(connection, _CATALOGUE_NAME, json.dumps(value), "check", catalogue.seen_at)


def catalogue_of(connection: Connection) -> Catalogue | None:
    """Return what the source had when its courses were last listed; None if they never were."""
    row = connection.execute(select(controls).where(controls.c.name == _CATALOGUE_NAME)).first()
    if row is None:
        return None
    said = json.loads(json.loads(row.value))
    return Catalogue(
        dict(said["courses"]), frozenset(said["groups"]), dict(said["locations"]), row.changed_at
    )
