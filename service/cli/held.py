"""`coursebell held`, `hold`, `release` and `skip`: an operator decides about single emails."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ledger.controls import sending_of
from ledger.engine import Connection, Engine, lock_decisions, reading, writing
from ledger.heartbeats import last_gap
from ledger.interventions import close_lookups, hold_open, release_held, states_of
from ledger.queries import EmailFilter, EmailView, filtered_emails
from ledger.undecided import undecided
from schemas.actions import OPEN_ACTIONS, ActionState, Mode
from schemas.reasons import EXPLANATIONS, HOLD_REASONS, Reason
from service.cli.common import (
    as_json,
    audience_word,
    command_clock,
    is_confirmed,
    local,
    needs_confirmation,
    number_of_these,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    shortened,
    show_addresses,
    to_others,
    who_decides,
)
from service.cli.history_lines import STATES
from service.cli.outcomes import due_lines
from service.cli.selection import NOT_DONE, arguments_of, filter_from, filter_options
from service.held_emails import Decide, drop_or_close, is_releasable, is_unsure
from workers.deliver.forecast import make_send_setup

_HELD = (ActionState.HELD,)
_ENDED = (ActionState.FAILED, ActionState.UNKNOWN)
_NEXT = "To send or drop them: coursebell release, coursebell skip, with IDs or --reason"
_NEXT_IN_OBSERVE = (
    "To read one: coursebell show, with its ID. To start sending: coursebell mode sending; it "
    "first counts what would be sent, and asks. To drop some: coursebell skip, with IDs or --reason"
)
_NEXT_FOR = {
    Reason.PAUSED: "coursebell resume",
    Reason.OBSERVE: "coursebell mode sending",
}

_WAIT_REASONS = (
    Reason.GATHERING,
    Reason.QUIET_HOURS,
    Reason.WEEKLY,
    Reason.SEND_WINDOW,
    Reason.HOLIDAY,
    Reason.CAP_DAY,
    Reason.CAP_WEEK,
    Reason.NEXUDUS_DOWN,
    Reason.NEXUDUS_BUSY,
    Reason.MAIL_TEMPORARY,
    Reason.MAIL_RATE,
)
_END_REASONS = (  # of failed and unknown emails
    Reason.HANDOVER_UNKNOWN,
    Reason.MAIL_REJECTED,
    Reason.MAIL_TOO_LARGE,
    Reason.MAIL_TEMPORARY,
    Reason.NO_EMAIL,
    Reason.TEMPLATE_ERROR,
    Reason.UNREADABLE,
    Reason.NEXUDUS_DOWN,
    Reason.NEXUDUS_REFUSED,
    Reason.DELIVERY_LATER,
    Reason.DELIVERY_REFUSED,
    Reason.INTERNAL_ERROR,
)

_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only list the emails it would change.")


@click.command()
@filter_options(*HOLD_REASONS)
@as_json
@show_addresses
def held(*, as_json: bool, show_addresses: bool, **given: Any) -> None:  # noqa: ANN401 - the options that choose
    """List the held emails that wait for a decision, and why."""
    settings = settings_now()
    with opened_ledger(settings) as engine, reading(engine) as connection:
        wanted = filter_from(connection, settings, given)
        found = filtered_emails(connection, wanted, _HELD)
        mode = sending_of(connection).mode
    if as_json:
        print_json(
            {
                "counts": Counter(email.reason for email in found),
                "actions": [_plain(email, whole=show_addresses) for email in found],
            }
        )
        return
    for line in _lines(found, whole=show_addresses, mode=mode):
        click.echo(printable(line))
    if found:
        click.echo(_NEXT if mode is Mode.SENDING else _NEXT_IN_OBSERVE)
    else:
        which = arguments_of(given)
        click.echo(f"Nothing is held for {which}." if which else "Nothing is held.")


@click.command()
@filter_options(*_WAIT_REASONS)
@_dry_run
@_yes
@as_json
def hold(*, dry_run: bool, yes: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401 - the options that choose
    """Hold emails that wait, until you release or skip them.

    New emails are not held; for that: coursebell pause.
    """
    act = _Act("hold", "held", OPEN_ACTIONS, hold_open)
    done = _decide(act, given, dry_run=dry_run, yes=yes, as_json=as_json)
    if done and not as_json:
        click.echo(f"{number_of_these(done)} held. To send: coursebell release")


@click.command()
@filter_options(*HOLD_REASONS)
@_dry_run
@_yes
@as_json
def release(*, dry_run: bool, yes: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401 - the options that choose
    """Send held emails, by ID or by reason.

    Each is checked again before it is sent: enrolment, address, quiet hours, daily limit.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine, reading(engine) as connection:
        mode = sending_of(connection).mode
    if mode is not Mode.SENDING:
        click.echo("Nothing was released: in observe mode no email is sent.", err=True)
        click.echo("First: coursebell mode sending", err=True)
        raise SystemExit(NOT_DONE)
    setup = make_send_setup(settings)
    act = _Act("release", "released", _HELD, release_held)
    done = _decide(act, given, dry_run=dry_run, yes=yes, as_json=as_json)
    if not done or as_json:
        return
    with opened_ledger(settings) as engine, reading(engine) as connection:
        ids = [email.action_id for email in done]
        lines = due_lines(connection, setup, ids, command_clock().now())
    click.echo(f"{number_of_these(done)} released{':' if lines else ', due now.'}")
    for line in lines:
        click.echo(line)


