"""Which alerts, summaries and digests do not arrive, for `status`, `doctor`, `why` and `/readyz`.

Nobody else says it: an alert that does not arrive cannot be the way to learn of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ledger.choices import address_keys, choices_of, mailbox_hash
from ledger.engine import Connection
from ledger.people import person_of
from ledger.reports import Report, last_reports
from ledger.suppressions import Suppression, suppression_of
from schemas.actions import HOST, ActionState
from schemas.choices import ChoiceOrigin, report_choice
from schemas.reasons import EXPLANATIONS, Reason
from schemas.rules import OWN_REPORTS, Rules
from schemas.settings import Settings
from workers.attention import ALERTS, Need
from workers.secret_key import known_secret_key

OPERATORS = "COURSEBELL_OPERATOR_EMAIL"
_SHOWN_FOR = timedelta(days=7)  # then the next one of a week counts
_COMPLAINTS = frozenset({ChoiceOrigin.COMPLAINT, ChoiceOrigin.PROVIDER})
_NOT_SURE = "ask the reader, or look into the mail server's log"
_LIST = "`coursebell bounces list` says which and why"
_LIFT = "if it works, allow emails to it again: `coursebell bounces lift ADDRESS`"


@dataclass(frozen=True, slots=True)
class FixedReader:
    """An address that the settings or the rules file name, and what names it."""

    address: str = field(repr=False)
    named_in: str
    is_operator: bool = False


@dataclass(frozen=True, slots=True)
class BouncedReader:
    """A reader to whom nothing is sent because emails to them came back."""

    reader: FixedReader
    suppression: Suppression


def fixed_readers(settings: Settings, rules: Rules | None) -> list[FixedReader]:
    """Return the addresses in the settings and the rules that emails go to."""
    found = [FixedReader(one, OPERATORS, is_operator=True) for one in settings.operator_email]
    for digest in rules.digests if rules else ():
        found += _named(digest.to, f"the digest {digest.name}", is_on=digest.enabled)
    for rule in rules.rules if rules else ():
        found += _named(rule.to, f"the rule {rule.name}", is_on=rule.enabled)
    return found


def _named(to: Iterable[str], named_in: str, *, is_on: bool) -> Iterator[FixedReader]:
    for one in to:
        if is_on and "@" in one:
            yield FixedReader(one, named_in)


def bounced_readers(
    connection: Connection, readers: Iterable[FixedReader], key: str | None
) -> list[BouncedReader]:
    """Return those of these readers whose address bounced; none without the key of the hashes."""
    found = []
    for one in readers if key is not None else ():
        why = suppression_of(connection, mailbox_hash(one.address, key or ""))
        if why is not None:
            found.append(BouncedReader(one, why))
    return found


def reader_needs(
    connection: Connection, settings: Settings, rules: Rules | None, now: datetime
) -> list[Need]:
    """Return what needs a person because reports do not arrive, operators first.

    Without `rules`, the addresses in them are left out.
    """
    key = known_secret_key(settings)
    bounced = bounced_readers(connection, fixed_readers(settings, rules), key)
    return [
        *_operator_needs([one for one in bounced if one.reader.is_operator], settings),
        *_complaint_needs(connection, settings, key),
        *_address_needs([one for one in bounced if not one.reader.is_operator]),
        *_report_needs(connection, key, now),
    ]


def _operator_needs(bounced: Sequence[BouncedReader], settings: Settings) -> Iterator[Need]:
    """Yield that alerts do not arrive, which no alert can say."""
    number = len(bounced)
    if not number:
        return
    of_all = len(settings.operator_email)
    is_nobody = number == of_all
    who = "nobody gets alerts or the summary" if is_nobody else "alerts do not reach every operator"
    addresses = "the address" if of_all == 1 else f"{number} of {of_all} addresses"
    says = (
        f"{who}: emails to {addresses} in {OPERATORS} came back, so nothing is sent there."
        f" {_LIST}. Correct it there and restart; {_LIFT}"
    )
    yield Need(ALERTS, "alerts do not arrive", says, number, bounced[0].suppression.since)


def _complaint_needs(connection: Connection, settings: Settings, key: str | None) -> Iterator[Need]:
    """Yield that operators get no alerts because one was marked as spam, perhaps by mistake."""
    addresses = settings.operator_email if key else ()
    times = [_complained_at(connection, one, key or "") for one in addresses]
    since = [one for one in times if one is not None]
    if since:
        who = "an operator" if len(since) == 1 else f"{len(since)} operators"
        says = (
            f"{who} marked an alert as spam, or unsubscribed at the mail provider, so no alert is"
            " sent there. `coursebell reports` says to whom. To send them again:"
            " `coursebell preferences ADDRESS --allow attention --allow trouble --allow summary`"
        )
        yield Need(ALERTS, "alerts do not arrive", says, len(since), min(since))


def _complained_at(connection: Connection, address: str, key: str) -> datetime | None:
    made = choices_of(connection, address_keys(key, address)).made
    alerts = (made.get(report_choice(name)) for name in OWN_REPORTS)
    complaints = (
        one.chosen_at for one in alerts if one and not one.agreed and one.origin in _COMPLAINTS
    )
    return min(complaints, default=None)


def _address_needs(bounced: Sequence[BouncedReader]) -> Iterator[Need]:
    for named_in in dict.fromkeys(one.reader.named_in for one in bounced):
        these = [one for one in bounced if one.reader.named_in == named_in]
        number = len(these)
        addresses = "the address" if number == 1 else f"{number} addresses"
        says = (
            f"emails to {addresses} of {named_in} came back, so nothing is sent there. {_LIST}."
            f" Correct it in the rules file and restart; {_LIFT}"
        )
        what = "an address in the rules" if number == 1 else f"{number} addresses in the rules"
        yield Need("reports", f"{what} bounced", says, number, these[0].suppression.since)


def _report_needs(connection: Connection, key: str | None, now: datetime) -> Iterator[Need]:
    """Yield a need for each report that was not sent, or may not have been."""
    for one in last_reports(connection, now):
        failed = one.state in {ActionState.FAILED, ActionState.UNKNOWN}
        is_recent = one.finished_at is not None and now - one.finished_at < _SHOWN_FOR
        if (failed and is_recent) or _is_to_bounced_host(connection, one, key):
            yield _report_need(one)


def _is_to_bounced_host(connection: Connection, report: Report, key: str | None) -> bool:
    """Return whether a digest was not sent to a host whose address still counts as bounced."""
    is_skipped = (report.state, report.reason) == (ActionState.SKIPPED, Reason.BOUNCED_BEFORE)
    host = person_of(connection, report.plan.coworker_id or 0) if is_skipped else None
    if key is None or host is None or not host.email:
        return False
    return suppression_of(connection, mailbox_hash(host.email, key)) is not None


def _report_need(report: Report) -> Need:
    what = f"{report_word(report.plan.name)} to {_reader_word(report)}"
    at = report.finished_at or report.planned_at
    when = f"of {at:%Y-%m-%d %H:%M} UTC"
    sentence = f"{EXPLANATIONS[report.reason].sentence} [{report.reason}]" if report.reason else ""
    name = report.plan.name
    if report.state is ActionState.UNKNOWN:
        says = f"{what} {when} may have arrived or not: {_NOT_SURE}. {_again(name)}"
        return Need("reports", "a report that may not have arrived", says, since=at)
    if report.state is ActionState.FAILED:
        says = f"{what} {when} could not be sent: {sentence}. {_again(name)}"
        return Need("reports", "a report that failed", says, since=at)
    says = (
        f"{what} {when} was not sent: {sentence}. Correct the address in Nexudus; or, if it works,"
        f" allow emails to it again: `coursebell bounces lift {report.plan.coworker_id}`"
    )
    return Need("reports", "a digest that does not arrive", says, since=at)


def _again(name: str) -> str:
    return (
        f"`coursebell reports` says when the next one goes, and `coursebell reports preview {name}`"
        " writes one to pass on by hand"
    )


def report_word(name: str) -> str:
    """Return what a report is called in a sentence."""
    if name not in OWN_REPORTS:
        return f"the digest {name}"
    return "the summary" if name == "summary" else f"the alert {name}"


def _reader_word(report: Report) -> str:
    if report.plan.audience != HOST:
        return "an operator" if report.plan.name in OWN_REPORTS else "its address"
    return f"the host, coworker {report.plan.coworker_id},"
