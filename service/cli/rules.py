"""`coursebell rules`: checks a rules file, and shows what it would change."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from shlex import quote

import click

from ledger.controls import accepted_forecast, sending_of
from ledger.engine import Engine, reading
from ledger.interventions import states_of
from ledger.outbox import ClaimedAction, open_actions, read_actions
from ledger.queries import EmailFilter, filtered_emails
from ledger.source_state import catalogue_of
from schemas.actions import ActionState
from schemas.errors import ConfigurationError, LedgerNotReady
from schemas.rules import Rules, doubtful_brakes, doubtful_rules, unknown_names
from schemas.settings import Settings
from service.cli.common import (
    Moment,
    as_json,
    command_clock,
    number_of_emails,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    to_others,
)
from service.cli.main import Commands
from service.cli.outcomes import outcome_text
from service.cli.simulate import plain_simulation, shown_progress, simulation_lines
from workers.actions.email import KIND
from workers.deliver.context import SendSetup
from workers.deliver.forecast import Expected, forecast, make_send_setup
from workers.deliver.simulation import simulate
from workers.preference_links import reaches_members
from workers.rules_file import read_rules_at, rules_path

_SINCE = timedelta(days=30)
_MOST_SHOWN = 20
_MISTAKEN = 2
_file = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group(cls=Commands)
def rules() -> None:
    """Check a rules file, and show what it would change."""


def _read(settings: Settings, file: Path | None) -> tuple[Path, Rules]:
    path = rules_path(settings) if file is None else file
    return path, read_rules_at(path, "COURSEBELL_RULES" if file is None else "FILE", settings)


@rules.command()
@_file
@as_json
def check(file: Path | None, *, as_json: bool) -> None:
    """Check a rules file: mistakes, and what is probably not meant.

    Every mistake has its line. Without FILE the rules in force are checked. A mistake exits with 2;
    a warning does not change the exit code. Names of courses, groups and locations are compared
    with the list that the poll read last, brakes with the accepted forecast.
    """
    settings = settings_now()
    try:
        path, found = _read(settings, file)
    except ConfigurationError as error:
        if as_json:
            print_json({"mistakes": error.mistakes})
            raise SystemExit(_MISTAKEN) from None
        raise
    warnings = [*doubtful_rules(found), *_without_links(settings, found)]
    try:
        with opened_ledger(settings) as engine, reading(engine) as connection:
            warnings += unknown_names(found, catalogue_of(connection))
            accepted = accepted_forecast(connection)
        warnings += doubtful_brakes(
            found,
            accepted.per_day.keys() if accepted else None,
            accepted.digest if accepted else None,
            f"coursebell simulate{'' if file is None else f' --rules {quote(str(file))}'} --accept",
        )
    except LedgerNotReady:
        pass  # a rules file can be checked before anything is installed
    enabled = sum(rule.enabled for rule in found.rules)
    if as_json:
        print_json(
            {
                "file": str(path),
                "rules": len(found.rules),
                "on": enabled,
                "digests": [one.name for one in found.digests if one.enabled],
                "warnings": warnings,
            }
        )
        return
    for warning in warnings:
        click.echo(printable(f"warning: {warning}"))
    number = "1 rule" if len(found.rules) == 1 else f"{len(found.rules)} rules"
    digests = _digests(found)
    click.echo(f"{path} can be used: {number}, {enabled} of them on{digests}.")


def _digests(found: Rules) -> str:
    """Return the digests that are on, in words; "" if there are none."""
    names = [one.name for one in found.digests if one.enabled]
    number = "1 digest" if len(names) == 1 else f"{len(names)} digests"
    return f"; {number} ({', '.join(names)})" if names else ""


def _without_links(settings: Settings, found: Rules) -> Iterator[str]:
    """Yield a sentence if members get emails and cannot open the links to their choices."""
    members = [
        rule.name
        for rule in found.rules
        if rule.enabled and rule.action == KIND and None in rule.audiences
    ]
    if members and not reaches_members(settings):
        yield (
            f"emails of {', '.join(members)} have no link to stop them, because"
            " COURSEBELL_PUBLIC_URL is not the https address at which members reach this service"
        )


@dataclass(frozen=True, slots=True)
class _Change:
    """One email that the new rules would treat in another way."""

    action: ClaimedAction
    before: str
    after: str


@rules.command()
@_file
@click.option(
    "--since",
    type=Moment(),
    help="From when on to compare the past, such as 30d.  [default: 30d]",
)
@as_json
def plan(file: Path | None, *, since: datetime | None, as_json: bool) -> None:
    """Show what a rules file would change, now and in the past.

    Nothing is changed, and Nexudus is not asked.
    """
    settings = settings_now()
    path, found = _read(settings, file)
    now = command_clock().now()
    since = since or now - _SINCE
    with opened_ledger(settings) as engine:
        old = make_send_setup(settings)
        new = replace(old, rules=found)
        changes = _changes(engine, old, new, now)
        with shown_progress("Comparing") as progressed:
            past = [
                simulate(engine, old, since, now, lambda share: progressed(share / 2)),
                simulate(engine, new, since, now, lambda share: progressed((1 + share) / 2)),
            ]
    if as_json:
        print_json(
            {
                "file": str(path),
                "waiting": [
                    {"action_id": one.action.action_id, "before": one.before, "after": one.after}
                    for one in changes
                ],
                "past": {
                    "before": plain_simulation(past[0]),
                    "after": plain_simulation(past[1]),
                },
            }
        )
        return
    for line in _change_lines(changes):
        click.echo(printable(line))
    click.echo("By the rules in force, the past would have been:")
    for line in simulation_lines(past[0], differences=False):
        click.echo(printable(f"  {line}"))
    click.echo("By this file:")
    for line in simulation_lines(past[1], differences=False):
        click.echo(printable(f"  {line}"))


def _changes(engine: Engine, old: SendSetup, new: SendSetup, now: datetime) -> list[_Change]:
    with reading(engine) as connection:
        held = filtered_emails(connection, EmailFilter(), [ActionState.HELD])
        ids = [*open_actions(connection), *(one.action_id for one in held)]
        states = states_of(connection, ids)
        wanted = [
            # Held ones are asked about as if they were released.
            replace(one, released_at=now) if states[one.action_id][0] is ActionState.HELD else one
            for one in read_actions(connection, ids)
        ]
        started_at = sending_of(connection).started_at
        results = [
            {
                one.action.action_id: one
                for one in forecast(connection, setup, wanted, now, started_at)
            }
            for setup in (old, new)
        ]
    changes = []
    for action in wanted:
        texts = [_text(result[action.action_id], states, now) for result in results]
        if texts[0] != texts[1]:
            changes.append(_Change(action, *texts))
    return changes


def _text(
    expected: Expected, states: Mapping[int, tuple[ActionState, object]], now: datetime
) -> str:
    """Return what would happen to an email; one that is held stays so until a person decides."""
    is_held = states[expected.action.action_id][0] is ActionState.HELD
    text = outcome_text(expected, now)
    return f"if released, it {text}" if is_held else f"it {text}"


def _change_lines(changes: Sequence[_Change]) -> Iterator[str]:
    if not changes:
        yield "No email that waits or is held would be treated in another way."
        return
    which = "that waits or is held" if len(changes) == 1 else "that wait or are held"
    yield f"{number_of_emails(len(changes))} {which} would be treated in another way:"
    counts = Counter((one.action.rule, one.after) for one in changes)
    for (rule, after), number in counts.items():
        yield f"  {number} of the rule {rule}: {after}"
    for one in changes[:_MOST_SHOWN]:
        whom = to_others(one.action.audience)
        yield f"  {one.action.action_id}{whom}: now {one.before}; then {one.after}"
    if len(changes) > _MOST_SHOWN:
        yield f"  and {len(changes) - _MOST_SHOWN} more"
