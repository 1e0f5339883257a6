"""Emails that were or may have been sent, and which of them a report of the mail provider is about.

They are those of actions, and alerts, summaries and digests, which are reports of ours.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select

from ledger.engine import insert_into
from ledger.mail_reports import StoredReport
from ledger.tables import actions, reports, sent_emails
from schemas.mail_reports import ReportKind

_RECENT = timedelta(days=14)  # an email that a bounce without any id may be about
_BOUNCES = frozenset({ReportKind.HARD_BOUNCE, ReportKind.SOFT_BOUNCE})
_MOST_TO_ONE = 50  # emails to one address that are compared
_SHORTEST_ID = 10  # characters; shorter words of a receipt are codes
_SENT = (
    select(
        sent_emails.c.action_id,
        sent_emails.c.report_id,
        sent_emails.c.address_hash,
        sent_emails.c.sent_at,
        func.coalesce(actions.c.coworker_id, reports.c.coworker_id).label("coworker_id"),
        func.coalesce(actions.c.audience, reports.c.audience).label("audience"),
        func.coalesce(actions.c.receipt, reports.c.receipt).label("receipt"),
        reports.c.name,
    )
    .outerjoin(actions, actions.c.id == sent_emails.c.action_id)
    .outerjoin(reports, reports.c.id == sent_emails.c.report_id)
)


_Row = Row[Any, Any, Any, Any, Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class SentEmail:
    """An email that a report is about, and the hash of the address it was sent to.

    It is that of an action, or an alert, a summary or a digest called `name`. `audience` is whom it
    was to; None: the member with this Id.
    """

    action_id: int | None
    report_id: int | None
    address_hash: str
    coworker_id: int | None
    audience: str | None
    name: str | None


def note_sent(  # noqa: PLR0913 - which email, of what, to whom and when
    connection: Connection,
    reference: str,
    hashed: str,
    now: datetime,
    *,
    action_key: str | None = None,
    report_id: int | None = None,
) -> None:
    """Note that an email with this reference is about to be sent to the address of this hash."""
    action_id = None
    if action_key is not None:
        action_id = select(actions.c.id).where(actions.c.key == action_key).scalar_subquery()
    values = {
        "action_id": action_id,
        "report_id": report_id,
        "address_hash": hashed,
        "sent_at": now,
    }
    statement = insert_into(connection, sent_emails).values(reference=reference, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[sent_emails.c.reference], set_=values)
    )


def email_of(connection: Connection, report: StoredReport) -> SentEmail | None:
    """Return the email that a report is about; None if we did not send it, or not yet.

    It is found by our reference, else by the provider's id in the receipt of an email to the same
    address. A bounce with neither is about the last email to that address; any other report may be
    about what another program sent there.
    """
    if report.reference is not None:
        row = connection.execute(
            _SENT.where(sent_emails.c.reference == report.reference)
        ).one_or_none()
        if row is not None:
            return _sent(row)
    if report.address_hash is None:
        return None
    rows = connection.execute(
        _SENT.where(sent_emails.c.address_hash == report.address_hash)
        .order_by(sent_emails.c.sent_at.desc())
        .limit(_MOST_TO_ONE)
    ).all()
    if report.message_id is not None:
        named = (_sent(row) for row in rows if _is_named(report.message_id, row.receipt))
        return next(named, None)
    if report.reference is not None or report.kind not in _BOUNCES:
        return None
    recent = (row for row in rows if row.sent_at >= report.happened_at - _RECENT)
    return next(map(_sent, recent), None)


def _is_named(message_id: str, receipt: str | None) -> bool:
    """Return whether a receipt has the provider's id, to which reports may add a dot and more."""
    name = f"{message_id.strip('<>')}."
    words = (word for word in (receipt or "").split() if len(word) >= _SHORTEST_ID)
    return any(name.startswith(f"{word}.") for word in words)


def _sent(row: _Row) -> SentEmail:
    return SentEmail(
        row.action_id, row.report_id, row.address_hash, row.coworker_id, row.audience, row.name
    )
