"""Copies of emails as they were written: what was sent, or would have been."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from ledger.tables import actions, copies
from ledger.upsert import insert_into
from schemas.states import ActionState


@dataclass(frozen=True, slots=True)
class Copy:
    """One email as written. `wording` names the version of its template."""

    wording: str
    message_id: str
    recipient: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)


def keep_copy(connection: Connection, action_id: int, copy: Copy, now: datetime) -> None:
    """Keep the copy of an action; a later writing of it takes its place."""
    values = {
        "written_at": now,
        "wording": copy.wording,
        "message_id": copy.message_id,
        "recipient": copy.recipient,
        "subject": copy.subject,
        "text": copy.text,
        "html": copy.html,
    }
    statement = insert_into(connection, copies).values(action_id=action_id, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[copies.c.action_id], set_=values)
    )


def keep_copies_of_held(connection: Connection, written: Mapping[int, Copy], now: datetime) -> None:
    """Keep the copies of those actions that are still held.

    Of one that was released meanwhile the copy is what was sent, and stays.
    """
    held = (
        select(actions.c.id)
        .where(actions.c.id.in_(written), actions.c.state == ActionState.HELD)
        .order_by(actions.c.id)
        .with_for_update()
    )
    for action_id in connection.scalars(held).all():
        keep_copy(connection, action_id, written[action_id], now)


def copy_of(connection: Connection, action_id: int) -> Copy | None:
    """Return the copy of an action; None if it was never written, or is no longer kept."""
    row = connection.execute(select(copies).where(copies.c.action_id == action_id)).first()
    if row is None:
        return None
    return Copy(row.wording, row.message_id, row.recipient, row.subject, row.text, row.html)
