"""`coursebell mode`, `held`, `release` and `skip`: an operator's decisions about sending."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

import click

from ledger.controls import Sending, change_mode, sending_of
from ledger.engine import Connection, Engine, lock_decisions, reading, writing
from ledger.heartbeats import last_gap
from ledger.interventions import (
    HeldAction,
    held_actions,
    held_by_reason,
    release_held,
    skip_held,
    states_of,
)
from schemas.actions import ActionState, Mode
from schemas.errors import ConfigurationError
from schemas.reasons import EXPLANATIONS, HOLD_REASONS, Reason
from schemas.settings import Settings
from service.cli.common import (
    EmailId,
    as_json,
    command_clock,
    is_confirmed,
    local,
    needs_confirmation,
    number_of_emails,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    shortened,
    show_addresses,
    who_decides,
)
from service.cli.outcomes import (
    SendingOutcomes,
    count_lines,
    counted,
    due_lines,
    number_of,
    outcomes_by_sending,
)
from service.cli.why import STATES
from workers.deliver.forecast import make_send_setup

NOT_DONE = 1


@click.command()
@click.argument("wanted", required=False, type=click.Choice([mode.value for mode in Mode]))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation; for sending.")
@as_json
def mode(wanted: str | None, *, yes: bool, as_json: bool) -> None:
    """Show or change the mode: observe or sending.

    Observe holds emails, sending sends them. Before it changes to sending, it counts the held and
    waiting emails that would be sent, and asks if there are any; without a terminal it then needs
    --yes.
    """
    settings = settings_now()
    numbers = None
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            sending = sending_of(connection)
        if wanted == Mode.SENDING:
            _check_can_send(settings)
            if sending.mode is not Mode.SENDING:
                numbers = _confirm_sending(engine, settings, yes=yes, as_json=as_json)
        if wanted is not None:
            with writing(engine) as connection:
                # An email that is decided at this moment is either held first or sees the new mode.
                lock_decisions(connection)
                sending = change_mode(
                    connection, Mode(wanted), who_decides(), command_clock().now()
                )
    if as_json:
        shown = {"mode": sending.mode, "sending_started_at": sending.started_at}
        print_json(shown if numbers is None else shown | {"expected": numbers})
    else:
        _print_mode(sending)


def _print_mode(sending: Sending) -> None:
    if sending.mode is Mode.SENDING and sending.started_at is not None:
        since = local(sending.started_at)
        click.echo(f"sending: emails are sent about what happened since {since}")
    else:
        click.echo("observe: everything is read and decided, emails are written, none is sent")
        click.echo("To send emails: coursebell mode sending")


def _confirm_sending(
    engine: Engine, settings: Settings, *, yes: bool, as_json: bool
) -> dict[str, dict[str, int]]:
    """Print what sending would send, ask if that is any email, and return the numbers.

    Raises:
        SystemExit: the answer was no, or there is no terminal to ask at.
        ConfigurationError: the rules cannot be read.
    """
    now = command_clock().now()
    with reading(engine) as connection:
        outcomes = outcomes_by_sending(connection, make_send_setup(settings), now)
        others = held_by_reason(connection)
    numbers = counted(outcomes, now)
    for reason, number in others.items():
        if reason is not Reason.OBSERVE:
            numbers["held"][reason] = numbers["held"].get(reason, 0) + number
    for line in _lines(outcomes, numbers):
        click.echo(line, err=as_json)
    sent = numbers["now"] | numbers["later"]
    if sent and not yes:
        needs_confirmation("coursebell mode sending --yes")
        if is_confirmed("Start sending?"):
            return numbers
        click.echo("Nothing was changed: the mode is still observe.", err=True)
        raise SystemExit(NOT_DONE)
    return numbers


def _lines(outcomes: SendingOutcomes, numbers: dict[str, dict[str, int]]) -> list[str]:
    lines = list(count_lines(numbers))
    if not lines:
        return ["No email is held or waiting, so none is sent at once."]
    sent = numbers["now"] | numbers["later"]
    return [
        f"With mode sending, {number_of(outcomes.expected)} would be sent:"
        if sent
        else "With mode sending, none of the emails held or waiting would be sent:",
        *lines,
        "`coursebell held` lists the held emails.",
    ]


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
        raise ConfigurationError([f"{name}: not set, but needed for sending" for name in missing])


_NEXT = "To send or drop them: coursebell release, coursebell skip, with IDs or --reason"
_NEXT_IN_OBSERVE = (
    "To read one: coursebell show, with its ID. To start sending: coursebell mode sending; it "
    "first counts what would be sent, and asks. To drop some: coursebell skip, with IDs or --reason"
)

_Decide = Callable[[Connection, Collection[int], str, datetime], list[int]]
_ids = click.argument("action_ids", metavar="[ID]...", nargs=-1, type=EmailId())
_reason = click.option(
    "--reason",
    type=click.Choice([reason.value for reason in HOLD_REASONS]),
    metavar="CODE",
    help="All emails held for this reason, such as restored.",
)
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


@click.command()
@_reason
@as_json
@show_addresses
def held(reason: str | None, *, as_json: bool, show_addresses: bool) -> None:
    """List the held emails that wait for a decision, and why."""
    with opened_ledger(settings_now()) as engine, reading(engine) as connection:
        found = held_actions(connection, None if reason is None else Reason(reason))
        mode = sending_of(connection).mode
    if as_json:
        print_json(
            {
                "counts": Counter(action.reason for action in found),
                "actions": [_plain(action, whole=show_addresses) for action in found],
            }
        )
        return
    for line in _held_lines(found, whole=show_addresses):
        click.echo(printable(line))
    if found:
        click.echo(_NEXT if mode is Mode.SENDING else _NEXT_IN_OBSERVE)
    else:
        click.echo("No email is held." if reason is None else f"No email is held for {reason}.")


@click.command()
@_ids
@_reason
@_yes
@as_json
def release(action_ids: tuple[int, ...], *, reason: str | None, yes: bool, as_json: bool) -> None:
    """Send held emails, by ID or by reason.

    Each is checked again before it is sent: enrolment, address, quiet hours, daily limit.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            mode = sending_of(connection).mode
        if mode is not Mode.SENDING:
            click.echo("Nothing was released: in observe mode no email is sent.", err=True)
            click.echo("First: coursebell mode sending", err=True)
            raise SystemExit(NOT_DONE)
        setup = make_send_setup(settings)
        done = _decide(
            engine, "release", release_held, action_ids, reason, yes=yes, as_json=as_json
        )
        if not done or as_json:
            return
        with reading(engine) as connection:
            lines = due_lines(connection, setup, done, command_clock().now())
        click.echo(f"{number_of_emails(len(done))} released{':' if lines else ', due now.'}")
        for line in lines:
            click.echo(line)


