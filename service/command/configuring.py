"""`config show`: every setting, where it came from; `config accept-key`: another secret key."""

import os
from dataclasses import asdict

import click

from ledger.engine import reading, writing
from ledger.keys import accept_key, choices_kept
from schemas.settings import describe
from service.command.common import as_json, command_clock, opened_ledger, print_json, settings_now
from service.command.consent import agreed, must_be_asked, who_decides
from service.command.groups import Commands
from workers.workshop import secret_key


@click.group(cls=Commands)
def config() -> None:
    """Show the settings, or let the ledger use another secret key."""


@config.command()
@as_json
def show(*, as_json: bool) -> None:
    """List every setting with its value and where it came from. Secrets are not printed."""
    lines = describe(settings_now(), os.environ)
    if as_json:
        print_json([asdict(line) for line in lines])
        return
    width = max(len(line.name) for line in lines)
    for line in lines:
        unquoted = ", the quotes around it were removed" if line.unquoted else ""
        click.echo(f"{line.name:<{width}}  {line.value}  ({line.origin}{unquoted})")
    for line in lines:
        if line.warning is not None:
            click.echo(f"! {line.warning}")


@config.command("accept-key")
@click.option("--yes", is_flag=True, help="Do not ask.")
def accept_secret_key(*, yes: bool) -> None:
    """Make the secret key that is set here the ledger's."""
    settings = settings_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            kept = choices_kept(connection)
        if not yes:
            must_be_asked("coursebell config accept-key --yes")
            click.echo(
                "Certificates signed with the key before can then no longer be verified, and "
                f"{kept} choices that members made, such as to get no email, are no longer found.",
                err=True,
            )
            if not agreed("Use the key that is set here from now on?"):
                return
        key = secret_key(settings)
        with writing(engine) as connection:
            accept_key(connection, key, who_decides(), command_clock().now())
    click.echo("The ledger belongs to this secret key now. Restart every process that has another.")
