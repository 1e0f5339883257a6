"""Pauses: times during which emails are held, all or some, until a person or a date ends them.

A report waits during a pause of all emails, of its name or of its reader. What operators get is
about the service, so only a pause of its name holds it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    and_,
    false,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from ledger.controls import REPORT_STATE, set_value, value_of
from ledger.engine import chunks
from ledger.interventions import AUTOMATIC, hold_actions, log_decision, note_each
from ledger.tables import (
    OPEN_PAUSES,
    UNDECIDED_ACTIONS,
    UNFINISHED_ACTIONS,
    UNFINISHED_REPORTS,
    actions,
    pauses,
    reports,
)
from schemas.actions import OPEN_ACTIONS, ActionState
from schemas.reasons import Reason
from schemas.rules import OWN_REPORTS


class PauseScope(StrEnum):
    """What a pause holds."""

    ALL = "all"
    RULE = "rule"
    COURSE = "course"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause. `target` is a rule's name, or the Id of a course or coworker; None for all."""

    pause_id: int
    scope: PauseScope
    target: str | None
    until: datetime | None
    note: str | None
    made_at: datetime
    made_by: str

    def is_over(self, now: datetime) -> bool:
        """Return whether its end has come."""
        return self.until is not None and self.until <= now

    def holds_report(self, name: str, coworker_id: int | None) -> bool:
        """Return whether reports of this name to this host, or to an address, wait meanwhile."""
        match self.scope:
            case PauseScope.RULE:
                return self.target == name
            case PauseScope.ALL:
                return name not in OWN_REPORTS
            case PauseScope.PERSON:
                return self.target == str(coworker_id)
        return False


MOST_AT_ONCE = 2_000  # emails, so that workers and the receiver wait only shortly
_OPEN = select(pauses).where(OPEN_PAUSES).order_by(pauses.c.id)


def open_pauses(connection: Connection) -> list[Pause]:
    """Return the pauses that nobody ended, the oldest first; the end of some may have come."""
    return [_pause(row) for row in connection.execute(_OPEN)]


def begin_pause(  # noqa: PLR0913 - what, until when, why, who and when
    connection: Connection,
    scope: PauseScope,
    target: str | None,
    *,
    until: datetime | None,
    note: str | None,
    who: str,
    now: datetime,
) -> Pause:
    """Begin a pause and log it. One with the same target that is open is replaced.

    The caller holds `ledger.engine.lock_decisions`, so an email that is decided at this moment was
    decided before, or sees the pause.
    """
    same = and_(OPEN_PAUSES, pauses.c.scope == scope, pauses.c.target.is_not_distinct_from(target))
    connection.execute(update(pauses).where(same).values(ended_at=now, ended_by=who[:64]))
    values = {"scope": scope, "target": target, "until": until, "note": note}
    row = connection.execute(
        insert(pauses).values(**values, made_at=now, made_by=who[:64]).returning(pauses)
    ).one()
    # Neither the note nor the person: the log has no names, and the pause has both.
    detail = {"pause_id": row.id, "scope": scope}
    if scope is not PauseScope.PERSON:
        detail["target"] = target
    if until is not None:
        detail["until"] = until.isoformat()
    log_decision(connection, "pause", who, now, detail)
    return _pause(row)


def held_by(
    connection: Connection, ended: Collection[Pause], *, most: int | None = None
) -> list[int]:
    """Return the ids of held emails that no pause would hold any more if these had ended.

    At most so many, those planned first, if `most` is given.
    """
    return list(connection.scalars(_held(ended, _others(connection, ended)).limit(most)))


def kinds_held_by(connection: Connection, ended: Collection[Pause]) -> dict[str, int]:
    """Return how many actions of each kind `held_by` returns."""
    found = _held(ended, _others(connection, ended)).order_by(None).subquery()
    kinds = select(actions.c.kind, func.count()).join(found, actions.c.id == found.c.id)
    return dict[str, int](connection.execute(kinds.group_by(actions.c.kind)).all())