@click.command()
@_ids
@_reason
@_yes
@as_json
def skip(action_ids: tuple[int, ...], *, reason: str | None, yes: bool, as_json: bool) -> None:
    """Drop held emails for good, by ID or by reason."""
    with opened_ledger(settings_now()) as engine:
        done = _decide(engine, "skip", skip_held, action_ids, reason, yes=yes, as_json=as_json)
    if done and not as_json:
        click.echo(f"{number_of_emails(len(done))} skipped.")


def _decide(  # noqa: PLR0913 - what, which, and how to ask and print
    engine: Engine,
    word: str,
    decide: _Decide,
    action_ids: tuple[int, ...],
    reason: str | None,
    *,
    yes: bool,
    as_json: bool,
) -> list[int]:
    """Decide about the chosen emails after asking; return the IDs of those decided."""
    if bool(action_ids) == (reason is not None):
        raise click.UsageError("Give the IDs of held emails (`coursebell held`), or --reason.")
    which = f"--reason {reason}" if reason else " ".join(str(one) for one in action_ids)
    if not yes:
        needs_confirmation(f"coursebell {word} {which} --yes")
    chosen = _chosen(engine, action_ids, reason)
    if chosen and not yes:
        for line in (*_held_lines(chosen, whole=False), *_warnings(engine, chosen, word)):
            click.echo(printable(line), err=True)
        if not is_confirmed(f"{word.capitalize()} {number_of_emails(len(chosen))}?"):
            click.echo("Nothing was changed.", err=True)
            raise SystemExit(NOT_DONE)
    with writing(engine) as connection:
        ids = [action.action_id for action in chosen]
        done = decide(connection, ids, who_decides(), command_clock().now())
    if as_json:
        print_json({"released" if word == "release" else "skipped": done})
    elif not done:
        which = "those IDs" if reason is None else reason
        click.echo(f"No email is held for {which}.")
    return done


def _chosen(engine: Engine, action_ids: tuple[int, ...], reason: str | None) -> list[HeldAction]:
    """Return the chosen held actions; exit with a message if one of the ids is not held."""
    with reading(engine) as connection:
        found = held_actions(connection, None if reason is None else Reason(reason))
        states = states_of(connection, action_ids)
    if reason is not None:
        return found
    others = [one for one in action_ids if states.get(one, (None,))[0] is not ActionState.HELD]
    for one in others:
        state, why = states.get(one, (None, None))
        found_as = "there is no such email" if state is None else f"it is {STATES[state].lower()}"
        click.echo(f"Email {one} is not held: {found_as}{f' ({why})' if why else ''}.", err=True)
    if others:
        click.echo("Nothing was changed. `coursebell held` lists the held emails.", err=True)
        raise SystemExit(NOT_DONE)
    return [action for action in found if action.action_id in set(action_ids)]


def _warnings(engine: Engine, chosen: Sequence[HeldAction], word: str) -> Iterator[str]:
    with reading(engine) as connection:
        gap = last_gap(connection)
    if gap is None or word != "release":
        return
    unsure = [
        one for one in chosen if one.reason is Reason.RESTORED or one.planned_at < gap.ended_at
    ]
    if unsure:
        since = "before" if gap.began_at is None else f"between {local(gap.began_at)} and"
        yield (
            f"{number_of_emails(len(unsure))} may have been sent already, {since}"
            f" {local(gap.ended_at)}, when the ledger was restored."
            " A member who received one will receive it twice."
        )


def _held_lines(found: Sequence[HeldAction], *, whole: bool) -> Iterator[str]:
    counts = Counter(action.reason for action in found)
    for reason, number in sorted(counts.items()):
        yield f"{number} held, {reason}: {EXPLANATIONS[reason].sentence}"
        for action in found:
            if action.reason is reason:
                address = action.email if whole else shortened(action.email)
                person = action.person or f"coworker {action.coworker_id}"
                about = action.title or f"{action.rule}: {action.course or action.course_id}"
                yield (
                    f"  {action.action_id}  {local(action.happened_at)}  {person}"
                    f"{f' <{address}>' if address else ''}  {about}"
                )


def _plain(action: HeldAction, *, whole: bool) -> dict[str, object]:
    plain = asdict(action)
    plain["email"] = action.email if whole else shortened(action.email)
    plain["subject"] = plain.pop("title")
    return plain
