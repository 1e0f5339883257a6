"""`status`: the whole in one line, or in numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import click

from ledger.controls import sending_of
from ledger.engine import reading
from ledger.hooks import hook_alarms
from ledger.outages import Outage, outages_now
from ledger.refusals import REFUSED_FOR, Refused, refused_since
from ledger.stories import Tally, tally
from ledger.troubles import source_troubles
from schemas.reasons import EXPLANATIONS, Reason
from schemas.states import ActionState, LookupState
from service.command.common import (
    as_json,
    local,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    with_own_broker,
)
from service.health import readiness
from service.hearing import hearing_lines, hearing_now, hearing_plain
from workers.clocks import utc_now


@click.command()
@as_json
def status(*, as_json: bool) -> None:
    """Show what was sent, what waits and why, and what does not run."""
    settings = with_own_broker(settings_now())
    now = utc_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            sending = sending_of(connection)
            counted = tally(connection, now)
            troubles = source_troubles(connection)
            heard = hearing_now(connection, settings, now)
            alarms = hook_alarms(connection)
            refused = refused_since(connection, now - REFUSED_FOR)
            outages = outages_now(connection)
        parts = readiness(settings, engine, now)
    if as_json:
        print_json(
            {
                "mode": sending.mode,
                **asdict(counted),
                "hearing": hearing_plain(heard),
                "hooks": alarms,
                "refused": refused,
                "outages": outages,
                "parts": parts,
            }
        )
        return
    click.echo(_one_line(sending.mode, counted))
    for line in hearing_lines(heard, settings, now):
        click.echo(printable(line))
    warnings = [f"! {line}" for line in (*alarms, *map(_outage_line, outages.values()))]
    for line in (*warnings, *map(_refusal_line, refused)):
        click.echo(printable(line))
    for trouble in troubles:
        click.echo(
            f"  {trouble.count} records unread, {trouble.reason}: {trouble.last_error}; "
            f"next try {local(trouble.next_at)}"
        )
    if "broker" not in parts:
        click.echo("  there is no broker: workers and clock are one process")
    for line in (*_reasons(counted), *_part_lines(parts)):
        click.echo(line)


def _part_lines(parts: Mapping[str, str]) -> Iterator[str]:
    for name, says in parts.items():
        if says != "ok" and name != "check":  # told above, with what it means
            yield f"! {name}: {says}"


def _refusal_line(refused: Refused) -> str:
    return f"{' ' if refused.is_over else '!'} {refused.sentence}"


def _outage_line(outage: Outage) -> str:
    answer = f" ({outage.answer})" if outage.answer else ""
    return (
        f"no {outage.kind} leaves since {local(outage.since)}, {outage.reason}: "
        f"{EXPLANATIONS[outage.reason].sentence}{answer}; next try {local(outage.until)}"
    )


def _one_line(mode: str, counted: Tally) -> str:
    def total(state: ActionState) -> int:
        return sum(counted.actions.get(state, {}).values())

    waiting = sum(
        total(state) for state in (ActionState.PLANNED, ActionState.WAITING, ActionState.PERFORMING)
    )
    needs = sum(
        total(state) for state in (ActionState.HELD, ActionState.FAILED, ActionState.UNKNOWN)
    ) + sum(counted.lookups.get(LookupState.FAILED, {}).values())
    return (
        f"{mode}: {total(ActionState.DONE)} sent, {waiting} waiting, "
        f"{total(ActionState.SKIPPED)} not sent on purpose, {needs} for a person"
    )


def _reasons(counted: Tally) -> list[str]:
    lines = []
    for kind, by_state in (("email", counted.actions), ("look-up", counted.lookups)):
        for state, reasons in sorted(by_state.items()):
            for reason, count in sorted(reasons.items()):
                if reason:
                    sentence = EXPLANATIONS[Reason(reason)].sentence
                    lines.append(f"  {count} {kind} {state}, {reason}: {sentence}")
    return lines