def open_among(connection: Connection, pause: Pause) -> dict[str, int]:
    """Return how many actions of each kind wait that this pause will hold once they are due."""
    waits = and_(UNFINISHED_ACTIONS, actions.c.state.in_(OPEN_ACTIONS), _matching(pause))
    kinds = select(actions.c.kind, func.count()).where(waits).group_by(actions.c.kind)
    return dict[str, int](connection.execute(kinds).all())


def open_by_rule_and_course(connection: Connection) -> dict[tuple[str, int], int]:
    """Return how many emails wait now, by the name of their rule and the Id of their course."""
    waits = and_(UNFINISHED_ACTIONS, actions.c.state.in_(OPEN_ACTIONS))
    both = (actions.c.rule, actions.c.course_id)
    rows = connection.execute(select(*both, func.count()).where(waits).group_by(*both))
    return {(rule, course_id): number for rule, course_id, number in rows}


def end_pauses(
    connection: Connection,
    ended: Collection[Pause],
    who: str,
    now: datetime,
    *,
    most: int | None = None,
) -> list[int]:
    """End these pauses and log it; return the ids of the emails that no pause holds any more.

    These wait again, due as before, and are checked again, as are the reports that waited for the
    end. With `most`, at most so many do, those planned first: as long as others may be left, the
    pauses are over but open, and workers end them with `end_due_pauses`. The caller holds
    `ledger.engine.lock_decisions`.
    """
    freed_reports = reports_held_by(connection, ended)
    # Locked in the order of ids, so that concurrent decisions never deadlock.
    wanted = _held(ended, _others(connection, ended)).limit(most).with_for_update()
    freed = list(connection.scalars(wanted))
    is_whole = most is None or len(freed) < most
    ends = {"ended_at": now, "ended_by": who[:64]} if is_whole else {"until": now}
    stopped = connection.scalars(
        update(pauses)
        .where(OPEN_PAUSES, pauses.c.id.in_([one.pause_id for one in ended]))
        .values(**ends)
        .returning(pauses.c.id)
    ).all()
    for some in chunks(freed):
        connection.execute(
            update(actions)
            .where(actions.c.id.in_(some), actions.c.state == ActionState.HELD)
            .values(state=ActionState.WAITING, reason=None)
        )
    note_each(connection, freed, now, ActionState.WAITING, Reason.PAUSED, f"resumed by {who}")
    connection.execute(_of_reports(freed_reports).values(due_at=now))
    if stopped:
        detail = {"pause_ids": sorted(stopped), "action_ids": freed}
        if freed_reports:
            detail["report_ids"] = freed_reports
        log_decision(connection, "resume", who, now, detail)
    return freed


def keep_held(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime
) -> list[int]:
    """Let emails that a pause holds stay held until a person decides; return the ids of those.

    The decision is logged. The caller holds `ledger.engine.lock_decisions`.
    """
    kept: list[int] = []
    for some in chunks(action_ids):
        is_paused = and_(
            actions.c.id.in_(some),
            actions.c.state == ActionState.HELD,
            actions.c.reason == Reason.PAUSED,
        )
        kept += hold_actions(connection, Reason.ON_HOLD, is_paused, now)
    if kept:
        log_decision(connection, "hold", who, now, {"action_ids": kept})
    return kept


def reports_held_by(connection: Connection, ended: Collection[Pause]) -> list[int]:
    """Return the ids of waiting reports that no pause would hold any more if these had ended."""
    remaining = _others(connection, ended)
    waiting = connection.execute(
        select(reports.c.id, reports.c.name, reports.c.coworker_id)
        .where(
            UNFINISHED_REPORTS,
            reports.c.state == ActionState.WAITING,
            reports.c.reason == Reason.PAUSED,
        )
        .order_by(reports.c.id)
    ).all()

    def is_held(by: Collection[Pause], name: str, coworker_id: int | None) -> bool:
        return any(one.holds_report(name, coworker_id) for one in by)

    return [
        report_id
        for report_id, *whose in waiting
        if is_held(ended, *whose) and not is_held(remaining, *whose)
    ]


