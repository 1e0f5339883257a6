"""Which reports go to whom, what became of the last one, and when the next is due."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ledger.engine import Connection
from ledger.people import person_of
from ledger.reports import Report, ReportPlan, last_reports
from schemas.actions import HOST, OPEN_ACTIONS, ActionState, Outcome, audience_of
from schemas.rules import Digest, Every
from workers.reports.compose import Draft, compose
from workers.reports.schedule import Period, next_end
from workers.reports.situation import ALERTS, FOR_OPERATORS, SUMMARY
from workers.reports.study import hosts_of_digest
from workers.reports.tools import ReportTools

_PREVIEWED: dict[Every, timedelta] = {
    Every.WEEK: timedelta(days=7),
    Every.MONTH: timedelta(days=31),
}


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One report to one reader; `every` is None for an alert.

    `reader` is an address, a host's name, or None for the hosts of courses. `last` is the last
    report that was sent or not, `due_at` when the next one is due, if that is known.
    """

    name: str
    every: Every | None
    audience: str
    reader: str | None = field(repr=False)
    last: Report | None
    due_at: datetime | None


def report_lines(connection: Connection, tools: ReportTools, now: datetime) -> Iterator[ReportLine]:
    """Yield a line for each report that the settings and the rules ask for."""
    stored = last_reports(connection)
    for name in FOR_OPERATORS:
        every = Every.WEEK if name == SUMMARY else None
        for audience, address in tools.operators.items():
            yield _line(tools, stored, name, every, audience, address, None, now)
    for digest in tools.rules.digests:
        if digest.enabled:
            yield from _digest_lines(connection, tools, stored, digest, now)


def _digest_lines(
    connection: Connection,
    tools: ReportTools,
    stored: list[Report],
    digest: Digest,
    now: datetime,
) -> Iterator[ReportLine]:
    every = digest.every
    if not digest.is_to_hosts:
        for one in digest.to:
            yield _line(tools, stored, digest.name, every, audience_of(one) or "", one, None, now)
        return
    hosts = hosts_of_digest(connection, digest)
    for host_id in hosts:
        person = person_of(connection, host_id)
        name = person.full_name if person else f"coworker {host_id}"
        yield _line(tools, stored, digest.name, every, HOST, name, host_id, now)
    if not hosts:
        yield ReportLine(digest.name, every, HOST, None, None, None)


def _line(  # noqa: PLR0913, PLR0917 - which report, to whom, and when
    tools: ReportTools,
    stored: list[Report],
    name: str,
    every: Every | None,
    audience: str,
    reader: str,
    coworker_id: int | None,
    now: datetime,
) -> ReportLine:
    whose = (name, audience, coworker_id)
    own = [
        one for one in stored if (one.plan.name, one.plan.audience, one.plan.coworker_id) == whose
    ]
    is_open = {*OPEN_ACTIONS, ActionState.PERFORMING}
    last = next((one for one in own if one.state not in is_open), None)
    due_at = min((one.plan.due_at for one in own if one.state in is_open), default=None)
    if due_at is None and every is not None:
        end = next_end(every, now, tools.zone)
        due_at = Period(now, end).due_at(tools.zone)
    return ReportLine(name, every, audience, reader, last, due_at)


def draft_now(
    connection: Connection,
    tools: ReportTools,
    name: str,
    reader: Callable[[Digest], tuple[str, int | None]],
    now: datetime,
) -> tuple[Report, Draft | Outcome]:
    """Return a report as it would be now, about the time until now; nothing is stored.

    `reader` chooses whom a digest is to: the audience, and the Id of the host.
    """
    digest = tools.rules.digest_named(name)
    every = digest.every if digest else Every.WEEK
    audience, host_id = next(iter(tools.operators), ""), None
    if digest is not None:
        audience, host_id = reader(digest)
    is_alert = name in ALERTS
    begin = None if is_alert else now - _PREVIEWED[every]
    plan = ReportPlan(
        f"preview/{name}", name, audience, now, begin, None if is_alert else now, host_id
    )
    # As for a second try, an alert says what was said before.
    report = Report(0, plan, now, ActionState.PLANNED, None, 1, None, None)
    return report, compose(tools, connection, report, now)
