"""One email: exactly what the member got or would get, how it came about, and what can be done."""

import re
from dataclasses import dataclass

from flask import Response

from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.interventions import (
    ResendCandidate,
    ResendRefusal,
    candidates,
    release_held,
    send_again,
)
from ledger.mail_reports import reports_of
from ledger.people import person_of
from ledger.queries import EmailView, emails_of
from ledger.stories import ActionView, TitledEvent, events_of
from schemas.actions import OPEN_ACTIONS, ActionState
from schemas.errors import ConfigurationError
from schemas.reasons import Reason
from service.desk.visit import Visit
from service.desk.wording import happened, shown_email, words
from service.held_emails import drop_any
from workers.actions.base import Printable, plain
from workers.deliver.forecast import Preview, preview

# The text is other people's: it may load pictures, and nothing else. Its links do not work here,
# since they are the member's own.
_BODY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; sandbox;"
        " frame-ancestors 'self'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
_LINK = re.compile(r"(<a\b[^>]*?)\shref=", re.IGNORECASE)
_NOT_AGAIN = {
    ResendRefusal.OPEN: words("It was not sent yet, so it cannot be sent again."),
    ResendRefusal.HELD: words("It was not sent yet. You can send it now, or drop it."),
    ResendRefusal.UNDERWAY: words("It is being sent right now."),
    ResendRefusal.REPEATED: words("It was sent again already."),
    ResendRefusal.PERSON_GONE: words("Nexudus no longer has this person."),
}


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """One email with its text, if there is one, and the events it is about."""

    email: EmailView
    previewed: Preview
    text: Printable | None
    events: tuple[TitledEvent, ...]
    action: ActionView | None


def show(visit: Visit, action_id: int) -> Response:
    """Show one email."""
    with reading(visit.pages.engine) as connection:
        found = _read(visit, connection, action_id)
        if found is None:
            return _missing(visit)
        reports = reports_of(connection, [action_id]).get(action_id, [])
    email = found.email
    return visit.page(
        "message.html",
        found=found,
        email=email,
        name=email.person or visit.member_name(email.coworker_id),
        shown=shown_email(visit.times, email, visit.holding(found.events), reports),
        reports=reports,
        events=[(one, happened(visit.times, one)) for one in found.events],
        may_skip=email.state in {*OPEN_ACTIONS, ActionState.HELD},
        may_release=email.state is ActionState.HELD
        and email.reason is not Reason.PAUSED
        and not visit.state.is_observing,
        may_repeat=email.state in {ActionState.DONE, ActionState.FAILED, ActionState.UNKNOWN}
        and email.resent_as is None
        and not visit.state.is_observing,
        may_close=email.state in {ActionState.FAILED, ActionState.UNKNOWN}
        and email.resent_as is None,
    )


def body(visit: Visit, action_id: int) -> Response:
    """Return the text of an email as a page of its own, for the frame of the first."""
    with reading(visit.pages.engine) as connection:
        found = _read(visit, connection, action_id)
    if found is None or found.text is None or found.text.html is None:
        return _missing(visit)
    return text_page(found.text.html)


def text_page(html: str) -> Response:
    """Return the HTML of an email as a page for a frame, with links that lead nowhere."""
    return Response(_LINK.sub(r"\1 data-href=", html), 200, _BODY_HEADERS, mimetype="text/html")


def release(visit: Visit, action_id: int) -> Response:
    """Send a held email now, once it was checked again."""
    with writing(visit.pages.engine) as connection:
        lock_decisions(connection)
        done = release_held(connection, [action_id], visit.operator.name, visit.now)
    visit.pages.wake()
    say = visit.language.say
    notice = (
        say("It is checked again and sent now.") if done else say("It was not waiting for you.")
    )
    return visit.see_other(f"/messages/{action_id}", notice)


def skip(visit: Visit, action_id: int) -> Response:
    """Drop an email that waits, or close one that failed."""
    return visit.see_other(f"/messages/{action_id}", drop(visit, action_id))


def drop(visit: Visit, action_id: int) -> str:
    """Drop an email that waits, or close one that failed; return what came of it."""
    who, now = visit.operator.name, visit.now
    with writing(visit.pages.engine) as connection:
        lock_decisions(connection)
        done = drop_any(connection, [action_id], who, now)
    say = visit.language.say
    return say("It will not be sent.") if done else say("It was not waiting any more.")


def ask_to_repeat(visit: Visit, action_id: int) -> Response:
    """Show what sending an email again means, before it is done."""
    with reading(visit.pages.engine) as connection:
        [candidate] = candidates(connection, [action_id], checked=True)
        email = candidate.email
        if email is None:
            return _missing(visit)
        person = person_of(connection, email.coworker_id)
    sent_to = email.recipient
    now_at = None if person is None else person.email
    return visit.page(
        "again.html",
        email=email,
        name=email.person or visit.member_name(email.coworker_id),
        why_not=_why_not(visit, candidate),
        sent_to=visit.masked(sent_to),
        address=visit.masked(now_at),
        has_moved=bool(sent_to and now_at and sent_to != now_at),
        may_have_arrived=email.state is ActionState.UNKNOWN,
    )


def repeat(visit: Visit, action_id: int) -> Response:
    """Send an email again. Pressing twice sends it once: one email is repeated by one other."""
    checked = visit.field("checked") == "yes"
    with writing(visit.pages.engine) as connection:
        done = send_again(connection, [action_id], visit.operator.name, visit.now, checked=checked)
    say = visit.language.say
    if action_id not in done:
        problem = say("Nothing was sent: please say that you checked, or look at the email again.")
        with reading(visit.pages.engine) as connection:
            found = emails_of(connection, [action_id])
        if found and found[0].resent_as is not None:
            return visit.see_other(
                f"/messages/{found[0].resent_as}", say("It was sent again already. This is it.")
            )
        return visit.see_other(f"/messages/{action_id}/again", problem)
    visit.pages.wake()
    return visit.see_other(f"/messages/{done[action_id]}", say("It is checked and sent again now."))


def _why_not(visit: Visit, candidate: ResendCandidate) -> str:
    if visit.state.is_observing:
        return visit.language.say("Sending has not been started, so nothing is sent.")
    if candidate.refusal is None:
        return ""
    return visit.language.say(_NOT_AGAIN[candidate.refusal])


def _read(visit: Visit, connection: Connection, action_id: int) -> ShownMessage | None:
    found = emails_of(connection, [action_id])
    if not found:
        return None
    [email] = found
    try:
        setup = visit.pages.rules.setup()
        previewed = preview(connection, email, setup, visit.now)
    except ConfigurationError:
        return ShownMessage(email, Preview(None, None), None, (), None)
    text = None
    if previewed.copy is not None:
        kind = setup.actions.get(email.kind)
        show_copy = plain if kind is None else kind.printable
        to = visit.masked(previewed.copy.recipient)
        text = show_copy(previewed.copy, to=to, written_at=previewed.written_at)
    events = tuple(events_of(connection, action_id))
    own = [each for one in events for each in one.event.actions if each.action_id == action_id]
    return ShownMessage(email, previewed, text, events, own[0] if own else None)


def _missing(visit: Visit) -> Response:
    return visit.missing(visit.language.say("There is no email with this number."))
