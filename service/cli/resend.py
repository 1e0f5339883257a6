"""`coursebell resend`: sends again emails that failed, were not sent or did not arrive."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import click

from ledger.controls import sending_of
from ledger.engine import Engine, reading, writing
from ledger.interventions import (
    ResendCandidate,
    ResendRefusal,
    candidates,
    candidates_for,
    send_again,
)
from ledger.queries import EmailView
from schemas.actions import ActionState, Mode
from schemas.reasons import Reason
from service.cli.common import (
    EmailId,
    Moment,
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
from service.cli.held import restore_warnings
from service.cli.history_lines import STATES
from service.cli.outcomes import due_lines
from workers.deliver.forecast import make_send_setup

NOT_DONE = 1
_DAYS = 7  # how far back --failed looks without --since

_REFUSALS = {
    ResendRefusal.MISSING: (
        "there is no such email. These print IDs: coursebell held, coursebell why"
    ),
    ResendRefusal.OPEN: (
        "it was not sent yet and needs no resend. To see when: coursebell show {id}"
    ),
    ResendRefusal.HELD: "it is held. To send it: coursebell release {id}",
    ResendRefusal.UNDERWAY: "it is being sent now. To see the result: coursebell show {id}",
    ResendRefusal.UNCHECKED: (
        "it may have arrived. Ask the member or check the mail server's log. If it did not arrive: "
        "coursebell resend {id} --i-checked"
    ),
    ResendRefusal.REPEATED: (
        "it was or may have been sent. To send it once more: coursebell resend {id}"
    ),
    ResendRefusal.PERSON_GONE: "it cannot be sent: Nexudus no longer has this person",
}


@click.command()
@click.argument("action_ids", metavar="[ID]...", nargs=-1, type=EmailId())
@click.option(
    "--failed",
    type=click.Choice([reason.value for reason in Reason]),
    metavar="CODE",
    help="All emails that failed for this reason, such as mail-rejected.",
)
@click.option(
    "--since",
    type=Moment(),
    help="With --failed: those that ended since then, such as 30d or 2026-03-01.  [default: 7d]",
)
@click.option(
    "--i-checked",
    "checked",
    is_flag=True,
    help="Also emails that may have arrived (unknown): you checked that they did not.",
)
@click.option("--dry-run", is_flag=True, help="Only list the emails that would be sent again.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@as_json
@show_addresses
def resend(  # noqa: PLR0913 - one argument for each option
    action_ids: tuple[int, ...],
    *,
    failed: str | None,
    since: datetime | None,
    checked: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    show_addresses: bool,
) -> None:
    """Send emails again, by ID or all that failed for one reason.

    Each is written anew from current Nexudus records, and checked before it is sent: enrolment,
    address, quiet hours, daily limit. If an email was already sent again and that failed too, its
    ID means the last resend.
    """
    if bool(action_ids) == (failed is not None):
        raise click.UsageError("Give the IDs of emails (`coursebell why`), or --failed CODE.")
    if since is not None and failed is None:
        raise click.UsageError("--since goes with --failed.")
    arguments = _arguments(action_ids, failed, since, checked=checked)
    reason = None if failed is None else Reason(failed)
    since = since or command_clock().now() - timedelta(days=_DAYS)
    settings = settings_now()
    with opened_ledger(settings) as engine:
        if not dry_run:
            _check_mode(engine)
        setup = make_send_setup(settings)
        if not (yes or dry_run):
            needs_confirmation(f"coursebell resend {arguments} --yes")
        with reading(engine) as connection:
            found = (
                candidates(connection, action_ids, checked=checked)
                if reason is None
                else candidates_for(connection, reason, since, checked=checked)
            )
        chosen = _chosen(found, is_by_id=reason is None)
        if dry_run:
            _print_dry_run(chosen, as_json=as_json, whole=show_addresses)
        with reading(engine) as connection:
            for warning in restore_warnings(connection, chosen):
                click.echo(warning, err=True)
        if dry_run:
            return
        if chosen and not yes:
            _confirm(chosen, whole=show_addresses)
        with writing(engine) as connection:
            ids = [email.action_id for email in chosen]
            done = send_again(
                connection, ids, who_decides(), command_clock().now(), checked=checked
            )
        with reading(engine) as connection:
            lines = due_lines(connection, setup, list(done.values()), command_clock().now())
    _print_result(chosen, done, lines, reason, since, as_json=as_json)


def _arguments(
    action_ids: tuple[int, ...], failed: str | None, since: datetime | None, *, checked: bool
) -> str:
    """Return the arguments of this command as they are typed."""
    words = [str(one) for one in action_ids]
    words += [] if failed is None else ["--failed", failed]
    words += [] if since is None else ["--since", since.isoformat(timespec="seconds")]
    return " ".join([*words, "--i-checked"] if checked else words)


def _check_mode(engine: Engine) -> None:
    with reading(engine) as connection:
        mode = sending_of(connection).mode
    if mode is not Mode.SENDING:
        click.echo("Nothing was sent again: in observe mode no email is sent.", err=True)
        click.echo("First: coursebell mode sending", err=True)
        raise SystemExit(NOT_DONE)


def _chosen(found: Sequence[ResendCandidate], *, is_by_id: bool) -> list[EmailView]:
    """Return the emails that can be sent again; print why the others cannot.

    Raises:
        SystemExit: an email chosen by its ID cannot be sent again.
    """
    refused = [one for one in found if one.refusal is not None]
    for one in refused:
        if one.refusal is not None:
            last = one.asked_for if one.email is None else one.email.action_id
            again = f", sent again as {last}" if last != one.asked_for else ""
            sentence = _REFUSALS[one.refusal].format(id=last)
            click.echo(f"Email {one.asked_for}{again}: {sentence}.", err=True)
    if refused and is_by_id:
        click.echo("Nothing was changed.", err=True)
        raise SystemExit(NOT_DONE)
    return [one.email for one in found if one.email is not None and one.refusal is None]


def _confirm(chosen: Sequence[EmailView], *, whole: bool) -> None:
    for line in _lines(chosen, whole=whole):
        click.echo(printable(line), err=True)
    arrived = [email for email in chosen if email.state is ActionState.DONE]
    if arrived:
        is_one = len(arrived) == 1
        was, who = ("was", "Its recipient") if is_one else ("were", "Their recipients")
        again = f"{who} will get it a second time."
        click.echo(f"{number_of_these(arrived)} {was} already sent. {again}", err=True)
    click.echo("Addresses are read again from Nexudus before sending.", err=True)
    if not is_confirmed(f"Send {number_of_these(chosen)} again?"):
        click.echo("Nothing was changed.", err=True)
        raise SystemExit(NOT_DONE)


def _lines(chosen: Sequence[EmailView], *, whole: bool) -> Iterator[str]:
    for email in chosen:
        address = email.address if whole else shortened(email.address)
        person = email.person or f"coworker {email.coworker_id}"
        person += to_others(email.audience)
        about = email.title or f"{email.rule}: {email.course or email.course_id}"
        ended = f"{STATES[email.state]}{f' [{email.reason}]' if email.reason else ''}"
        at = "" if email.finished_at is None else f" {local(email.finished_at)}"
        yield (
            f"  {email.action_id}  {person}  <{address or 'no address known'}>  {about}"
            f"  ({ended}{at})"
        )


def _print_dry_run(chosen: Sequence[EmailView], *, as_json: bool, whole: bool) -> None:
    if as_json:
        print_json({"would_resend": [_plain(email, whole=whole) for email in chosen]})
        return
    for line in _lines(chosen, whole=whole):
        click.echo(printable(line))
    click.echo(f"{number_of_these(chosen)} would be sent again. Nothing was changed.")


def _print_result(  # noqa: PLR0913 - what was chosen and done, and how to print it
    chosen: Sequence[EmailView],
    done: dict[int, int],
    due: Sequence[str],
    reason: Reason | None,
    since: datetime,
    *,
    as_json: bool,
) -> None:
    if as_json:
        print_json({"resent": [{"id": old, "new_id": new} for old, new in done.items()]})
    elif done:
        ids = ", ".join(f"{old} as {new}" for old, new in done.items())
        when = "" if due else ", due now"
        again = [email for email in chosen if email.action_id in done]
        click.echo(f"{number_of_these(again)} will be sent again{when}: {ids}.")
        for line in due:
            click.echo(line)
    elif not chosen and reason is not None:
        click.echo(f"Nothing that failed for {reason} since {local(since)} can be sent again.")
    left = [str(email.action_id) for email in chosen if email.action_id not in done]
    if left:
        click.echo(f"Not sent again, as it just changed: {', '.join(left)}.", err=True)
        click.echo(f"To see its state: coursebell show {left[0]}", err=True)
        raise SystemExit(NOT_DONE)


def _plain(email: EmailView, *, whole: bool) -> dict[str, object]:
    return {
        "id": email.action_id,
        "state": email.state,
        "reason": email.reason,
        "person": email.person,
        "to": audience_word(email.audience),
        "email": email.address if whole else shortened(email.address),
        "course": email.course,
        "rule": email.rule,
        "subject": email.title,
        "finished_at": email.finished_at,
    }
