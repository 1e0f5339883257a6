"""`mode`: whether emails leave, and what a change to sending would send."""

import sys

import click

from ledger.controls import Sending, change_mode, sending_of
from ledger.engine import Engine, lock_decisions, reading, writing
from ledger.holding import held_by_reason
from schemas.errors import ConfigurationError
from schemas.reasons import Reason
from schemas.settings import Settings
from schemas.states import Mode
from service.command.common import (
    as_json,
    command_clock,
    local,
    opened_ledger,
    print_json,
    settings_now,
)
from service.command.consent import agreed, must_be_asked, who_decides
from service.command.fates import Fates, count_lines, counted, fates_by_sending, number_of
from workers.workshop import make_send_setup

NOT_DONE = 1


@click.command()
@click.argument("wanted", required=False, type=click.Choice([mode.value for mode in Mode]))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation; for sending.")
@as_json
def mode(wanted: str | None, *, yes: bool, as_json: bool) -> None:
    """Show or change the mode: observe keeps emails, sending sends.

    Before it changes to sending it counts the held and waiting emails that would go, and asks if
    there are any. Without a terminal it needs --yes if any would go at once.
    """
    settings = settings_now()
    numbers = None
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            sending = sending_of(connection)
        if wanted == Mode.SENDING:
            _check_can_send(settings)
            if sending.mode is not Mode.SENDING:
                numbers = _agreed_to(engine, settings, yes=yes, as_json=as_json)
        if wanted is not None:
            with writing(engine) as connection:
                # An email that is being decided on now is held before this, or sees this.
                lock_decisions(connection)
                sending = change_mode(
                    connection, Mode(wanted), who_decides(), command_clock().now()
                )
    if as_json:
        said = {"mode": sending.mode, "sending_started_at": sending.started_at}
        print_json(said if numbers is None else said | {"expected": numbers})
    else:
        _say(sending)


def _say(sending: Sending) -> None:
    if sending.mode is Mode.SENDING and sending.started_at is not None:
        click.echo(f"sending: emails go out, about what happened since {local(sending.started_at)}")
    else:
        click.echo("observe: everything is read, decided and written, and nothing leaves")
        click.echo("To let emails go: coursebell mode sending")


def _agreed_to(
    engine: Engine, settings: Settings, *, yes: bool, as_json: bool
) -> dict[str, dict[str, int]]:
    """Say what sending would send, and ask if that is anything; return the numbers.

    Raises:
        SystemExit: the answer was no, or nobody can be asked.
        ConfigurationError: the rules cannot be read.
    """
    now = command_clock().now()
    with reading(engine) as connection:
        fates = fates_by_sending(connection, make_send_setup(settings), now)
        others = held_by_reason(connection)
    numbers = counted(fates, now)
    for reason, number in others.items():
        if reason is not Reason.OBSERVE:
            numbers["held"][reason] = numbers["held"].get(reason, 0) + number
    for line in _lines(fates, numbers):
        click.echo(line, err=as_json)
    goes, goes_now = numbers["now"] | numbers["later"], numbers["now"]
    if goes_now and not yes:
        must_be_asked("coursebell mode sending --yes")
    if goes and not yes and sys.stdin.isatty() and not agreed("Start sending?"):
        click.echo("Nothing was changed: the mode is observe.", err=True)
        raise SystemExit(NOT_DONE)
    return numbers


def _lines(fates: Fates, numbers: dict[str, dict[str, int]]) -> list[str]:
    lines = list(count_lines(numbers))
    if not lines:
        return ["No email is held or waits, so none goes at once."]
    goes = numbers["now"] | numbers["later"]
    return [
        f"With mode sending, {number_of(fates.expected)} would go:"
        if goes
        else "With mode sending, none of the emails held or waiting would go:",
        *lines,
        "`coursebell held` lists what is held.",
    ]


def _check_can_send(settings: Settings) -> None:
    missing = [
        name
        for name, value in (
            ("COURSEBELL_SMTP_URL", settings.smtp),
            ("COURSEBELL_MAIL_FROM", settings.mail_from),
        )
        if value is None
    ]
    if missing:
        raise ConfigurationError([f"{name}: not set, and needed for sending" for name in missing])
