"""What `hooks` says of a webhook that is switched on or made, and what may be asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import click

from schemas.errors import ConfigurationError
from schemas.hook_actions import about_courses
from schemas.settings.addresses import is_loopback
from service.command.common import local
from service.command.reach import reason_given
from workers.guard.enabling import Enabled
from workers.guard.mending import Came
from workers.guard.registering import Registered

PROBLEM = 1

REFUSED = {
    Came.NOT_THERE: "Nexudus has no webhook {}. These call us: coursebell hooks list",
    Came.NOT_OURS: (
        "Webhook {} is left alone: its address is not below COURSEBELL_PUBLIC_URL/hooks/."
    ),
    Came.STILL_OFF: "Nexudus said that webhook {} was switched on, and shows it switched off.",
}


@dataclass(frozen=True, slots=True)
class Action:
    """What a webhook tells of."""

    name: str
    number: int


def chosen_action(actions: dict[str, int], wanted: str | None) -> Action:
    """Return the action that is meant; without a word of it, the only one about courses.

    Raises:
        click.UsageError: there are several, or none of that name.
        SystemExit: there is none about courses.
    """
    about = about_courses(actions)
    if wanted is None:
        if len(about) == 1:
            return Action(about[0], actions[about[0]])
        if about:
            raise click.UsageError(f"Say which: --action {' or --action '.join(about)}")
        click.echo("Nexudus has no webhooks about courses, so there is none to make.", err=True)
        click.echo("Coursebell looks for news by itself: coursebell status", err=True)
        raise SystemExit(PROBLEM)
    for name, number in actions.items():
        if wanted.strip().lower() in {name.lower(), str(number)}:
            return Action(name, number)
    raise click.BadParameter(
        f"Nexudus has no such action; it has {len(actions)}, about courses: "
        f"{', '.join(about) or 'none'}",
        param_hint="--action",
    )


def check_can_be_called(public_url: str) -> None:
    """Refuse an address at which Nexudus could not call us, or only in the clear.

    Raises:
        ConfigurationError: it is of this machine alone, or not encrypted.
    """
    parts = urlsplit(public_url)
    if parts.scheme != "https" or is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            [
                (
                    "COURSEBELL_PUBLIC_URL: expected https:// and a host that Nexudus reaches,"
                    " since a webhook is to call it"
                )
            ]
        )


def enabled_plain(webhook_id: int, done: Enabled) -> dict[str, object]:
    """Return for programs what came of switching one on."""
    return {
        "id": webhook_id,
        "came": done.switched.came.name.lower().replace("_", "-"),
        "missed_since": done.since,
        "asked_for": done.asked_for,
        "changed_besides": list(done.switched.lost),
        "trouble": done.trouble,
    }


def enabled_lines(webhook_id: int, done: Enabled) -> Iterator[str]:
    """Give for people what came of switching one on."""
    came = done.switched.came
    if came in REFUSED:
        yield REFUSED[came].format(webhook_id)
        return
    yield f"Webhook {webhook_id} {'was on already' if came is Came.ALREADY else 'is on again'}."
    if done.switched.lost:
        yield f"Nexudus changed more of it: {', '.join(done.switched.lost)}. Look at it there."
    if done.trouble is not None:
        yield f"What was missed could not be asked for: {reason_given(Exception(done.trouble))}."
        yield "The guardian does it later; or: coursebell backfill --since 2d"
    elif done.since is not None:
        yield f"Asked for what was missed since {local(done.since)}: {done.asked_for} records."


def registered_lines(made: Registered, action: Action, url: str) -> Iterator[str]:
    """Give for people what came of making one."""
    which = "A webhook" if made.record_id is None else f"Webhook {made.record_id}"
    yield f"{which} {'was made' if made.is_new else 'is there already'}: {action.name} calls {url}"
    if not made.active:
        yield f"It is switched off: coursebell hooks enable {made.record_id}"
    if not about_courses([action.name]):
        yield "It is not about courses. Coursebell takes its calls, and follows courses only."
    if made.is_new:
        yield "Its deliveries are taken once their secret is in COURSEBELL_HOOK_SECRETS."
