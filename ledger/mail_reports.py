"""Stores what mail providers report, and finds the emails it is about.

Reports of the same event merge. A report that came before the email it is about was recorded as
sent stays pending and is looked at again.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    and_,
    exists,
    func,
    or_,
    select,
    update,
)

from ledger.engine import chunks, insert_into
from ledger.tables import PENDING_REPORTS, mail_reports, sent_emails
from schemas.mail_reports import MailReport, Provider, ReportKind

_FOUND_FOR = timedelta(hours=1)  # how long an email is searched for
_PAUSE = timedelta(seconds=30)  # before the second search; then as long as the report is old
_OLDEST = timedelta(days=365)  # before that, a date is a mistake, such as the year 1
# An email is of an action or a report. One statement for each finds it by an index; OR may not.
_OF_EMAIL = (
    sent_emails.c.action_id == mail_reports.c.action_id,
    sent_emails.c.report_id == mail_reports.c.report_id,
)
_ROWS = 200  # in one statement


class ReportState(StrEnum):
    """What became of a report."""

    PENDING = "pending"  # not applied yet
    APPLIED = "applied"
    NOT_OURS = "not-ours"  # about an email that we did not send
    OF_NO_USE = "of-no-use"


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One report as it is applied."""

    report_id: int
    provider: Provider
    kind: ReportKind
    happened_at: datetime
    received_at: datetime
    address_hash: str | None
    reference: str | None
    message_id: str | None
    code: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class ReportView:
    """One report as a person sees it."""

    kind: ReportKind
    provider: Provider
    happened_at: datetime
    code: str | None
    detail: str | None
    is_of_other: bool = False  # about another address than the email went to


@dataclass(frozen=True, slots=True)
class ReportCount:
    """How many reports of one kind a provider made, and the last; `not_ours` of them were not."""

    provider: Provider
    kind: ReportKind
    number: int
    not_ours: int
    last_at: datetime


def store_reports(
    connection: Connection,
    reports: Sequence[MailReport],
    hashed: Callable[[str], str],
    now: datetime,
) -> None:
    """Store reports; those of an event that is stored already change nothing."""
    rows = [_row(one, hashed, now) for one in reports]
    for start in range(0, len(rows), _ROWS):
        statement = insert_into(connection, mail_reports).values(rows[start : start + _ROWS])
        connection.execute(statement.on_conflict_do_nothing())


def store_once(
    connection: Connection,
    report: MailReport,
    token: str,
    hashed: Callable[[str], str],
    now: datetime,
) -> bool:
    """Store a report whose signature covers only `token`, not the report itself.

    Returns False, and stores nothing, if another report came with this token: then one of them was
    made up.
    """
    token_hash = _digest(token)
    row = _row(report, hashed, now) | {"token_hash": token_hash}
    connection.execute(insert_into(connection, mail_reports).values(row).on_conflict_do_nothing())
    known = _with_token(connection, token_hash)
    if known is None:
        # The event is stored with another token. This one must not serve for another event either.
        again = {
            "event_key": _digest("repeated", row["event_key"]),
            "kind": ReportKind.IGNORED,
            "state": ReportState.OF_NO_USE,
        }
        connection.execute(
            insert_into(connection, mail_reports).values(row | again).on_conflict_do_nothing()
        )
        return True
    return known in {row["event_key"], _digest("repeated", row["event_key"])}


def _with_token(connection: Connection, token_hash: str) -> str | None:
    found = select(mail_reports.c.event_key).where(mail_reports.c.token_hash == token_hash)
    return connection.scalar(found)


def _row(report: MailReport, hashed: Callable[[str], str], now: datetime) -> dict[str, Any]:
    of_no_use = report.kind in {ReportKind.IGNORED, ReportKind.UNREADABLE}
    address = None if report.recipient is None else hashed(report.recipient)
    return {
        "event_key": _digest(report.provider, report.kind, report.event_id, address or ""),
        "token_hash": None,
        "provider": report.provider,
        "kind": report.kind,
        "happened_at": _credible(report.happened_at, now),
        "received_at": now,
        "address_hash": None if of_no_use else address,
        "reference": report.reference,
        "message_id": report.message_id,
        "code": report.code,
        "detail": None if of_no_use else report.detail,
        "state": ReportState.OF_NO_USE if of_no_use else ReportState.PENDING,
        "due_at": now,
    }


def _credible(stated: datetime | None, now: datetime) -> datetime:
    # A time ahead of our clock would win against all later ones.
    return stated if stated is not None and now - _OLDEST <= stated <= now else now


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def pending_reports(connection: Connection, now: datetime, most: int) -> list[StoredReport]:
    """Return the next reports to apply, those of one email in the order in which they came."""
    rows = connection.execute(
        select(mail_reports)
        .where(PENDING_REPORTS, mail_reports.c.due_at <= now)
        .order_by(mail_reports.c.due_at, mail_reports.c.id)
        .limit(most)
    )
    return [_stored(row) for row in rows]


def _stored(row: Row[Any]) -> StoredReport:
    return StoredReport(
        row.id,
        Provider(row.provider),
        ReportKind(row.kind),
        row.happened_at,
        row.received_at,
        row.address_hash,
        row.reference,
        row.message_id,
        row.code,
        row.detail,
    )


