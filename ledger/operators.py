"""Accounts of operators, the one-time links to choose a password, and sessions."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, false, insert, or_, select, update

from ledger.engine import insert_into
from ledger.interventions import log_decision
from ledger.tables import operator_links, operator_sessions, operators
from schemas.identity import Identity
from schemas.roles import Role
from schemas.text import folded

CLOSED = "closed"  # in place of a password's hash: no password signs in any more
LINK_LASTS = timedelta(hours=24)
IDLE = timedelta(days=7)  # a session that is not used ends
LONGEST = timedelta(days=30)  # from one sign-in to the next
_SEEN_EVERY = timedelta(minutes=5)  # how exactly the last use of a session is stored


@dataclass(frozen=True, slots=True)
class Operator:
    """One account. `password_hash` is None until a password was chosen.

    `identity` is who signs in with it at a provider, `email` who may connect it with one.
    """

    operator_id: int
    name: str
    role: Role
    made_at: datetime
    made_by: str
    password_hash: str | None = field(repr=False)
    closed_at: datetime | None = None
    identity: Identity | None = None
    email: str | None = field(default=None, repr=False)

    @property
    def has_signed_in(self) -> bool:
        """Whether its owner chose a password or connected it with a provider; not if closed."""
        return (self.has_password or self.identity is not None) and self.closed_at is None

    @property
    def has_password(self) -> bool:
        """Whether a password signs in to it."""
        return self.password_hash not in {None, CLOSED} and self.closed_at is None


@dataclass(frozen=True, slots=True)
class OperatorSession:
    """A browser in which an operator is signed in. `session_id` is the digest of its token."""

    session_id: str
    operator_id: int
    made_at: datetime
    seen_at: datetime
    client: str

    def ends_at(self) -> datetime:
        """Return when it ends if it is not used again."""
        return min(self.seen_at + IDLE, self.made_at + LONGEST)


def digest_of(token: str) -> str:
    """Return what is stored of a token, which has enough bits that no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def name_key(name: str) -> str:
    """Return the form in which names are compared."""
    return folded(name.strip())[:64]


def add_operator(
    connection: Connection, name: str, role: Role, who: str, now: datetime
) -> Operator | None:
    """Add an account without a password and log it; None if the name is taken."""
    values = {"name": name.strip()[:64], "role": role, "made_at": now, "made_by": who[:64]}
    row = connection.execute(
        insert_into(connection, operators)
        .values(**values, name_key=name_key(name))
        .on_conflict_do_nothing()
        .returning(operators)
    ).one_or_none()
    if row is None:
        return None
    log_decision(connection, "user", who, now, {"operator_id": row.id, "added": role})
    return operator_of(row)


def all_operators(connection: Connection) -> list[Operator]:
    """Return all accounts, closed ones included, in the order of their names."""
    rows = connection.execute(select(operators).order_by(operators.c.name_key))
    return [operator_of(row) for row in rows]


def has_operators(
    connection: Connection, *, passwords: bool = True, issuer: str | None = None
) -> bool:
    """Return whether an operator can sign in: with a password, or at the provider `issuer`."""
    ways = [operators.c.password_hash != CLOSED] if passwords else []
    ways += [] if issuer is None else [operators.c.issuer == issuer]
    usable = and_(operators.c.closed_at.is_(None), or_(false(), *ways))
    return bool(connection.scalar(select(operators.c.id).where(usable).limit(1)))


def operator_named(connection: Connection, name: str) -> Operator | None:
    """Return the account with this name, closed or not; None if there is none."""
    wanted = select(operators).where(operators.c.name_key == name_key(name))
    row = connection.execute(wanted).one_or_none()
    return None if row is None else operator_of(row)


def change_role(
    connection: Connection, operator: Operator, role: Role, who: str, now: datetime
) -> None:
    """Give an account another role, and log it."""
    _change(connection, operator.operator_id, role=role)
    detail = {"operator_id": operator.operator_id, "role": role}
    log_decision(connection, "user", who, now, detail)


