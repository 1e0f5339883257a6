"""The courses that the source has, by the names that rules may use: one row beside the controls.

It is for finding names that no course has. What an email says comes from the record itself.
"""

import json

from sqlalchemy import Connection, select

from ledger.controls import set_value
from ledger.tables import controls
from schemas.rules import Catalogue

_NAME = "catalogue"


def keep_catalogue(connection: Connection, catalogue: Catalogue) -> None:
    """Keep what the source has, in place of what it had before."""
    value = {
        "courses": list(catalogue.courses.items()),
        "groups": sorted(catalogue.groups, key=str),
        "locations": list(catalogue.locations.items()),
    }
    set_value(connection, _NAME, json.dumps(value), "check", catalogue.seen_at)


def catalogue_of(connection: Connection) -> Catalogue | None:
    """Return what the source had when its courses were last listed; None if they never were."""
    row = connection.execute(select(controls).where(controls.c.name == _NAME)).first()
    if row is None:
        return None
    said = json.loads(json.loads(row.value))
    return Catalogue(
        dict(said["courses"]), frozenset(said["groups"]), dict(said["locations"]), row.changed_at
    )
