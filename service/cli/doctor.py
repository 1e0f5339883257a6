"""`coursebell doctor`: checks Nexudus and the mail server, and says how to fix problems.

It uses the settings, sign-in and limits of the workers. It changes nothing at Nexudus, and here it
stores only a new sign-in and what it learned about lists. It sends an email only with --mail; if
that succeeds, workers retry at once what waits for the mail server.
"""

import hashlib
import hmac
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import groupby
from pkgutil import resolve_name

import click
import structlog

from ledger.controls import sending_of
from ledger.engine import Engine, reading, writing
from ledger.monitoring import REFUSALS_SHOWN_FOR, Refused, refused_since
from ledger.outages import outages_now, retry_outages_now
from schemas.actions import Mode
from schemas.checkup import Check, Topic, Verdict
from schemas.errors import BadSignature, ConfigurationError, LedgerUnavailable
from schemas.reasons import EXPLANATIONS, REFUSALS
from schemas.rules import Rules
from schemas.settings import Settings, weak_secrets
from service.cli.common import (
    as_json,
    command_clock,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    with_own_broker,
)
from service.desk.sign_in_flow import ANSWER, check_libraries
from service.signature import verify
from workers.actions import email
from workers.actions.email.checkup import mail_checks
from workers.attention import ALERTS, SET_CLOCKS, Need, clock_warnings, rule_warnings
from workers.endpoints import endpoint_checks, endpoint_lines
from workers.reports.arrivals import reader_needs
from workers.rules_file import read_rules, rules_or_none
from workers.source.budget import make_budget
from workers.source.client import make_sources
from workers.source.doctor import CheckUp, check_up
from workers.source.staff_records import OF_ACTIONS, StaffKind

BROKEN = 1
_VERDICT_WIDTH = max(len(verdict) for verdict in Verdict)
_STATUS_HINT = "To check Coursebell's own processes: `coursebell status`."

# A verifier that handles only ASCII seems right for weeks, and then refuses every member with an
# accent in the name (contract, section 5.5). So the test signs with code of its own.
_TEXT = '[{"Id":1416023860,"FullName":"Zoë Ångström 🔔 שָׁלוֹם","Price":0.09000}]'
# Computed with another program over [{"Id":7,"FullName":"Zo? ??"}].
_KNOWN_SECRET = "coursebell-known-answer"  # noqa: S105 - public, and used nowhere
_KNOWN_BODY = '[{"Id":7,"FullName":"Zoë 🔔"}]'
_KNOWN = "B88B1634D02F5D6A79AB54AA4D758B87779C8E97695CCCB50A08A4DEE8B453DC"
_FAULT = "This is a fault of Coursebell: report it. Until it is fixed, use a relay."

Verify = Callable[[bytes, str | None, Sequence[str]], str]  # as `service.signature.verify`


@click.command()
@click.option("--mail", "mail_to", metavar="ADDRESS", help="Send one test email to this address.")
@as_json
def doctor(*, mail_to: str | None, as_json: bool) -> None:
    """Check Nexudus and the mail server, and say how to fix problems."""
    # Log lines of the source client would repeat what the report says.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = with_own_broker(settings_now())
    made: list[Check] = []
    with ExitStack() as stack:
        for topic, checks in groupby(_all_checks(settings, mail_to, stack), lambda one: one.topic):
            together = list(checks)
            made += together
            if not as_json:
                _print_topic(topic, together)
    broken = any(check.verdict is Verdict.PROBLEM for check in made)
    if as_json:
        print_json({"checks": [_plain(check) for check in made], "broken": broken})
    else:
        click.echo(_summary(made))
    if broken:
        raise SystemExit(BROKEN)


def _all_checks(settings: Settings, mail_to: str | None, stack: ExitStack) -> Iterator[Check]:
    engine, check = _ledger(settings, stack)
    yield check
    if engine is not None:
        yield from _clocks(engine)
    budget = stack.enter_context(closing(make_budget(settings, command_clock())))
    sources = None
    if engine is not None:
        sources = make_sources(settings, engine, command_clock(), budget)
        stack.enter_context(closing(sources))
    rules = rules_or_none(settings)
    counts = rules is not None and rules.counts_nexudus()
    writes = _writes(rules)
    yield from check_up(CheckUp(settings, budget, command_clock(), engine, sources, counts, writes))
    yield from signature_checks(settings.hook_secrets)
    for weak in weak_secrets(settings):
        found = f"{weak.setting}: {weak.found}"
        yield Topic.SIGNATURE.note("short", found, _sentence(weak.fix))
    if engine is not None:
        with reading(engine) as connection:
            refused = refused_since(connection, command_clock().now() - REFUSALS_SHOWN_FOR)
            warnings = rule_warnings(connection, settings)
            endpoints = endpoint_lines(connection, settings, rules_or_none(settings))
        yield from _refused(refused)
        yield from _rules(settings, warnings)
        yield from endpoint_checks(settings, endpoints)
    yield from _mail(settings, mail_to, engine)
    yield from sign_in_checks(settings)


