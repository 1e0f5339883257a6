"""`coursebell show` prints one email; `coursebell tail` prints events and emails as they happen."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path

import click

from ledger.activity import Entry, entries_since, newest_entries
from ledger.controls import sending_of
from ledger.engine import reading
from ledger.mail_reports import ReportView, reports_of
from ledger.queries import EmailView, emails_of, last_detail
from schemas.actions import ActionState, Mode
from schemas.reasons import EXPLANATIONS
from service.cli.common import (
    EmailId,
    as_json,
    audience_word,
    command_clock,
    local,
    opened_ledger,
    print_json,
    print_json_line,
    printable,
    settings_now,
    shortened,
    show_addresses,
    stop_on_signals,
    to_others,
)
from service.cli.config import may_replace, write_private
from service.cli.history_lines import STATES, explained
from service.cli.report_words import said_lines
from workers.actions.base import Printable, plain
from workers.deliver.context import SendSetup
from workers.deliver.forecast import Preview, make_send_setup, preview

NOT_SHOWN = 1

_HELD_IN_OBSERVE = (
    "To send it: coursebell mode sending, then coursebell release {id} if it is still held. "
    "To drop it: coursebell skip {id}"
)
_NEXT = {
    ActionState.HELD: "To send it: coursebell release {id}. To drop it: coursebell skip {id}",
    ActionState.FAILED: "To send it once the cause is fixed: coursebell resend {id}",
    ActionState.UNKNOWN: "If it did not arrive: coursebell resend {id} --i-checked",
}
_ANSWERED = frozenset({ActionState.DONE, ActionState.FAILED, ActionState.UNKNOWN})


@click.command()
@click.argument("action_id", metavar="ID", type=EmailId())
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also write the HTML part to this file, readable only by you.",
)
@click.option("--yes", is_flag=True, help="Replace an existing file without asking.")
@as_json
@show_addresses
def show(
    action_id: int, *, html: Path | None, yes: bool, as_json: bool, show_addresses: bool
) -> None:
    """Show an email as text, as it was sent or would be.

    `coursebell held`, `coursebell why` and `coursebell tail` print the ID. A sent email is shown
    from the copy that is kept for 90 days. Any other is written from what the ledger has now,
    without asking Nexudus, and nothing is sent.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine, reading(engine) as connection:
        found = emails_of(connection, [action_id])
        if not found:
            click.echo(f"There is no email {action_id}.", err=True)
            click.echo(
                "These print IDs: coursebell held, coursebell why, coursebell tail", err=True
            )
            raise SystemExit(NOT_SHOWN)
        [email] = found
        setup = make_send_setup(settings)
        previewed = preview(connection, email, setup, command_clock().now())
        detail = last_detail(connection, action_id)
        mode = sending_of(connection).mode
        reports = reports_of(connection, [action_id]).get(action_id, [])
    page = _page(email, previewed, setup, whole=show_addresses)
    if html is not None and page is not None:
        _write_html(html, page, action_id, yes=yes)
    if as_json:
        print_json(_plain(email, previewed, page, detail) | {"reports": reports})
    else:
        state = _state_lines(email, previewed, detail, mode, reports)
        for line in _lines(state, page):
            click.echo(printable(line))
    if page is None:
        _print_missing(email, previewed)
        raise SystemExit(NOT_SHOWN)


def _page(
    email: EmailView, previewed: Preview, setup: SendSetup, *, whole: bool
) -> Printable | None:
    """Return the copy as its kind prints it; None if there is no copy."""
    copy = previewed.copy
    if copy is None:
        return None
    to = None if copy.recipient is None else _recipient(email, copy.recipient, whole=whole)
    kind = setup.actions.get(email.kind)
    show_copy = plain if kind is None else kind.printable
    return show_copy(copy, to=to, written_at=previewed.written_at)


def _write_html(path: Path, page: Printable, action_id: int, *, yes: bool) -> None:
    if page.html is None:
        click.echo(f"Email {action_id} has no HTML part; no file was written.", err=True)
        raise SystemExit(NOT_SHOWN)
    command = f"coursebell show {action_id} --html {shlex.quote(str(path))} --yes"
    if not yes:
        may_replace(path, command, "Its content will be lost.")
    write_private(path, page.html)
    click.echo(f"Wrote {path}, readable only by you.", err=True)


def _lines(state: Iterable[tuple[str, str]], page: Printable | None) -> Iterator[str]:
    for name, text in (*state, *_head(page)):
        yield f"{name + ':':<11} {text}"
    if page is not None:
        yield ""
        yield from page.text.splitlines()


