"""Copies of emails as they were written: what was sent, or would have been."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from ledger.tables import copies
from ledger.upsert import insert_into


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


def copy_of(connection: Connection, action_id: int) -> Copy | None:
    """Return the copy of an action; None if it was never written, or is no longer kept."""
    row = connection.execute(select(copies).where(copies.c.action_id == action_id)).first()
    if row is None:
        return None
    return Copy(row.wording, row.message_id, row.recipient, row.subject, row.text, row.html)
