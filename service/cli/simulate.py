"""`coursebell simulate`: plays the past, or one imagined event, by given rules. Nothing is sent."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from ledger.controls import accept_forecast
from ledger.courses import course_titles
from ledger.engine import Connection, Engine, reading, writing
from ledger.history import KeyedEmail
from ledger.people import names_of
from schemas.actions import ActionState
from schemas.events import ABOUT_GONE, TIMED, EventKind
from schemas.reasons import EXPLANATIONS, Reason
from schemas.rules import Rules
from service.cli.common import (
    Moment,
    as_json,
    command_clock,
    is_confirmed,
    local,
    needs_confirmation,
    number_of_emails,
    number_of_people,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    to_others,
    who_decides,
)
from service.cli.selection import NOT_DONE, known_course, known_person
from workers.decide.timing import most_per_day
from workers.deliver.context import SendSetup
from workers.deliver.forecast import make_send_setup
from workers.deliver.simulation import SENT, Imagined, ImaginedEmail, Simulation, imagine
from workers.deliver.simulation import simulate as play_past
from workers.rules_file import read_rules_at

_SINCE = timedelta(days=90)
_MOST_LISTED = 20
_KINDS = [one.value for one in EventKind if one not in {*ABOUT_GONE, *TIMED}]


@click.command()
@click.option("--rules", "file", type=click.Path(path_type=Path), help="Rules to play by.")
@click.option("--since", type=Moment(), help="From when on, such as 90d.  [default: 90d]")
@click.option("--event", type=click.Choice(_KINDS), metavar="EVENT", help="Instead: one event.")
@click.option("--person", metavar="WHO", help="Whom the event is about: address, Id or name.")
@click.option("--course", metavar="COURSE", help="Its course, by Id or title.")
@click.option("--accept", is_flag=True, help="Accept the result as the forecast of brakes.")
@click.option("--yes", is_flag=True, help="With --accept: do not ask for confirmation.")
@as_json
def simulate(  # noqa: PLR0913 - one argument for each option
    *,
    file: Path | None,
    since: datetime | None,
    event: str | None,
    person: str | None,
    course: str | None,
    accept: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Play the past, or one event, by given rules; nothing is sent.

    Without --event it plays what was found since then and compares with what was sent. With --event
    it says what would follow if that happened to this person now. Records are those of today, and
    Nexudus is not asked.

    --accept stores how many emails each rule sends on its busiest day. A rule with a brake, such as
    2x, then holds what goes beyond twice that on one day.
    """
    if (event is None) != (person is None):
        raise click.UsageError("--event and --person go together.")
    _check_accept(file, since, event, accept=accept, yes=yes)
    settings, now = settings_now(), command_clock().now()
    with opened_ledger(settings) as engine:
        setup = make_send_setup(settings)
        if file is not None:
            setup = replace(setup, rules=read_rules_at(file, "--rules", settings))
        if event is not None and person is not None:
            _imagine(engine, setup, EventKind(event), person, course, now, as_json=as_json)
            return
        with shown_progress("Simulating") as progressed:
            result = play_past(
                engine, setup, since or now - _SINCE, now, progressed, with_brakes=not accept
            )
        if not as_json:
            with reading(engine) as connection:
                listed = list(_difference_lines(connection, result))
            for line in (*simulation_lines(result, differences=True), *listed):
                click.echo(printable(line))
        accepted: dict[str, object] = {}
        if accept:
            accepted = _accept(engine, setup.rules, result, yes=yes, to_stderr=as_json)
    if as_json:
        print_json(plain_simulation(result) | accepted)


def _check_accept(
    file: Path | None, since: datetime | None, event: str | None, *, accept: bool, yes: bool
) -> None:
    """Refuse options that do not go together, and --accept where nobody can be asked."""
    if accept and event is not None:
        raise click.UsageError("--accept is for the past, without --event.")
    if yes and not accept:
        raise click.UsageError("--yes goes with --accept.")
    if accept and not yes:
        words = [] if file is None else ["--rules", shlex.quote(str(file))]
        words += [] if since is None else ["--since", since.isoformat(timespec="seconds")]
        needs_confirmation(" ".join(["coursebell simulate", *words, "--accept --yes"]))


def _accept(
    engine: Engine, rules: Rules, result: Simulation, *, yes: bool, to_stderr: bool
) -> dict[str, object]:
    """Store the busiest day of each rule as the accepted forecast, after asking; return it.

    Raises:
        SystemExit: the answer was no.
    """
    per_day = {
        rule.name: busiest[1] if (busiest := result.busiest_day(rule.name)) else 0
        for rule in rules.rules
        if rule.enabled
    }
    for line in _forecast_lines(rules, per_day):
        click.echo(line, err=to_stderr)
    if not yes and not is_confirmed("Accept this as the forecast?"):
        click.echo("Nothing was changed.", err=True)
        raise SystemExit(NOT_DONE)
    with writing(engine) as connection:
        accept_forecast(connection, per_day, rules.digest, who_decides(), command_clock().now())
    click.echo("Accepted; brakes use this forecast from now on.", err=to_stderr)
    return {"accepted": {"per_day": per_day, "rules": rules.digest}}


def _forecast_lines(rules: Rules, per_day: Mapping[str, int]) -> Iterator[str]:
    yield "Forecast of the busiest day:"
    for rule in rules.rules:
        if rule.name not in per_day:
            continue
        number, brake = per_day[rule.name], rule.timing.brake
        if brake is not None:
            most = most_per_day(brake, number)
            held = f"with brake {brake}x, more than {most} on one day are held"
        else:
            held = "a brake for some courses" if rule.name in rules.braked() else "no brake"
        yield f"  {rule.name}: {number_of_emails(number)}; {held}"


