"""`doctor`: what is wrong between us and Nexudus or the mail server, and how to fix it.

It looks with the eyes of the workers: the same settings, sign-in and limits. It changes nothing at
Nexudus, and here it keeps nothing but a new sign-in and what it found out about lists. An email is
sent only if asked for; that one leaves lets workers try again at once what waits for that.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import groupby

import click
import structlog

from ledger.controls import sending_of
from ledger.engine import Engine, reading, writing
from ledger.outages import outages_now, try_outages_now
from ledger.refusals import REFUSED_FOR, Refused, refused_since
from schemas.errors import ConfigurationError, LedgerUnavailable
from schemas.reasons import EXPLANATIONS
from schemas.refusals import REFUSALS
from schemas.settings import Settings, weak_secrets
from schemas.states import Mode
from service.attention import SET_CLOCKS, clock_warnings, rule_warnings
from service.command.common import (
    as_json,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    with_own_broker,
)
from service.command.self_test import signature_checks
from workers.actions.email.action import EmailAction
from workers.actions.email.checkup import mail_checks
from workers.clocks import utc_now
from workers.source.checkup import Check, Topic, Verdict, check_up
from workers.source.checkup.rounds import CheckUp
from workers.workshop import make_budget, make_sources

BROKEN = 1
_VERDICT_WIDTH = max(len(verdict) for verdict in Verdict)


# This command looks outwards; whether we ourselves run is another question.
_BESIDES = "`coursebell status` tells whether our own processes run."


@dataclass(frozen=True, slots=True)
class _Ledger:
    """The ledger if it can be used, and what there is to say of it."""

    engine: Engine | None
    check: Check


@click.command()
@click.option("--mail", "mail_to", metavar="ADDRESS", help="Send one test email to this address.")
@as_json
def doctor(*, mail_to: str | None, as_json: bool) -> None:
    """Find what is wrong with Nexudus or the mail server, and the fix."""
    # What the source client logs is in the report, in words for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = with_own_broker(settings_now())
    with ExitStack() as stack:
        checks = _all_checks(settings, mail_to, stack)
        if as_json:
            made = list(checks)
        else:
            made = []
            for topic, lines in groupby(checks, key=lambda check: check.topic):
                together = list(lines)
                _print_topic(topic, together)
                made += together
    broken = any(check.verdict is Verdict.PROBLEM for check in made)
    if as_json:
        print_json({"checks": [_plain(check) for check in made], "broken": broken})
    else:
        click.echo(_summary(made))
    if broken:
        raise SystemExit(BROKEN)


def _all_checks(settings: Settings, mail_to: str | None, stack: ExitStack) -> Iterator[Check]:
    ledger = _ledger(settings, stack)
    yield ledger.check
    if ledger.engine is not None:
        yield from _clocks(ledger.engine)
    budget = stack.enter_context(closing(make_budget(settings, utc_now)))
    sources = None
    if ledger.engine is not None:
        sources = make_sources(settings, ledger.engine, utc_now, budget)
        stack.enter_context(closing(sources))
    yield from check_up(CheckUp(settings, budget, utc_now, ledger.engine, sources))
    yield from signature_checks(settings.hook_secrets)
    for weak in weak_secrets(settings):
        found, fix = f"{weak.setting}: {weak.found}", f"{weak.fix[0].upper()}{weak.fix[1:]}."
        yield Check(Topic.SIGNATURE, "short", Verdict.NOTE, found, fix)
    if ledger.engine is not None:
        with reading(ledger.engine) as connection:
            refused = refused_since(connection, utc_now() - REFUSED_FOR)
            warnings = rule_warnings(connection, settings)
        yield from _refused(refused)
        yield from _rules(warnings)
    yield from _mail(settings, mail_to, ledger.engine)


def _mail(settings: Settings, mail_to: str | None, engine: Engine | None) -> Iterator[Check]:
    """Yield the steps to the mail server; if all are well, let workers try what waits for it."""
    now, mode, outage = utc_now(), settings.mode, None
    if engine is not None:
        with reading(engine) as connection:
            mode = sending_of(connection).mode
            outage = outages_now(connection).get(EmailAction.kind)
    is_well = True
    for check in mail_checks(settings, mail_to, now, must_work=mode is Mode.SENDING):
        is_well = is_well and check.verdict is not Verdict.PROBLEM
        yield check
    if outage is None:
        return
    since = f"since {outage.since:%Y-%m-%d %H:%M} UTC"
    found = f"no email leaves {since}: {EXPLANATIONS[outage.reason].sentence}"
    if not is_well or engine is None or mail_to is None:
        fix = f"Fix it; workers try again at {outage.until:%H:%M} UTC, or once started again."
        yield Check(Topic.MAIL, "waiting", Verdict.PROBLEM, found, fix)
        return
    with writing(engine) as connection:
        try_outages_now(connection, now)
    fix = "Workers try again now. If they run with older settings, start them again."
    yield Check(Topic.MAIL, "waiting", Verdict.NOTE, found, fix)


def _ledger(settings: Settings, stack: ExitStack) -> _Ledger:
    name = "ledger"
    try:
        engine = stack.enter_context(opened_ledger(settings))
    except ConfigurationError as error:
        found, fix = str(error), "Run `coursebell migrate`, if the settings name the right place."
    except LedgerUnavailable as error:
        found, fix = f"it cannot be used: {error}", error.next_step
    else:
        found = "it is there, and of this version"
        return _Ledger(engine, Check(Topic.LEDGER, name, Verdict.OK, found))
    return _Ledger(None, Check(Topic.LEDGER, name, Verdict.PROBLEM, found, fix))


def _clocks(engine: Engine) -> Iterator[Check]:
    """Say which clocks differ from this machine's, as far as the ledger shows it."""
    with reading(engine) as connection:
        found = list(clock_warnings(connection, utc_now()))
    if not found:
        yield Check(Topic.LEDGER, "clocks", Verdict.OK, "no time in it is ahead of this machine's")
    for line in found:
        yield Check(Topic.LEDGER, "clocks", Verdict.NOTE, line, SET_CLOCKS)