def close_operator(connection: Connection, operator: Operator, who: str, now: datetime) -> None:
    """Close an account: its sessions, links and connection with a provider end at once. Logged."""
    nobody = {"issuer": None, "subject": None, "email": None}
    _change(connection, operator.operator_id, closed_at=now, password_hash=CLOSED, **nobody)
    end_links(connection, operator.operator_id, now)
    end_sessions(connection, operator.operator_id, now)
    log_decision(
        connection, "user", who, now, {"operator_id": operator.operator_id, "closed": True}
    )


def make_link(
    connection: Connection, operator: Operator, token: str, who: str, now: datetime
) -> None:
    """Store a one-time link to choose a password, instead of earlier ones.

    A closed account is open again.
    """
    end_links(connection, operator.operator_id, now)
    _change(connection, operator.operator_id, closed_at=None)
    connection.execute(
        insert(operator_links).values(
            token_hash=digest_of(token),
            operator_id=operator.operator_id,
            made_at=now,
            ends_at=now + LINK_LASTS,
        )
    )
    log_decision(connection, "user", who, now, {"operator_id": operator.operator_id, "link": True})


def operator_of_link(connection: Connection, token: str, now: datetime) -> Operator | None:
    """Return whose a one-time link is; None if it is unknown, used, or too old."""
    row = connection.execute(
        select(operators)
        .join(operator_links, operator_links.c.operator_id == operators.c.id)
        .where(_usable(token, now), operators.c.closed_at.is_(None))
    ).one_or_none()
    return None if row is None else operator_of(row)


def use_link(
    connection: Connection, token: str, password_hash: str, now: datetime, name: str
) -> int | None:
    """Use a one-time link: store name and password, end all sessions. Return the account's id.

    Who was connected with it at a provider, or could be by address, no longer is.

    None if the link is no longer usable; of two uses at once only one succeeds. The caller checked
    that no other account has the name.
    """
    operator_id = spend_link(connection, token, now)
    if operator_id is None:
        return None
    nobody = {"issuer": None, "subject": None, "email": None}
    _change(connection, operator_id, name=name.strip()[:64], name_key=name_key(name), **nobody)
    set_password(connection, operator_id, password_hash, now)
    return operator_id


def spend_link(connection: Connection, token: str, now: datetime) -> int | None:
    """Mark a one-time link as used and return whose it is; None if it is no longer usable."""
    used = update(operator_links).where(_usable(token, now)).values(used_at=now)
    operator_id: int | None = connection.scalar(used.returning(operator_links.c.operator_id))
    return operator_id


def end_links(connection: Connection, operator_id: int, now: datetime) -> None:
    """End the one-time links of an account."""
    is_unused = and_(
        operator_links.c.operator_id == operator_id, operator_links.c.used_at.is_(None)
    )
    connection.execute(update(operator_links).where(is_unused).values(used_at=now))


def set_password(
    connection: Connection, operator_id: int, password_hash: str, now: datetime, keep: str = ""
) -> None:
    """Store another password and end all sessions of the account but `keep`."""
    _change(connection, operator_id, password_hash=password_hash)
    end_sessions(connection, operator_id, now, keep=keep)


def replace_hash(
    connection: Connection, operator_id: int, verified: str, password_hash: str
) -> bool:
    """Store another hash if the verified one is still there; return whether it was."""
    changed = update(operators).where(_has_password(operator_id, verified))
    return bool(connection.execute(changed.values(password_hash=password_hash)).rowcount)


def begin_session(  # noqa: PLR0913 - all there is to a session
    connection: Connection,
    operator: Operator,
    token: str,
    client: str,
    now: datetime,
    *,
    identity: Identity | None = None,
) -> bool:
    """Store that an operator signed in with a browser, by password or as `identity`.

    False if the account was closed or is signed in to in another way since `operator` was read.
    """
    as_before = _has_password(operator.operator_id, operator.password_hash or "")
    if identity is not None:
        as_before = and_(operators.c.id == operator.operator_id, is_of(identity))
    still = select(operators.c.id).where(as_before)
    if connection.scalar(still.with_for_update()) is None:
        return False
    connection.execute(
        insert(operator_sessions).values(
            token_hash=digest_of(token),
            operator_id=operator.operator_id,
            made_at=now,
            seen_at=now,
            client=client[:120],
        )
    )
    return True


