"""Which reports go to whom, what became of the last one, and when the next is due."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ledger.choices import mailbox_hash
from ledger.engine import Connection
from ledger.mail_reports import ReportView, reports_of_digests
from ledger.people import person_of
from ledger.reports import Report, ReportPlan, last_report, last_reports
from ledger.suppressions import Suppression, suppression_of
from schemas.actions import HOST, OPEN_ACTIONS, ActionState, Outcome, audience_of
from schemas.choices import Choice, report_choice
from schemas.rules import Digest, Every
from workers.actions.base import Prepared, Recipient
from workers.reports.compose import Draft, compose
from workers.reports.schedule import Period, next_end
from workers.reports.send import addressed
from workers.reports.situation import ALERTS, FOR_OPERATORS, SUMMARY
from workers.reports.study import hosts_of_digest
from workers.reports.tools import ReportTools

_PREVIEWED: dict[Every, timedelta] = {
    Every.WEEK: timedelta(days=7),
    Every.MONTH: timedelta(days=31),
}
_UNKNOWN = "host@example.org"


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One report to one reader; `every` is None for an alert.

    `reader` is an address, a host's name, or None for the hosts of courses. `last` is the last
    report that was sent or not, `due_at` when the next one is due, if that is known. `bounced` says
    why nothing is sent to the reader, `stopped` that they stopped this report. `said` is what the
    mail provider reported about the last one.
    """

    name: str
    every: Every | None
    audience: str
    reader: str | None = field(repr=False)
    last: Report | None
    due_at: datetime | None
    host_id: int | None = None
    address: str | None = field(default=None, repr=False)
    bounced: Suppression | None = None
    stopped: Choice | None = None
    said: tuple[ReportView, ...] = ()


def report_lines(connection: Connection, tools: ReportTools, now: datetime) -> Iterator[ReportLine]:
    """Yield a line for each report that the settings and the rules ask for."""
    lister = _Lister(connection, tools, last_reports(connection, now), now)
    for name in FOR_OPERATORS:
        every = Every.WEEK if name == SUMMARY else None
        for audience, address in tools.operators.items():
            yield lister.line(name, every, Recipient(audience, address), address)
    for digest in tools.rules.digests:
        if digest.enabled:
            yield from lister.of_digest(digest)


@dataclass(frozen=True, slots=True)
class _Lister:
    """Makes the lines from the reports that are stored."""

    connection: Connection
    tools: ReportTools
    stored: list[Report]
    now: datetime

    def of_digest(self, digest: Digest) -> Iterator[ReportLine]:
        """Yield a line for each reader of a digest."""
        name, every = digest.name, digest.every
        if not digest.is_to_hosts:
            for one in digest.to:
                yield self.line(name, every, Recipient(audience_of(one), one), one)
            return
        hosts = hosts_of_digest(self.connection, digest)
        for host_id in hosts:
            host = person_of(self.connection, host_id)
            to = Recipient.of(HOST, host) if host else Recipient(HOST, coworker_id=host_id)
            yield self.line(name, every, to, to.name or f"coworker {host_id}")
        if not hosts:
            yield ReportLine(name, every, HOST, None, None, None)

    def line(self, name: str, every: Every | None, to: Recipient, reader: str) -> ReportLine:
        """Return the line of the report of this name to this reader."""
        whose = (name, to.audience, to.coworker_id)
        own = [
            one
            for one in self.stored
            if (one.plan.name, one.plan.audience, one.plan.coworker_id) == whose
        ]
        is_open = {*OPEN_ACTIONS, ActionState.PERFORMING}
        last = next((one for one in own if one.state not in is_open), None)
        if last is None and to.audience and to.coworker_id is None:
            last = last_report(self.connection, name, to.audience)  # alerts are rare
        due_at = min((one.plan.due_at for one in own if one.state in is_open), default=None)
        if due_at is None and every is not None:
            end = next_end(every, self.now, self.tools.zone)
            due_at = Period(self.now, end).due_at(self.tools.zone)
        obstacles = self._obstacles(name, to)
        found = (to.audience or "", reader, last, due_at, to.coworker_id, to.address)
        said = () if last is None else self._said(last.report_id)
        return ReportLine(name, every, *found, *obstacles, said)

    def _said(self, report_id: int) -> tuple[ReportView, ...]:
        return tuple(reports_of_digests(self.connection, [report_id]).get(report_id, []))

    def _obstacles(self, name: str, to: Recipient) -> tuple[Suppression | None, Choice | None]:
        """Return why nothing is sent to a reader, and their choice if they stopped this report."""
        key = self.tools.secret_key
        if not key or not to.address:
            return None, None
        choice = self.tools.choices_of(self.connection, to).made.get(report_choice(name))
        bounced = suppression_of(self.connection, mailbox_hash(to.address, key))
        return bounced, None if choice is None or choice.agreed else choice


def previewed(tools: ReportTools, report: Report, draft: Draft, now: datetime) -> Prepared:
    """Return the email of a draft to look at. Raises `DeliveryRefused` if it cannot be written.

    A host to whom nothing was ever written has no address here: workers read it just before.
    """
    if not draft.reader.address:
        draft = replace(draft, reader=replace(draft.reader, address=_UNKNOWN))
    return addressed(tools.email, report, draft, now)


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
    report = Report(0, plan, now, ActionState.PLANNED, None, 0, None, None)
    return report, compose(tools, connection, report, now)
