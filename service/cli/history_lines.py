"""What `coursebell why` prints about one person: an answer, then the story, then the trace."""

from collections.abc import Iterator
from datetime import datetime

from ledger.decisions import RuleTrace
from ledger.open_lookups import OpenLookup
from ledger.retention import ATTEMPTS, COPIES, DECISIONS
from ledger.stories import ActionView, TitledEvent
from schemas.actions import OPEN_ACTIONS, ActionState, LookupState, Mode, is_to_person
from schemas.choices import ALL, NOTICES, REPORT, SNOOZE, WEEKLY, Choices
from schemas.entity import Entity
from schemas.events import EventKind
from schemas.reasons import EXPLANATIONS, Reason
from schemas.rules import Stream
from schemas.trace import CheckedCondition, TriedRule
from service.cli.common import local, number_of_emails, shortened, to_others
from service.cli.outcomes import sending_text
from service.cli.report_words import said_lines, suppression_line
from service.person_history import PersonHistory, main_action

_WORDS = {
    EventKind.ENROLLED: "Enrolled",
    EventKind.ENROLMENT_REQUESTED: "Asked to join, waiting for approval",
    EventKind.COURSE_STARTED: "Started the course",
    EventKind.LESSON_COMPLETED: "Finished",
    EventKind.COURSE_COMPLETED: "Finished the course",
    EventKind.UNENROLLED: "Is no longer enrolled",
    EventKind.LESSON_REOPENED: "A lesson counts as not finished again",
    EventKind.ENROLMENT_APPROVED: "Was approved",
    EventKind.ENROLMENT_BLOCKED: "Was blocked",
    EventKind.ENROLMENT_UNBLOCKED: "Is no longer blocked",
    EventKind.NOT_STARTED: "Has not started",
    EventKind.STALLED: "Has been away",
    EventKind.LESSON_AVAILABLE: "A lesson opened",
}
STATES = {
    ActionState.DONE: "Sent",
    ActionState.SKIPPED: "Not sent on purpose",
    ActionState.WAITING: "Waiting",
    ActionState.PLANNED: "Planned",
    ActionState.PERFORMING: "Being sent",
    ActionState.HELD: "Held for a person",
    ActionState.FAILED: "Failed",
    ActionState.UNKNOWN: "Unknown",
}
_CHOSEN = {
    (ALL, False): "Wants no emails",
    (Stream.SERVICE, False): "Wants no course emails",
    (Stream.REMINDER, False): "Wants no reminders",
    (Stream.REMINDER, True): "Wants reminders",
    (WEEKLY, True): "Wants finished lessons in one email a week",
}
_REPEATED = 2  # tries after which the number is shown
_NOT_KEPT = (
    f"Deleted: texts of emails after {COPIES.days} days, attempts to send after {ATTEMPTS.days}, "
    f"traces of decisions after {DECISIONS.days}."
)
_READS = {
    Entity.COURSE_MEMBER: "An enrolment",
    Entity.COMPLETED_LESSON: "A finished lesson",
}


def explained(reason: str) -> str:
    """Return the reason's sentence and its code."""
    return f"{EXPLANATIONS[Reason(reason)].sentence} [{reason}]"


def history_lines(one: PersonHistory, now: datetime, *, whole: bool, traced: bool) -> Iterator[str]:
    """Yield the lines about one person. `whole`: with the whole address.

    The trace is that of the last event, or with `traced` that of every event.
    """
    yield _heading(one, whole=whole)
    yield f"  {answer(one)}"
    if one.suppression is not None:
        yield f"  {suppression_line(one.suppression, one.coworker_id)}"
    yield from _choice_lines(one.chosen, now)
    for enrolment, title in one.earlier:
        when = "" if enrolment.created_at is None else f"{local(enrolment.created_at)}  "
        yield f"  {when}Enrolled  ({title})"
        yield "    Before Coursebell was installed; no email was due"
    for titled in one.events:
        for line in _event_lines(titled, one, now, whole=whole):
            yield f"  {line}"
        if traced or titled is one.events[-1]:
            for line in _trace_lines(one.traces.get(titled.event.event_id)):
                yield f"      {line}"
    for lookup in one.unread:
        yield f"  {_unread_line(lookup)}"
    if _has_deleted_parts(one.events, now):
        yield f"  {_NOT_KEPT}"


