"""Held: everything that waits for a person, by what it waits for, to send or to drop."""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Response, request

from ledger.engine import Connection, reading
from ledger.heartbeats import last_gap
from ledger.interventions import release_held
from ledger.queries import (
    EmailFilter,
    EmailView,
    events_per_email,
    filtered_ids,
    first_held,
    held_group,
    needing_person,
)
from ledger.undecided import held_kinds
from schemas.actions import ActionState
from schemas.reasons import HOLD_REASONS, Reason
from service.desk.visit import Visit, id_in
from service.desk.wording import about_words, explained, number_words, shown_email
from service.held_emails import decide_in_parts, drop_or_close, is_releasable, is_unsure
from workers.actions.email import KIND

_MOST = 50
_MOST_NAMES = 10
_MOST_AT_ONCE = 20_000  # decided in a few seconds; the next page asks about the others
_HELD = (ActionState.HELD,)
_ALL = "all"


@dataclass(frozen=True, slots=True)
class HeldLine:
    """One email that is held."""

    email: EmailView
    name: str
    what: str
    age: str


@dataclass(frozen=True, slots=True)
class HeldChoice:
    """The emails of one group that an operator chose, and what is to become of them.

    `number` and `last_id` are those that a question named, 0 before it was asked.
    """

    reason: Reason
    sends: bool
    takes_all: bool
    ticked: frozenset[int]
    number: int
    last_id: int


def show(visit: Visit) -> Response:
    """Show what emails are held for, how many each, and those that failed or may have been sent."""
    with reading(visit.pages.engine) as connection:
        groups = held_kinds(connection)
        ended = needing_person(connection, (), _MOST + 1)
    return visit.page(
        "held.html",
        groups=[
            (one, explained(visit.times, one), number_words(visit.language, by_kind))
            for one, by_kind in groups.items()
        ],
        ended=[
            (one, _name(visit, one), shown_email(visit.times, one, visit.holding()))
            for one in ended[-_MOST:][::-1]
        ],
        has_more_ended=len(ended) > _MOST,
        resumable=Reason.PAUSED,
        kept=Reason.OBSERVE,
    )


def show_group(visit: Visit, reason: str) -> Response:
    """Show the emails that are held for one reason, to tick."""
    found = _reason(reason)
    if found is None:
        return visit.missing(visit.language.say("Nothing is held for such a reason."))
    with reading(visit.pages.engine) as connection:
        by_kind = held_kinds(connection, found).get(found, {})
        lines = list(_lines(visit, connection, first_held(connection, found, _MOST)))
    return visit.page(
        "held_group.html",
        reason=found,
        number=sum(by_kind.values()),
        counted=number_words(visit.language, by_kind),
        lines=lines,
        may_send=_may_send(visit, found),
    )


def ask(visit: Visit, reason: str) -> Response:
    """Ask before a group or the ticked emails are sent or dropped, naming how many to how many."""
    found = _reason(reason)
    if found is None:
        return visit.missing(visit.language.say("Nothing is held for such a reason."))
    return _ask(visit, _choice(visit, found))


def decide(visit: Visit, reason: str) -> Response:
    """Send or drop the emails that the question named. Pressing twice does it once."""
    say, found = visit.language.say, _reason(reason)
    if found is None:
        return visit.missing(say("Nothing is held for such a reason."))
    choice = _choice(visit, found)
    if choice.sends and not _may_send(visit, found):
        return visit.see_other(f"/held/{found}", say("These cannot be sent now."))
    with reading(visit.pages.engine) as connection:
        ids = _chosen(connection, choice)
    if not ids:
        return visit.see_other("/held", say("They were decided about already."))
    if choice.takes_all and len(ids) != choice.number:
        return _ask(visit, choice, say("Other emails are held now than when you were asked."))
    act = release_held if choice.sends else drop_or_close
    some = ids[:_MOST_AT_ONCE]
    done = decide_in_parts(visit.pages.engine, some, act, visit.operator.name, visit.now)
    visit.pages.wake()
    say_n = visit.language.say_n
    notice = (
        say_n("{number} is checked and goes out now.", "{number} are checked and go out now.", done)
        if choice.sends
        else say_n("{number} is dropped.", "{number} are dropped.", done)
    )
    if len(some) < len(ids):
        return _ask(visit, choice, notice=notice)
    return visit.see_other("/held", notice)


