"""How one event was handled, for engineers: received, read, decided, planned, tried, its result.

Records are shown by the fields we use. No record of a person is shown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from babel.dates import format_time
from flask import Response

from ledger.decisions import RuleTrace, decisions_of
from ledger.engine import reading
from ledger.intake import Origin
from ledger.stories import ActionView, AttemptView, TitledEvent, events_by_id
from ledger.timeline import RecordBehind, ReportedChange, records_behind
from schemas.actions import ActionState, LookupState
from schemas.entity import Entity
from schemas.reasons import EXPLANATIONS, Reason
from schemas.trace import CheckedCondition, TriedRule
from service.desk.visit import Visit
from service.desk.wording import Repeated, happened, repeated_in, shown_email, words

_LONGEST_BODY = 20_000  # characters
_BROKEN = frozenset({ActionState.FAILED, ActionState.UNKNOWN})
_ENDED_WELL = frozenset({ActionState.DONE, ActionState.SKIPPED})
_KINDS = {
    Entity.COURSE_MEMBER: words("Enrolment {id}"),
    Entity.COMPLETED_LESSON: words("Finished lesson {id}"),
}
_ORIGINS = {
    Origin.HOOK: words("a message of Nexudus"),
    Origin.RELAY: words("a message of the relay"),
    Origin.CHECK: words("our own check of Nexudus"),
    Origin.BACKFILL: words("a search for what was missed"),
    Origin.PERSON: words("an operator who asked for it"),
    Origin.REVIEW: words("an operator who holds its emails"),
    Origin.TIMER: words("a timer of ours"),
}
_OUTCOMES: Mapping[str, str] = {
    ActionState.DONE: words("It was accepted"),
    ActionState.PLANNED: words("Planned"),
    ActionState.WAITING: words("Waits"),
    ActionState.HELD: words("Held"),
    ActionState.SKIPPED: words("Not sent on purpose"),
    ActionState.FAILED: words("Failed"),
    ActionState.UNKNOWN: words("Cut off while it was handed over"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step, with lines about it. `fields` are names and values, `body` what arrived.

    `is_broken`: it did not get further than this. `is_settled`: what broke was sent again, closed
    or decided since. `repeated` is the email that it repeats, and who asked for that.
    """

    name: str
    lines: tuple[str, ...]
    is_broken: bool = False
    fields: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    message_id: int | None = None
    is_settled: bool = False
    repeated: Repeated | None = None


def show(visit: Visit, event_id: int) -> Response:
    """Show how an event was handled, step by step."""
    with reading(visit.pages.engine) as connection:
        found = events_by_id(connection, [event_id])
        if not found:
            return visit.missing(visit.language.say("There is no event with this number."))
        [titled] = found
        behind = records_behind(connection, titled.event)
        trace = decisions_of(connection, [event_id]).get(event_id)
    steps = [
        *_received(visit, behind),
        *_read(visit, behind),
        _decided(visit, titled, trace),
        *_performed(visit, titled),
    ]
    return visit.page(
        "event.html",
        titled=titled,
        what=happened(visit.times, titled),
        name=titled.person or visit.member_name(titled.coworker_id),
        steps=steps,
        is_broken=any(one.is_broken and not one.is_settled for one in steps),
        was_broken=any(one.is_broken for one in steps),
    )


def _at(visit: Visit, moment: datetime) -> str:
    """Return a moment with its second."""
    at = moment.astimezone(visit.times.zone)
    clock = format_time(at, "medium", locale=visit.language.locale)
    is_today = at.date() == visit.now.astimezone(visit.times.zone).date()
    return clock if is_today else f"{visit.times.day(at.date())}, {clock}"


def _title(visit: Visit, record: RecordBehind) -> str:
    return visit.language.say(_KINDS[record.entity]).format(id=record.record_id)


def _received(visit: Visit, behind: list[RecordBehind]) -> Iterator[Step]:
    say = visit.language.say
    for record in behind:
        for one in record.reported:
            text = say("{what}, by {whom}, {time}").format(
                what=_title(visit, record),
                whom=say(_ORIGINS[one.origin]),
                time=_at(visit, one.received_at),
            )
            size = (
                None
                if one.size is None
                else say("{number} bytes").format(number=visit.language.number(one.size))
            )
            route = [f"{one.route}, {size}" if size else one.route] if one.route else []
            yield Step(say("Received"), (text, *route), body=_body(one))
    if not any(record.reported for record in behind):
        gone = say("No notice of it is kept. They are deleted after 90 days.")
        yield Step(say("Received"), (gone,))


def _body(one: ReportedChange) -> str | None:
    if one.body is None:
        return None
    return one.body.decode("utf-8", "replace")[:_LONGEST_BODY]


