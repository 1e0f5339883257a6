"""Sends due reports one by one, and settles those whose worker was lost.

As for actions, `performing` is committed before a report is sent, a second mark just before the
step after which its outcome is uncertain, and the receipt afterwards. An outage of the mail server
counts for reports and actions alike; a fault that only the report may have never stops actions.
"""

from datetime import datetime, timedelta

import structlog

from ledger.controls import sending_of
from ledger.engine import Connection, lock_decisions, reading, repeat_write, writing
from ledger.outages import end_outage, note_outage, outages_now
from ledger.reports import (
    Report,
    begin_report,
    claim_report,
    commit_report,
    expire_reports,
    settle_report,
    store_report_copy,
)
from ledger.sending_rate import may_report
from schemas.actions import ActionState, Mode, Outcome
from schemas.errors import (
    ChannelUnavailable,
    DeliveryRefused,
    DeliveryUnavailable,
    LedgerUnavailable,
    frames_of,
)
from schemas.reasons import Reason
from workers.actions.base import Checkpoints, Prepared, keep_nothing
from workers.actions.email import KIND
from workers.actions.email.action import EmailAction, ReportKey
from workers.actions.email.letter import ReportFrame
from workers.actions.email.message import REPORT, Addressee, StreamHead
from workers.deliver.settle import (
    NoLongerWanted,
    hand_over,
    later_or_failed,
    log_restored,
    log_stopped,
    refused,
)
from workers.leases import LeaseLost
from workers.reports.compose import Draft, Keep, compose_now, objection_to
from workers.reports.refresh import refresh_host
from workers.reports.situation import FOR_OPERATORS
from workers.reports.tools import ReportTools
from workers.retries import BATCH_S, RECEIPT_S, outage_wait_s

_BATCH = 20

_log = structlog.get_logger("report")


def send_reports(tools: ReportTools) -> int:
    """Send the reports that are due, one after the other; return how many.

    Raises:
        LedgerUnavailable: the ledger could not be read or written.
    """
    with writing(tools.engine) as connection:
        now, lease_s = tools.clock.now(), tools.settings.lease_s
        repeated, unknown = expire_reports(connection, now, lease_s=lease_s)
    if unknown or repeated:
        _log.error("report.cut-off", repeated=repeated, unknown=unknown)
    end, done = tools.clock.monotonic() + BATCH_S, 0
    while done < _BATCH and tools.clock.monotonic() < end and not tools.is_stopping():
        claimed = _claim(tools)
        if claimed is None:
            break
        _one(tools, claimed)
        done += 1
    return done


def _claim(tools: ReportTools) -> Report | None:
    """Claim a due report, unless no email can be sent now or it is not the turn of reports."""
    with writing(tools.engine) as connection:
        now = tools.clock.now()
        outage = outages_now(connection).get(KIND)
        if not tools.email.is_set_up or (outage is not None and outage.until > now):
            return None
        token, lease_s = tools.clock.new_id(), tools.settings.lease_s
        rate = tools.email.rate
        if rate is not None and not may_report(connection, KIND, rate, now, lease_s=lease_s):
            return None
        return claim_report(connection, now, token, lease_s=lease_s)


def _one(tools: ReportTools, claimed: Report) -> None:
    outcome: Outcome | None = None
    try:
        outcome = _attempt(tools, claimed)
    except LeaseLost:
        pass
    except LedgerUnavailable as error:
        _log.warning("report.unwritten", report_id=claimed.report_id, error=str(error))
        return
    _log.info(
        "report.ended",
        report_id=claimed.report_id,
        report=claimed.plan.name,
        outcome=outcome.state.value if outcome else "overtaken",
        reason=outcome.reason.value if outcome and outcome.reason else None,
    )


