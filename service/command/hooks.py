"""`hooks`: the webhooks at Nexudus that call us, seen, switched on, and made.

The only command that writes at Nexudus. What `enable` does by hand the guardian may do by itself.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import click
import structlog

from schemas.errors import RecordUnreadable, SourceRefused, Transient
from schemas.settings import Settings
from service.command.common import (
    as_json,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    with_own_broker,
)
from service.command.consent import agreed, must_be_asked
from service.command.groups import Commands
from service.command.hook_list import as_plain, print_shown, what_there_is
from service.command.hook_words import (
    PROBLEM,
    REFUSED,
    check_can_be_called,
    chosen_action,
    enabled_lines,
    enabled_plain,
    registered_lines,
)
from service.command.reach import OUT_OF_REACH, reason_given
from workers.check.backfill import missed_in
from workers.check.tools import Checking
from workers.clocks import utc_now
from workers.guard import Guarding
from workers.guard.enabling import enable
from workers.guard.looking import source_actions
from workers.guard.mending import Backfill
from workers.guard.registering import address_for, register
from workers.source.budget import Urgency
from workers.source.checkup.questions import patience
from workers.source.writing import NewHook
from workers.workshop import make_budget, make_sources

_PATIENCE_S = 60.0
_BACKFILL_S = 600.0


@click.group(cls=Commands)
def hooks() -> None:
    """Look after the webhooks at Nexudus that call Coursebell."""
    # What the source client logs would stand between the lines for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@hooks.command("list")
@as_json
def list_hooks(*, as_json: bool) -> None:
    """Show the webhooks that call us, and what the guardian did last."""
    settings = with_own_broker(settings_now())
    with _guarding(settings) as guarding, _explained():
        shown = what_there_is(guarding)
    if as_json:
        print_json(as_plain(shown))
    else:
        print_shown(shown, settings.public_url)
    if shown.is_amiss:
        raise SystemExit(PROBLEM)


@hooks.command("enable")
@click.argument("webhook_id", type=click.IntRange(min=1))
@click.option("--yes", is_flag=True, help="Do not ask whether you mean it.")
@as_json
def enable_hook(webhook_id: int, *, yes: bool, as_json: bool) -> None:
    """Switch a webhook on again, and ask Nexudus for what was missed."""
    settings = with_own_broker(settings_now())
    if not yes:
        must_be_asked(f"coursebell hooks enable {webhook_id} --yes")
        if not agreed(f"Switch webhook {webhook_id} on at Nexudus?"):
            click.echo("Nothing was changed.", err=True)
            raise SystemExit(PROBLEM)
    with _guarding(settings) as guarding, _explained():
        done = enable(guarding, webhook_id, utc_now())
    came = done.switched.came
    if as_json:
        print_json(enabled_plain(webhook_id, done))
    for line in [] if as_json else enabled_lines(webhook_id, done):
        click.echo(printable(line), err=came in REFUSED)
    if came in REFUSED:
        raise SystemExit(PROBLEM)


@hooks.command("register")
@click.option(
    "--location",
    type=click.IntRange(min=1),
    required=True,
    metavar="BUSINESS_ID",
    help="The location whose changes are told of; each needs a webhook of its own.",
)
@click.option("--action", metavar="NAME_OR_NUMBER", help="What to tell of, as Nexudus calls it.")
@as_json
def register_hook(location: int, action: str | None, *, as_json: bool) -> None:
    """Make a webhook for one kind of change at one location."""
    settings = with_own_broker(settings_now())
    check_can_be_called(settings.public_url)
    with (
        _guarding(settings) as guarding,
        _explained(),
        guarding.source(patience(_PATIENCE_S)) as source,
    ):
        chosen = chosen_action(source_actions(source.asking), action)
        url = address_for(settings.public_url, chosen.name)
        wish = NewHook(location, f"Coursebell: {chosen.name}", chosen.number, url)
        made = register(source, settings.public_url, wish)
    if as_json:
        print_json({"id": made.record_id, "is_new": made.is_new, "active": made.active, "url": url})
        return
    for line in registered_lines(made, chosen, url):
        click.echo(printable(line))


@contextmanager
def _guarding(settings: Settings) -> Iterator[Guarding]:
    """Give what the guardian works with, within the limits that all processes share."""
    with (
        opened_ledger(settings) as engine,
        closing(make_budget(settings)) as budget,
        closing(make_sources(settings, engine, utc_now, budget)) as sources,
    ):
        yield Guarding(
            engine,
            sources.lend,
            utc_now,
            settings.public_url,
            settings.hooks_reenable,
            _backfill(Checking(engine, sources.lend, utc_now, settings.check_every_s)),
            utc_now(),
        )


def _backfill(checking: Checking) -> Backfill:
    return partial(missed_in, checking, urgency=Urgency.PERSON, end=time.monotonic() + _BACKFILL_S)


@contextmanager
def _explained() -> Iterator[None]:
    """End with words and a code where Nexudus does not do what is asked of it."""
    try:
        yield
    except (SourceRefused, RecordUnreadable) as error:
        click.echo(f"{reason_given(error)}.", err=True)
        click.echo(
            "What our Nexudus user may do: coursebell doctor. Webhooks need the roles WebHook-List"
            " and WebHook-Read, switching on WebHook-Edit, making WebHook-Create.",
            err=True,
        )
        raise SystemExit(PROBLEM) from None
    except Transient as error:
        click.echo(f"{reason_given(error)}.", err=True)
        click.echo("Try again in a minute, or: coursebell doctor", err=True)
        raise SystemExit(OUT_OF_REACH) from None