def _read(visit: Visit, behind: list[RecordBehind]) -> Iterator[Step]:
    say = visit.language.say
    for record in behind:
        lines, is_broken = [_title(visit, record)], False
        if record.stored is not None:
            when = _at(visit, record.stored.fetched_at)
            lines.append(say("read last {time}").format(time=when))
            if record.stored.gone_at is not None:
                gone_at = _at(visit, record.stored.gone_at)
                lines.append(say("no longer at Nexudus since {time}").format(time=gone_at))
        else:
            lines.append(say("was never read by its number"))
        lookup = record.lookup
        if lookup is not None and lookup.state is not LookupState.DONE:
            is_broken = lookup.state is LookupState.FAILED
            state = say("could not be read") if is_broken else say("is to be read again")
            tried = visit.language.say_n("{number} try", "{number} tries", lookup.attempts)
            lines.append(f"{state}, {tried}")
            lines += [_explained(visit, lookup.reason)] if lookup.reason else []
            lines += [lookup.last_error] if lookup.last_error else []
        values = {} if record.stored is None else record.stored.values
        yield Step(say("Read"), tuple(lines), is_broken, tuple(_fields(values)))


def _fields(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if value is not None:
            yield name, str(value)


def _explained(visit: Visit, reason: Reason | str) -> str:
    return f"{visit.language.say(EXPLANATIONS[Reason(reason)].sentence)} [{reason}]"


def _decided(visit: Visit, titled: TitledEvent, trace: RuleTrace | None) -> Step:
    say, event = visit.language.say, titled.event
    lines = [say("found {time}").format(time=_at(visit, event.found_at))]
    if trace is None:
        lines.append(say("No rule was tried, or it was too long ago: this is kept for 90 days."))
    else:
        version = say("by version {version} of the rules").format(version=trace.rules_version[:8])
        lines.append(version)
        for one in trace.tried:
            verdict = say("{what}: {why}").format(what=one.rule, why=_verdict(visit, one))
            lines.append(verdict)
            lines += [f"— {_condition(visit, each)}" for each in one.conditions]
    if event.reason:
        lines.append(_explained(visit, event.reason))
    return Step(say("Decided"), tuple(lines))


def _verdict(visit: Visit, one: TriedRule) -> str:
    if not one.is_on:
        return visit.language.say("off")
    return visit.language.say("fits") if one.fits else visit.language.say("does not fit")


def _condition(visit: Visit, one: CheckedCondition) -> str:
    say = visit.language.say
    wanted = ", ".join(one.wanted)
    name = say("not {name}").format(name=one.name) if one.is_excluded else one.name
    holds = say("yes") if one.holds else say("no")
    saw = say("nothing") if one.saw is None else one.saw
    text = say("{name} {wanted}: {holds}, it was {saw}")
    return text.format(name=name, wanted=wanted, holds=holds, saw=saw)


def _performed(visit: Visit, titled: TitledEvent) -> Iterator[Step]:
    for action in titled.event.actions:
        yield from _steps_of(visit, titled, action)


def _steps_of(visit: Visit, titled: TitledEvent, action: ActionView) -> Iterator[Step]:
    say, state = visit.language.say, ActionState(action.state)
    holding = visit.holding([titled])
    rule = say("by the rule {name}").format(name=action.rule)
    due = say("due {time}").format(time=_at(visit, action.due_at))
    is_settled = action.was_resent or action.closed_at is not None or state in _ENDED_WELL
    yield Step(say("Planned"), (rule, due), message_id=action.action_id)
    yield from (_tried(visit, one, is_settled=is_settled) for one in action.tries)
    shown = shown_email(visit.times, action, holding)
    lines = [shown.word]
    lines += [shown.sentence] if shown.sentence and state is not ActionState.DONE else []
    if action.finished_at is not None:
        lines[0] = f"{shown.word}, {_at(visit, action.finished_at)}"
    lines += [action.receipt] if action.receipt else []
    is_broken = state in _BROKEN and not any(one.outcome in _BROKEN for one in action.tries)
    yield Step(say("Result"), tuple(lines), is_broken, is_settled=is_settled)


def _tried(visit: Visit, one: AttemptView, *, is_settled: bool) -> Step:
    say, outcome, repeated = visit.language.say, _OUTCOMES.get(one.outcome), repeated_in(one.detail)
    about = [_at(visit, one.at), say(outcome) if outcome else one.outcome]
    if one.tries > 1:
        about.append(visit.language.say_n("{number} time", "{number} times", one.tries))
    lines = [", ".join(about)]
    lines += [_explained(visit, one.reason)] if one.reason else []
    lines += [one.detail] if one.detail and not repeated else []
    is_broken = one.outcome in _BROKEN
    return Step(say("Tried"), tuple(lines), is_broken, is_settled=is_settled, repeated=repeated)