def _attempt(tools: ReportTools, claimed: Report) -> Outcome | None:
    now = tools.clock.now()
    try:
        ended = _objection_before_reading(tools, claimed, now) or refresh_host(tools, claimed, now)
        begun = ended or _prepared(tools, claimed, compose_now(tools, claimed, now), now)
    except (LeaseLost, LedgerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - our own fault, before anything was sent: not retried
        _log.error("report.fault", report_id=claimed.report_id, error=frames_of(error))
        begun = Outcome.failed(Reason.INTERNAL_ERROR, type(error).__name__)
    if isinstance(begun, Outcome):
        return _record(tools, claimed, begun)
    prepared, keep = begun
    return _record(tools, claimed, _handed_over(tools, claimed, prepared), keep)


def _objection_before_reading(tools: ReportTools, claimed: Report, now: datetime) -> Outcome | None:
    """Return why a report is not sent now; an address may still be found at Nexudus."""
    with reading(tools.engine) as connection:
        objection = objection_to(tools, connection, claimed, now)
    is_unknown = objection is not None and objection.reason is Reason.NO_EMAIL
    return None if is_unknown else objection


def _prepared(
    tools: ReportTools, claimed: Report, draft: Draft | Outcome, now: datetime
) -> tuple[Prepared, Keep] | Outcome:
    """Write the email, and commit that it is being sent; or return the outcome instead.

    With the email is returned what to store once it is accepted.
    """
    if isinstance(draft, Outcome):
        return draft
    try:
        prepared = addressed(tools.email, claimed, draft, now)
    except DeliveryRefused as error:
        return refused(error, EmailAction.reasons)
    with writing(tools.engine) as connection:
        # What is noted is kept for all addresses together, and changed by others meanwhile.
        lock_decisions(connection)
        objection = objection_to(tools, connection, claimed, now)
        if objection is not None:
            return objection
        if _is_held_back(connection, claimed):
            store_report_copy(connection, claimed.report_id, prepared.copy, now)
            return Outcome.skipped(Reason.OBSERVE)
        lease_s = tools.settings.lease_s
        if not begin_report(connection, claimed, prepared.copy, now, lease_s=lease_s):
            raise LeaseLost
        prepared.keep(connection, now)
        draft.begin(connection, now)
    return prepared, draft.keep


def _is_held_back(connection: Connection, report: Report) -> bool:
    """Return whether nothing leaves now; what operators get is about the service and does."""
    is_sending = sending_of(connection).mode is Mode.SENDING
    return not is_sending and report.plan.name not in FOR_OPERATORS


def addressed(email: EmailAction, report: Report, draft: Draft, now: datetime) -> Prepared:
    """Return the email of a draft. Raises `DeliveryRefused` if it cannot be written."""
    name, links = report.plan.name, email.links
    reader, address = draft.reader, draft.reader.address or ""
    links = links if report.report_id else None  # a preview can be passed on
    code = draft.language.code
    page = None if links is None else links.report_page(name, address, code)
    one_click = None if links is None else links.report_one_click(name, address, code)
    frame = ReportFrame(draft.language, reader.first_name, draft.why, page, draft.source)
    to = Addressee(reader.name, address, StreamHead(REPORT, name, one_click))
    # A restored ledger may use a key again, for another email.
    key = f"{report.plan.key}/{report.planned_at.isoformat()}"
    return email.prepare_report(draft.said, frame, to, ReportKey(key, report.report_id), now)


def _handed_over(
    tools: ReportTools, claimed: Report, prepared: Prepared
) -> Outcome | DeliveryUnavailable:
    """Send a report in state `performing`; return how that ended. Raises as `ReportTools.lease_of`.

    Whatever fails after the last step leaves the outcome unknown.
    """
    lease = tools.lease_of(claimed)
    lease.renewed()

    def before_step() -> None:
        try:
            lease.keep()
        except LedgerUnavailable as error:
            # The mark before the last step checks whether this report is still ours.
            _log.warning("lease.unwritten", report_id=claimed.report_id, error=str(error))

    def note_fault(frames: str) -> None:
        _log.error("report.fault", report_id=claimed.report_id, error=frames)

    checkpoints = Checkpoints(before_step, lambda: _commit(tools, claimed))
    return hand_over(prepared, checkpoints, EmailAction.reasons, note_fault)


def _commit(tools: ReportTools, claimed: Report) -> None:
    """Write the mark, unless the reader no longer wants this. If it raises, no step is taken."""
    with writing(tools.engine) as connection:
        now, lease_s = tools.clock.now(), tools.settings.lease_s
        objection = objection_to(tools, connection, claimed, now)
        if objection is None and _is_held_back(connection, claimed):
            objection = Outcome.skipped(Reason.OBSERVE)
        if objection is not None:
            raise NoLongerWanted(objection)
        is_ours = commit_report(connection, claimed, now, lease_s=lease_s)
    if not is_ours:
        raise LeaseLost


def _record(
    tools: ReportTools,
    claimed: Report,
    result: Outcome | DeliveryUnavailable,
    keep: Keep = keep_nothing,
) -> Outcome | None:
    """Settle the report, retrying while the ledger is busy, since a receipt comes only once."""

    def note(error: LedgerUnavailable) -> None:
        _log.warning("receipt.again", report_id=claimed.report_id, error=str(error))

    def settle() -> Outcome | None:
        with writing(tools.engine) as connection:
            lock_decisions(connection)  # for `keep`, as in `_prepared`
            now, outcome = tools.clock.now(), result
            if isinstance(outcome, DeliveryUnavailable):
                outcome = _after_failure(tools, connection, claimed, outcome, now)
            is_done = outcome.state is ActionState.DONE
            if is_done and end_outage(connection, KIND, now):
                log_restored(KIND)
            is_ours = settle_report(connection, claimed, outcome, now)
            if is_ours and is_done:
                keep(connection, now)
        return outcome if is_ours else None

    give_up_at = tools.clock.monotonic() + RECEIPT_S
    return repeat_write(settle, clock=tools.clock, give_up_at=give_up_at, on_failure=note)


def _after_failure(
    tools: ReportTools,
    connection: Connection,
    claimed: Report,
    error: DeliveryUnavailable,
    now: datetime,
) -> Outcome:
    """Return when to try again, if at all. What stops all email uses up no try of this report.

    A reason that the report may cause itself stops no other email.
    """
    reasons = EmailAction.reasons
    if not isinstance(error, ChannelUnavailable):
        before = claimed.tries.get(reasons.later, 0)
        return later_or_failed(tools.clock, reasons.later, error, before)
    reason, known = error.reason, outages_now(connection).get(KIND)
    if reason not in reasons.maybe_own:
        outage, is_new = note_outage(
            connection,
            KIND,
            reason,
            error.answer,
            now,
            lambda failures: outage_wait_s(reason, failures, asked_s=error.retry_after_s),
        )
        if is_new:
            log_stopped(outage, str(error))
        return Outcome.waiting(outage.until, reason, str(error))
    if known is not None and known.reason is reason:
        wait = timedelta(seconds=outage_wait_s(reason, known.tries + 1))
        return Outcome.waiting(max(known.until, now + wait), reason, str(error))
    before = sum(claimed.tries.get(one, 0) for one in reasons.maybe_own)
    return later_or_failed(tools.clock, reason, error, before)
