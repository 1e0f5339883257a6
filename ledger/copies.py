"""Copies of actions as they were prepared: what was sent, or would have been."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from ledger.tables import actions, copies
from ledger.upsert import insert_into
from schemas.states import ActionState


@dataclass(frozen=True, slots=True)
class Copy:
    """The body of one action, of type `media_type`, with the one line that names it in lists.

    `version` names the template or code that wrote it; "" if its kind has none. `recipient` is
    None where a kind has none.
    """

    version: str
    recipient: str | None = field(repr=False)
    title: str = field(repr=False)
    body: bytes = field(repr=False)
    media_type: str


def keep_copy(connection: Connection, action_id: int, copy: Copy, now: datetime) -> None:
    """Keep the copy of an action; a later one takes its place."""
    values = {
        "written_at": now,
        "version": copy.version,
        "recipient": copy.recipient,
        "title": copy.title,
        "body": copy.body,
        "media_type": copy.media_type,
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
    """Return the copy of an action; None if it was never prepared, or is no longer kept."""
    row = connection.execute(select(copies).where(copies.c.action_id == action_id)).first()
    if row is None:
        return None
    return Copy(row.version, row.recipient, row.title, row.body, row.media_type)