def browser_owner(connection: Connection, session_id: str) -> int | None:
    """Return which account signed in with a browser before; `session_id` is its digest."""
    wanted = select(operator_sessions.c.operator_id)
    owner: int | None = connection.scalar(
        wanted.where(operator_sessions.c.token_hash == session_id)
    )
    return owner


def is_of(identity: Identity) -> ColumnElement[bool]:
    """Return the condition that an open account is connected with this person at a provider."""
    return and_(
        operators.c.issuer == identity.issuer,
        operators.c.subject == identity.subject,
        operators.c.closed_at.is_(None),
    )


def _has_password(operator_id: int, password_hash: str) -> ColumnElement[bool]:
    return and_(
        operators.c.id == operator_id,
        operators.c.password_hash == password_hash,
        operators.c.password_hash != CLOSED,
        operators.c.closed_at.is_(None),
    )


def signed_in(
    connection: Connection, token: str, now: datetime
) -> tuple[Operator, OperatorSession] | None:
    """Return the operator and session of a token; None if it is unknown or has ended."""
    row = connection.execute(
        select(operators, *_OF_SESSION)
        .join(operator_sessions, operator_sessions.c.operator_id == operators.c.id)
        .where(
            operator_sessions.c.token_hash == digest_of(token),
            operators.c.closed_at.is_(None),
            _is_open(now),
        )
    ).one_or_none()
    return None if row is None else (operator_of(row), _session(row))


def is_to_note(session: OperatorSession, now: datetime) -> bool:
    """Return whether the use of a session is to be stored, which is not done on each page."""
    return now - session.seen_at >= _SEEN_EVERY


def note_use(connection: Connection, session: OperatorSession, now: datetime) -> None:
    """Store that a session was used."""
    same = operator_sessions.c.token_hash == session.session_id
    connection.execute(update(operator_sessions).where(same).values(seen_at=now))


def sessions_of(connection: Connection, operator_id: int, now: datetime) -> list[OperatorSession]:
    """Return the open sessions of an account, the one used last first."""
    rows = connection.execute(
        select(*_OF_SESSION, operator_sessions.c.operator_id.label("id"))
        .where(operator_sessions.c.operator_id == operator_id, _is_open(now))
        .order_by(operator_sessions.c.seen_at.desc())
    )
    return [_session(row) for row in rows]


def end_sessions(
    connection: Connection,
    operator_id: int,
    now: datetime,
    *,
    only: str | None = None,
    keep: str = "",
) -> int:
    """End sessions of an account, all but `keep` or just `only`; return how many."""
    where = [
        operator_sessions.c.operator_id == operator_id,
        operator_sessions.c.ended_at.is_(None),
        operator_sessions.c.token_hash != keep,
    ]
    if only is not None:
        where.append(operator_sessions.c.token_hash == only)
    return connection.execute(update(operator_sessions).where(*where).values(ended_at=now)).rowcount


_OF_SESSION = (
    operator_sessions.c.token_hash,
    operator_sessions.c.made_at.label("began_at"),
    operator_sessions.c.seen_at,
    operator_sessions.c.client,
)


def _is_open(now: datetime) -> ColumnElement[bool]:
    return and_(
        operator_sessions.c.ended_at.is_(None),
        operator_sessions.c.seen_at > now - IDLE,
        operator_sessions.c.made_at > now - LONGEST,
    )


def _usable(token: str, now: datetime) -> ColumnElement[bool]:
    return and_(
        operator_links.c.token_hash == digest_of(token),
        operator_links.c.used_at.is_(None),
        operator_links.c.ends_at > now,
    )


def _change(connection: Connection, operator_id: int, **values: Any) -> None:  # noqa: ANN401 - columns
    connection.execute(update(operators).where(operators.c.id == operator_id).values(**values))


def operator_of(row: Row[Any]) -> Operator:
    """Return the account that a row of the table has."""
    return Operator(
        row.id,
        row.name,
        Role(row.role),
        row.made_at,
        row.made_by,
        row.password_hash,
        row.closed_at,
        None if row.issuer is None else Identity(row.issuer, row.subject),
        row.email,
    )


def _session(row: Row[Any, Any, Any, Any, Any] | Row[Any]) -> OperatorSession:
    return OperatorSession(row.token_hash, row.id, row.began_at, row.seen_at, row.client)
