"""`coursebell status`: what needs a person, then a one-line summary, then the details."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, tzinfo

import click

from ledger.controls import Sending, sending_of
from ledger.engine import Connection, Engine, reading
from ledger.hooks import hook_alarms
from ledger.mail_reports import ReportCount, count_reports
from ledger.monitoring import REFUSALS_SHOWN_FOR, Refused, refused_since
from ledger.outages import Outage, SourceOutage, outages_now, source_outages, source_pause
from ledger.pauses import Pause, open_pauses
from ledger.queries import Totals, count_totals
from ledger.undecided import kinds_of_open
from schemas.actions import ActionState, LookupState
from schemas.reasons import EXPLANATIONS, Reason
from schemas.rules import Rules
from schemas.settings import Settings
from service.cli.common import (
    as_json,
    command_clock,
    local,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    with_own_broker,
)
from service.cli.report_words import count_lines
from service.readiness import readiness
from workers.actions.registry import noun_of
from workers.attention import (
    Need,
    bounce_needs,
    needs_of,
    outage_line,
    pause_line,
    rule_warnings,
)
from workers.monitoring import MonitoringNow, monitoring_lines, monitoring_now, monitoring_plain
from workers.reports.arrivals import reader_needs
from workers.retries import SOURCE_FAILS_AFTER
from workers.rules_file import rules_or_none

NEEDS_ATTENTION = 1  # as `doctor`, when something is broken
REPORTS_COUNTED_FOR = timedelta(days=7)  # how long reports of mail providers are counted
_MONITORING_CODES = frozenset({"check", "silence", "lost"})  # `monitoring_lines` prints these


@dataclass(frozen=True, slots=True)
class Condition:
    """What needs a person, and whether changes still reach us, at one moment."""

    at: datetime
    needs: tuple[Need, ...]
    parts: dict[str, str]
    monitoring: MonitoringNow


def condition_now(settings: Settings, engine: Engine, now: datetime) -> Condition:
    """Ask all parts, and count what needs a person. It may take a second with a large ledger."""
    parts, rules = readiness(settings, engine, now), rules_or_none(settings)
    with reading(engine) as connection:
        monitoring = monitoring_now(connection, settings, now)
        others = [
            *reader_needs(connection, settings, rules, now),
            *bounce_needs(connection, settings),
        ]
        needs = needs_of(connection, parts, now, monitoring, others)
    return Condition(now, tuple(needs), parts, monitoring)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that `status` reports, at one moment."""

    condition: Condition
    sending: Sending
    counted: Totals
    source_outages: list[SourceOutage]
    alarms: list[str]
    refused: list[Refused]
    outages: dict[str, Outage]
    source_pause: Outage | None
    warnings: list[str]
    pauses: list[tuple[Pause, str]]
    reports: list[ReportCount]
    kinds: set[str]  # of actions that wait or need a person, and of rules


@click.command()
@as_json
def status(*, as_json: bool) -> None:
    """Show what needs a person, what was sent, what waits and why.

    The exit code is 0 if nothing needs a person, and 1 if something does.
    """
    settings = with_own_broker(settings_now())
    now = command_clock().now()
    with opened_ledger(settings) as engine:
        condition = condition_now(settings, engine, now)
        with reading(engine) as connection:
            found = snapshot(connection, settings, condition)
    if as_json:
        print_json(_plain(found))
    else:
        for line in status_lines(found, settings):
            click.echo(printable(line))
    if condition.needs:
        raise SystemExit(NEEDS_ATTENTION)


def snapshot(connection: Connection, settings: Settings, condition: Condition) -> Snapshot:
    """Return what `status` reports beside the condition."""
    now, rules = condition.at, rules_or_none(settings)
    return Snapshot(
        condition,
        sending_of(connection),
        count_totals(connection, now),
        source_outages(connection),
        hook_alarms(connection),
        refused_since(connection, now - REFUSALS_SHOWN_FOR),
        outages_now(connection),
        source_pause(connection),
        rule_warnings(connection, settings),
        [(one, pause_line(connection, one)) for one in open_pauses(connection)],
        count_reports(connection, now - REPORTS_COUNTED_FOR),
        kinds_of_open(connection) | _kinds_of(rules),
    )


