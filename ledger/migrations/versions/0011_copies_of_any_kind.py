"""Copies of actions of any kind: one body with its media type, and a recipient if there is one.

What is kept of emails becomes a message with the same Message-ID, subject, text and HTML.

Revision ID: 0011
Revises: 0010
"""

from collections.abc import Callable
from email import message_from_bytes
from email.header import Header, decode_header, make_header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
oldest_code = "0011"

_AT_ONCE = 500
_MESSAGE = "message/rfc822"
_COPIES = sa.table(
    "copies",
    sa.column("action_id", sa.BigInteger),
    sa.column("recipient", sa.Text),
    sa.column("title", sa.Text),
    sa.column("message_id", sa.String),
    sa.column("text", sa.Text),
    sa.column("html", sa.Text),
    sa.column("body", sa.LargeBinary),
    sa.column("media_type", sa.String),
)


def upgrade() -> None:
    with op.batch_alter_table("copies") as batch:
        batch.alter_column("wording", new_column_name="version", existing_type=sa.String(64))
        batch.alter_column("subject", new_column_name="title", existing_type=sa.Text())
        batch.alter_column("recipient", nullable=True, existing_type=sa.Text())
        batch.add_column(sa.Column("body", sa.LargeBinary(), nullable=True))
        batch.add_column(sa.Column("media_type", sa.String(64), nullable=True))
    _change_each(lambda row: {"body": _message(row), "media_type": _MESSAGE})
    with op.batch_alter_table("copies") as batch:
        batch.alter_column("body", nullable=False, existing_type=sa.LargeBinary())
        batch.alter_column("media_type", nullable=False, existing_type=sa.String(64))
        batch.drop_column("message_id")
        batch.drop_column("text")
        batch.drop_column("html")


def downgrade() -> None:
    with op.batch_alter_table("copies") as batch:
        batch.add_column(sa.Column("message_id", sa.String(255), nullable=True))
        batch.add_column(sa.Column("text", sa.Text(), nullable=True))
        batch.add_column(sa.Column("html", sa.Text(), nullable=True))
    _change_each(_parts)
    with op.batch_alter_table("copies") as batch:
        batch.alter_column("version", new_column_name="wording", existing_type=sa.String(64))
        batch.alter_column("title", new_column_name="subject", existing_type=sa.Text())
        batch.alter_column("recipient", nullable=False, existing_type=sa.Text())
        batch.alter_column("message_id", nullable=False, existing_type=sa.String(255))
        batch.alter_column("text", nullable=False, existing_type=sa.Text())
        batch.alter_column("html", nullable=False, existing_type=sa.Text())
        batch.drop_column("body")
        batch.drop_column("media_type")


def _change_each(values: Callable[[Any], dict[str, object]]) -> None:
    """Update every row with what `values` makes of it, some rows at a time."""
    connection, last = op.get_bind(), -1
    some = sa.select(_COPIES).order_by(_COPIES.c.action_id).limit(_AT_ONCE)
    change = sa.update(_COPIES).where(_COPIES.c.action_id == sa.bindparam("which"))
    while rows := connection.execute(some.where(_COPIES.c.action_id > last)).all():
        last = rows[-1].action_id
        connection.execute(change, [values(row) | {"which": row.action_id} for row in rows])


def _message(row: sa.Row[Any]) -> bytes:
    message: Any = MIMEMultipart("alternative")  # the stubs know of headers that are str only
    headers = {"To": row.recipient, "Subject": row.title, "Message-ID": row.message_id}
    for name, text in headers.items():
        message[name] = Header(text, maxlinelen=10_000)  # never folded
    message.attach(MIMEText(row.text, "plain", "utf-8"))
    message.attach(MIMEText(row.html, "html", "utf-8"))
    return bytes(message.as_bytes())


def _parts(row: sa.Row[Any]) -> dict[str, object]:
    found = {"message_id": "", "text": "", "html": "", "recipient": row.recipient or ""}
    if row.media_type != _MESSAGE:
        return found | {"text": bytes(row.body).decode("utf-8", "replace")}
    message = message_from_bytes(bytes(row.body))
    found["message_id"] = str(make_header(decode_header(str(message["Message-ID"]))))
    for part in message.walk():
        raw, name = part.get_payload(decode=True), part.get_content_subtype()
        if isinstance(raw, bytes) and name in {"plain", "html"}:
            key = "text" if name == "plain" else "html"
            found[key] = raw.decode().replace("\r\n", "\n")
    return found
