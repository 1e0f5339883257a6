"""The endpoints of the settings and their condition, for `webhook list`, `doctor` and `status`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.channels import LastRefusal, gone_endpoints, refusing_endpoints
from ledger.engine import Connection
from ledger.outages import Outage, outages_now
from schemas.actions import endpoint_of
from schemas.checkup import Check, Topic
from schemas.reasons import EXPLANATIONS, Reason
from schemas.rules import Rules
from schemas.settings import Settings
from workers.actions import email, webhook
from workers.actions.webhook import can_others_read, read_endpoints

_LONG_OUTAGE = timedelta(minutes=15)  # a shorter one usually ends by itself
_NEEDS_PERSON = frozenset({Reason.ENDPOINT_ADDRESS, Reason.ENDPOINT_REFUSES, Reason.WRITE_DENIED})
_CORRECT = "Correct its url, shape or secrets, or the receiver"
_RESEND_REFUSED = (
    f"`coursebell resend --failed {Reason.DELIVERY_REFUSED}` repeats what failed before"
)
_PREFIX = f"{webhook.KIND}:"


@dataclass(frozen=True, slots=True)
class EndpointLine:
    """One endpoint as it is listed, without its address and secrets.

    `rules` are the enabled rules that post to it, None if the rules file cannot be read. `problem`
    says why nothing arrives there; `fix` what to do.
    """

    name: str
    shape: str
    host: str
    include: tuple[str, ...]
    secrets: int
    rules: tuple[str, ...] | None
    problem: str | None = None
    fix: str | None = None


def endpoint_lines(
    connection: Connection, settings: Settings, rules: Rules | None
) -> list[EndpointLine]:
    """Return a line for each endpoint of the settings."""
    outages, gone = outages_now(connection), gone_endpoints(connection)
    refusing = refusing_endpoints(connection)
    found = []
    for one in read_endpoints(settings):
        outage = outages.get(f"{_PREFIX}{one.name}")
        problem, fix = _problem(one.name, outage, gone.get(one.name), refusing.get(one.name))
        users = None if rules is None else tuple(_rules_to(rules, one.name))
        kept = tuple(sorted(one.include))
        line = EndpointLine(
            one.name, one.shape, one.host, kept, len(one.secrets), users, problem, fix
        )
        found.append(line)
    return found


def _rules_to(rules: Rules, name: str) -> Iterator[str]:
    for rule in rules.rules:
        if rule.enabled and name in map(endpoint_of, rule.audiences):
            yield rule.name


def _problem(
    name: str,
    outage: Outage | None,
    gone_at: datetime | None,
    refusal: LastRefusal | None = None,
) -> tuple[str | None, str | None]:
    test = f"`coursebell webhook test {name}` tries it"
    if gone_at is not None:
        found = f"gone: it answered 410 at {gone_at:%Y-%m-%d %H:%M} UTC"
        resend = f"`coursebell resend --failed {Reason.ENDPOINT_GONE} --since 365d`"
        return found, f"Correct its url and {resend}, or remove it from the rules; {test}."
    if outage is None and refusal is not None:
        answer = f": {refusal.answer}" if refusal.answer else ""
        found = f"it refused its last message at {refusal.at:%Y-%m-%d %H:%M} UTC{answer}"
        return found, f"{_CORRECT}; {test}, and {_RESEND_REFUSED}."
    if outage is None:
        return None, None
    answer = f" ({outage.answer})" if outage.answer else ""
    sentence = EXPLANATIONS[outage.reason].sentence
    found = f"nothing arrives since {outage.since:%Y-%m-%d %H:%M} UTC: {sentence}{answer}"
    again = f"the next try is at {outage.until:%H:%M} UTC"
    if outage.reason is Reason.ENDPOINT_ADDRESS:
        return (
            found,
            f"List its network in COURSEBELL_ENDPOINT_NETWORKS, or correct its url; {again}.",
        )
    if outage.reason is Reason.ENDPOINT_REFUSES:
        return found, f"{_CORRECT}; {test}, {again}, and {_RESEND_REFUSED}."
    return found, f"Look at the receiver; {test}, and {again}."


def endpoint_checks(settings: Settings, lines: Sequence[EndpointLine]) -> Iterator[Check]:
    """Yield a check of the file and of each endpoint in it."""
    if can_others_read(settings):
        found = "every user of this machine can read COURSEBELL_ENDPOINTS, which holds secrets"
        yield Topic.ENDPOINTS.note("file", found, "Let only Coursebell's user read it: chmod 600.")
    for one in lines:
        if one.problem is not None:
            yield Topic.ENDPOINTS.problem(one.name, one.problem, one.fix or "")
        elif one.rules == ():
            fix = "Name it in a rule with `endpoint:`, or remove it."
            yield Topic.ENDPOINTS.note(one.name, "no rule that is on posts to it", fix)
        else:
            yield Topic.ENDPOINTS.ok(one.name, f"{one.shape}, at {one.host}; no failure is known")


def endpoint_needs(connection: Connection, now: datetime) -> Iterator[str]:
    """Yield a sentence for each endpoint that needs a person, the gone ones first.

    So do notes and tasks that cannot be written.
    """
    for name, at in gone_endpoints(connection).items():
        problem, fix = _problem(name, None, at)
        yield f"endpoint {name} is {problem}. {fix}"
    for channel, outage in outages_now(connection).items():
        name = channel.removeprefix(_PREFIX)
        if channel == email.KIND or not _needs_person(outage, now):
            continue
        problem, fix = _problem(name, outage, None)
        if channel.startswith(_PREFIX):
            yield f"endpoint {name}: {problem}. {fix}"
        else:
            yield f"{channel}: {problem}. `coursebell doctor` says what is missing"


def _needs_person(outage: Outage, now: datetime) -> bool:
    is_fault = outage.reason in _NEEDS_PERSON
    return is_fault or now - outage.since > _LONG_OUTAGE