def _kinds_of(rules: Rules | None) -> set[str]:
    return {one.action for one in rules.rules} if rules else set()


def _plain(found: Snapshot) -> dict[str, object]:
    return {
        "needs_attention": found.condition.needs,
        "warnings": found.warnings,
        "mode": found.sending.mode,
        **asdict(found.counted),
        "hearing": monitoring_plain(found.condition.monitoring),
        "hooks": found.alarms,
        "refused": found.refused,
        "outages": found.outages,
        "source_pause": found.source_pause,
        "parts": found.condition.parts,
        "pauses": [one for one, _ in found.pauses],
        "mail_reports": found.reports,
    }


def status_lines(found: Snapshot, settings: Settings, zone: tzinfo | None = None) -> Iterator[str]:
    """Yield lines for people; those about what needs a person begin with `!`.

    `zone` is that of times which are not in UTC, if not this machine's.
    """
    condition = found.condition
    labels = dict.fromkeys(need.label for need in condition.needs)
    yield f"Needs attention: {'; '.join(labels)}." if labels else "Nothing needs attention."
    yield _one_line(found.sending.mode, found.counted)
    for one, line in found.pauses:
        yield f"  {line}; to end it: coursebell resume {one.pause_id}"
    yield from monitoring_lines(condition.monitoring, settings, condition.at, zone)
    yield from (f"! {need.says}" for need in condition.needs if need.code not in _MONITORING_CODES)
    yield from (f"  warning: {warning}" for warning in found.warnings)
    printed = {need.says for need in condition.needs}
    others = (*map(outage_line, found.outages.values()), *(one.sentence for one in found.refused))
    yield from (f"  {line}" for line in others if line not in printed)
    for outage in found.source_outages:
        yield (
            f"  {outage.unread}, {outage.reason}: {outage.last_error}; "
            f"next try {local(outage.next_at, zone)}"
        )
    pause = found.source_pause
    if pause is not None and pause.tries >= SOURCE_FAILS_AFTER:
        what = f"{noun_of(found.kinds)}s"
        yield (
            f"  {what} wait for Nexudus since {local(pause.since, zone)}, {pause.reason}: "
            f"{pause.answer}; tried {pause.tries} times, next try {local(pause.until, zone)}"
        )
    if "broker" not in condition.parts:
        yield "  there is no broker: worker and scheduler are one process"
    yield from (f"  {line}" for line in count_lines(found.reports, REPORTS_COUNTED_FOR.days))
    yield from _reasons(found.counted, found.kinds)


def _one_line(mode: str, counted: Totals) -> str:
    def total(state: ActionState) -> int:
        return sum(counted.actions.get(state, {}).values())

    waiting = sum(
        total(state) for state in (ActionState.PLANNED, ActionState.WAITING, ActionState.PERFORMING)
    )
    undecided = sum(
        total(state) for state in (ActionState.HELD, ActionState.FAILED, ActionState.UNKNOWN)
    ) + sum(counted.lookups.get(LookupState.FAILED, {}).values())
    return (
        f"{mode}: {total(ActionState.DONE)} sent, {waiting} waiting, "
        f"{total(ActionState.SKIPPED)} not sent on purpose, {undecided} held, failed or unknown"
    )


def _reasons(counted: Totals, kinds: Collection[str]) -> Iterator[str]:
    for noun, by_state in ((noun_of(kinds), counted.actions), ("lookup", counted.lookups)):
        for state, reasons in sorted(by_state.items()):
            for reason, count in sorted(reasons.items()):
                if reason:
                    what = f"{count} {noun}{'' if count == 1 else 's'}"
                    yield f"  {what} {state}, {reason}: {EXPLANATIONS[Reason(reason)].sentence}"