def _refused(refused: Sequence[Refused]) -> Iterator[Check]:
    """Say what was refused within a day; it may be a mistyped secret, or strangers."""
    name = "refused"
    if not refused:
        yield Check(Topic.SIGNATURE, name, Verdict.OK, "no delivery was refused within a day")
    for one in refused:
        verdict = Verdict.PROBLEM if one.needs_person else Verdict.NOTE
        over = "; others were accepted since" if one.is_over else ""
        advice = REFUSALS[one.reason].advice
        fix = f"{advice[0].upper()}{advice[1:]}."
        yield Check(Topic.SIGNATURE, name, verdict, f"{one.found}{over}", fix)


def _rules(warnings: Sequence[str]) -> Iterator[Check]:
    name = "names"
    if not warnings:
        found = "nothing named in the rules is missing among the courses listed so far"
        yield Check(Topic.RULES, name, Verdict.OK, found)
    for warning in warnings:
        fix = "Correct the rules file, or use the ID; then start Coursebell again."
        yield Check(Topic.RULES, name, Verdict.NOTE, warning, fix)


def _plain(check: Check) -> dict[str, str | None]:
    return {
        "name": check.name,
        "verdict": check.verdict,
        "found": check.found,
        "fix": check.fix,
    }


def _print_topic(topic: Topic, checks: Sequence[Check]) -> None:
    click.echo(topic)
    width = max(len(check.name) for check in checks)
    for check in checks:
        start = f"  {check.verdict:<{_VERDICT_WIDTH}}  {check.name:<{width}}  "
        click.echo(printable(f"{start}{check.found}"))
        if check.fix is not None:
            click.echo(printable(f"{' ' * (len(start) - 3)}-> {check.fix}"))
    click.echo()


def _summary(checks: Sequence[Check]) -> str:
    counts = Counter(check.verdict for check in checks)
    rest = f"{_counted(counts[Verdict.NOTE], 'note')}, {counts[Verdict.OK]} fine."
    if not counts[Verdict.PROBLEM]:
        return f"Nothing was found broken: {rest} {_BESIDES}"
    problems = _counted(counts[Verdict.PROBLEM], "problem")
    return f"{problems}, {rest} Fix what -> says, then run `coursebell doctor` again. {_BESIDES}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