@click.command()
@filter_options(*HOLD_REASONS, *_END_REASONS, Reason.RECORD_STUCK)
@click.option("--lookups", is_flag=True, help="Instead: records that could not be read.")
@_dry_run
@_yes
@as_json
def skip(*, lookups: bool, dry_run: bool, yes: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401 - the options that choose
    """Drop held emails for good, by ID or by reason.

    A failed or unknown email is closed: it stays as it is, and `coursebell status` no longer counts
    it.
    """
    if lookups:
        _skip_lookups(given, dry_run=dry_run, as_json=as_json, yes=yes)
        return
    act = _Act("skip", "skipped", _skippable(given), drop_or_close)
    done = _decide(act, given, dry_run=dry_run, yes=yes, as_json=as_json)
    if done and not as_json:
        click.echo(f"{number_of_these(done)} skipped.")


def _skippable(given: Mapping[str, Any]) -> tuple[ActionState, ...]:
    """Return the states to choose from; failed emails only if they are meant in particular."""
    is_meant = given["action_ids"] or given["reason"] not in {None, *HOLD_REASONS}
    return (*_HELD, *_ENDED) if is_meant else _HELD


def _skip_lookups(given: Mapping[str, Any], *, dry_run: bool, as_json: bool, yes: bool) -> None:
    if any(value for name, value in given.items() if name != "reason"):
        raise click.UsageError("With --lookups only --reason can be given.")
    reason = None if given["reason"] is None else Reason(given["reason"])
    if dry_run:
        with opened_ledger(settings_now()) as engine, reading(engine) as connection:
            by_reason = undecided(connection).lookups
        number = sum(by_reason.values()) if reason is None else by_reason.get(reason, 0)
        if as_json:
            print_json({"lookups": number})
        else:
            what = "record" if number == 1 else "records"
            click.echo(f"Would close {number} {what}. Nothing was changed.")
        return
    if not yes:
        needs_confirmation("coursebell skip --lookups --yes")
        if not is_confirmed("Close the records that could not be read?"):
            click.echo("Nothing was changed.", err=True)
            raise SystemExit(NOT_DONE)
    with opened_ledger(settings_now()) as engine, writing(engine) as connection:
        number = close_lookups(connection, reason, who_decides(), command_clock().now())
    if as_json:
        print_json({"lookups": number})
    else:
        what = "record was" if number == 1 else "records were"
        click.echo(f"{number} {what} closed. A new notification reads a record again.")


@dataclass(frozen=True, slots=True)
class _Act:
    """One of the commands: its word, what it did, which states it is for, and what it calls."""

    word: str
    done: str
    states: Collection[ActionState]
    decide: Decide


def _decide(
    act: _Act, given: dict[str, Any], *, dry_run: bool, yes: bool, as_json: bool
) -> list[EmailView]:
    """Decide about the chosen emails after asking; return those decided."""
    which = arguments_of(given)
    if not which:
        raise click.UsageError(
            "Say which: IDs of emails (`coursebell held`), --reason, --rule, --course or --person."
        )
    if not (yes or dry_run):
        needs_confirmation(f"coursebell {act.word} {which} --yes")
    settings = settings_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            wanted = filter_from(connection, settings, given)
            mode = sending_of(connection).mode
        chosen = _chosen(engine, wanted, act)
        if dry_run or (chosen and not yes):
            for line in (
                *_lines(chosen, whole=False, mode=mode),
                *_warnings(engine, chosen, act.word),
            ):
                click.echo(printable(line), err=not dry_run or as_json)
        if dry_run:
            _print_dry_run(chosen, act, as_json=as_json)
            return []
        question = f"{act.word.capitalize()} {number_of_these(chosen)}?"
        if chosen and not yes and not is_confirmed(question):
            click.echo("Nothing was changed.", err=True)
            raise SystemExit(NOT_DONE)
        with writing(engine) as connection:
            # An email that is decided at this moment was decided before, or sees this.
            lock_decisions(connection)
            ids = [email.action_id for email in chosen]
            done = set(act.decide(connection, ids, who_decides(), command_clock().now()))
    if as_json:
        print_json({act.done: sorted(done)})
    elif not done:
        click.echo(f"Nothing is {'waiting' if act.word == 'hold' else 'held'} for {which}.")
    return [email for email in chosen if email.action_id in done]


def _print_dry_run(chosen: Sequence[EmailView], act: _Act, *, as_json: bool) -> None:
    if as_json:
        print_json({f"would_be_{act.done}": [email.action_id for email in chosen]})
    else:
        click.echo(f"{number_of_these(chosen)} would be {act.done}. Nothing was changed.")


def _chosen(engine: Engine, wanted: EmailFilter, act: _Act) -> list[EmailView]:
    """Return the chosen emails; exit with a message if one of the IDs cannot be chosen."""
    with reading(engine) as connection:
        found = filtered_emails(connection, wanted, act.states)
        states = states_of(connection, wanted.action_ids)
    known = {email.action_id for email in found}
    others = [one for one in wanted.action_ids if one not in known]
    for one in others:
        click.echo(f"Email {one} {_why_not(states.get(one), act)}.", err=True)
    if others:
        click.echo("Nothing was changed. `coursebell held` lists the held emails.", err=True)
        raise SystemExit(NOT_DONE)
    paused = [email for email in found if not is_releasable(email.reason, Mode.SENDING)]
    if paused and act.word == "release":
        click.echo(
            f"{number_of_these(paused)} of these would be held again, because sending to "
            "them is paused. To end the pause: coursebell resume",
            err=True,
        )
        found = [email for email in found if is_releasable(email.reason, Mode.SENDING)]
        if not found:
            raise SystemExit(NOT_DONE)
    return found


def _why_not(found: tuple[ActionState, Reason | None] | None, act: _Act) -> str:
    ends = "does not wait" if act.word == "hold" else "is not held"
    if found is None:
        return f"{ends}: there is no such email"
    state, why = found
    if state in act.states:
        return "does not match the other options"
    return f"{ends}: it is {STATES[state].lower()}{f' ({why})' if why else ''}"


def _warnings(engine: Engine, chosen: Sequence[EmailView], word: str) -> Iterator[str]:
    if word != "release":
        return
    with reading(engine) as connection:
        yield from restore_warnings(connection, chosen)


def restore_warnings(connection: Connection, chosen: Sequence[EmailView]) -> Iterator[str]:
    """Yield a warning if some of these may have been sent before the ledger was restored."""
    gap = last_gap(connection)
    if gap is None:
        return
    unsure = [one for one in chosen if is_unsure(one.reason, one.planned_at, gap)]
    if unsure:
        since = "before" if gap.began_at is None else f"between {local(gap.began_at)} and"
        yield (
            f"{number_of_these(unsure)} may have been sent already, {since}"
            f" {local(gap.ended_at)}, when the ledger was restored."
            " A member who received one will receive it twice."
        )


def _lines(found: Sequence[EmailView], *, whole: bool, mode: Mode) -> Iterator[str]:
    """Yield the emails by state and reason, with their number and the command for them."""
    groups: dict[tuple[ActionState, Reason | None], list[EmailView]] = {}
    for email in found:
        groups.setdefault((email.state, email.reason), []).append(email)
    for (state, reason), emails in sorted(groups.items(), key=lambda one: str(one[0])):
        why = "" if reason is None else f", {reason}: {EXPLANATIONS[reason].sentence}"
        yield f"{len(emails)} {_STATE_WORDS.get(state, 'waiting')}{why}"
        if state is ActionState.HELD and reason is not None and mode is Mode.SENDING:
            yield f"  next: {_NEXT_FOR.get(reason, f'coursebell release --reason {reason}')}"
        for email in emails:
            address = email.address if whole else shortened(email.address)
            person = email.person or f"coworker {email.coworker_id}"
            whom = to_others(email.audience)
            about = email.title or f"{email.rule}: {email.course or email.course_id}"
            yield (
                f"  {email.action_id}  {local(email.happened_at)}  {person}{whom}"
                f"{f' <{address}>' if address else ''}  {about}"
            )


_STATE_WORDS = {
    ActionState.HELD: "held",
    ActionState.FAILED: "failed",
    ActionState.UNKNOWN: "unknown",
}


def _plain(email: EmailView, *, whole: bool) -> dict[str, object]:
    return {
        "action_id": email.action_id,
        "reason": email.reason,
        "rule": email.rule,
        "event_kind": email.event_kind,
        "happened_at": email.happened_at,
        "planned_at": email.planned_at,
        "coworker_id": email.coworker_id,
        "course_id": email.course_id,
        "person": email.person,
        "to": audience_word(email.audience),
        "email": email.address if whole else shortened(email.address),
        "course": email.course,
        "subject": email.title,
    }