def reports_among(connection: Connection, pause: Pause) -> int:
    """Return how many reports wait that this pause will hold once they are due."""
    open_now = select(reports.c.name, reports.c.coworker_id).where(
        UNFINISHED_REPORTS, reports.c.state.in_(OPEN_ACTIONS)
    )
    return sum(pause.holds_report(*row) for row in connection.execute(open_now))


def skip_reports(connection: Connection, report_ids: Collection[int], now: datetime) -> int:
    """Drop reports that wait for the end of a pause; return how many."""
    dropped = _of_reports(report_ids).values(state=ActionState.SKIPPED, finished_at=now)
    return connection.execute(dropped).rowcount


def _of_reports(report_ids: Collection[int]) -> Update:
    is_waiting = and_(reports.c.state == ActionState.WAITING, reports.c.reason == Reason.PAUSED)
    return update(reports).where(reports.c.id.in_(list(report_ids)), is_waiting)


def is_report(connection: Connection, name: str | None) -> bool:
    """Return whether a report has this name: one to operators, or a digest that was known."""
    return name in OWN_REPORTS or value_of(connection, f"{REPORT_STATE}.{name}") is not None


def note_digest(connection: Connection, name: str, now: datetime) -> None:
    """Note that a digest has this name, also before it first ran; so its pause is shown as such."""
    if not is_report(connection, name):
        set_value(connection, f"{REPORT_STATE}.{name}", "{}", AUTOMATIC, now)


def end_due_pauses(connection: Connection, now: datetime) -> int:
    """End the pauses whose end has come, or free some of what they held; return how many ended.

    Call it in further transactions while `is_pause_due`. The caller holds `lock_decisions`.
    """
    due = [one for one in open_pauses(connection) if one.is_over(now)]
    if not due:
        return 0
    end_pauses(connection, due, AUTOMATIC, now, most=MOST_AT_ONCE)
    return len(due) - sum(one.is_over(now) for one in open_pauses(connection))


def is_pause_due(connection: Connection, now: datetime) -> bool:
    """Return whether the end of a pause has come."""
    return any(one.is_over(now) for one in open_pauses(connection))


def _others(connection: Connection, ended: Collection[Pause]) -> list[Pause]:
    """Return the open pauses apart from these."""
    ids = {one.pause_id for one in ended}
    return [one for one in open_pauses(connection) if one.pause_id not in ids]


def _held(ended: Collection[Pause], remaining: Collection[Pause]) -> Select[Any]:
    """Select the held emails that match a pause that ended and none that remains."""
    is_paused = and_(
        UNDECIDED_ACTIONS,
        actions.c.state == ActionState.HELD,
        actions.c.reason == Reason.PAUSED,
    )
    freed = and_(is_paused, _matching_any(ended), ~_matching_any(remaining))
    return select(actions.c.id).where(freed).order_by(actions.c.id)


def _matching_any(these: Collection[Pause]) -> ColumnElement[bool]:
    return or_(false(), *map(_matching, these))


def _matching(pause: Pause) -> ColumnElement[bool]:
    match pause.scope:
        case PauseScope.RULE:
            return actions.c.rule == pause.target
        case PauseScope.COURSE:
            return actions.c.course_id == int(pause.target or 0)
        case PauseScope.PERSON:
            return actions.c.coworker_id == int(pause.target or 0)
    return true()


def pause_of(
    these: Collection[Pause], now: datetime, *, rule: str, course_id: int, coworker_id: int
) -> Pause | None:
    """Return the first of these pauses that holds such an email now, or None."""
    whose = {
        PauseScope.ALL: None,
        PauseScope.RULE: rule,
        PauseScope.COURSE: str(course_id),
        PauseScope.PERSON: str(coworker_id),
    }
    return next(
        (one for one in these if one.target == whose[one.scope] and not one.is_over(now)), None
    )


def _pause(row: Row[Any]) -> Pause:
    return Pause(
        row.id, PauseScope(row.scope), row.target, row.until, row.note, row.made_at, row.made_by
    )