def sign_in_checks(settings: Settings) -> Iterator[Check]:
    """Check what signing in to the pages needs of a provider, if one is set."""
    if settings.oidc_issuer is None:
        return
    try:
        check_libraries(settings)
    except ConfigurationError as error:
        yield Topic.PAGES.problem("libraries", str(error), "Install Coursebell with that extra.")
        return
    checks = resolve_name("workers.openid:provider_checks")
    yield from checks(settings, command_clock(), f"{settings.public_url}{ANSWER}")


def _writes(rules: Rules | None) -> list[StaffKind]:
    """Return the kinds of record that enabled rules write at Nexudus."""
    used = {one.action for one in rules.rules if one.enabled} if rules else set()
    return [kind for action, kind in OF_ACTIONS.items() if action in used]


def _ledger(settings: Settings, stack: ExitStack) -> tuple[Engine | None, Check]:
    """Open the ledger; return it with the check of whether it can be used."""
    name = "ledger"
    try:
        engine = stack.enter_context(opened_ledger(settings))
    except ConfigurationError as error:
        fix = "If the settings name the right place, run `coursebell migrate`."
        return None, Topic.LEDGER.problem(name, str(error), fix)
    except LedgerUnavailable as error:
        return None, Topic.LEDGER.problem(name, f"it cannot be used: {error}", error.next_step)
    return engine, Topic.LEDGER.ok(name, "it exists and has this version's tables")


def _clocks(engine: Engine) -> Iterator[Check]:
    """Check the clocks that the ledger has times of against this machine's."""
    with reading(engine) as connection:
        found = list(clock_warnings(connection, command_clock().now()))
    if not found:
        yield Topic.LEDGER.ok("clocks", "no time in it is ahead of this machine's")
    for line in found:
        yield Topic.LEDGER.note("clocks", line, SET_CLOCKS)


def signature_checks(hook_secrets: Sequence[str], verify: Verify = verify) -> list[Check]:
    """Check whether deliveries are accepted and forged ones refused, with these secrets."""
    tried = tuple(hook_secrets) or (command_clock().new_id(),)
    return [_self_test(verify, tried), _known_answer(verify), _secrets(len(hook_secrets))]


def _self_test(verify: Verify, tried: Sequence[str]) -> Check:
    name = "self-test"
    faults = []
    # The Id is what is used of a delivery.
    changed = _TEXT.replace("1416023860", "1416023861")
    for form, text in _forms():
        signatures = [_signed(text, secret) for secret in tried]
        if any(_form_of(verify, _TEXT, one, tried) != form for one in signatures):
            faults.append(f"a body signed in the form {form} is refused")
        if any(_form_of(verify, changed, one, tried) for one in signatures):
            faults.append(f"a changed body is accepted in the form {form}")
    if faults:
        return Topic.SIGNATURE.problem(name, "; ".join(faults), _FAULT)
    found = "names with accents, emoji and right-to-left text are accepted in every form"
    return Topic.SIGNATURE.ok(name, f"{found}; a changed body is refused")


def _known_answer(verify: Verify) -> Check:
    name = "known answer"
    if _form_of(verify, _KNOWN_BODY, _KNOWN, (_KNOWN_SECRET,)) is None:
        return Topic.SIGNATURE.problem(name, "a signature known to be right is refused", _FAULT)
    return Topic.SIGNATURE.ok(name, "a signature computed elsewhere is accepted")


def _secrets(number: int) -> Check:
    name = "secrets"
    if number == 0:
        found = "COURSEBELL_HOOK_SECRETS is not set, so the webhook routes answer 401"
        fix = "If webhooks at Nexudus call Coursebell, set it to their shared secret."
        return Topic.SIGNATURE.note(name, found, fix)
    found = "one is set and was tested" if number == 1 else f"all {number} were tested"
    return Topic.SIGNATURE.ok(name, found)


