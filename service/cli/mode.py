"""`coursebell mode`: whether emails are sent, and what a change to sending would send."""

from collections.abc import Collection

import click

from ledger.controls import Sending, sending_of
from ledger.engine import Engine, reading
from ledger.undecided import kinds_of_open
from schemas.actions import Mode
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from service.cli.common import (
    as_json,
    command_clock,
    is_confirmed,
    local,
    needs_confirmation,
    opened_ledger,
    print_json,
    settings_now,
    who_decides,
)
from service.cli.outcomes import count_lines, number_sent
from service.sending_outcomes import (
    SendingOutcomes,
    missing_to_send,
    numbers_by_sending,
    outcomes_by_sending,
    set_mode,
)
from workers.deliver.forecast import make_send_setup
from workers.preference_links import reaches_members

NOT_DONE = 1
_NO_LINK = (
    "Emails will have no link to stop them, as COURSEBELL_PUBLIC_URL is no public https address.\n"
    "Set it to the https address at which members reach this service."
)


@click.command()
@click.argument("wanted", required=False, type=click.Choice([mode.value for mode in Mode]))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation; for sending.")
@as_json
def mode(wanted: str | None, *, yes: bool, as_json: bool) -> None:
    """Show or change the mode: observe or sending.

    Observe holds emails, sending sends them. Before it changes to sending, it counts the held and
    waiting emails that would be sent, and asks if there are any; without a terminal it then needs
    --yes.
    """
    settings = settings_now()
    numbers = None
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            sending = sending_of(connection)
        if wanted == Mode.SENDING:
            _check_can_send(settings)
            if not reaches_members(settings):
                click.echo(_NO_LINK, err=True)
            if sending.mode is not Mode.SENDING:
                numbers = _confirm_sending(engine, settings, yes=yes, as_json=as_json)
        if wanted is not None:
            sending = set_mode(engine, Mode(wanted), who_decides(), command_clock().now())
    if as_json:
        shown = {"mode": sending.mode, "sending_started_at": sending.started_at}
        print_json(shown if numbers is None else shown | {"expected": numbers})
    else:
        _print_mode(sending)


def _print_mode(sending: Sending) -> None:
    if sending.mode is Mode.SENDING and sending.started_at is not None:
        since = local(sending.started_at)
        click.echo(f"sending: emails are sent about what happened since {since}")
    else:
        click.echo("observe: everything is read and decided, emails are written, none is sent")
        click.echo("To send emails: coursebell mode sending")


def _confirm_sending(
    engine: Engine, settings: Settings, *, yes: bool, as_json: bool
) -> dict[str, dict[str, int]]:
    """Print what sending would send, ask if that is any email, and return the numbers.

    Raises:
        SystemExit: the answer was no, or there is no terminal to ask at.
        ConfigurationError: the rules cannot be read.
    """
    now = command_clock().now()
    with reading(engine) as connection:
        outcomes = outcomes_by_sending(connection, make_send_setup(settings), now)
        numbers = numbers_by_sending(connection, outcomes, now)
        kinds = kinds_of_open(connection)
    for line in _lines(outcomes, numbers, kinds):
        click.echo(line, err=as_json)
    sent = numbers["now"] | numbers["later"]
    if sent and not yes:
        needs_confirmation("coursebell mode sending --yes")
        if is_confirmed("Start sending?"):
            return numbers
        click.echo("Nothing was changed: the mode is still observe.", err=True)
        raise SystemExit(NOT_DONE)
    return numbers


def _lines(
    outcomes: SendingOutcomes, numbers: dict[str, dict[str, int]], kinds: Collection[str]
) -> list[str]:
    lines = list(count_lines(numbers, kinds))
    if not lines:
        return ["No email is held or waiting, so none is sent at once."]
    sent = numbers["now"] | numbers["later"]
    return [
        f"With mode sending, {number_sent(outcomes.expected)} would be sent:"
        if sent
        else "With mode sending, none of the emails held or waiting would be sent:",
        *lines,
        "`coursebell held` lists the held emails.",
    ]


def _check_can_send(settings: Settings) -> None:
    missing = missing_to_send(settings)
    if missing:
        raise ConfigurationError([f"{name}: not set, but needed for sending" for name in missing])
