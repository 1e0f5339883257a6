"""Plans reports in the ledger, each under a permanent key, so that two workers plan one."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import structlog

from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.heartbeats import last_gap_end
from ledger.people import person_of
from ledger.reports import (
    ReportPlan,
    hasten_report,
    note_report_state,
    open_report,
    plan_report,
    report_state,
)
from schemas.actions import HOST, audience_of
from schemas.events import is_ahead
from schemas.reasons import Reason
from schemas.rules import Every
from workers.actions.base import Recipient
from workers.reports.alerts import AlertState, Cause, when_to_say
from workers.reports.schedule import Period, Progress
from workers.reports.situation import ALERTS, SUMMARY, situation
from workers.reports.study import hosts_of_digest
from workers.reports.tools import ReportTools
from workers.zones import own_zone

_log = structlog.get_logger("report")


def plan_reports(tools: ReportTools) -> int:
    """Plan what is to be reported now; return how many reports are new.

    Without a mail server and a sender nothing is planned, so that no old alert goes out later.

    Raises:
        LedgerUnavailable: the ledger could not be read or written.
    """
    if not tools.email.is_set_up:
        return 0
    now = tools.clock.now()
    planned = _plan_alerts(tools, now) if tools.operators else 0
    planned += _plan_periods(tools, now)
    if planned:
        _log.info("report.planned", count=planned)
    return planned


def _plan_alerts(tools: ReportTools, now: datetime) -> int:
    with reading(tools.engine) as connection:
        found = situation(connection, tools.settings, now)
    planned = 0
    with writing(tools.engine) as connection:
        lock_decisions(connection)
        for name in ALERTS:
            states = report_state(connection, name)
            for audience, address in tools.operators.items():
                state = AlertState.read(states.get(audience)).seeing(found[name])
                reader = Recipient(audience, address)
                if tools.choices_of(connection, reader).stopped_report_at(name) is None:
                    plan = _next_alert(connection, tools, name, audience, state, found[name], now)
                    if plan is not None and plan_report(connection, plan, now):
                        state, planned = state.planned(now), planned + 1
                states[audience] = state.plain
            note_report_state(connection, name, states, now)
    return planned


def _next_alert(  # noqa: PLR0913, PLR0917 - whom it is to, what they know, and what is so now
    connection: Connection,
    tools: ReportTools,
    name: str,
    audience: str,
    state: AlertState,
    causes: Sequence[Cause],
    now: datetime,
) -> ReportPlan | None:
    """Return the alert to plan now, if any. One that waits takes in what is new by then."""
    new = state.new_among(causes)
    waiting = open_report(connection, name, audience)
    if waiting is not None:
        if any(one.is_urgent for one in new) or is_ahead(waiting.planned_at, now):
            hasten_report(connection, waiting, now)
        return None
    if not new or not state.may_speak(now):
        return None
    return ReportPlan(
        f"{name}/{audience}/{state.number + 1}",
        name,
        audience,
        when_to_say(new, now, tools.zone),
        about={one.code: one.since.isoformat() if one.since else None for one in new},
    )


def _plan_periods(tools: ReportTools, now: datetime) -> int:
    """Plan the summary for each operator, and the digests of the rules."""
    wanted = [(SUMMARY, one, Every.WEEK) for one in tools.operators]
    wanted += [(one.name, "", one.every) for one in tools.rules.digests if one.enabled]
    planned = 0
    for name, audience, every in wanted:
        with reading(tools.engine) as connection:
            before = report_state(connection, name).get(audience)
        progress = Progress.read(before, now)
        if before is not None and progress.planned(every, now, tools.zone) == progress:
            continue
        with writing(tools.engine) as connection:
            lock_decisions(connection)
            states = report_state(connection, name)
            progress = Progress.read(states.get(audience), now)
            period = progress.next_period(every, now, tools.zone)
            if period is not None:
                for plan in _of_period(connection, tools, name, audience, period):
                    planned += plan_report(connection, plan, now)
            after = progress.planned(every, now, tools.zone)
            note_report_state(connection, name, states | {audience: after.plain}, now)
    return planned


def _of_period(
    connection: Connection, tools: ReportTools, name: str, audience: str, period: Period
) -> Iterator[ReportPlan]:
    """Yield the reports of a period, one for each reader."""
    digest = tools.rules.digest_named(name)
    restored_at = last_gap_end(connection)
    readers: list[tuple[str, int | None]] = [(audience, None)]
    if digest is not None and digest.is_to_hosts:
        readers = [(HOST, one) for one in hosts_of_digest(connection, digest)]
    elif digest is not None:
        readers = [(audience_of(one) or "", None) for one in digest.to]
    for whom, coworker_id in readers:
        person = person_of(connection, coworker_id) if coworker_id else None
        zone = own_zone(person.zone if person else None, tools.zone)
        reader = whom if coworker_id is None else f"{whom}-{coworker_id}"
        # One that may have gone out before the ledger was restored is not sent again.
        is_restored = restored_at is not None and period.end <= restored_at
        yield ReportPlan(
            f"{name}/{reader}/{period.end.astimezone(tools.zone).date()}",
            name,
            whom,
            period.due_at(zone),
            period.begin,
            period.end,
            coworker_id,
            skipped_for=Reason.RESTORED if is_restored else None,
        )
