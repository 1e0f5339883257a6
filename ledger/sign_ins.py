"""The one sign-in at the source that all processes share.

A second password grant for the same client id ends the tokens of the first (contract, section 1),
so only one process at a time may sign in; the others wait for what it gets. Tokens are kept in the
database and nowhere else.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from ledger.tables import sign_ins
from ledger.upsert import insert_into

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


def keep_sign_in(connection: Connection, sign_in: SignIn) -> None:
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
