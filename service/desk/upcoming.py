"""Upcoming: what goes out in the next 24 hours, to whom and why only then, and what is held."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from flask import Response

from ledger.engine import Connection, reading
from ledger.people import persons_of
from ledger.queries import EmailView, NextEmails, emails_of, next_emails
from ledger.undecided import held_kinds
from schemas.actions import OPEN_ACTIONS
from service.desk.message import drop
from service.desk.visit import Visit
from service.desk.wording import Shown, about_words, explained, number_words, shown_email
from workers.actions.email import KIND
from workers.zones import own_zone

_AHEAD = timedelta(hours=24)
_MOST = 50


@dataclass(frozen=True, slots=True)
class NextLine:
    """One email that goes out next. `there` is when that is by the person's own clock."""

    email: EmailView
    name: str
    what: str
    shown: Shown
    there: str


def show(visit: Visit) -> Response:
    """Show the emails of the next 24 hours, and how many are held for what."""
    with reading(visit.pages.engine) as connection:
        found = next_emails(connection, visit.now + _AHEAD, _MOST)
        lines = list(_lines(visit, connection, found))
        held = held_kinds(connection)
    return visit.page(
        "upcoming.html",
        lines=lines,
        number=sum(found.by_kind.values()),
        counted=number_words(visit.language, found.by_kind),
        people=_people(visit, found),
        held=[
            (explained(visit.times, one), number_words(visit.language, by_kind))
            for one, by_kind in held.items()
        ],
    )


def _people(visit: Visit, found: NextEmails) -> str:
    """Return to how many people that is; posts and notes are about people, and not to them."""
    if set(found.by_kind) <= {KIND}:
        return visit.language.say_n("to {number} person", "to {number} people", found.people)
    return visit.language.say_n("about {number} person", "about {number} people", found.people)


def ask_to_skip(visit: Visit, action_id: int) -> Response:
    """Ask before an email is dropped, with whose it is and what it is about."""
    with reading(visit.pages.engine) as connection:
        found = emails_of(connection, [action_id])
    if not found:
        return visit.missing(visit.language.say("There is no email with this number."))
    [email] = found
    if email.state not in OPEN_ACTIONS:
        notice = visit.language.say("It was not waiting any more.")
        return visit.see_other(f"/messages/{action_id}", notice)
    return visit.page(
        "upcoming_skip.html",
        email=email,
        name=email.person or visit.member_name(email.coworker_id),
        what=visit.email_name(email),
    )


def skip(visit: Visit, action_id: int) -> Response:
    """Drop an email that waits."""
    return visit.see_other("/upcoming", drop(visit, action_id, OPEN_ACTIONS))


def _lines(visit: Visit, connection: Connection, found: NextEmails) -> Iterator[NextLine]:
    people = persons_of(connection, {one.coworker_id for one in found.emails})
    holding = visit.holding(emails=found.emails)
    for one in found.emails:
        person = people.get(one.coworker_id)
        zone = own_zone(person.zone if person else None, visit.times.zone)
        yield NextLine(
            one,
            one.person or visit.member_name(one.coworker_id),
            about_words(visit.times, one, found.events.get(one.action_id, 1)),
            shown_email(visit.times, one, holding),
            visit.times.there(one.due_at, zone) if one.due_at > visit.now else "",
        )
