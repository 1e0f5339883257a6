"""`coursebell hooks`: lists, enables and registers the webhooks at Nexudus that call Coursebell.

The only command that changes anything at Nexudus.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

import click
import structlog

from ledger.engine import reading
from ledger.hooks import KnownHook, alarm_sentence, known_hooks
from schemas.errors import ConfigurationError, RecordUnreadable, SourceRefused, Transient
from schemas.records import WebHook, action_name, course_actions
from schemas.settings import Settings, is_loopback
from service.cli.common import (
    OUT_OF_REACH,
    as_json,
    command_clock,
    is_confirmed,
    local,
    needs_confirmation,
    opened_ledger,
    print_json,
    printable,
    reason_given,
    settings_now,
    with_own_broker,
)
from service.cli.main import Commands
from workers.source.budget import make_budget
from workers.source.client import make_sources
from workers.source.limits import Patience, Urgency
from workers.source.webhooks import (
    NewHook,
    Registered,
    SwitchOutcome,
    address_for,
    list_webhooks,
    register,
    webhook_actions,
)
from workers.sync.backfill import backfill_gap
from workers.sync.rows import SyncContext
from workers.sync.webhooks import Enabled, WebhookHealth, enable

PROBLEM = 1
_PATIENCE_S = 60.0
_BACKFILL_S = 600.0
_REFUSED = {
    SwitchOutcome.NOT_THERE: (
        "Nexudus has no webhook {}. To list those that call us: coursebell hooks list"
    ),
    SwitchOutcome.NOT_OURS: (
        "Webhook {} was not changed: its address is not below COURSEBELL_PUBLIC_URL/hooks/."
    ),
    SwitchOutcome.STILL_OFF: (
        "Nexudus accepted the change, but still shows webhook {} as off. Check it at Nexudus."
    ),
}


@click.group(cls=Commands)
def hooks() -> None:
    """List, enable and register the webhooks that call Coursebell."""
    # Log lines of the source client would mix with the lines printed for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@hooks.command("list")
@as_json
def list_hooks(*, as_json: bool) -> None:
    """List the webhooks that call Coursebell, with its last action."""
    settings = with_own_broker(settings_now())
    with _webhook_health(settings) as health, _explained():
        listed = _listed(health)
    if as_json:
        actions = listed.actions
        print_json(
            {
                "webhooks": [asdict(line) for line in listed.lines],
                "others": listed.others,
                "unread": listed.unread,
                "course_actions": None if actions is None else course_actions(actions),
            }
        )
    else:
        for text in _texts(listed, settings.public_url):
            click.echo(printable(text))
    if any(line.state != "on" for line in listed.lines):
        raise SystemExit(PROBLEM)


@hooks.command("enable")
@click.argument("webhook_id", type=click.IntRange(min=1))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@as_json
def enable_hook(webhook_id: int, *, yes: bool, as_json: bool) -> None:
    """Enable a webhook again, and read what it missed."""
    settings = with_own_broker(settings_now())
    if not yes:
        needs_confirmation(f"coursebell hooks enable {webhook_id} --yes")
        if not is_confirmed(f"Enable webhook {webhook_id} at Nexudus?"):
            click.echo("Nothing was changed.", err=True)
            raise SystemExit(PROBLEM)
    with _webhook_health(settings) as health, _explained():
        done = enable(health, webhook_id, command_clock().now())
    outcome = done.switched.outcome
    if as_json:
        print_json(
            {
                "id": webhook_id,
                "came": outcome.name.lower().replace("_", "-"),
                "missed_since": done.since,
                "asked_for": done.asked_for,
                "changed_besides": list(done.switched.lost),
                "trouble": done.trouble,
            }
        )
    for line in [] if as_json else _enabled_lines(webhook_id, done):
        click.echo(printable(line), err=outcome in _REFUSED)
    if outcome in _REFUSED:
        raise SystemExit(PROBLEM)


@hooks.command("register")
@click.option(
    "--location",
    type=click.IntRange(min=1),
    required=True,
    metavar="BUSINESS_ID",
    help="The location whose changes to report; each location needs its own webhook.",
)
@click.option("--action", metavar="NAME_OR_NUMBER", help="The webhook action, as named by Nexudus.")
@as_json
def register_hook(location: int, action: str | None, *, as_json: bool) -> None:
    """Register a webhook for one kind of change at one location."""
    settings = with_own_broker(settings_now())
    _check_can_be_called(settings.public_url)
    with _webhook_health(settings) as health, _explained(), health.source(_patience()) as source:
        name, number = _chosen_action(webhook_actions(source.session), action)
        url = address_for(settings.public_url, name)
        new = NewHook(location, f"Coursebell: {name}", number, url)
        made = register(source, settings.public_url, new)
    if as_json:
        print_json({"id": made.record_id, "is_new": made.is_new, "active": made.active, "url": url})
        return
    for line in _registered_lines(made, name, url):
        click.echo(printable(line))


@dataclass(frozen=True, slots=True)
class HookLine:
    """One listed webhook; the field names are those of --json.

    `alarm` is what is wrong with it, `guardian` what Coursebell last did about it.
    """

    id: int
    name: str | None
    action: str
    business_id: int
    state: str  # on, off, or not-there
    failures_in_a_row: int
    last_call_at: datetime | None
    alarm: str | None
    guardian: str | None
    guardian_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Listed:
    """What `list` prints. `actions` is None if the actions of Nexudus could not be read."""

    lines: Sequence[HookLine]
    others: int
    unread: int
    actions: Sequence[str] | None


def _listed(health: WebhookHealth) -> _Listed:
    with reading(health.engine) as connection:
        known = known_hooks(connection)
    with health.source(_patience()) as source:
        found = list_webhooks(source, health.public_url)
        actions = None
        with suppress(SourceRefused, RecordUnreadable):  # list the webhooks all the same
            actions = list(webhook_actions(source.session))
    lines = [
        _line_of(hook, "on" if hook.active else "off", known.get(hook.record_id))
        for hook in found.ours.values()
    ]
    lines += [
        _line_of(hook, "not-there", hook)
        for hook in known.values()
        if hook.record_id not in found.ours and hook.alarm is not None
    ]
    return _Listed(lines, found.others, len(found.unread), actions)


def _line_of(hook: WebHook | KnownHook, state: str, known: KnownHook | None) -> HookLine:
    return HookLine(
        hook.record_id,
        hook.name,
        action_name(hook.action),
        hook.business_id,
        state,
        hook.error_count or 0,
        hook.last_trigger_at,
        alarm=None if known is None else alarm_sentence(known),
        guardian=None if known is None else known.last_deed,
        guardian_at=None if known is None else known.last_deed_at,
    )


def _texts(listed: _Listed, public_url: str) -> Iterator[str]:
    """Yield what `list` prints for people."""
    for line in listed.lines:
        yield from _lines(line)
    if not listed.lines:
        yield f"No webhook at Nexudus calls {public_url}."
    if listed.unread:
        yield f"{listed.unread} more could not be read and may be ours."
    yield f"Webhooks that call other addresses: {listed.others}."
    if listed.actions is None:
        yield "The list of actions that Nexudus has webhooks for could not be read."
    elif about := course_actions(listed.actions):
        yield f"Nexudus has webhooks about courses: {', '.join(about)}."
        yield "Register one for each location: coursebell hooks register --location BUSINESS_ID"
    else:
        count = len(listed.actions)
        yield f"None of the {count} actions that Nexudus has webhooks for is about courses."


def _lines(line: HookLine) -> Iterator[str]:
    called = "never called" if line.last_call_at is None else f"called {local(line.last_call_at)}"
    failed = f", {line.failures_in_a_row} failures in a row" if line.failures_in_a_row else ""
    state = line.state.replace("-", " ")
    name = f"  {line.name}" if line.name else ""
    what = f"{line.action}, location {line.business_id}, {called}{failed}{name}"
    yield f"{line.id}  {state:<9}  {what}"
    if line.alarm is not None:
        yield f"    ! it {line.alarm}"
    if line.guardian is not None and line.guardian_at is not None:
        yield f"    {local(line.guardian_at)}: {line.guardian}"
    if line.state == "off":
        yield f"    -> Fix the cause of the failures, then: coursebell hooks enable {line.id}"


def _enabled_lines(webhook_id: int, done: Enabled) -> Iterator[str]:
    outcome = done.switched.outcome
    if outcome in _REFUSED:
        yield _REFUSED[outcome].format(webhook_id)
        return
    was_on = outcome is SwitchOutcome.ALREADY
    yield f"Webhook {webhook_id} {'was on already' if was_on else 'is on again'}."
    if done.switched.lost:
        changed = ", ".join(done.switched.lost)
        yield f"Nexudus changed other fields of it too: {changed}. Check the webhook at Nexudus."
    if done.trouble is not None:
        yield f"Missed changes could not all be requested: {reason_given(Exception(done.trouble))}."
        yield "The next webhook check requests them; to do it now: coursebell backfill --since 2d"
    elif done.since is not None:
        yield f"Requested what was missed since {local(done.since)}: {done.asked_for} records."


def _registered_lines(made: Registered, action: str, url: str) -> Iterator[str]:
    which = "A webhook" if made.record_id is None else f"Webhook {made.record_id}"
    yield f"{which} {'was registered' if made.is_new else 'already exists'}: {action} calls {url}"
    if not made.active:
        yield f"It is switched off: coursebell hooks enable {made.record_id}"
    if not course_actions([action]):
        yield "It is not about courses: Coursebell accepts its calls but only follows courses."
    if made.is_new:
        yield "Its deliveries are accepted once its secret is in COURSEBELL_HOOK_SECRETS."


def _chosen_action(actions: dict[str, int], wanted: str | None) -> tuple[str, int]:
    """Return the wanted action's name and number; by default the only one about courses.

    Raises:
        click.UsageError: there are several about courses, or none of the wanted name.
        SystemExit: there is none about courses.
    """
    about = course_actions(actions)
    if wanted is None:
        if len(about) == 1:
            return about[0], actions[about[0]]
        if about:
            raise click.UsageError(f"Choose one: --action {' or --action '.join(about)}")
        click.echo("Nexudus has no webhooks about courses, so there is none to register.", err=True)
        click.echo("Coursebell polls for changes instead. To check it: coursebell status", err=True)
        raise SystemExit(PROBLEM)
    for name, number in actions.items():
        if wanted.strip().lower() in {name.lower(), str(number)}:
            return name, number
    raise click.BadParameter(
        f"Nexudus has no such action; of its {len(actions)}, these are about courses: "
        f"{', '.join(about) or 'none'}",
        param_hint="--action",
    )


def _check_can_be_called(public_url: str) -> None:
    """Refuse an address that Nexudus cannot call, or only without encryption."""
    parts = urlsplit(public_url)
    if parts.scheme != "https" or is_loopback(parts.hostname or ""):
        mistake = "COURSEBELL_PUBLIC_URL: expected https:// and a host that Nexudus can reach"
        raise ConfigurationError([f"{mistake}, since a webhook has to call it"])


def _patience() -> Patience:
    return Patience(Urgency.PERSON, command_clock().monotonic() + _PATIENCE_S, lambda: None)


@contextmanager
def _webhook_health(settings: Settings) -> Iterator[WebhookHealth]:
    """Open the ledger and the source client, within the limits that all processes share."""
    with (
        opened_ledger(settings) as engine,
        closing(make_budget(settings, command_clock())) as budget,
        closing(make_sources(settings, engine, command_clock(), budget)) as sources,
    ):
        sync = SyncContext(engine, sources.lend, command_clock(), settings.check_every_s)
        end = command_clock().monotonic() + _BACKFILL_S
        yield WebhookHealth(
            engine,
            sources.lend,
            command_clock(),
            settings.public_url,
            settings.hooks_reenable,
            partial(backfill_gap, sync, urgency=Urgency.PERSON, end=end),
            command_clock().now(),
        )


@contextmanager
def _explained() -> Iterator[None]:
    """Print a source error with the next step, and exit with its code."""
    try:
        yield
    except (SourceRefused, RecordUnreadable) as error:
        click.echo(f"{reason_given(error)}.", err=True)
        click.echo(
            "To see what our Nexudus user may do: coursebell doctor. Listing webhooks needs the"
            " roles WebHook-List and WebHook-Read, enabling WebHook-Edit, registering"
            " WebHook-Create.",
            err=True,
        )
        raise SystemExit(PROBLEM) from None
    except Transient as error:
        click.echo(f"{reason_given(error)}.", err=True)
        click.echo("Try again in a minute, or: coursebell doctor", err=True)
        raise SystemExit(OUT_OF_REACH) from None
