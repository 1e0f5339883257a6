"""`config show`: every setting, where it came from, and no secret."""

import os
from dataclasses import asdict

import click

from schemas.settings import describe
from service.command.common import Commands, as_json, print_json, settings_now


@click.group(cls=Commands)
def config() -> None:
    """Look at the settings."""


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
        unread = "" if line.read else "; not read by this version yet"
        unquoted = ", the quotes around it were removed" if line.unquoted else ""
        click.echo(f"{line.name:<{width}}  {line.value}  ({line.origin}{unquoted}{unread})")
