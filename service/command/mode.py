"""`mode`: whether emails leave the house."""

import click

from ledger.controls import change_mode, sending_of
from ledger.engine import reading, writing
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.states import Mode
from service.command.common import as_json, local, opened_ledger, print_json, settings_now
from service.command.consent import who_decides
from workers.clocks import utc_now


@click.command()
@click.argument("wanted", required=False, type=click.Choice([mode.value for mode in Mode]))
@as_json
def mode(wanted: str | None, *, as_json: bool) -> None:
    """Show or change the mode: observe keeps emails, sending sends."""
    settings = settings_now()
    with opened_ledger(settings) as engine:
        if wanted is None:
            with reading(engine) as connection:
                sending = sending_of(connection)
        else:
            if wanted == Mode.SENDING:
                _check_can_send(settings)
            with writing(engine) as connection:
                sending = change_mode(connection, Mode(wanted), who_decides(), utc_now())
    if as_json:
        print_json({"mode": sending.mode, "sending_started_at": sending.started_at})
    elif sending.mode is Mode.SENDING and sending.started_at is not None:
        click.echo(f"sending: emails go out, about what happened since {local(sending.started_at)}")
    else:
        click.echo("observe: everything is read, decided and written, and nothing leaves")
        click.echo("To let emails go: coursebell mode sending")


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
