"""`coursebell webhook`: lists the endpoints that rules post to, and sends one of them a test."""

from datetime import datetime

import click

from ledger.channels import note_tested
from ledger.engine import reading, writing
from ledger.outages import end_outage
from schemas.actions import ENDPOINT, channel_of
from schemas.errors import (
    ChannelUnavailable,
    ConfigurationError,
    DeliveryRefused,
    DeliveryUnavailable,
    LedgerUnavailable,
)
from schemas.reasons import Reason
from schemas.rules import Rules
from schemas.settings import Settings
from service.cli.common import (
    OUT_OF_REACH,
    as_json,
    command_clock,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    who_decides,
)
from service.cli.main import Commands
from workers.actions.webhook import KIND, read_endpoints
from workers.actions.webhook.action import WebhookAction
from workers.endpoints import EndpointLine, endpoint_lines
from workers.rules_file import read_rules

_UNKNOWN = 2
_NO_ENDPOINTS = (
    "There are no endpoints. Name them in a file, and its path in COURSEBELL_ENDPOINTS: see"
    " docs/webhooks.md"
)


@click.group(cls=Commands)
def webhook() -> None:
    """List the endpoints that rules post to, or send one a test."""


@webhook.command("list")
@as_json
def list_endpoints(*, as_json: bool) -> None:
    """List the endpoints, what each may learn, and whether it works."""
    settings = settings_now()
    with opened_ledger(settings) as engine, reading(engine) as connection:
        lines = endpoint_lines(connection, settings, _rules(settings))
    if as_json:
        print_json({"endpoints": lines})
        return
    if not lines:
        click.echo(_NO_ENDPOINTS)
    for one in lines:
        click.echo(printable(_line(one)))
        if one.problem is not None:
            click.echo(printable(f"  ! {one.problem}. {one.fix}"))


def _rules(settings: Settings) -> Rules | None:
    try:
        return read_rules(settings)
    except ConfigurationError:
        return None


def _line(one: EndpointLine) -> str:
    signed = f", {one.secrets} secrets sign" if one.secrets > 1 else ""
    learns = f", learns {' and '.join(one.include)}" if one.include else ", learns Ids only"
    used = f"rules: {', '.join(one.rules)}" if one.rules else "no rule posts to it"
    unread = "the rules file cannot be read" if one.rules is None else used
    return f"{one.name}: {one.shape} at {one.host}{signed}{learns}; {unread}"


@webhook.command()
@click.argument("name", metavar="ENDPOINT")
def test(name: str) -> None:
    """Send a test message to an endpoint now, and say what it answered.

    It is marked as a test and is about no member. The mode does not matter, and it is not tried
    again. If it arrives, what waits for this endpoint goes now.
    """
    settings = settings_now()
    known = [one.name for one in read_endpoints(settings)]
    if name not in known:
        click.echo(
            f"There is no endpoint {name!r}; there is: {', '.join(known) or 'none'}.", err=True
        )
        raise SystemExit(_UNKNOWN)
    clock = command_clock()
    action = WebhookAction.from_settings(settings)
    try:
        receipt = action.send_test(name, f"msg_test_{clock.new_id()}", clock.now())
    except (DeliveryUnavailable, DeliveryRefused) as error:
        detail = f" ({error.detail})" if isinstance(error, DeliveryRefused) else ""
        click.echo(printable(f"It did not arrive: {error}{detail}."), err=True)
        click.echo(_advice(error), err=True)
        raise SystemExit(OUT_OF_REACH) from None
    click.echo(f"The endpoint {name} {receipt}. The test message arrived.")
    _note_arrival(settings, name, clock.now())


def _note_arrival(settings: Settings, name: str, now: datetime) -> None:
    """End the outage of an endpoint, and say so; the test counts without a ledger too."""
    channel = channel_of(KIND, f"{ENDPOINT}{name}")
    try:
        with opened_ledger(settings) as engine, writing(engine) as connection:
            note_tested(connection, channel, who_decides(), now)
            was_out = end_outage(connection, channel, now)
    except (ConfigurationError, LedgerUnavailable) as error:
        click.echo(printable(f"What waits for it goes at the next try only: {error}."), err=True)
        return
    if was_out:
        click.echo("The messages that waited for it go now.")


def _advice(error: DeliveryUnavailable | DeliveryRefused) -> str:
    """Return what to do about a test that failed."""
    if isinstance(error, ChannelUnavailable):
        if error.reason is Reason.DELIVERY_BUSY:
            return "Messages wait as long as it asks; try the test again later."
        if error.reason is Reason.ENDPOINT_ADDRESS:
            return "Correct its url in COURSEBELL_ENDPOINTS, or list its network."
        return "Look at the receiver and at the url in COURSEBELL_ENDPOINTS. Messages are retried."
    return (
        "Correct the url, shape or secrets in COURSEBELL_ENDPOINTS, or the receiver. Messages that"
        " are answered so fail: `coursebell resend` sends them again."
    )
