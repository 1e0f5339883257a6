"""Today: is everything fine, is there something for me, and what happened."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from flask import Response, request

from ledger import stories
from ledger.engine import reading
from ledger.queries import count_day, needing_person
from ledger.stories import TitledEvent, newest_events
from schemas.events import EventKind
from schemas.reasons import HOLD_REASONS
from service.desk.frame import HEADERS, POLICY_WITH_SCRIPT
from service.desk.trouble import trouble_sentences
from service.desk.visit import Visit
from service.desk.wording import Holding, Shown, happened, shown_email, shown_event
from service.person_history import main_action
from workers.actions import email
from workers.attention import HELD_ON_PURPOSE

_MOST_EVENTS = 25
_MOST_NEEDING = 5
_MOST_NEWER = 99
_MUCH_LATER = timedelta(hours=1)
_NEEDS_DECISION = tuple(one for one in HOLD_REASONS if one not in HELD_ON_PURPOSE)
_KINDS = (
    EventKind.ENROLLED,
    EventKind.LESSON_COMPLETED,
    EventKind.COURSE_COMPLETED,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of what happened. `found_at` is when we noticed, if that was much later."""

    titled: TitledEvent
    what: str
    shown: Shown
    action_id: int | None
    found_at: datetime | None


def show(visit: Visit) -> Response:
    """Show the day in one sentence, what needs the operator, and what happened last."""
    times = visit.times
    condition = visit.pages.watch.condition()
    before, kind = visit.number_in_query("before"), _kind()
    midnight = datetime.combine(visit.now.astimezone(times.zone).date(), time(), times.zone)
    with reading(visit.pages.engine) as connection:
        counts = count_day(connection, email.KIND, midnight, midnight + timedelta(days=1))
        needing = needing_person(connection, _NEEDS_DECISION, _MOST_NEEDING + 1)
        found = newest_events(connection, _MOST_EVENTS + 1, before=before, kind=kind)
    holding = visit.holding(found)
    # A page has what was found together, whenever it happened.
    shown = sorted(found[:_MOST_EVENTS], key=_happened_at, reverse=True)
    response = visit.page(
        "today.html",
        counts=counts,
        troubles=trouble_sentences(times, condition),
        needing=[(one, shown_email(times, one, holding)) for one in needing[-_MOST_NEEDING:]],
        has_more_needing=len(needing) > _MOST_NEEDING,
        lines=[_line(visit, one, holding) for one in shown],
        older=found[_MOST_EVENTS - 1].event.event_id if len(found) > _MOST_EVENTS else None,
        kind=kind,
        is_newest=before is None,
        is_looking=condition is None,
        has_history=condition is not None and condition.monitoring.silence.last_at is not None,
        newest=found[0].event.event_id if found else 0,
    )
    response.headers["Content-Security-Policy"] = POLICY_WITH_SCRIPT
    return response


def count_newer(visit: Visit) -> Response:
    """Answer the script of Today how much happened since, in words; 204 if nothing did."""
    after = visit.number_in_query("after") or 0
    with reading(visit.pages.engine) as connection:
        number = stories.count_newer(connection, after, _MOST_NEWER + 1, kind=_kind())
    if not number:
        return Response("", 204, HEADERS)
    text = visit.language.say_n("{number} new, show it", "{number} new, show them", number)
    if number > _MOST_NEWER:
        text = visit.language.say("More than {number} new, show them").format(number=_MOST_NEWER)
    return Response(text, 200, HEADERS, mimetype="text/plain")


def _line(visit: Visit, one: TitledEvent, holding: Holding) -> Line:
    action, event = main_action(one.event.actions), one.event
    return Line(
        one,
        happened(visit.times, one),
        shown_event(visit.times, one, holding),
        None if action is None else action.action_id,
        event.found_at if event.found_at - event.happened_at >= _MUCH_LATER else None,
    )


def _happened_at(one: TitledEvent) -> tuple[datetime, int]:
    return one.event.happened_at, one.event.event_id


def _kind() -> EventKind | None:
    wanted = request.args.get("kind", "")
    return next((one for one in _KINDS if one.value == wanted), None)
