"""Plans reports in the ledger, each under a permanent key, so that two workers plan one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count

import structlog

from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.heartbeats import last_gap_end
from ledger.people import person_of
from ledger.reports import (
    Report,
    ReportPlan,
    hasten_report,
    note_report_state,
    open_report,
    plan_report,
    report_state,
    report_with_key,
)
from ledger.skew import skip_reports_ahead
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


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be done about the alerts of one name to one address.

    `to_plan` is a new alert without its number, `to_hasten` one that waits and is to go at once.
    """

    name: str
    audience: str
    state: AlertState
    about: tuple[Cause, ...] = ()
    to_plan: ReportPlan | None = None
    to_hasten: Report | None = None


def _plan_alerts(tools: ReportTools, now: datetime) -> int:
    with reading(tools.engine) as connection:
        found = situation(connection, tools.settings, now)
        if not any(_steps(connection, tools, found, now)):
            return 0
    planned = 0
    with writing(tools.engine) as connection:
        lock_decisions(connection)
        for step in list(_steps(connection, tools, found, now)):
            planned += step.to_plan is not None
            _take(connection, step, now)
    return planned


def _steps(
    connection: Connection,
    tools: ReportTools,
    found: Mapping[str, Sequence[Cause]],
    now: datetime,
) -> Iterator[_Step]:
    """Yield what is to be done; nothing while nothing changes."""
    for name in ALERTS:
        states = report_state(connection, name)
        for audience, address in tools.operators.items():
            stored = states.get(audience)
            state = AlertState.read(stored).seeing(found[name])
            step = _Step(name, audience, state, tuple(state.new_among(found[name])))
            choices = tools.choices_of(connection, Recipient(audience, address))
            if choices.stopped_report_at(name) is None:
                step = _with_alert(connection, tools, step, now)
            if step.to_plan or step.to_hasten or step.state.plain != stored:
                yield step


def _with_alert(connection: Connection, tools: ReportTools, step: _Step, now: datetime) -> _Step:
    """Add the alert to plan or to hasten, if any. One that waits takes in what is new by then."""
    waiting = open_report(connection, step.name, step.audience)
    pressing = step.state.pressing(step.about, now)
    if waiting is not None:
        is_left_behind = waiting.waits_for_its_time and is_ahead(waiting.planned_at, now)
        is_asked = waiting.may_be_hastened and pressing
        if waiting.plan.due_at <= now or not (is_left_behind or is_asked):
            return step
        return replace(step, state=step.state.hastened(pressing, now), to_hasten=waiting)
    if not step.about or not step.state.may_speak(step.about, now):
        return step
    due_at = when_to_say(step.about, now, tools.zone)
    about = {one.code: one.since.isoformat() if one.since else None for one in step.about}
    return replace(step, to_plan=ReportPlan("", step.name, step.audience, due_at, about=about))


def _take(connection: Connection, step: _Step, now: datetime) -> None:
    state = step.state
    if step.to_hasten is not None:
        hasten_report(connection, step.to_hasten, now)
    if step.to_plan is not None:
        number = _plan_numbered(connection, step.to_plan, state.number + 1, now)
        state = state.planned(step.about, number, now)
    note_report_state(connection, step.name, step.audience, state.plain, now)


def _plan_numbered(connection: Connection, plan: ReportPlan, first: int, now: datetime) -> int:
    """Store an alert under the first number that is free; return it.

    A number may be taken if what was noted about alerts is older than they are.
    """
    for number in count(first):
        key = f"{plan.name}/{plan.audience}/{number}"
        if plan_report(connection, replace(plan, key=key), now):
            return number
    raise AssertionError("numbers end")


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
            before = report_state(connection, name).get(audience)
            progress = Progress.read(before, now)
            if progress.is_ahead_of(now):
                skipped = skip_reports_ahead(connection, name, audience, now)
                _log.warning("report.planned_ahead", report=name, skipped=skipped)
            period = progress.next_period(every, now, tools.zone)
            if period is not None:
                for plan in reports_of_period(connection, tools, name, audience, period):
                    planned += plan_once(connection, plan, now)
            after = progress.planned(every, now, tools.zone)
            note_report_state(connection, name, audience, after.plain, now)
    return planned


def plan_once(connection: Connection, plan: ReportPlan, now: datetime) -> bool:
    """Plan a report of a period unless it was planned; return whether it is new.

    A clock that was ahead may have sent one under the same key, before the period was over.
    """
    if plan_report(connection, plan, now):
        return True
    stored, begin, end = report_with_key(connection, plan.key), plan.period_from, plan.period_to
    if stored is None or begin is None or end is None:
        return False
    is_same = (stored.plan.period_from, stored.plan.period_to) == (begin, end)
    if is_same and not is_ahead(stored.planned_at, now):
        return False
    key = f"{plan.key}/{begin:%Y%m%dT%H%M}-{end:%Y%m%dT%H%M}"
    is_new = plan_report(connection, replace(plan, key=key), now)
    if is_new:
        _log.warning("report.planned_again", report=plan.name, report_id=stored.report_id)
    return is_new


def reports_of_period(
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
