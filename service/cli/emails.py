"""Commands about the emails themselves: `preview`, `test` and `templates`."""

from collections.abc import Iterator
from pathlib import Path

import click

from ledger.engine import Engine, reading
from ledger.stories import ActionView, EventView
from schemas.actions import ActionState
from schemas.errors import DeliveryRefused, DeliveryUnavailable, DeliveryUnknown
from service.cli.common import (
    OUT_OF_REACH,
    as_json,
    command_clock,
    local,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    shortened,
    to_others,
)
from service.cli.config import write_private
from service.cli.history_lines import STATES, explained
from service.cli.main import Commands
from service.cli.selection import NOT_DONE, known_course, known_person
from service.cli.simulate import imagined_lines
from service.email_examples import (
    WantedEmail,
    earlier_events,
    email_action,
    emails_of,
    expected_now,
    read_example,
)
from workers.actions.base import Checkpoints, Prepared
from workers.actions.email import TEMPLATES
from workers.actions.email.message import read_message
from workers.actions.email.own_words import read_wording
from workers.deliver.context import SendSetup
from workers.deliver.example import Example
from workers.deliver.forecast import make_send_setup
from workers.deliver.simulation import Imagined
from workers.languages import language_codes, untranslated

_UNTRANSLATED = 1
_template = click.argument("template", type=click.Choice(sorted(TEMPLATES)), metavar="TEMPLATE")
_member = click.option(
    "--as", "who", required=True, metavar="WHO", help="Whose data: address, Id or name."
)
_course = click.option("--course", metavar="COURSE", help="About this course, by Id or title.")
_language = click.option(
    "--language",
    type=click.Choice(language_codes()),
    metavar="CODE",
    help="In this language instead of the member's.",
)


