"""What was proved about this tenant, and when: whether rows of several Ids are whole records."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from ledger.tables import controls
from ledger.upsert import insert_into
from schemas.entity import Entity
from schemas.skew import is_within

HOLDS_FOR = timedelta(days=30)  # a proof older than that is made again before it is used
_NAME = "several-by-id:"


@dataclass(frozen=True, slots=True)
class Proof:
    """How a probe ended. `sentence` says by how many records, or what stood against it."""

    holds: bool
    sentence: str
    probed_at: datetime


def keep_proof(connection: Connection, entity: Entity, proof: Proof) -> None:
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
