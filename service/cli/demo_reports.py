"""The reports of `coursebell demo`: its story takes a minute, and digests go on Mondays at nine."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from ledger.engine import Engine, lock_decisions, writing
from ledger.reports import plan_report
from schemas.rules import Rules
from schemas.settings import Settings
from service.cli.common import command_clock, opened_ledger
from service.cli.readers import report_tools
from workers.local.server import RunningBroker
from workers.queues import REPORTS_SEND
from workers.reports.plan import plan_reports, reports_of_period
from workers.reports.schedule import Period
from workers.reports.situation import SUMMARY
from workers.rules_file import read_rules
from workers.wakeup import Wakeup

# At any moment it is day in one of them, and reports wait for the morning.
_ZONES = ("Europe/Berlin", "America/Los_Angeles", "Asia/Tokyo")
_MORNING, _EVENING = time(9), time(19)
_WEEK = timedelta(days=7)


def zone_by_day(now: datetime) -> str:
    """Return the name of a time zone in which it is day."""
    return next(
        name for name in _ZONES if _MORNING <= now.astimezone(ZoneInfo(name)).time() < _EVENING
    )


def begin_reports(settings: Settings) -> None:
    """Note that reports are wanted from now on, so that they have the whole story.

    A worker notes that minutes after its start.
    """
    with opened_ledger(settings) as engine:
        plan_reports(report_tools(settings, engine, read_rules(settings)))


def plan_reports_now(settings: Settings, broker: RunningBroker) -> int:
    """Plan the summary and the digests of the last week, due now; return how many come at once.

    Without a broker no worker can be woken for them, so they come within a minute.
    """
    rules, clock = read_rules(settings), command_clock()
    with opened_ledger(settings) as engine:
        planned = _plan(settings, engine, rules, clock.now())
    if broker.is_none:
        return 0
    wakeup = Wakeup(broker.url, clock)
    wakeup.wake(REPORTS_SEND)
    wakeup.close()
    return planned


def _plan(settings: Settings, engine: Engine, rules: Rules, now: datetime) -> int:
    tools = report_tools(settings, engine, rules)
    wanted = [(one.name, "") for one in rules.digests]
    wanted += [(SUMMARY, one) for one in tools.operators]
    planned = 0
    with writing(engine) as connection:
        lock_decisions(connection)
        for name, audience in wanted:
            period = Period(now - _WEEK, now)
            for plan in reports_of_period(connection, tools, name, audience, period):
                planned += plan_report(connection, replace(plan, due_at=now), now)
    return planned
