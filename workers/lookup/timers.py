"""Keeps the timers of enrolments, and has an enrolment read again once one of its timers is due."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from ledger.controls import set_value, value_of
from ledger.engine import Connection, Engine, reading, writing
from ledger.events import enrolled_times
from ledger.heartbeats import last_gap_end
from ledger.intake import Origin, store_notifications
from ledger.interventions import AUTOMATIC
from ledger.timers import (
    active_since,
    cancel_all_timers,
    cancel_timers,
    due_enrolments,
    end_timer,
    move_timer,
    note_asked,
    set_timers,
    timers_among,
)
from schemas.entity import Entity
from schemas.events import Event, EventKind, Timer
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.rules import Rules
from workers.decide.absence import Study, event_of, judge, timers_of
from workers.decide.completion import closed_among, progress
from workers.lookup.read import Findings

_AT_ONCE = 20  # enrolments asked for in one go because a timer is due
_SEARCHED_AT_ONCE = 5  # and to give them timers, so that other work is not held up
_LONGEST_OPENING = timedelta(days=366)
_SEARCHED = "timers_searched"  # the control that says for which events, and how far
_DONE = "done"

Timed = Mapping[EventKind, Collection[int]]


def timed_events(
    connection: Connection,
    several: Sequence[Findings],
    shown: Sequence[Sequence[Event]],
    rules: Rules,
    now: datetime,
) -> list[list[Event]]:
    """Update the timers of the enrolments that were read; return the events that happen now.

    `shown` are the events that the records of each show. The events are to be stored in the same
    transaction.
    """
    timed = rules.timed()
    for findings in several:
        for entity, record_id in findings.gone:
            if entity is Entity.COURSE_MEMBER:
                cancel_timers(connection, record_id, Reason.RECORD_GONE, now)
    enrolments = [one.enrolment for one in several if one.enrolment is not None] if timed else []
    known = timers_among(connection, [one.record_id for one in enrolments])
    given = enrolled_times(
        connection, [(one.course_id, one.coworker_id, one.record_id) for one in enrolments]
    )
    restored_at = last_gap_end(connection) if known else None
    found: list[list[Event]] = []
    for findings, events in zip(several, shown, strict=True):
        study = _study_of(findings, events, given, rules, now) if timed else None
        kept = known.get(study.enrolment.record_id, {}) if study else {}
        happened = (
            [] if study is None else _updated(connection, study, kept, timed, now, restored_at)
        )
        found.append(happened)
    return found


def _study_of(
    findings: Findings,
    events: Sequence[Event],
    given: Mapping[int, datetime],
    rules: Rules,
    now: datetime,
) -> Study | None:
    enrolment = findings.enrolment
    if enrolment is None:
        return None
    closed = closed_among(findings.sections)
    done_ids = {one.lesson_id for one in findings.completions}
    is_finished = progress(findings.lessons, done_ids, rules.counts, closed).finished
    shown = [one.happened_at for one in events if one.kind is EventKind.ENROLLED]
    # Only the first time it is found, the record itself shows when a place was given that waited.
    shown_at = (shown or [enrolment.created_at])[0]
    enrolled_at = given.get(enrolment.record_id) or min(shown_at, now)
    return Study(
        enrolment, enrolled_at, findings.completions, findings.lessons, closed, is_finished
    )


def _updated(  # noqa: PLR0913, PLR0917 - what was read, what is known, and when
    connection: Connection,
    study: Study,
    kept: Mapping[str, tuple[Timer, bool]],
    timed: Timed,
    now: datetime,
    restored_at: datetime | None,
) -> list[Event]:
    happened = []
    for timer, waits in kept.values():
        if not waits:
            continue
        result = judge(timer, study, timed, now)
        if isinstance(result, Timer) and restored_at is not None and timer.due_at <= restored_at:
            # It may have happened before the ledger was restored, so it must not happen later.
            result = event_of(timer, timer.due_at)
        if isinstance(result, Event):
            end_timer(connection, timer.key, None, now)
            happened.append(result)
        elif isinstance(result, Reason):
            end_timer(connection, timer.key, result, now)
        elif result.due_at != timer.due_at:
            move_timer(connection, timer.key, result.due_at)
    # Only what is still to come: rules that are switched on must not write to everyone at once.
    new = [one for one in timers_of(study, timed) if one.key not in kept and one.due_at > now]
    set_timers(connection, new, now)
    return happened


def ask_for_timers(engine: Engine, rules: Rules, now: datetime) -> int:
    """Request lookups of enrolments whose timers are due, and of some that may need timers.

    Returns how many. After the rules changed, it goes through the enrolments, a few at a time.
    Raises `LedgerUnavailable`.
    """
    timed = rules.timed()
    wanted = _digest(timed)
    with reading(engine) as connection:
        due = due_enrolments(connection, now, _AT_ONCE)
        position = value_of(connection, _SEARCHED)
    is_searched = position == f"{wanted} {_DONE}" or (position is None and not timed)
    if not due and is_searched:
        return 0
    with writing(engine) as connection:
        searched = [] if is_searched else _search(connection, timed, wanted, position, now)
        note_asked(connection, due, now)
        asked = list(dict.fromkeys([*due, *searched]))
        notifications = [Notification(Entity.COURSE_MEMBER, one) for one in asked]
        store_notifications(connection, notifications, Origin.TIMER, now)
    return len(asked)


def _search(
    connection: Connection, timed: Timed, wanted: str, position: str | None, now: datetime
) -> list[int]:
    """Return the next enrolments that may need timers, and note how far the search is."""
    digest, _, at = (position or "").partition(" ")
    name, _, after = at.partition(":")
    if not timed:
        cancel_all_timers(connection, Reason.KIND_OFF, now)
        set_value(connection, _SEARCHED, f"{wanted} {_DONE}", AUTOMATIC, now)
        return []
    searches = _searches(timed, now)
    if digest != wanted or name not in searches:
        name, after = next(iter(searches)), "0"
    entity, since = searches[name]
    rows = active_since(connection, entity, since, int(after or 0), _SEARCHED_AT_ONCE)
    rest = list(searches)[list(searches).index(name) + 1 :]
    if len(rows) == _SEARCHED_AT_ONCE:
        at = f"{name}:{rows[-1][0]}"
    else:
        at = f"{rest[0]}:0" if rest else _DONE
    set_value(connection, _SEARCHED, f"{wanted} {at}", AUTOMATIC, now)
    return [course_member_id for _, course_member_id in rows]


def _searches(timed: Timed, now: datetime) -> dict[str, tuple[Entity, datetime]]:
    """Return which records may belong to enrolments with events to come, by name of the search."""
    found = {}
    steps_s = [*timed.get(EventKind.NOT_STARTED, ())]
    if EventKind.LESSON_AVAILABLE in timed:
        steps_s.append(int(_LONGEST_OPENING.total_seconds()))
    if steps_s:
        since = now - timedelta(seconds=max(steps_s))
        found["enrolments"] = (Entity.COURSE_MEMBER, since)
    if EventKind.STALLED in timed:
        since = now - timedelta(seconds=max(timed[EventKind.STALLED]))
        found["lessons"] = (Entity.COMPLETED_LESSON, since)
    return found


def _digest(timed: Timed) -> str:
    text = ";".join(f"{kind}:{sorted(steps)}" for kind, steps in sorted(timed.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