def settle_report(
    connection: Connection, report: StoredReport, *, action_id: int | None, report_id: int | None
) -> None:
    """Record that a report was applied, and which action or report of ours it is about."""
    about = {"action_id": action_id, "report_id": report_id}
    _update(connection, report, {"state": ReportState.APPLIED, **about})


def discard_report(connection: Connection, report: StoredReport) -> None:
    """Record that a report cannot be applied; it counts as unreadable."""
    _update(connection, report, {"kind": ReportKind.UNREADABLE, "state": ReportState.OF_NO_USE})


def defer_report(connection: Connection, report: StoredReport, now: datetime) -> None:
    """Look for the email of a report again later, or no longer if it is too old."""
    age = now - report.received_at
    if age >= _FOUND_FOR:
        _update(connection, report, {"state": ReportState.NOT_OURS})
    else:
        _update(connection, report, {"due_at": now + max(age, _PAUSE)})


def _update(connection: Connection, report: StoredReport, values: Mapping[str, object]) -> None:
    connection.execute(
        update(mail_reports)
        .where(mail_reports.c.id == report.report_id, PENDING_REPORTS)
        .values(**values)
    )


def last_arrival(connection: Connection, hashed: str) -> datetime | None:
    """Return when an email last arrived at the address with this hash; None if none is known."""
    arrived = (
        connection.scalar(
            select(func.max(mail_reports.c.happened_at))
            .join(sent_emails, is_of_email)
            .where(*_to(hashed, ReportKind.DELIVERED))
        )
        for is_of_email in _OF_EMAIL
    )
    return max((at for at in arrived if at is not None), default=None)


def bounces_from(
    connection: Connection, hashed: str, begin: datetime | None
) -> tuple[list[StoredReport], list[StoredReport]]:
    """Return what came back from an address from then on: for good, and for another cause.

    Of each email that came back for a cause that may pass, the first report. The oldest are first.
    """
    begun = () if begin is None else (mail_reports.c.happened_at >= begin,)
    hard, soft = (
        [
            row
            for is_of_email in _OF_EMAIL
            for row in connection.execute(
                select(mail_reports)
                .join(sent_emails, is_of_email)
                .where(*_to(hashed, kind), *begun)
            )
        ]
        for kind in (ReportKind.HARD_BOUNCE, ReportKind.SOFT_BOUNCE)
    )
    for rows in (hard, soft):
        rows.sort(key=lambda row: (row.happened_at, row.id))
    firsts: dict[tuple[int | None, int | None], Row[Any]] = {}
    for row in soft:
        firsts.setdefault((row.action_id, row.report_id), row)
    return [_stored(row) for row in hard], [_stored(row) for row in firsts.values()]


def _to(hashed: str, kind: ReportKind) -> tuple[ColumnElement[bool], ...]:
    """Return conditions for applied reports about emails to this address, and about no other."""
    about = mail_reports.c.address_hash
    return (
        sent_emails.c.address_hash == hashed,
        mail_reports.c.kind == kind,
        or_(about.is_(None), about == hashed),
    )


def reports_of(connection: Connection, action_ids: Collection[int]) -> dict[int, list[ReportView]]:
    """Return what was reported about these emails, in the order in which it happened."""
    return _reports_about(connection, mail_reports.c.action_id, action_ids)


def reports_of_digests(
    connection: Connection, report_ids: Collection[int]
) -> dict[int, list[ReportView]]:
    """Return the same about these alerts, summaries and digests."""
    return _reports_about(connection, mail_reports.c.report_id, report_ids)


def _reports_about(
    connection: Connection, about: Column[Any], ids: Collection[int]
) -> dict[int, list[ReportView]]:
    found: dict[int, list[ReportView]] = {}
    for some in chunks(sorted(set(ids))):
        went_there = exists().where(
            sent_emails.c[about.name] == about,
            sent_emails.c.address_hash == mail_reports.c.address_hash,
        )
        is_of_other = and_(mail_reports.c.address_hash.is_not(None), ~went_there)
        rows = connection.execute(
            select(mail_reports, about.label("about"), is_of_other.label("is_of_other"))
            .where(about.in_(some))
            .order_by(mail_reports.c.happened_at, mail_reports.c.id)
        )
        for row in rows:
            found.setdefault(row.about, []).append(
                ReportView(
                    ReportKind(row.kind),
                    Provider(row.provider),
                    row.happened_at,
                    row.code,
                    row.detail,
                    bool(row.is_of_other),
                )
            )
    return found


def count_reports(connection: Connection, since: datetime) -> list[ReportCount]:
    """Count the reports received since then, by provider and kind."""
    not_ours = func.count().filter(mail_reports.c.state == ReportState.NOT_OURS)
    last_at = func.max(mail_reports.c.received_at).label("last_at")
    rows = connection.execute(
        select(mail_reports.c.provider, mail_reports.c.kind, func.count(), not_ours, last_at)
        .where(mail_reports.c.received_at >= since)
        .group_by(mail_reports.c.provider, mail_reports.c.kind)
        .order_by(mail_reports.c.provider, mail_reports.c.kind)
    )
    return [
        ReportCount(Provider(provider), ReportKind(kind), number, others, last)
        for provider, kind, number, others, last in rows
    ]
