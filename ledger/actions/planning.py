"""Plans actions, each once for ever, and lets events join one that is still gathering."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, not_, select, true, update

from ledger.actions.settling import note_attempt
from ledger.gaps import last_gap_end
from ledger.tables import action_events, actions
from ledger.upsert import insert_into
from schemas.actions import Outcome, Plan
from schemas.reasons import Reason
from schemas.states import OPEN_ACTIONS, ActionState


def plan_action(connection: Connection, plan: Plan, event_id: int, now: datetime) -> None:
    """Plan one action for one event, or let the event join the action that is still gathering.

    What may have been sent before the ledger was restored gathers apart from what was not, and what
    is held from the beginning apart from what is not.
    The caller holds `ledger.engine.lock_decisions`, so nobody else plans meanwhile.
    """
    action_id = _gathering(connection, plan) if plan.gather_until else None
    if action_id is None:
        action_id = _new_action(connection, plan, now)
    if action_id is not None:
        connection.execute(
            insert_into(connection, action_events)
            .values(event_id=event_id, rule=plan.rule, action_id=action_id)
            .on_conflict_do_nothing()
        )


def _gathering(connection: Connection, plan: Plan) -> int | None:
    if plan.gather_until is None:
        return None
    longest = plan.gather_until - plan.happened_at
    restored_at = last_gap_end(connection)
    row = connection.execute(
        select(actions.c.id, actions.c.happened_at, actions.c.reason)
        .where(
            # The index is by person; their enrolment alone would be looked for in every row, while
            # everybody who decides waits.
            actions.c.coworker_id == plan.coworker_id,
            actions.c.rule == plan.rule,
            actions.c.course_member_id == plan.course_member_id,
            _is_alike(plan),
            actions.c.resend_of.is_(None),  # what a person has sent again is complete as it is
            # Lessons of another sitting, found late, are no news of this one.
            actions.c.happened_at.between(plan.happened_at - longest, plan.gather_until),
            true() if restored_at is None else _is_as_sure(plan, restored_at),
        )
        .order_by(actions.c.happened_at.desc())
    ).first()
    if row is None:
        return None
    first = min(row.happened_at, plan.happened_at)
    latest = first + longest
    values: dict[str, Any] = {"happened_at": first}
    if plan.asked:
        values["asked"] = True
    if row.reason == Reason.GATHERING:
        values["due_at"] = min(plan.due_at, latest)
    connection.execute(update(actions).where(actions.c.id == row.id).values(values))
    return int(row.id)


def _is_alike(plan: Plan) -> ColumnElement[bool]:
    if plan.held_for is None:
        return actions.c.state.in_(OPEN_ACTIONS)
    return and_(actions.c.state == ActionState.HELD, actions.c.reason == plan.held_for)


def _is_as_sure(plan: Plan, restored_at: datetime) -> ColumnElement[bool]:
    """Keep what may have been sent before the ledger was restored apart from what was not.

    The former will be held, and what a person released is complete as it is.
    """
    may_be_sent = and_(actions.c.planned_at >= restored_at, actions.c.happened_at <= restored_at)
    if plan.happened_at > restored_at:
        return not_(may_be_sent)
    return and_(may_be_sent, actions.c.released_at.is_(None))


def _new_action(connection: Connection, plan: Plan, now: datetime) -> int | None:
    gathers = plan.gather_until is not None
    state = ActionState.WAITING if gathers else ActionState.PLANNED
    reason = Reason.GATHERING if gathers else None
    if plan.held_for is not None:
        state, reason = ActionState.HELD, plan.held_for
    statement = (
        insert_into(connection, actions)
        .values(
            key=plan.key,
            kind=plan.kind,
            rule=plan.rule,
            rules_version=plan.rules_version,
            event_kind=plan.event_kind,
            template=plan.template,
            stream=plan.stream,
            course_id=plan.course_id,
            coworker_id=plan.coworker_id,
            course_member_id=plan.course_member_id,
            happened_at=plan.happened_at,
            # In the order of things, also if the clock was set back across a restore.
            planned_at=max(now, last_gap_end(connection) or now),
            asked=plan.asked,
            state=state,
            reason=reason,
            due_at=plan.due_at,
        )
        .on_conflict_do_nothing(index_elements=[actions.c.key])
        .returning(actions.c.id)
    )
    action_id: int | None = connection.scalar(statement)
    if action_id is not None and plan.held_for is not None:
        note_attempt(connection, action_id, Outcome.held(plan.held_for), now)
    return action_id
