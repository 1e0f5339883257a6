"""Health: whether each part works, in a sentence each, and what `status` prints."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import Response

from ledger.checks import CheckKind, Run, last_run
from ledger.engine import ledger_file, reading
from ledger.mail_reports import ReportCount
from ledger.monitoring import Refused
from ledger.report_queries import waiting_by_kind
from ledger.undecided import Undecided, undecided, undecided_since
from schemas.actions import ActionState, LookupState
from schemas.mail_reports import Provider, ReportKind
from schemas.reasons import (
    EXPLANATIONS,
    HOOK_REFUSALS,
    MAIL_REFUSALS,
    REFUSALS,
    RELAY_REFUSALS,
    Reason,
    Refusal,
)
from service.cli.status import Condition, Snapshot, status_lines
from service.desk.certificate import shown_comparison
from service.desk.trouble import SHOWN_ONE_BY_ONE, trouble_sentence
from service.desk.visit import Visit
from service.desk.wording import number_words, words
from workers.decide.monitoring import Signal

_RECEIVING, _FETCHING, _DECIDING, _SENDING, _STORAGE = (
    words("Receiving"),
    words("Fetching"),
    words("Deciding"),
    words("Sending"),
    words("Storage"),
)
# Which part a need of `workers.attention` belongs to.
_PART_OF = {
    **dict.fromkeys(("web", "check", "hooks", "refused", "silence", "lost"), _RECEIVING),
    **dict.fromkeys(("nexudus", "lookups", "lookups-failed"), _FETCHING),
    **dict.fromkeys(("broker", "worker", "clock", "clocks"), _DECIDING),
    "ledger": _STORAGE,
}
_WORD_OF_STATE = {
    ActionState.HELD: words("Waits for a person"),
    ActionState.FAILED: words("Failed"),
    ActionState.UNKNOWN: words("Cut off while it was handed over"),
}
_UNPROVEN = (
    (HOOK_REFUSALS, words("not proven to come from Nexudus")),
    (RELAY_REFUSALS, words("not proven to come from the service that passes changes on")),
    (MAIL_REFUSALS, words("not proven to come from the mail provider")),
)
_KINDS = {
    ReportKind.DELIVERED: words("delivered"),
    ReportKind.DELAYED: words("delayed"),
    ReportKind.SOFT_BOUNCE: words("came back for a while"),
    ReportKind.HARD_BOUNCE: words("came back for good"),
    ReportKind.REFUSED: words("not sent by the provider"),
    ReportKind.COMPLAINT: words("marked as spam"),
    ReportKind.UNSUBSCRIBED: words("unsubscribed"),
    ReportKind.IGNORED: words("without a use here"),
    ReportKind.UNREADABLE: words("could not be read"),
}
_PROVIDERS = {
    Provider.SES: "Amazon SES",
    Provider.POSTMARK: "Postmark",
    Provider.MAILGUN: "Mailgun",
    Provider.SENDGRID: "SendGrid",
    Provider.BREVO: "Brevo",
}
# How `status` writes moments, with or without their day.
_UTC = re.compile(r"(?:\b(\d{4}-\d\d-\d\d) )?(?<![\d:])(\d\d:\d\d) UTC\b")
_HALF_A_DAY = timedelta(hours=12)
_MEGABYTE = 1_000_000
_MOST_RETURNED = 20  # people by name


@dataclass(frozen=True, slots=True)
class PartShown:
    """One part of the service: what is wrong with it, or a sentence that says it works."""

    name: str
    is_well: bool
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupedFailures:
    """How many emails or reads ended in one way for one reason."""

    state: str
    reason: str
    number: int
    sentence: str


def show(visit: Visit) -> Response:
    """Show whether each part works."""
    pages = visit.pages
    found = pages.watch.snapshot()
    condition = found.condition
    with reading(pages.engine) as connection:
        since = undecided_since(connection)
        waiting = waiting_by_kind(connection)
        compared = last_run(connection, [CheckKind.RECONCILE], None)
        grouped = undecided(connection) if visit.is_engineer else None
    is_returned = any(one.code == "bounced" for one in condition.needs)
    areas = list(_areas(visit, condition, found, waiting))
    return visit.page(
        "health.html",
        areas=areas,
        is_well=all(one.is_well for one in areas),
        undecided_since=since,
        unsent_since=found.counted.oldest_due_at,
        unproven=list(_unproven(visit, found.refused)),
        comparison=_comparison(visit, compared),
        reports=[_reports_of(visit, found.reports, name) for name in _providers(found.reports)],
        returned=(pages.returned.newest() or []) if is_returned else [],
        most_returned=_MOST_RETURNED,
        looked_at=condition.at,
        lines=list(_status(visit, found)) if visit.is_engineer else [],
        refused=[(one, REFUSALS[one.reason]) for one in found.refused],
        failures=[] if grouped is None else list(_failures(visit, grouped)),
    )


def _status(visit: Visit, found: Snapshot) -> Iterator[str]:
    """Yield what `coursebell status` prints, with its times in the zone of these pages."""
    zone, now = visit.times.zone, found.condition.at

    def in_zone(written: re.Match[str]) -> str:
        day, clock = written.groups()
        try:
            at = datetime.fromisoformat(f"{day or now.astimezone(UTC).date()}T{clock}+00:00")
            if day is None and at < now - _HALF_A_DAY:
                at += 2 * _HALF_A_DAY  # it is written without its day as it is near
            return f"{at.astimezone(zone):{'%H:%M %Z' if day is None else '%Y-%m-%d %H:%M %Z'}}"
        except (ValueError, OverflowError):  # it is in the answer of a server
            return written[0]

    for line in status_lines(found, visit.pages.settings, zone):
        yield _UTC.sub(in_zone, line)


def _areas(
    visit: Visit, condition: Condition, found: Snapshot, waiting: Mapping[str, int]
) -> Iterator[PartShown]:
    wrong: dict[str, list[str]] = {}
    for need in condition.needs:
        text = trouble_sentence(visit.times, need)
        if need.code in SHOWN_ONE_BY_ONE:
            text = visit.language.say(
                "Some emails or posts failed or wait for you. Today lists them."
            )
        wrong.setdefault(_PART_OF.get(need.code, _SENDING), []).append(text)
    well = {
        _RECEIVING: _received(visit, condition),
        _FETCHING: _fetched(visit, found),
        _DECIDING: visit.language.say("The parts of the service that decide are running."),
        _SENDING: _sent(visit, waiting),
        _STORAGE: _stored(visit),
    }
    for name, sentence in well.items():
        sentences = tuple(dict.fromkeys(wrong.get(name, [])))
        yield PartShown(visit.language.say(name), not sentences, sentences or (sentence,))


def _received(visit: Visit, condition: Condition) -> str:
    say, now = visit.language.say, visit.times.words
    silence, polls = condition.monitoring.silence, condition.monitoring.polls
    ended = [one.last.ended_at for one in polls if one.last and one.last.ended_at]
    said = []
    if ended and visit.pages.settings.check_every_s:
        said.append(say("Nexudus was last checked {time}.").format(time=now(min(ended))))
    if silence.last_at is not None:
        said.append(say("The last change was {time}.").format(time=now(silence.last_at)))
    if silence.signal is Signal.SILENT:
        said.append(say("Such a pause is usual."))
    return " ".join(said) or say("Nothing has arrived yet.")


def _fetched(visit: Visit, found: Snapshot) -> str:
    open_states = (LookupState.DUE, LookupState.LEASED, LookupState.WAITING)
    number = sum(sum(found.counted.lookups.get(one, {}).values()) for one in open_states)
    if not number:
        return visit.language.say("Everything that was reported is read.")
    return visit.language.say_n(
        "{number} change is still to be read.", "{number} changes are still to be read.", number
    )


def _sent(visit: Visit, waiting: Mapping[str, int]) -> str:
    say = visit.language.say
    if visit.state.is_observing:
        return say("Sending has not been started. Emails are written and kept here.")
    if visit.state.all_paused is not None:
        return say("Sending is paused. Emails wait here.")
    if not waiting:
        return say("Nothing waits.")
    return say("Waiting for their time: {what}.").format(what=number_words(visit.language, waiting))


def _stored(visit: Visit) -> str:
    say, file = visit.language.say, ledger_file(visit.pages.settings.database_url)
    if file is None or not file.exists():
        return say("The database can be read and written.")
    size = file.stat().st_size / _MEGABYTE
    return say("The database can be read and written. It has {size} MB.").format(
        size=visit.language.number(round(size, 1))
    )


def _unproven(visit: Visit, refused: list[Refused]) -> Iterator[tuple[int, str]]:
    """Yield how many messages were refused in a day, by what was wrong with them."""
    say = visit.language.say
    rest = {one.reason: one.count for one in refused}
    for reasons, text in _UNPROVEN:
        number = sum(rest.pop(one, 0) for one in reasons)
        if number:
            yield number, say(text)
    if busy := rest.pop(Refusal.OVERLOADED, 0) + rest.pop(Refusal.NOT_STORED, 0):
        yield busy, say("refused because we were too busy; senders try again")
    if number := sum(rest.values()):
        yield number, say("of a form or size that is not accepted")


def _comparison(visit: Visit, run: Run | None) -> str:
    """Return what the last comparison with Nexudus found."""
    if run is None:
        return visit.language.say("There was none yet. It runs each night.")
    found = shown_comparison(visit, run)
    checked = found.enrolments + found.lessons
    counted = visit.language.say_n("{number} record compared", "{number} records compared", checked)
    when = visit.times.words(found.begun_at)
    return visit.language.say("{counted} {time}. {outcome}").format(
        counted=counted, time=when, outcome=found.outcome
    )


def _providers(counts: list[ReportCount]) -> list[Provider]:
    return list(dict.fromkeys(one.provider for one in counts))


def _reports_of(visit: Visit, counts: list[ReportCount], provider: Provider) -> str:
    """Return how many reports of each kind a mail provider made in seven days."""
    these = [one for one in counts if one.provider == provider]
    kinds = ", ".join(f"{one.number} {visit.language.say(_KINDS[one.kind])}" for one in these)
    text = visit.language.say("{what}: {why}")
    return text.format(what=_PROVIDERS[provider], why=kinds)


def _failures(visit: Visit, found: Undecided) -> Iterator[GroupedFailures]:
    """Yield what needs a person by reason, the most frequent first."""
    say, grouped = visit.language.say, []
    for state, text in _WORD_OF_STATE.items():
        for reason, number in found.actions.get(state, {}).items():
            grouped.append(_group(visit, say(text), reason, number))
    for reason, number in found.lookups.items():
        grouped.append(_group(visit, say(words("Could not be read")), reason, number))
    yield from sorted(grouped, key=lambda one: (-one.number, one.state, one.reason))


def _group(visit: Visit, state: str, reason: str, number: int) -> GroupedFailures:
    sentence = visit.language.say(EXPLANATIONS[Reason(reason)].sentence) if reason else ""
    return GroupedFailures(state, reason, number, sentence)
