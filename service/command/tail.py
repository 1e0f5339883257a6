"""`tail`: what is going on, line by line."""

from dataclasses import asdict

import click

from ledger.engine import reading
from ledger.stories import Happening, happenings, newest
from service.command.common import (
    as_json,
    opened_ledger,
    print_json_line,
    printable,
    settings_now,
)
from service.command.serving import stop_on_signals
from service.command.why import explained

_EVERY_S = 1.0


@click.command()
@click.option(
    "--lines",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many old lines first.",
)
@click.option("--follow/--no-follow", default=True, help="Go on with new lines until Ctrl-C.")
@as_json
def tail(*, lines: int, follow: bool, as_json: bool) -> None:
    """Show what is found and what is done about it, as it happens."""
    stop = stop_on_signals()
    with opened_ledger(settings_now()) as engine:
        with reading(engine) as connection:
            found, mark = happenings(connection, newest(connection, lines))
        # Both kinds of line gave as many; merged, only the last of them were asked for.
        found = found[max(0, len(found) - lines) :]
        if follow:
            click.echo("Ready. (Ctrl-C to stop)", err=True)
        while True:
            for line in found:
                print_json_line(asdict(line)) if as_json else click.echo(printable(_one_line(line)))
            if not follow or stop.wait(_EVERY_S):
                return
            with reading(engine) as connection:
                found, mark = happenings(connection, mark)


def _one_line(line: Happening) -> str:
    at = line.at.astimezone().strftime("%H:%M:%S")
    who = _short_name(line.name)
    if line.rule is None:
        reason = f"  no email: {explained(line.reason)}" if line.reason else ""
        return f"{at}  -->  {line.what.replace('_', ' '):<20} {who:<16}{reason}"
    reason = f": {explained(line.reason)}" if line.reason else ""
    return f"{at}  <--  {line.rule:<20} {who:<16}  {line.action_id}  {line.outcome}{reason}"


def _short_name(name: str | None) -> str:
    first, *rest = (name or "somebody").split()
    return f"{first} {rest[-1][:1]}." if rest else first