@click.command()
@_template
@_member
@_course
@_language
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write the files.  [default: ./preview]",
)
@as_json
def preview(  # noqa: PLR0913 - one argument for each option
    template: str,
    *,
    who: str,
    course: str | None,
    language: str | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Write an email as a member would get it now; nothing is sent.

    TEMPLATE is one that rules may name, such as welcome. It is written as HTML, text and .eml from
    what the ledger has of the member, without asking Nexudus, and readable only by you. Its links
    to the member's choices and certificate lead nowhere. It also says whether and when it would go
    if its event happened now, and why; or what came of it, if it happens only once and has.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine:
        setup = make_send_setup(settings)
        example = _example(engine, setup, template, who, course, language)
        prepared = _prepared(setup, example, None)
        with reading(engine) as connection:
            earlier = earlier_events(connection, example)
        expected = None if earlier else expected_now(engine, setup, example)
    files = _written_files(folder or Path("preview"), template, prepared)
    if as_json:
        print_json(
            {
                "subject": prepared.title,
                "to": shortened(prepared.recipient),
                "files": [str(path) for path in files],
                "rule": example.rule.name if example.rule else None,
                "earlier": [_plain_earlier(template, one) for one in earlier],
                "expected": expected,
            }
        )
        return
    click.echo(printable(f"Subject: {prepared.title}"))
    click.echo(printable(f"To:      {_named(example)}"))
    lines = (
        (line for one in earlier for line in _earlier_lines(template, one))
        if earlier
        else _expected_lines(template, example, expected)
    )
    for line in lines:
        click.echo(printable(line))
    for path in files:
        click.echo(printable(f"Written: {path}"))


def _written_files(folder: Path, template: str, prepared: Prepared) -> list[Path]:
    """Write an email as HTML, text and .eml, and its attachments; return the files."""
    kept = read_message(prepared.body)
    files: dict[Path, str | bytes] = {
        folder / f"{template}.html": kept.html,
        folder / f"{template}.txt": kept.text,
        folder / f"{template}.eml": prepared.body,
    }
    files |= {folder / one.name: one.content for one in kept.attachments}
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        write_private(path, content)
    return list(files)


def _named(example: Example) -> str:
    to = example.context.recipient
    if to is None:
        return example.context.person.full_name
    return to_others(to.audience, shortened(to.address)).removeprefix(", to ")


@click.command()
@_template
@click.option("--to", "address", required=True, metavar="ADDRESS", help="Where to send it.")
@_member
@_course
@_language
def test(
    template: str, *, address: str, who: str, course: str | None, language: str | None
) -> None:
    """Send an email of a member, marked as a test, to you.

    Its subject begins with [Test], its links lead nowhere, and it does not count as sent: not for
    limits, and not in the story of the member. The mode does not matter.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine:
        setup = make_send_setup(settings)
        example = _example(engine, setup, template, who, course, language)
        prepared = _prepared(setup, example, address)
    try:
        answer = prepared.send(Checkpoints())
    except (DeliveryUnavailable, DeliveryRefused, DeliveryUnknown) as error:
        click.echo(f"It was not sent: {error}.", err=True)
        click.echo(f"To find the cause: coursebell doctor --mail {address}", err=True)
        raise SystemExit(OUT_OF_REACH) from None
    click.echo(printable(f"Sent: {prepared.title}"))
    click.echo(printable(f"The mail server answered: {answer}"))


def _example(  # noqa: PLR0913, PLR0917 - which email, about whom, and in which language
    engine: Engine,
    setup: SendSetup,
    template: str,
    who: str,
    course: str | None,
    language: str | None,
) -> Example:
    clock = command_clock()
    with reading(engine) as connection:
        coworker_id = known_person(connection, who)
        course_id = None if course is None else known_course(connection, course)
        wanted = WantedEmail(template, coworker_id, course_id, language)
        found = read_example(connection, setup, wanted, clock.now(), clock.new_id())
    if found is None:
        click.echo(
            "That person has no such enrolment here, or more than one; give --course.", err=True
        )
        raise SystemExit(NOT_DONE)
    return found


def _prepared(setup: SendSetup, example: Example, address: str | None) -> Prepared:
    """Return the email, or as a test to another address; print why it cannot be written."""
    action = email_action(setup)
    try:
        if address is not None:
            return action.prepare_test(example.context, address)
        return action.prepare_preview(example.context)
    except DeliveryRefused as error:
        click.echo(f"This email cannot be written: {error}.", err=True)
        raise SystemExit(NOT_DONE) from None


def _expected_lines(template: str, example: Example, expected: Imagined | None) -> Iterator[str]:
    if example.rule is None:
        yield f"No enabled rule sends {template}."
    elif expected is None:
        yield f"The rule {example.rule.name} sends it once its time has come: see the rules file."
    else:
        yield f"If {example.kind} happened now:"
        yield from (f"  {line}" for line in imagined_lines(expected))


def _earlier_lines(template: str, event: EventView) -> Iterator[str]:
    yield f"{event.kind} happened at {local(event.happened_at)}, and does not happen again:"
    emails = emails_of(event, template)
    if not emails:
        reason = event.reason
        yield f"  No email: {explained(reason) if reason else 'no rule that was on then sends it'}"
    for one in emails:
        whom, to_see = to_others(one.audience), f"coursebell show {one.action_id}"
        yield f"  {one.rule}{whom}: {_how_it_ended(one)}; to see it: {to_see}"


def _how_it_ended(email: ActionView) -> str:
    if email.state == ActionState.DONE and email.finished_at is not None:
        return f"It was sent on {local(email.finished_at)} and is not sent again"
    why = f": {explained(email.reason)}" if email.reason else ""
    return f"{STATES[ActionState(email.state)]}{why}"


def _plain_earlier(template: str, event: EventView) -> dict[str, object]:
    """Return what came of an event for programs."""
    emails = [
        {
            "action_id": one.action_id,
            "rule": one.rule,
            "audience": one.audience,
            "state": one.state,
            "reason": one.reason,
            "at": one.finished_at,
        }
        for one in emails_of(event, template)
    ]
    return {"happened_at": event.happened_at, "reason": event.reason, "emails": emails}


@click.group(cls=Commands)
def templates() -> None:
    """Check the texts of emails."""


@templates.command()
@as_json
def check(*, as_json: bool) -> None:
    """List the texts that a language lacks, and check the wording file.

    Exits with 1 if a language lacks a text, which is then in English. A mistake in the file of
    COURSEBELL_WORDING exits with 2 and has its line.
    """
    own = read_wording(settings_now())
    missing = {code: untranslated(code) for code in language_codes()}
    if as_json:
        print_json({"untranslated": missing, "own_words": len(own.entries)})
    else:
        for code, texts in missing.items():
            click.echo(f"{code}: {_number(len(texts))}")
            for text in texts:
                click.echo(printable(f"  {text}"))
        if own.digest:
            click.echo(f"The wording file can be used; entries: {len(own.entries)}.")
    if any(missing.values()):
        raise SystemExit(_UNTRANSLATED)


def _number(missing: int) -> str:
    return f"{missing} not translated" if missing else "complete"
