"""Start: whether all is ready, what was written while observing, and the change to sending."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from flask import Response

from ledger.controls import sending_of
from ledger.engine import reading
from ledger.people import names_of
from ledger.report_queries import HeldSince, held_since
from ledger.source_state import catalogue_of
from ledger.undecided import held_kinds, kinds_of_open
from schemas.actions import Mode
from schemas.reasons import Reason
from schemas.settings import MailAddress, Settings
from service.desk.visit import Visit
from service.desk.wording import explained, number_words
from service.sending_outcomes import (
    SendingOutcomes,
    missing_to_send,
    numbers_by_sending,
    outcomes_by_sending,
    set_mode,
)
from workers.actions.email import KIND
from workers.attention import MAIL, READY
from workers.preference_links import reaches_members

_LATELY = timedelta(days=7)
_MOST_LOOKED_AT = 50  # emails on one page; each takes about ten milliseconds


class SetUpStep(NamedTuple):
    """One line of the checklist: whether it is done, what it is, and what is known of it."""

    is_done: bool
    title: str
    sentence: str


class WouldSend(NamedTuple):
    """How many emails go now or later, stay held or are not sent, and why."""

    part: str
    number: int
    why: str


@dataclass(frozen=True, slots=True)
class Week:
    """What was written for members in the last 7 days, and to whom most of it."""

    held: HeldSince
    busiest: str


def show(visit: Visit) -> Response:
    """Show whether all is ready, and what was written so far; or that sending is on."""
    settings = visit.pages.settings
    with reading(visit.pages.engine) as connection:
        held = held_since(connection, KIND, Reason.OBSERVE, visit.now - _LATELY)
        busiest = held.busiest_id
        names = {} if busiest is None else names_of(connection, [busiest])
        written = held_kinds(connection, Reason.OBSERVE).get(Reason.OBSERVE, {})
        catalogue = catalogue_of(connection)
    who = "" if busiest is None else names.get(busiest) or visit.member_name(busiest)
    places = [] if catalogue is None else [one for one in catalogue.locations.values() if one]
    steps = list(_steps(visit, places))
    return visit.page(
        "start.html",
        steps=steps,
        is_ready=all(one.is_done for one in steps),
        missing=missing_to_send(settings),
        has_links=reaches_members(settings),
        emails=_emails(visit),
        week=Week(held, who),
        written=number_words(visit.language, written),
    )


def ask_to_send(visit: Visit) -> Response:
    """Show what starting would send now and later, and what stays held, before it is done."""
    pages = visit.pages
    if not visit.state.is_observing:
        return visit.see_other("/start", visit.language.say("Sending is on already."))
    if missing_to_send(pages.settings):
        return _not_ready(visit)
    setup = pages.rules.setup()
    with reading(pages.engine) as connection:
        outcomes = outcomes_by_sending(connection, setup, visit.now, most=_MOST_LOOKED_AT)
        numbers = numbers_by_sending(connection, outcomes, visit.now)
        kinds = kinds_of_open(connection)
    return visit.page(
        "start_sending.html",
        lines=list(_lines(visit, numbers)),
        are_emails=kinds <= {KIND},
        people=_people(outcomes),
        beyond=outcomes.beyond,
        pause=visit.state.all_paused,
        has_links=reaches_members(pages.settings),
    )


def begin_sending(visit: Visit) -> Response:
    """Start sending. Pressing twice starts once."""
    if missing_to_send(visit.pages.settings):
        return _not_ready(visit)
    return _changed(visit, Mode.SENDING, visit.language.say("Sending is on from now."))


def go_back(visit: Visit) -> Response:
    """Go back to observing: emails are written and kept here."""
    notice = visit.language.say("Observing from now. Emails are written and kept here.")
    return _changed(visit, Mode.OBSERVE, notice)


def _changed(visit: Visit, mode: Mode, notice: str) -> Response:
    pages = visit.pages
    with reading(pages.engine) as connection:
        before = sending_of(connection).mode
    if before is not mode:
        set_mode(pages.engine, mode, visit.operator.name, visit.now)
        pages.wake()
    return visit.see_other("/start", notice)


def _not_ready(visit: Visit) -> Response:
    text = visit.language.say("Sending cannot start yet: the mail server or the sender is not set.")
    return visit.see_other("/start", text)


def _steps(visit: Visit, places: list[str]) -> Iterator[SetUpStep]:
    say, times, settings = visit.language.say, visit.times, visit.pages.settings
    condition = visit.pages.watch.settled()
    reached = condition.parts.get("nexudus") == READY
    where = ", ".join([*places[:3], settings.zone])
    yield SetUpStep(
        reached,
        say("Connected to Nexudus"),
        where if reached else say("Nexudus does not let us read yet."),
    )
    ended = [one.last.ended_at for one in condition.monitoring.polls if one.last is not None]
    checked_at = max((one for one in ended if one is not None), default=None)
    last_at = condition.monitoring.silence.last_at
    news = say("No check of Nexudus has ended yet.")
    if checked_at is not None:
        news = say("Last check {time}.").format(time=times.words(checked_at))
        if last_at is not None:
            last = say("The last thing that happened: {time}.").format(time=times.words(last_at))
            news = f"{news} {last}"
    yield SetUpStep(checked_at is not None, say("Changes arrive"), news)
    yield _mail_step(visit, settings, condition.parts)
    sender = settings.mail_from
    yield SetUpStep(
        sender is not None,
        say("Sender and address for replies"),
        say("No sender is set.") if sender is None else _sender(visit, settings, sender),
    )


def _mail_step(visit: Visit, settings: Settings, parts: Mapping[str, str]) -> SetUpStep:
    say, title = visit.language.say, visit.language.say("The mail server is set")
    if settings.smtp is None:
        return SetUpStep(is_done=False, title=title, sentence=say("No mail server is set."))
    if parts.get(MAIL, READY) != READY:
        text = say("The mail server does not take our emails.")
        return SetUpStep(is_done=False, title=title, sentence=text)
    return SetUpStep(is_done=True, title=title, sentence=settings.smtp.host)


def _sender(visit: Visit, settings: Settings, sender: MailAddress) -> str:
    say = visit.language.say
    name = f"{sender.name} <{sender.address}>".strip()
    reply_to = settings.mail_reply_to
    if reply_to is None:
        return say("{sender}. Replies go there too.").format(sender=name)
    return say("{sender}. Replies go to {address}.").format(sender=name, address=reply_to.address)


def _emails(visit: Visit) -> list[tuple[str, str]]:
    """Return the emails that are on, by the names of their rules."""
    return [
        (one.name, visit.rule_title(one.name))
        for one in visit.pages.rules.setup().rules.rules
        if one.enabled and one.action == KIND
    ]


def _lines(visit: Visit, numbers: Mapping[str, Mapping[str, int]]) -> Iterator[WouldSend]:
    for part, by_reason in numbers.items():
        for reason, number in sorted(by_reason.items()):
            yield WouldSend(part, number, explained(visit.times, reason))


def _people(outcomes: SendingOutcomes) -> int:
    """Return to how many people emails would be sent."""
    sent = (one.action for one in outcomes.expected if one.is_sent)
    return len({(one.audience, one.coworker_id) for one in sent})
