"""Applies what mail providers report: suppresses addresses that do not work, and honours opt-outs.

Reports arrive in any order and more than once, so what each does depends on when it happened, not
on when it came: a choice that a member made later, or an address that a person allowed again later,
stays.
"""

from datetime import datetime, timedelta

import structlog

from ledger.choices import address_keys, choice_keys, choices_of, store_choices
from ledger.clock import Clock
from ledger.engine import Connection, Engine, lock_decisions, reading, writing
from ledger.mail_reports import (
    StoredReport,
    bounces_from,
    defer_report,
    discard_report,
    last_arrival,
    pending_reports,
    settle_report,
)
from ledger.people import person_of
from ledger.sent_emails import SentEmail, email_of
from ledger.suppressions import Suppression, lift, lifted_at, suppress, suppression_of
from schemas.choices import ALL, Choice, ChoiceOrigin, report_choice
from schemas.errors import LedgerUnavailable, frames_of
from schemas.mail_reports import ReportKind
from schemas.rules import OWN_REPORTS

MOST_SOFT_BOUNCES = 3  # emails in a row to one address that came back softly
SOFT_BOUNCES_WITHIN = timedelta(days=30)
_AT_ONCE = 100  # reports in one transaction
_BOUNCES = frozenset({ReportKind.HARD_BOUNCE, ReportKind.SOFT_BOUNCE})
_OPT_OUTS = {
    ReportKind.COMPLAINT: ChoiceOrigin.COMPLAINT,
    ReportKind.UNSUBSCRIBED: ChoiceOrigin.PROVIDER,
}

_log = structlog.get_logger("mail-reports")


def apply_reports(engine: Engine, secret_key: str, clock: Clock, *, most: int = 5_000) -> int:
    """Apply the reports that are due, and return how many were looked at."""
    done = 0
    while done < most:
        now = clock.now()
        with reading(engine) as connection:
            if not pending_reports(connection, now, 1):
                break
        try:
            number = _apply_due(engine, secret_key, now, _AT_ONCE)
        except LedgerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - our own fault with one must not stop the others
            _log.error("mail-reports.fault", error=frames_of(error))
            number = _apply_each(engine, secret_key, now)
        done += number
        _log.info("mail-reports.applied", reports=number)
    return done


def _apply_due(engine: Engine, secret_key: str, now: datetime, most: int) -> int:
    with writing(engine) as connection:
        # Two workers, or a choice of the member at the same moment, take turns.
        lock_decisions(connection)
        reports = pending_reports(connection, now, most)
        for report in reports:
            email = email_of(connection, report)
            if email is None:
                defer_report(connection, report, now)
                continue
            about = {"action_id": email.action_id, "report_id": email.report_id}
            settle_report(connection, report, **about)
            if report.address_hash in {None, email.address_hash}:
                _apply(connection, report, email, secret_key)
    return len(reports)


def _apply_each(engine: Engine, secret_key: str, now: datetime) -> int:
    """Apply the next reports one by one, and discard those that cannot be applied."""
    with reading(engine) as connection:
        reports = pending_reports(connection, now, _AT_ONCE)
    for _ in reports:
        with reading(engine) as connection:
            following = pending_reports(connection, now, 1)
        try:
            _apply_due(engine, secret_key, now, 1)
        except LedgerUnavailable:
            raise
        except Exception:  # noqa: BLE001 - as above, where it is logged
            with writing(engine) as connection:
                for report in following:
                    discard_report(connection, report)
    return len(reports)


def _apply(connection: Connection, report: StoredReport, email: SentEmail, secret_key: str) -> None:
    """Do what a report about the address that the email went to leads to."""
    hashed = email.address_hash
    if report.kind in _BOUNCES:
        cause = _cause(connection, hashed)
        if cause is not None:
            suppress(connection, _suppression(hashed, cause))
    elif report.kind is ReportKind.DELIVERED:
        known = suppression_of(connection, hashed)
        if known is not None and _cause(connection, hashed) is None:
            lift(connection, hashed, report.happened_at)
    origin = _OPT_OUTS.get(report.kind)
    if origin is not None:
        _opt_out(connection, report, email, secret_key, origin)


def _cause(connection: Connection, hashed: str) -> StoredReport | None:
    """Return the last report for which to suppress an address; None if its emails may arrive.

    Nothing counts that happened before an email last arrived, or before emails to the address were
    allowed again.
    """
    begun = [last_arrival(connection, hashed), lifted_at(connection, hashed)]
    begin = max((one for one in begun if one is not None), default=None)
    hard, soft = bounces_from(connection, hashed, begin)
    if hard:
        return hard[-1]
    in_a_row = list(zip(soft, soft[MOST_SOFT_BOUNCES - 1 :], strict=False))
    for first, last in reversed(in_a_row):
        if last.happened_at - first.happened_at <= SOFT_BOUNCES_WITHIN:
            return last
    return None


def _suppression(hashed: str, cause: StoredReport) -> Suppression:
    return Suppression(
        hashed, cause.kind, cause.happened_at, cause.provider, cause.code, cause.detail
    )


def _opt_out(
    connection: Connection,
    report: StoredReport,
    email: SentEmail,
    secret_key: str,
    origin: ChoiceOrigin,
) -> None:
    """Store a no to all emails, unless a choice about all of them was made later.

    The one who complained has the address. They are the member only if it is still the member's. A
    no to all emails leaves what operators get, so of these each is stopped.
    """
    keys = frozenset({email.address_hash})
    is_to_member = email.audience is None and email.coworker_id is not None
    member = person_of(connection, email.coworker_id or 0) if is_to_member else None
    if member is not None and email.address_hash in address_keys(secret_key, member.email):
        keys |= choice_keys(secret_key, member.coworker_id, member.email)
    known = choices_of(connection, keys).made
    refusal = Choice(agreed=False, chosen_at=report.happened_at, origin=origin)
    about = [ALL, *(map(report_choice, OWN_REPORTS) if email.name in OWN_REPORTS else ())]
    refused = {
        name: refusal
        for name in about
        if name not in known or known[name].chosen_at < report.happened_at
    }
    store_choices(connection, keys, refused)