def _reason(text: str) -> Reason | None:
    return next((one for one in HOLD_REASONS if one.value == text), None)


def _may_send(visit: Visit, reason: Reason) -> bool:
    return is_releasable(reason, visit.state.sending.mode)


def _name(visit: Visit, email: EmailView) -> str:
    return email.person or visit.member_name(email.coworker_id)


def _lines(visit: Visit, connection: Connection, emails: list[EmailView]) -> Iterator[HeldLine]:
    events = events_per_email(connection, [one.action_id for one in emails])
    for one in emails:
        what = about_words(visit.times, one, events.get(one.action_id, 1))
        yield HeldLine(one, _name(visit, one), what, visit.times.ago(one.happened_at))


def _choice(visit: Visit, reason: Reason) -> HeldChoice:
    """Return what the form chose."""
    ids = (id_in(text) for text in request.form.getlist("id")[:_MOST])
    act = visit.field("act")
    return HeldChoice(
        reason,
        sends=act.startswith("send"),
        takes_all=act.endswith(_ALL),
        ticked=frozenset(one for one in ids if one is not None),
        number=id_in(visit.field("number")) or 0,
        last_id=id_in(visit.field("last_id")) or 0,
    )


def _chosen(connection: Connection, choice: HeldChoice) -> list[int]:
    """Return the Ids of the chosen emails that are still held for this reason."""
    if not choice.takes_all and not choice.ticked:
        return []
    ticked = () if choice.takes_all else tuple(choice.ticked)
    wanted = EmailFilter(ticked, choice.reason)
    found = filtered_ids(connection, wanted, _HELD)
    return [one for one in found if not choice.takes_all or one <= choice.last_id]


def _ask(visit: Visit, choice: HeldChoice, problem: str = "", notice: str = "") -> Response:
    say = visit.language.say
    if choice.sends and not _may_send(visit, choice.reason):
        return visit.see_other(f"/held/{choice.reason}", say("These cannot be sent now."))
    if not choice.takes_all and not choice.ticked:
        return visit.see_other(f"/held/{choice.reason}", say("Tick the emails first."))
    with reading(visit.pages.engine) as connection:
        only = None if choice.takes_all else choice.ticked
        group = held_group(connection, choice.reason, only)
        emails = first_held(connection, choice.reason, _MOST_NAMES, only)
        by_kind = held_kinds(connection, choice.reason, only).get(choice.reason, {})
        gap = last_gap(connection)
    if not group.number:
        return visit.see_other("/held", say("They were decided about already."))
    return visit.page(
        "held_question.html",
        409 if problem else 200,
        choice=choice,
        group=group,
        names=list(dict.fromkeys(_name(visit, one) for one in emails)),
        problem=problem,
        done=notice,
        title=_question(visit, choice, by_kind, group.people),
        is_unsure=choice.sends and is_unsure(choice.reason, group.planned_at or visit.now, gap),
    )


def _question(visit: Visit, choice: HeldChoice, by_kind: dict[str, int], number: int) -> str:
    emails = number_words(visit.language, by_kind)
    say, say_n = visit.language.say, visit.language.say_n
    people = say_n("{number} person", "{number} people", number)
    if set(by_kind) <= {KIND}:
        text = (
            say("Send {emails} to {people}?") if choice.sends else say("Drop {emails} to {people}?")
        )
    elif choice.sends:
        text = say("Send {emails} about {people}?")
    else:
        text = say("Drop {emails} about {people}?")
    return text.format(emails=emails, people=people)
