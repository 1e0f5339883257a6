"""Applies what mail providers report: suppresses addresses that do not work, and honours opt-outs.

Reports arrive in any order and more than once, so what each does depends on when it happened, not
on when it came: a choice that a member made later, or an address that a person allowed again later,
stays.
"""

from datetime import timedelta

import structlog

from ledger.choices import choice_keys, choices_of, store_choices
from ledger.clock import Clock
from ledger.engine import Connection, Engine, lock_decisions, reading, writing
from ledger.mail_reports import (
    SentEmail,
    StoredReport,
    defer_report,
    email_of,
    pending_reports,
    settle_report,
    soft_bounced_emails,
)
from ledger.suppressions import Suppression, suppress
from schemas.choices import ALL, Choice, ChoiceOrigin
from schemas.mail_reports import ReportKind

MOST_SOFT_BOUNCES = 3  # emails in a row to one address that came back softly
SOFT_BOUNCES_WITHIN = timedelta(days=30)
_AT_ONCE = 100  # reports in one transaction
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
        with writing(engine) as connection:
            # Two workers, or a choice of the member at the same moment, take turns.
            lock_decisions(connection)
            reports = pending_reports(connection, now, _AT_ONCE)
            for report in reports:
                email = email_of(connection, report)
                if email is None:
                    defer_report(connection, report, now)
                    continue
                settle_report(connection, report, email)
                _apply(connection, report, email, secret_key)
        done += len(reports)
        _log.info("mail-reports.applied", reports=len(reports))
    return done


def _apply(connection: Connection, report: StoredReport, email: SentEmail, secret_key: str) -> None:
    if report.kind is ReportKind.HARD_BOUNCE or _bounces_again(connection, report, email):
        suppress(
            connection,
            Suppression(
                email.address_hash,
                report.kind,
                report.happened_at,
                report.provider,
                report.code,
                report.detail,
            ),
        )
    origin = _OPT_OUTS.get(report.kind)
    if origin is not None:
        _opt_out(connection, report, email, secret_key, origin)


def _bounces_again(connection: Connection, report: StoredReport, email: SentEmail) -> bool:
    if report.kind is not ReportKind.SOFT_BOUNCE:
        return False
    since = report.happened_at - SOFT_BOUNCES_WITHIN
    return soft_bounced_emails(connection, email.address_hash, since) >= MOST_SOFT_BOUNCES


def _opt_out(
    connection: Connection,
    report: StoredReport,
    email: SentEmail,
    secret_key: str,
    origin: ChoiceOrigin,
) -> None:
    """Store a no to all emails, unless a choice about all of them was made later."""
    keys = {email.address_hash}
    if email.audience is None:
        keys |= choice_keys(secret_key, email.coworker_id, None)
    known = choices_of(connection, keys).made.get(ALL)
    if known is None or known.chosen_at < report.happened_at:
        refusal = Choice(agreed=False, chosen_at=report.happened_at, origin=origin)
        store_choices(connection, keys, {ALL: refusal})
