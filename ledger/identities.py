"""Which operator a person at a sign-in provider is.

An account is connected once: by its one-time link, or by an address that an administrator entered
and the provider verified. From then on only the provider's own identifier counts, and the address
is forgotten, so the next owner of the address gets no account.
"""

from datetime import datetime

from sqlalchemy import Connection, select, update

from ledger.interventions import log_decision
from ledger.operators import Operator, end_sessions, is_of, operator_of, spend_link
from ledger.tables import operators
from schemas.identity import Identity, email_key


def operator_at_provider(connection: Connection, identity: Identity) -> Operator | None:
    """Return the open account of this person; None if there is none."""
    row = connection.execute(select(operators).where(is_of(identity))).one_or_none()
    return None if row is None else operator_of(row)


def is_invited(connection: Connection, address: str) -> bool:
    """Return whether some account may be connected by this address."""
    wanted = select(operators.c.id).where(operators.c.email == email_key(address))
    return connection.scalar(wanted) is not None


def invite(
    connection: Connection, operator: Operator, address: str, who: str, now: datetime
) -> bool:
    """Let who reads this mailbox connect the account, in place of who is connected. Logged.

    The sessions of the account end. False if another account has the address, or this one was
    closed.
    """
    taken = select(operators.c.id).where(
        operators.c.email == email_key(address), operators.c.id != operator.operator_id
    )
    if connection.scalar(taken) is not None:
        return False
    changed = connection.execute(
        update(operators)
        .where(operators.c.id == operator.operator_id, operators.c.closed_at.is_(None))
        .values(email=email_key(address), issuer=None, subject=None)
    )
    if not changed.rowcount:
        return False
    end_sessions(connection, operator.operator_id, now)
    log_decision(
        connection, "user", who, now, {"operator_id": operator.operator_id, "invited": True}
    )
    return True


def connect_invited(
    connection: Connection, address: str, identity: Identity, now: datetime
) -> Operator | None:
    """Connect the account that this verified address was entered for; None if there is none."""
    row = connection.execute(
        update(operators)
        .where(
            operators.c.email == email_key(address),
            operators.c.subject.is_(None),
            operators.c.closed_at.is_(None),
        )
        .values(issuer=identity.issuer, subject=identity.subject, email=None)
        .returning(operators)
    ).one_or_none()
    return None if row is None else _noted(connection, operator_of(row), now)


def connect_by_link(
    connection: Connection, token: str, identity: Identity, now: datetime
) -> Operator | None:
    """Connect the account of a one-time link, in place of who was connected; its sessions end.

    None if the link is no longer usable. The caller checked that no other account is connected
    with this person.
    """
    operator_id = spend_link(connection, token, now)
    if operator_id is None:
        return None
    row = connection.execute(
        update(operators)
        .where(operators.c.id == operator_id)
        .values(issuer=identity.issuer, subject=identity.subject, email=None)
        .returning(operators)
    ).one()
    end_sessions(connection, operator_id, now)
    return _noted(connection, operator_of(row), now)


def _noted(connection: Connection, operator: Operator, now: datetime) -> Operator:
    detail = {"operator_id": operator.operator_id, "connected": True}
    log_decision(connection, "user", operator.name, now, detail)
    return operator
