"""Which operator a person at a sign-in provider is.

An account is connected once: by its one-time link, or by an address that an administrator entered
and the provider verified. From then on only the provider's own identifier counts, and the address
is forgotten, so the next owner of the address gets no account. An account has one way to sign in:
a new address, connection or password ends the earlier ways.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, select, update

from ledger.interventions import log_decision
from ledger.operators import (
    CLOSED,
    Operator,
    end_links,
    end_sessions,
    is_of,
    operator_of,
    spend_link,
)
from ledger.tables import operators
from schemas.identity import Identity, email_key

# Of an account whose password was never chosen it stays so: its owner may still change the name.
_NO_PASSWORD = case((operators.c.password_hash.is_(None), None), else_=CLOSED)


def operator_at_provider(connection: Connection, identity: Identity) -> Operator | None:
    """Return the open account of this person; None if there is none."""
    row = connection.execute(select(operators).where(is_of(identity))).one_or_none()
    return None if row is None else operator_of(row)


def invite(
    connection: Connection, operator: Operator, address: str, who: str, now: datetime
) -> bool:
    """Let who reads this mailbox connect the account, in place of who has it. Logged.

    The password, the connection, the links and the sessions of the account end. False if another
    account has the address, or this one was closed.
    """
    taken = select(operators.c.id).where(
        operators.c.email == email_key(address), operators.c.id != operator.operator_id
    )
    if connection.scalar(taken) is not None:
        return False
    changed = connection.execute(
        update(operators)
        .where(operators.c.id == operator.operator_id, operators.c.closed_at.is_(None))
        .values(email=email_key(address), issuer=None, subject=None, password_hash=_NO_PASSWORD)
    )
    if not changed.rowcount:
        return False
    end_links(connection, operator.operator_id, now)
    end_sessions(connection, operator.operator_id, now)
    log_decision(
        connection, "user", who, now, {"operator_id": operator.operator_id, "invited": True}
    )
    return True


def connect_invited(
    connection: Connection, address: str, identity: Identity, now: datetime
) -> Operator | None:
    """Connect the account that this verified address was entered for; None if there is none."""
    is_invited = and_(
        operators.c.email == email_key(address),
        operators.c.subject.is_(None),
        operators.c.closed_at.is_(None),
    )
    return _connected(connection, is_invited, identity, now)


def connect_by_link(
    connection: Connection, token: str, identity: Identity, now: datetime
) -> Operator | None:
    """Connect the account of a one-time link, in place of who had it: password and sessions end.

    None if the link is no longer usable. The caller checked that no other account is connected
    with this person.
    """
    operator_id = spend_link(connection, token, now)
    if operator_id is None:
        return None
    return _connected(connection, operators.c.id == operator_id, identity, now)


def _connected(
    connection: Connection, which: ColumnElement[bool], identity: Identity, now: datetime
) -> Operator | None:
    row = connection.execute(
        update(operators)
        .where(which)
        .values(issuer=identity.issuer, subject=identity.subject, email=None, password_hash=CLOSED)
        .returning(operators)
    ).one_or_none()
    if row is None:
        return None
    operator = operator_of(row)
    end_sessions(connection, operator.operator_id, now)
    detail = {"operator_id": operator.operator_id, "connected": True}
    log_decision(connection, "user", operator.name, now, detail)
    return operator
