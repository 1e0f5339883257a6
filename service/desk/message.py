"""One email: exactly what the member got or would get, how it came about, and what can be done."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from flask import Response

from ledger.controls import sending_of
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.interventions import (
    ResendCandidate,
    ResendRefusal,
    candidates,
    release_held,
    send_again,
)
from ledger.mail_reports import ReportView, reports_of
from ledger.people import person_of
from ledger.queries import EmailView, emails_of
from ledger.stories import ActionView, TitledEvent, events_of
from schemas.actions import OPEN_ACTIONS, ActionState, Mode
from schemas.errors import ConfigurationError
from service.desk.person import as_chosen
from service.desk.shown_text import shown_text
from service.desk.visit import Visit
from service.desk.wording import Shown, happened, shown_email, words
from service.held_emails import drop_any, is_releasable
from service.person_history import chosen_by
from workers.actions.base import Printable, plain
from workers.deliver.forecast import Lack, Preview, preview
from workers.secret_key import known_secret_key

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
_MOST_LOOKS, _LOOK_AGAIN_S = 8, 3
_CLOSABLE = frozenset({ActionState.FAILED, ActionState.UNKNOWN})
_DROPPABLE = frozenset({*OPEN_ACTIONS, ActionState.HELD})
_LINK = re.compile(r"(<a\b[^>]*?)\shref=", re.IGNORECASE)
# Heights of frames in the style sheet, in em, and what parts of an email take, in pixels.
_HEIGHTS, _EM = (20, 25, 32, 42, 70), 16
_FRAME, _LINE, _GAP, _LINE_LETTERS, _SPARE = 112, 37, 14, 72, 1.1
_NOT_AGAIN = {
    ResendRefusal.OPEN: words("It was not sent yet, so it cannot be sent again."),
    ResendRefusal.HELD: words("It was not sent yet. You can send it now, or drop it."),
    ResendRefusal.UNDERWAY: words("It is being sent right now."),
    ResendRefusal.REPEATED: words("It was sent again already."),
    ResendRefusal.PERSON_GONE: words("Nexudus no longer has this person."),
}


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """One email with its text, if there is one, and the events it is about.

    What is posted or noted elsewhere has no page; `said` is then what people read there.
    """

    email: EmailView
    previewed: Preview
    text: Printable | None
    events: tuple[TitledEvent, ...]
    action: ActionView | None

    @property
    def said(self) -> str:
        """What a post or note says in words: posts are kept as they are sent, for programs."""
        copy = self.previewed.copy
        if copy is None or self.text is None or self.text.html is not None:
            return ""
        is_words = copy.media_type == "text/plain"
        return self.text.text.strip() if is_words else copy.title


def show(visit: Visit, action_id: int) -> Response:
    """Show one email."""
    with reading(visit.pages.engine) as connection:
        found = _read(visit, connection, action_id)
        if found is None:
            return _missing(visit)
        reports = reports_of(connection, [action_id]).get(action_id, [])
        shown = _shown(visit, connection, found, reports)
    email = found.email
    look = visit.number_in_query("look")
    is_in_hand = look is not None and _is_in_hand(visit, email)
    is_loading = is_in_hand and look is not None and look < _MOST_LOOKS
    response = visit.page(
        "message.html",
        is_in_hand=is_in_hand,
        is_loading=is_loading,
        found=found,
        height="" if found.text is None else height_class(found.text.text),
        email=email,
        name=email.person or visit.member_name(email.coworker_id),
        shown=shown,
        reports=reports,
        missing=[
            visit.language.say(one.sentence).format(**one.values) for one in found.previewed.missing
        ],
        events=[(one, happened(visit.times, one)) for one in found.events],
        may_skip=email.state in {*OPEN_ACTIONS, ActionState.HELD},
        may_release=email.state is ActionState.HELD
        and is_releasable(email.reason, visit.state.sending.mode),
        may_repeat=email.state in {ActionState.DONE, ActionState.FAILED, ActionState.UNKNOWN}
        and email.resent_as is None
        and not visit.state.is_observing,
        may_close=email.state in {ActionState.FAILED, ActionState.UNKNOWN}
        and email.resent_as is None
        and email.closed_at is None,
    )
    if is_loading and look is not None:
        response.headers["Refresh"] = f"{_LOOK_AGAIN_S}; url={_looking(action_id, look + 1)}"
    return response


def _shown(
    visit: Visit, connection: Connection, found: ShownMessage, reports: Collection[ReportView]
) -> Shown:
    email, holding = found.email, visit.holding(found.events)
    key, person = known_secret_key(visit.pages.settings), person_of(connection, email.coworker_id)
    address = person.email if person else None
    chosen = chosen_by(connection, key, email.coworker_id, address)
    shown = shown_email(visit.times, email, holding, reports)
    return as_chosen(visit, shown, email, holding, chosen)


def _is_in_hand(visit: Visit, email: EmailView) -> bool:
    """Return whether an email is being sent, or is due."""
    is_due = email.state in OPEN_ACTIONS and email.due_at <= visit.now
    return is_due or email.state is ActionState.PERFORMING


def _looking(action_id: int, look: int = 1) -> str:
    """Return the address of an email that loads itself again while it is in hand."""
    return f"/messages/{action_id}?look={look}"


def body(visit: Visit, action_id: int) -> Response:
    """Return the text of an email as a page of its own, for the frame of the first."""
    with reading(visit.pages.engine) as connection:
        found = _read(visit, connection, action_id, needs_text=True)
    if found is None or found.text is None or found.text.html is None:
        return _missing(visit)
    return text_page(visit, found.text.html)


def height_class(text: str) -> str:
    """Return the class of the frame that is about as high as the email with this plain text.

    The page cannot measure it: it has no script. The figures are those of emails that were painted.
    """
    lines = [one for one in text.splitlines() if one.strip() and "://" not in one]
    shown = sum(-(-len(one) // _LINE_LETTERS) for one in lines)
    height = _SPARE * (_FRAME + _LINE * shown + _GAP * text.count("\n\n"))
    return f"em-{next((one for one in _HEIGHTS if one * _EM >= height), _HEIGHTS[-1])}"


def text_page(visit: Visit, html: str) -> Response:
    """Return the HTML of an email as a page for a frame, with links that lead nowhere."""
    html = shown_text(_LINK.sub(r"\1 data-href=", html), is_masked=not visit.may_operate)
    return Response(html, 200, _BODY_HEADERS, mimetype="text/html")


def release(visit: Visit, action_id: int) -> Response:
    """Send a held email now, once it was checked again."""
    say = visit.language.say
    with writing(visit.pages.engine) as connection:
        lock_decisions(connection)
        mode = sending_of(connection).mode
        found = emails_of(connection, [action_id])
        held = [one for one in found if one.state is ActionState.HELD]
        ids = [one.action_id for one in held if is_releasable(one.reason, mode)]
        done = release_held(connection, ids, visit.operator.name, visit.now)
    if done:
        visit.pages.wake()
        return visit.see_other(_looking(action_id), say("It is checked again and goes out now."))
    if mode is not Mode.SENDING:
        notice = say("Sending has not been started, so nothing is sent.")
    elif held:
        notice = say("Sending to them is paused: resume first.")
    else:
        notice = say("It was not waiting for you.")
    return visit.see_other(f"/messages/{action_id}", notice)


def skip(visit: Visit, action_id: int) -> Response:
    """Drop an email that waits or is held, or close one that failed."""
    states = _CLOSABLE if visit.field("act") == "close" else _DROPPABLE
    return visit.see_other(f"/messages/{action_id}", drop(visit, action_id, states))


def drop(visit: Visit, action_id: int, states: Collection[ActionState]) -> str:
    """Drop or close an email that is in one of these states; return what came of it."""
    say, who, now = visit.language.say, visit.operator.name, visit.now
    with writing(visit.pages.engine) as connection:
        lock_decisions(connection)
        before = emails_of(connection, [action_id])
        ids = [one.action_id for one in before if one.state in states and one.resent_as is None]
        done = drop_any(connection, ids, who, now)
        after = emails_of(connection, ids)
    if done and after[0].state is ActionState.SKIPPED:
        return say("It will not be sent.")
    if done:
        return say("Closed. It stays as it is.")
    if ActionState.FAILED in states:
        return say("It needs nobody any more.")
    return say("It was not waiting any more.")


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
    checked, say = visit.field("checked") == "yes", visit.language.say
    with writing(visit.pages.engine) as connection:
        lock_decisions(connection)
        if sending_of(connection).mode is not Mode.SENDING:
            notice = say("Sending has not been started, so nothing is sent.")
            return visit.see_other(f"/messages/{action_id}", notice)
        done = send_again(connection, [action_id], visit.operator.name, visit.now, checked=checked)
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
    return visit.see_other(_looking(done[action_id]), say("It is checked and goes out again now."))


def _why_not(visit: Visit, candidate: ResendCandidate) -> str:
    if visit.state.is_observing:
        return visit.language.say("Sending has not been started, so nothing is sent.")
    if candidate.refusal is None:
        return ""
    return visit.language.say(_NOT_AGAIN[candidate.refusal])


def _read(
    visit: Visit, connection: Connection, action_id: int, *, needs_text: bool = False
) -> ShownMessage | None:
    found = emails_of(connection, [action_id])
    if not found:
        return None
    [email] = found
    events = tuple(events_of(connection, action_id))
    own = [each for one in events for each in one.event.actions if each.action_id == action_id]
    action = own[0] if own else None
    try:
        setup = visit.pages.rules.setup()
        previewed = preview(connection, email, setup, visit.now)
    except ConfigurationError:
        if needs_text:
            raise
        why = Lack("It cannot be shown: the rules file has a mistake")
        return ShownMessage(email, Preview(None, email.written_at, (why,)), None, events, action)
    text = None
    if previewed.copy is not None:
        kind = setup.actions.get(email.kind)
        show_copy = plain if kind is None else kind.printable
        to = visit.masked(previewed.copy.recipient)
        text = show_copy(previewed.copy, to=to, written_at=previewed.written_at)
    return ShownMessage(email, previewed, text, events, action)


def _missing(visit: Visit) -> Response:
    return visit.missing(visit.language.say("There is no email with this number."))