def _heading(one: PersonHistory, *, whole: bool) -> str:
    if one.person is None:
        return f"Coworker {one.coworker_id}, whose name and address were not read yet"
    if not one.person.was_read:
        return f"{one.person.full_name}  (coworker {one.coworker_id}; address not read yet)"
    address = one.person.email if whole else shortened(one.person.email)
    return f"{one.person.full_name}  {address or '(no email address in Nexudus)'}"


def _choice_lines(chosen: Choices, now: datetime) -> Iterator[str]:
    """Yield what the person chose about emails, if anything."""
    for name, one in chosen.made.items():
        until = chosen.snoozed_until(now)
        if name == SNOOZE and until is not None:
            yield f"  Wants no emails until {local(until)} (chosen {local(one.chosen_at)})"
        elif (name, one.agreed) in _CHOSEN:
            yield f"  {_CHOSEN[name, one.agreed]} since {local(one.chosen_at)}"
        elif name.startswith(REPORT) and not one.agreed:
            report = name.removeprefix(REPORT)
            yield f"  Stopped the report {report} since {local(one.chosen_at)}"
        elif name.startswith(NOTICES) and not one.agreed:
            rule = name.removeprefix(NOTICES)
            yield f"  Stopped what the rule {rule} sends since {local(one.chosen_at)}"


def answer(one: PersonHistory) -> str:
    """Return in one sentence what came of the last event, or why there is none."""
    if not one.events:
        return _nothing_found(one)
    last = one.events[-1]
    when = local(last.event.happened_at)
    what = f"The last thing known is from {when}: {_what(last)} ({last.course})."
    if not last.event.actions:
        why = last.event.reason
        return f"{what} No email was planned{'' if why is None else f': {explained(why)}'}."
    own = [each for each in last.event.actions if each.audience is None]
    action = main_action(own)
    if action is None:
        number = len(last.event.actions)
        are_emails = all(is_to_person(each.audience) for each in last.event.actions)
        noun = "email" if are_emails else "message"
        messages = f"{number} {noun}{'' if number == 1 else 's'}"
        return f"{what} No email to them was planned, but {messages} to others."
    others = (each for each in own if each != action)
    waiting = [each for each in others if each.state in OPEN_ACTIONS]
    more = f" {number_of_emails(len(waiting))} more about it to come." if waiting else ""
    return f"{what} {_outcome(action, one)}{more}"


def _nothing_found(one: PersonHistory) -> str:
    if one.unread:
        return "A change was reported and is not read yet, so nothing was decided."
    if one.person is not None and one.person.just_asked and not one.earlier:
        return (
            "Enrolled in Nexudus, not known here yet. To read it now: "
            f"coursebell backfill --person {one.coworker_id}"
        )
    if one.earlier:
        return "Enrolled before Coursebell was installed, and nothing is known since then."
    if one.listed_at is None:
        return "Nexudus has not reported anything about this, and was not listed successfully yet."
    return (
        "Nexudus has not reported anything about this, and the list of finished lessons of "
        f"{local(one.listed_at)} had nothing new."
    )


def _outcome(action: ActionView, one: PersonHistory) -> str:
    why = "" if action.reason is None else f": {explained(action.reason)}"
    number, state = action.action_id, ActionState(action.state)
    at = "" if action.finished_at is None else f" at {local(action.finished_at)}"
    to_send = f"To send it: {_sending_command(action, one)}"
    if number in one.paused and state is not ActionState.PERFORMING:
        ends = (
            f"waits, and will be held: {explained(Reason.PAUSED)}. "
            "To end the pause: coursebell resume"
        )
    else:
        ends = {
            ActionState.DONE: f"was sent{at}.",
            ActionState.PERFORMING: "is being sent.",
            ActionState.PLANNED: f"waits until {local(action.due_at)}{why}.",
            ActionState.WAITING: f"waits until {local(action.due_at)}{why}.",
            ActionState.HELD: f"is held{why}. {to_send}",
            ActionState.SKIPPED: f"was not sent, on purpose{why}.",
            ActionState.FAILED: f"failed{why}. {to_send}",
            ActionState.UNKNOWN: (
                f"may have been sent or not{why}. To see more: coursebell show {number}"
            ),
        }[state]
    return f"Email {number} about it {ends}"