def _state_lines(
    email: EmailView,
    previewed: Preview,
    detail: str | None,
    mode: Mode,
    reports: Sequence[ReportView],
) -> Iterator[tuple[str, str]]:
    """Yield the email's state as names and texts."""
    reason = f": {explained(email.reason)}" if email.reason else ""
    yield email.kind.capitalize(), str(email.action_id)
    yield from _about_lines(email)
    yield "State", f"{STATES[email.state]}{reason}"
    yield "Happened", local(email.happened_at)
    yield "Planned", local(email.planned_at)
    if email.finished_at is not None:
        yield "Sent" if email.state is ActionState.DONE else "Ended", local(email.finished_at)
    elif email.state in {ActionState.PLANNED, ActionState.WAITING}:
        yield "Due", local(email.due_at)
    if detail := email.receipt or detail:
        yield "Answer" if email.state in _ANSWERED else "Note", detail
    yield from (("Reported", line) for line in said_lines(reports))
    if email.resend_of is not None:
        yield "Repeats", f"email {email.resend_of}"
    if email.resent_as is not None:
        yield "Sent again", f"as email {email.resent_as}"
    elif email.state in _NEXT:
        is_held_in_observe = email.state is ActionState.HELD and mode is not Mode.SENDING
        next_step = _HELD_IN_OBSERVE if is_held_in_observe else _NEXT[email.state]
        yield "Next", next_step.format(id=email.action_id)
    if previewed.copy is None:
        return
    if previewed.written_at is not None:
        yield "Text", f"as it was written at {local(previewed.written_at)}"
    else:
        yield "Text", "a draft from what the ledger has now"
    for missing in previewed.missing:
        yield "Missing", f"{missing}."


def _about_lines(email: EmailView) -> Iterator[tuple[str, str]]:
    """Yield about whom the email is, unless it is to them."""
    if email.audience is not None:
        person = email.person or f"coworker {email.coworker_id}"
        yield "About", f"{person}{to_others(email.audience)}"


def _head(page: Printable | None) -> Iterator[tuple[str, str]]:
    """Yield the lines above the body, as names and texts."""
    for line in () if page is None else page.lines:
        value = line.value
        text = format_datetime(value) if isinstance(value, datetime) else value or line.if_none
        if text:
            yield line.label, text


def _recipient(email: EmailView, address: str, *, whole: bool) -> str:
    shown = address if whole else shortened(address)
    if email.audience is not None:
        return to_others(email.audience, shown).removeprefix(", to ")
    return f"{email.person or ''} <{shown}>".lstrip()


def _print_missing(email: EmailView, previewed: Preview) -> None:
    for missing in previewed.missing:
        click.echo(f"{missing}.", err=True)
    if email.state in {ActionState.PLANNED, ActionState.WAITING}:
        click.echo(
            "Coursebell reads it from Nexudus before it writes the email. To check that it is"
            " running: coursebell status",
            err=True,
        )
    else:
        click.echo(f"To see what is known about it: coursebell why {email.coworker_id}", err=True)


def _plain(
    email: EmailView, previewed: Preview, page: Printable | None, detail: str | None
) -> dict[str, object]:
    message: dict[str, object] | None = None
    if page is not None:
        message = {one.label.lower().replace("-", "_"): one.value for one in page.lines}
        message["text"] = page.text
        if page.html is not None:
            message["html"] = page.html
    return {
        "id": email.action_id,
        "state": email.state,
        "reason": email.reason,
        "explanation": EXPLANATIONS[email.reason].sentence if email.reason else None,
        "rule": email.rule,
        "to": audience_word(email.audience),
        "happened_at": email.happened_at,
        "planned_at": email.planned_at,
        "due_at": email.due_at,
        "finished_at": email.finished_at,
        "detail": email.receipt or detail,
        "resend_of": email.resend_of,
        "resent_as": email.resent_as,
        "is_draft": page is not None and previewed.written_at is None,
        "missing": [str(one) for one in previewed.missing],
        email.kind: message,
    }


_EVERY_S = 1.0
_STATES_BY_WORD = {state.value: words for state, words in STATES.items()}


@click.command()
@click.option(
    "--lines",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many past lines to print first.",
)
@click.option("--follow/--no-follow", default=True, help="Print new lines until Ctrl-C.")
@as_json
def tail(*, lines: int, follow: bool, as_json: bool) -> None:
    """Show events and the emails about them as they happen."""
    stop = stop_on_signals()
    with opened_ledger(settings_now()) as engine:
        with reading(engine) as connection:
            found, mark = entries_since(connection, newest_entries(connection, lines))
        # There are that many of events and of emails each; show only the last of both together.
        found = found[max(0, len(found) - lines) :]
        if follow:
            zone = command_clock().now().astimezone().tzname()
            click.echo(f"Ready. Times are in {zone}. (Ctrl-C to stop)", err=True)
        while True:
            for line in found:
                if as_json:
                    print_json_line(_plain_entry(line))
                else:
                    click.echo(printable(_one_line(line)))
            if not follow or stop.wait(_EVERY_S):
                return
            with reading(engine) as connection:
                found, mark = entries_since(connection, mark)


def _plain_entry(line: Entry) -> dict[str, object]:
    """Return a line for programs; that of an email says whom it is to."""
    found = asdict(line)
    audience = found.pop("audience")
    return found if line.action_id is None else found | {"to": audience_word(audience)}


def _one_line(line: Entry) -> str:
    at = line.at.astimezone().strftime("%H:%M:%S")
    who = _short_name(line.name)
    if line.rule is None:
        reason = f"  no email: {explained(line.reason)}" if line.reason else ""
        return f"{at}  -->  {line.what.replace('_', ' '):<20} {who:<16}{reason}"
    reason = f": {explained(line.reason)}" if line.reason else ""
    outcome = _STATES_BY_WORD.get(line.outcome or "", line.outcome)
    whom = f"{who:<16}{to_others(line.audience)}"
    return f"{at}  <--  {line.rule:<20} {whom}  {line.action_id}  {outcome}{reason}"


def _short_name(name: str | None) -> str:
    first, *rest = (name or "(unknown)").split()
    return f"{first} {rest[-1][:1]}." if rest else first