@contextmanager
def shown_progress(label: str) -> Iterator[Callable[[float], None]]:
    """Yield what shows the progress, on standard error and only on a terminal."""
    is_hidden = not sys.stderr.isatty()
    with click.progressbar(length=100, label=label, file=sys.stderr, hidden=is_hidden) as bar:
        yield lambda share: bar.update(round(100 * share) - bar.pos)
        bar.update(100 - bar.pos)


def simulation_lines(found: Simulation, *, differences: bool) -> Iterator[str]:
    """Yield the result in words and numbers."""
    sent = sum(counts[SENT] for counts in found.by_rule.values())
    beside = f", and {found.to_others} to others" if found.to_others else ""
    yield (
        f"{found.played} events since {local(found.since)}: "
        f"{number_of_emails(sent - found.to_others)} to "
        f"{number_of_people(len(found.people))}{beside}"
    )
    for rule, counts in sorted(found.by_rule.items()):
        others = ", ".join(
            f"{number} {why}" for why, number in sorted(counts.items()) if why != SENT
        )
        not_sent = f", not sent: {others}" if others else ""
        busiest = found.busiest_day(rule)
        most = f"; busiest day: {busiest[0]} with {busiest[1]}" if busiest else ""
        yield f"  {rule}: {counts[SENT]} sent{not_sent}{most}"
    if found.waited:
        waited = ", ".join(f"{number} {why}" for why, number in sorted(found.waited.items()))
        yield f"  waited on the way: {waited}"
    if found.by_day:
        day, number = max(found.by_day.items(), key=lambda one: (one[1], one[0]))
        yield f"  busiest day: {day} with {number_of_emails(number)}"
    if found.busiest:
        yield f"  most to one person: {max(found.busiest.values())}"
    if differences:
        yield (
            f"Compared with what was sent: {number_of_emails(found.added_by_rule.total())} more, "
            f"{number_of_emails(found.missing_by_rule.total())} fewer"
        )


def _difference_lines(connection: Connection, found: Simulation) -> Iterator[str]:
    names = names_of(connection, {one.coworker_id for one in (*found.added, *found.missing)})
    titles = course_titles(connection)
    for sign, emails, by_rule in (
        ("+", found.added, found.added_by_rule),
        ("-", found.missing, found.missing_by_rule),
    ):
        for rule, number in sorted(by_rule.items()):
            yield f"  {sign} {rule}: {number_of_emails(number)}"
        for one in emails[:_MOST_LISTED]:
            whom = names.get(one.coworker_id, f"coworker {one.coworker_id}")
            whom += to_others(one.audience)
            title = titles.get(one.course_id, f"course {one.course_id}")
            yield f"    {sign} {one.rule}: {whom}  ({title})"
        if by_rule.total() > _MOST_LISTED:
            yield f"    {sign} and {by_rule.total() - _MOST_LISTED} more"


def plain_simulation(found: Simulation) -> dict[str, object]:
    """Return the result for programs."""
    return {
        "since": found.since,
        "events": found.played,
        "by_rule": {rule: dict(counts) for rule, counts in found.by_rule.items()},
        "people": len(found.people),
        "to_others": found.to_others,
        "events_without_action": dict(found.events),
        "waited": dict(found.waited),
        "by_day": dict(found.by_day),
        "by_rule_and_day": {rule: dict(days) for rule, days in found.by_rule_and_day.items()},
        "more_than_sent": _plain_differences(found.added, found.added_by_rule),
        "fewer_than_sent": _plain_differences(found.missing, found.missing_by_rule),
    }


def _plain_differences(emails: Sequence[KeyedEmail], by_rule: Counter[str]) -> dict[str, object]:
    return {
        "number": by_rule.total(),
        "by_rule": dict(by_rule),
        "first": [one.key for one in emails],
    }


def _imagine(  # noqa: PLR0913, PLR0917 - what happens, to whom, where and when
    engine: Engine,
    setup: SendSetup,
    kind: EventKind,
    person: str,
    course: str | None,
    now: datetime,
    *,
    as_json: bool,
) -> None:
    """Print what would follow if this happened to a person now."""
    with reading(engine) as connection:
        coworker_id = known_person(connection, person)
        course_id = None if course is None else known_course(connection, course)
    found = imagine(engine, setup, kind, coworker_id, course_id, now)
    if found is None:
        click.echo(
            "That person has no such enrolment here, or more than one; give --course.", err=True
        )
        raise SystemExit(NOT_DONE)
    if as_json:
        print_json(found)
        return
    for line in imagined_lines(found):
        click.echo(line)


def imagined_lines(found: Imagined) -> Iterator[str]:
    """Yield what would follow from an imagined event."""
    if found.reason is not None:
        yield f"No email: {_explained(found.reason)}"
    for one in found.emails:
        ends = {ActionState.DONE: f"sent at {_on_both_clocks(one)}", ActionState.HELD: "held"}
        end = ends.get(one.state, "not sent")
        yield f"{one.rule}{to_others(one.audience)}: {end}: {_why(one)}"


def _why(one: ImaginedEmail) -> str:
    if one.reason is not None:
        return _explained(one.reason)
    return "the rule is on, and nothing holds it back"


def _on_both_clocks(one: ImaginedEmail) -> str:
    """Return when an email is sent on our clock, and on its reader's if that differs."""
    theirs = one.at.astimezone(ZoneInfo(one.zone))
    if theirs.utcoffset() == one.at.astimezone().utcoffset():
        return local(one.at)
    return f"{local(one.at)} ({theirs:%Y-%m-%d %H:%M} in {one.zone})"


def _explained(reason: Reason) -> str:
    return f"{EXPLANATIONS[reason].sentence} [{reason}]"
