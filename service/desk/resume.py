"""Resume: what waited for the end of a pause, what is still true of it, and what is sent."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Response, request

from ledger.engine import Connection, reading
from ledger.pauses import Pause, held_by, kinds_held_by, open_pauses, reports_held_by
from ledger.queries import EmailView, emails_of, events_per_email
from service.desk.pause import scope_words
from service.desk.visit import Visit, id_in
from service.desk.wording import Shown, about_words, explained, number_words
from service.pausing import Resumed, Reviewed, end_reviewed, expected_after
from service.sending_outcomes import part_of
from workers.deliver.forecast import Expected

_MOST = 50
# To see that one email is not one of too many, all are counted, so of many only a few are checked.
_MANY, _MOST_OF_MANY = 1_000, 10
_YES = "yes"


@dataclass(frozen=True, slots=True)
class WaitedLine:
    """One email that waited, and what would become of it now."""

    email: EmailView
    name: str
    what: str
    age: str
    shown: Shown
    is_ticked: bool
    is_over: bool


def show(visit: Visit, pause_id: int) -> Response:
    """Show what waited, each with whether it is still true, to choose what is sent."""
    with reading(visit.pages.engine) as connection:
        pause = _open(connection, pause_id)
        if pause is None:
            return visit.missing(visit.language.say("There is no such pause, or it has ended."))
        by_kind = kinds_held_by(connection, [pause])
        number = sum(by_kind.values())
        most = _MOST if number <= _MANY else _MOST_OF_MANY
        lines = list(_lines(visit, connection, pause, most))
        reports = len(reports_held_by(connection, [pause]))
        what = scope_words(visit, connection, pause.scope, pause.target)
    return visit.page(
        "resume.html",
        pause=pause,
        what=what,
        number=number,
        counted=number_words(visit.language, by_kind),
        lines=lines,
        reports=reports,
        more=number - len(lines),
    )


def resume(visit: Visit, pause_id: int) -> Response:
    """End the pause; send what was ticked, and keep or drop the others."""
    sends = request.form.get("act") == "send"
    reviewed = Reviewed(
        ticked=frozenset(_ids("tick")) if sends else frozenset(),
        shown=frozenset(_ids("shown")),
        sends_rest=sends and visit.field("rest") == _YES,
        sends_reports=sends and visit.field("reports") == _YES,
        drops=visit.field("others") == "drop",
    )
    with reading(visit.pages.engine) as connection:
        pause = _open(connection, pause_id)
    done = None
    if pause is not None:
        setup = visit.pages.rules.setup()
        done = end_reviewed(
            visit.pages.engine, setup, pause, reviewed, who=visit.operator.name, now=visit.now
        )
    if done is None:
        return visit.see_other("/", visit.language.say("It was resumed already."))
    visit.pages.wake()
    of_emails = _counted(visit, done)
    if not done.is_whole:
        notice = visit.language.say("Not resumed yet: {parts}. Press again for the others.")
        return visit.see_other(f"/resume/{pause_id}", notice.format(parts=of_emails))
    notice = visit.language.say("Resumed.")
    if of_emails:
        notice += " " + visit.language.say("Of what waited, {parts}.").format(parts=of_emails)
    return visit.see_other("/", notice)


def _counted(visit: Visit, done: Resumed) -> str:
    """Return in words what became of the emails that waited."""
    say_n = visit.language.say_n
    parts = (
        (done.sent, say_n("{number} will be sent", "{number} will be sent", done.sent)),
        (done.kept, say_n("{number} stays held", "{number} stay held", done.kept)),
        (done.dropped, say_n("{number} is dropped", "{number} are dropped", done.dropped)),
    )
    return ", ".join(text for number, text in parts if number)


def _open(connection: Connection, pause_id: int) -> Pause | None:
    return next((one for one in open_pauses(connection) if one.pause_id == pause_id), None)


def _ids(name: str) -> Iterator[int]:
    """Yield the Ids of emails in the fields of this name."""
    for text in request.form.getlist(name)[:_MOST]:
        found = id_in(text)
        if found is not None:
            yield found


def _lines(visit: Visit, connection: Connection, pause: Pause, most: int) -> Iterator[WaitedLine]:
    ids = held_by(connection, [pause], most=most)
    setup = visit.pages.rules.setup()
    expected = {
        one.action.action_id: one
        for one in expected_after(connection, setup, [pause], ids, visit.now)
    }
    events = events_per_email(connection, ids)
    for email in emails_of(connection, ids):
        one = expected[email.action_id]
        part = part_of(one, visit.now)
        yield WaitedLine(
            email,
            email.person or visit.member_name(email.coworker_id),
            about_words(visit.times, email, events.get(email.action_id, 1)),
            visit.times.ago(email.happened_at),
            _verdict(visit, one, part),
            is_ticked=one.is_sent,
            is_over=part == "not_sent",
        )


def _verdict(visit: Visit, one: Expected, part: str) -> Shown:
    """Return in words what would become of an email that waited."""
    say = visit.language.say
    why = explained(visit.times, one.outcome.reason) if one.outcome else ""
    if part == "now":
        return Shown("sent", say("Still true"), why)
    if part == "later":
        goes = say("Goes {time}.").format(time=visit.times.words(one.sent_at))
        return Shown("scheduled", say("Still true"), f"{why} {goes}".strip())
    if part == "held":
        return Shown("needs", say("Look at it first"), why)
    return Shown("skipped", say("No longer true"), why)
