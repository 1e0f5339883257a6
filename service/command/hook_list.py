"""How the webhooks that call us are told to people and to programs."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import click

from ledger.engine import reading
from ledger.hooks import KnownHook, alarm_sentence, known_hooks
from schemas.errors import RecordUnreadable, SourceRefused
from schemas.hook_actions import about_courses, action_name
from schemas.records import WebHook
from service.command.common import local, printable
from workers.guard import Guarding
from workers.guard.looking import look, source_actions
from workers.source.checkup.questions import patience

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class HookLine:
    """One webhook. `alarm` is what is amiss, `guardian` what was done about it last."""

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
class Shown:
    """All there is to show. `actions` None: which there are could not be read."""

    lines: Sequence[HookLine]
    others: int
    unread: int
    actions: Sequence[str] | None

    @property
    def is_amiss(self) -> bool:
        """Whether somebody has to do something."""
        return any(line.state != "on" for line in self.lines)


def what_there_is(guarding: Guarding) -> Shown:
    """Look at the source, and return what there is to show. Raises as `look`."""
    with reading(guarding.engine) as connection:
        known = known_hooks(connection)
    with guarding.source(patience(_PATIENCE_S)) as source:
        seen = look(source, guarding.public_url)
        actions = None
        with suppress(SourceRefused, RecordUnreadable):  # the webhooks are worth showing without
            actions = list(source_actions(source.asking))
    missing = [
        hook
        for hook in known.values()
        if hook.record_id not in seen.ours and hook.alarm is not None
    ]
    lines = [_line_of(hook, known.get(hook.record_id)) for hook in seen.ours.values()]
    lines += [_line_of_missing(hook) for hook in missing]
    return Shown(lines, seen.others, len(seen.unread), actions)


def _line_of(hook: WebHook, known: KnownHook | None) -> HookLine:
    return HookLine(
        hook.record_id,
        hook.name,
        action_name(hook.action),
        hook.business_id,
        "on" if hook.active else "off",
        hook.error_count or 0,
        hook.last_trigger_at,
        None if known is None else alarm_sentence(known),
        None if known is None else known.last_deed,
        None if known is None else known.last_deed_at,
    )


def _line_of_missing(hook: KnownHook) -> HookLine:
    return HookLine(
        hook.record_id,
        hook.name,
        action_name(hook.action),
        hook.business_id,
        "not-there",
        hook.error_count,
        hook.last_trigger_at,
        alarm_sentence(hook),
        hook.last_deed,
        hook.last_deed_at,
    )


def as_plain(shown: Shown) -> dict[str, Any]:
    """Return it for programs."""
    actions = shown.actions
    return {
        "webhooks": [asdict(line) for line in shown.lines],
        "others": shown.others,
        "unread": shown.unread,
        "course_actions": None if actions is None else about_courses(actions),
    }


def print_shown(shown: Shown, public_url: str) -> None:
    """Print it for people."""
    for line in shown.lines:
        for text in _lines(line):
            click.echo(printable(text))
    if not shown.lines:
        click.echo(f"No webhook at Nexudus calls {public_url}.")
    if shown.unread:
        click.echo(f"{shown.unread} more could not be read, and may be ours.")
    click.echo(f"Webhooks that call others: {shown.others}.")
    if shown.actions is None:
        click.echo("Which actions Nexudus has webhooks for could not be read.")
        return
    about = about_courses(shown.actions)
    if about:
        click.echo(printable(f"Nexudus has webhooks about courses: {', '.join(about)}."))
        click.echo("Make one for each location: coursebell hooks register --location BUSINESS_ID")
    else:
        click.echo(
            f"None of the {len(shown.actions)} actions that Nexudus has webhooks for is about"
            " courses."
        )


def _lines(line: HookLine) -> list[str]:
    called = "never called" if line.last_call_at is None else f"called {local(line.last_call_at)}"
    failed = f", {line.failures_in_a_row} failures in a row" if line.failures_in_a_row else ""
    state = "not there" if line.state == "not-there" else line.state
    told = [
        f"{line.id}  {state:<9}  {line.action}, location {line.business_id}, {called}{failed}"
        + (f"  {line.name}" if line.name else "")
    ]
    if line.alarm is not None:
        told.append(f"    ! it {line.alarm}")
    if line.guardian is not None and line.guardian_at is not None:
        told.append(f"    {local(line.guardian_at)}: {line.guardian}")
    if line.state == "off":
        told.append(f"    -> Fix what failed, then: coursebell hooks enable {line.id}")
    return told