def _sending_command(action: ActionView, one: PersonHistory) -> str:
    if one.mode is not Mode.SENDING:
        return "coursebell mode sending"
    if action.state == ActionState.FAILED:
        return f"coursebell resend {action.action_id}"
    is_paused = action.reason == Reason.PAUSED
    return "coursebell resume" if is_paused else f"coursebell release {action.action_id}"


def _what(titled: TitledEvent) -> str:
    what = _WORDS[EventKind(titled.event.kind)]
    return f"{what} {titled.lesson}" if titled.lesson else what


def _event_lines(
    titled: TitledEvent, one: PersonHistory, now: datetime, *, whole: bool
) -> list[str]:
    event = titled.event
    lines = [f"{local(event.happened_at)}  {_what(titled)}  ({titled.course})"]
    if event.reason:
        lines.append(f"    No email: {explained(event.reason)}")
    for action in event.actions:
        lines.append(f"    {_action_line(action, whole=whole)}")
        reports = said_lines(one.reports.get(action.action_id, ()))
        lines += [f"      {line}" for line in reports]
        if action.action_id in one.with_sending:
            text = sending_text(one.with_sending[action.action_id], now)
            lines.append(f"      After `coursebell mode sending` it {text}")
        if action.action_id in one.paused:
            lines.append(f"      It will be held: {explained(Reason.PAUSED)}")
    return lines


def _action_line(action: ActionView, *, whole: bool) -> str:
    address = action.recipient if whole else shortened(action.recipient)
    state = f"{STATES[ActionState(action.state)]}{to_others(action.audience, address)}"
    subject = f' "{action.title}"' if action.title else f" ({action.template or action.rule})"
    line = f"{action.action_id}  {state}{subject}"
    if action.state == ActionState.DONE and action.finished_at:
        return f"{line} at {local(action.finished_at)}: {action.receipt}"
    if action.reason:
        line += f": {explained(action.reason)}{_since(action)}"
    if action.state in {ActionState.WAITING, ActionState.PLANNED}:
        line += f". Next checked at {local(action.due_at)}"
    details = [one.detail for one in action.tries if one.detail]
    return f"{line} ({details[-1]})" if details else line


def _since(action: ActionView) -> str:
    """Return since when an action waits for a reason that was met again, and how often."""
    last = action.tries[-1] if action.tries else None
    if last is None or last.reason != action.reason or last.tries < _REPEATED:
        return ""
    return f" (since {local(last.at)}, tried {last.tries} times)"


def _trace_lines(trace: RuleTrace | None) -> Iterator[str]:
    if trace is None:
        return
    yield f"Decided at {local(trace.decided_at)} by version {trace.rules_version[:8]} of the rules:"
    for one in trace.tried:
        yield f"  rule {one.rule}: {_verdict(one)}"
        for each in one.conditions:
            yield f"    {_condition_line(each)}"


def _verdict(one: TriedRule) -> str:
    if not one.is_on:
        return "off"
    return "fits" if one.fits else "does not fit"


def _condition_line(one: CheckedCondition) -> str:
    name = f"not {one.name}" if one.is_excluded else one.name
    saw = "nothing" if one.saw is None else one.saw
    return f"{name} {', '.join(one.wanted)}: {'yes' if one.holds else 'no'}, it was {saw}"


def _unread_line(lookup: OpenLookup) -> str:
    record = f"{_READS.get(lookup.entity, 'A record')} (Id {lookup.record_id})"
    why = "" if lookup.reason is None else f": {explained(lookup.reason)}"
    if lookup.state is LookupState.FAILED:
        return f"{record} was reported and could not be read{why}"
    return f"{record} was reported; it is read at {local(lookup.due_at)}{why}"


def _has_deleted_parts(events: list[TitledEvent], now: datetime) -> bool:
    return any(
        action.finished_at is not None and action.finished_at < now - COPIES
        for titled in events
        for action in titled.event.actions
    )