def _forms() -> list[tuple[str, bytes]]:
    """Return the signed text of each form, without using the code under test."""
    units = _TEXT.encode("utf-16-le")
    halves = (units[at] + 256 * units[at + 1] for at in range(0, len(units), 2))
    return [
        ("raw", _TEXT.encode()),
        ("utf16-units", bytes(half if half < ord("\x80") else ord("?") for half in halves)),
        ("code-points", _TEXT.encode("ascii", "replace")),
    ]


def _signed(text: bytes, secret: str) -> str:
    return hmac.new(secret.encode("ascii"), text, hashlib.sha256).hexdigest().upper()


def _form_of(verify: Verify, body: str, claimed: str, tried: Sequence[str]) -> str | None:
    """Return the form in which a delivery is accepted; None if it is refused."""
    try:
        return verify(body.encode(), claimed, tried)
    except BadSignature:
        return None


def _refused(refused: Sequence[Refused]) -> Iterator[Check]:
    """Check what was refused within a day: a secret may be mistyped, or strangers sent it."""
    name = "refused"
    if not refused:
        yield Topic.SIGNATURE.ok(name, "no delivery was refused within a day")
    for one in refused:
        verdict = Verdict.PROBLEM if one.needs_person else Verdict.NOTE
        over = "; others were accepted since" if one.is_over else ""
        fix = _sentence(REFUSALS[one.reason].advice)
        yield Check(Topic.SIGNATURE, name, verdict, f"{one.found}{over}", fix)


def _rules(settings: Settings, warnings: Sequence[str]) -> Iterator[Check]:
    try:
        read_rules(settings)
    except ConfigurationError as error:
        fix = "Correct it before the next start; running processes keep the rules they loaded."
        yield from (Topic.RULES.problem("file", mistake, fix) for mistake in error.mistakes)
        return
    name = "names"
    if not warnings:
        found = "every name in the rules matches a course listed so far"
        yield Topic.RULES.ok(name, found)
    for warning in warnings:
        fix = "Correct the rules file or use the ID, then restart Coursebell."
        yield Topic.RULES.note(name, warning, fix)


def _mail(settings: Settings, mail_to: str | None, engine: Engine | None) -> Iterator[Check]:
    """Check each step to the mail server; if all succeed, let workers retry what waits for it."""
    now, mode, outage = command_clock().now(), settings.mode, None
    if engine is not None:
        with reading(engine) as connection:
            mode = sending_of(connection).mode
            outage = outages_now(connection).get(email.KIND)
    yield from _readers(settings, engine)
    succeeded = True
    for check in mail_checks(settings, mail_to, command_clock(), must_work=mode is Mode.SENDING):
        succeeded = succeeded and check.verdict is not Verdict.PROBLEM
        yield check
    if outage is None:
        return
    since = f"since {outage.since:%Y-%m-%d %H:%M} UTC"
    found = f"no email can be sent {since}: {EXPLANATIONS[outage.reason].sentence}"
    if not succeeded or engine is None or mail_to is None:
        fix = f"Fix it. Workers retry at {outage.until:%H:%M} UTC, or when restarted."
        yield Topic.MAIL.problem("waiting", found, fix)
        return
    with writing(engine) as connection:
        retry_outages_now(connection, now)
    fix = "Workers retry now. If they run with older settings, restart them."
    yield Topic.MAIL.note("waiting", found, fix)


def _readers(settings: Settings, engine: Engine | None) -> Iterator[Check]:
    """Check whether alerts, summaries and digests arrive."""
    needs: list[Need] = []
    if engine is not None:
        with reading(engine) as connection:
            rules, now = rules_or_none(settings), command_clock().now()
            needs = reader_needs(connection, settings, rules, now)
    if not settings.operator_email:
        found = "nobody gets an email when something needs a person"
        yield Topic.MAIL.note("operator", found, "Set COURSEBELL_OPERATOR_EMAIL to your address.")
    elif all(one.code != ALERTS for one in needs):
        yield Topic.MAIL.ok("operator", "alerts and a summary go to COURSEBELL_OPERATOR_EMAIL")
    for need in needs:
        name = "operator" if need.code == ALERTS else "reports"
        found, _, fix = need.says.partition(". ")
        yield Topic.MAIL.problem(name, found, fix)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


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
    rest = f"{_counted(counts[Verdict.NOTE], 'note')}, {counts[Verdict.OK]} ok."
    if not counts[Verdict.PROBLEM]:
        return f"No problem was found: {rest} {_STATUS_HINT}"
    problems = _counted(counts[Verdict.PROBLEM], "problem")
    next_step = "Follow the lines with ->, then run `coursebell doctor` again."
    return f"{problems}, {rest} {next_step} {_STATUS_HINT}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
