"""The outbox of reports: emails to others than members, each under a permanent key.

It follows `ledger.outbox`: a claim is a lease on a row, `performing` is committed before the
hand-over and its outcome after it, and what was cut off after `commit_report` is unknown and never
sent again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from ledger.actions import Copy
from ledger.attempts import wait_after_cuts
from ledger.controls import REPORT_STATE, set_value, value_of
from ledger.engine import chunks, insert_into
from ledger.interventions import AUTOMATIC
from ledger.skew import is_lease_over, is_lease_over_now, lease_values
from ledger.tables import UNFINISHED_REPORTS, report_copies, reports
from schemas.actions import OPEN_ACTIONS, ActionState, Outcome
from schemas.reasons import Reason

_ENDED = (ActionState.DONE, ActionState.SKIPPED, ActionState.FAILED, ActionState.UNKNOWN)
_RECENT = timedelta(days=62)  # each month has a digest, which may wait some days
_OPEN = [state.value for state in OPEN_ACTIONS]


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """A report to send. `audience` is as of actions: `host`, or the digest of an address.

    `coworker_id` is who the host is. An alert has no period, and `about` has the codes of its
    causes with the time since when.
    """

    key: str
    name: str
    audience: str
    due_at: datetime
    period_from: datetime | None = None
    period_to: datetime | None = None
    coworker_id: int | None = None
    about: Mapping[str, str | None] = field(default_factory=dict)
    skipped_for: Reason | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One report as stored. `token` is that of our claim, "" if it is not claimed.

    `tries` counts how often it was to be sent and was not, by reason.
    """

    report_id: int
    plan: ReportPlan
    planned_at: datetime
    state: ActionState
    reason: Reason | None
    attempts: int
    finished_at: datetime | None
    receipt: str | None
    token: str = ""
    tries: Mapping[str, int] = field(default_factory=dict)

    @property
    def waits_for_its_time(self) -> bool:
        """Whether it waits for nothing but its time: it was not tried, or the night began."""
        is_night = self.state is ActionState.WAITING and self.reason is Reason.QUIET_HOURS
        return self.state is ActionState.PLANNED or is_night

    @property
    def may_be_hastened(self) -> bool:
        """Whether it may be tried sooner: it waits for its time, or the server put off this one."""
        return self.waits_for_its_time or (
            self.state is ActionState.WAITING and self.reason is Reason.MAIL_TEMPORARY
        )


def plan_report(connection: Connection, plan: ReportPlan, now: datetime) -> bool:
    """Store a report to send; return whether it is new.

    One with the same key stays as it is, unless `skip_reports_ahead` skipped it.
    """
    is_over = plan.skipped_for is not None
    values = {
        "key": plan.key,
        "name": plan.name,
        "audience": plan.audience,
        "coworker_id": plan.coworker_id,
        "period_from": plan.period_from,
        "period_to": plan.period_to,
        "about": dict(plan.about) or None,
        "planned_at": now,
        "state": ActionState.SKIPPED if is_over else ActionState.PLANNED,
        "reason": plan.skipped_for,
        "due_at": plan.due_at,
        "finished_at": now if is_over else None,
    }
    was_early = and_(
        reports.c.state == ActionState.SKIPPED, reports.c.finished_at < reports.c.period_to
    )
    stored = (
        insert_into(connection, reports)
        .values(values)
        .on_conflict_do_update(index_elements=[reports.c.key], set_=values, where=was_early)
    )
    return connection.execute(stored.returning(reports.c.id)).first() is not None


def report_with_key(connection: Connection, key: str) -> Report | None:
    """Return the report with this key, if there is one."""
    row = connection.execute(select(reports).where(reports.c.key == key)).first()
    return None if row is None else _report(row)


def open_report(connection: Connection, name: str, audience: str) -> Report | None:
    """Return the report of this name to this audience that is not finished; None if all are."""
    row = connection.execute(
        select(reports)
        .where(UNFINISHED_REPORTS, reports.c.name == name, reports.c.audience == audience)
        .order_by(reports.c.id)  # with a limit, PostgreSQL may read the whole table in this order
    ).first()
    return None if row is None else _report(row)


def hasten_report(connection: Connection, report: Report, now: datetime) -> None:
    """Make a report due now, if it may be hastened."""
    may_be = (Reason.QUIET_HOURS, Reason.MAIL_TEMPORARY)
    is_waiting = and_(reports.c.state == ActionState.WAITING, reports.c.reason.in_(may_be))
    connection.execute(
        update(reports)
        .where(
            reports.c.id == report.report_id,
            or_(reports.c.state == ActionState.PLANNED, is_waiting),
            reports.c.due_at > now,
        )
        .values(due_at=now)
    )


def claim_report(
    connection: Connection, now: datetime, token: str, *, lease_s: float
) -> Report | None:
    """Claim a due report for `lease_s` seconds: an alert, or what is overdue longest; or None."""
    row = connection.execute(_claiming(), lease_values(now, lease_s) | {"holder": token}).first()
    return None if row is None else _report(row, token)


@cache
def _claiming() -> ReturningUpdate[Any]:
    is_over = is_lease_over_now(reports.c.lease_until)
    is_due = (
        reports.c.state.in_(_OPEN),
        reports.c.due_at <= bindparam("now"),
        or_(reports.c.lease_until.is_(None), is_over),
    )
    chosen = (
        select(reports.c.id)
        .where(UNFINISHED_REPORTS, *is_due)
        .order_by(reports.c.period_to.is_not(None), reports.c.due_at, reports.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return (
        update(reports)
        .where(reports.c.id == chosen, *is_due)
        .values(lease_until=bindparam("until"), lease_token=bindparam("holder"))
        .returning(reports)
    )


def next_report_at(connection: Connection) -> datetime | None:
    """Return when the next report is due; None if there is none."""
    moment: datetime | None = connection.scalar(
        select(func.min(reports.c.due_at)).where(UNFINISHED_REPORTS, reports.c.state.in_(_OPEN))
    )
    return moment


def renew_report(connection: Connection, claimed: Report, now: datetime, *, lease_s: float) -> bool:
    """Extend the lease of a claim, also during its hand-over; False if it is no longer ours."""
    states = [*_OPEN, ActionState.PERFORMING]
    return _changed(connection, claimed, states, lease_until=now + timedelta(seconds=lease_s))


def begin_report(
    connection: Connection, claimed: Report, copy: Copy, now: datetime, *, lease_s: float
) -> bool:
    """Mark a report as being handed over, and store its copy; False if it is no longer ours."""
    is_ours = _changed(
        connection,
        claimed,
        _OPEN,
        state=ActionState.PERFORMING,
        reason=None,
        attempts=reports.c.attempts + 1,
        committed_at=None,
        lease_until=now + timedelta(seconds=lease_s),
    )
    if is_ours:
        store_report_copy(connection, claimed.report_id, copy, now)
    return is_ours


def commit_report(
    connection: Connection, claimed: Report, now: datetime, *, lease_s: float
) -> bool:
    """Record that the hand-over reaches its last step; see `ledger.outbox.commit_action`."""
    return _changed(
        connection,
        claimed,
        [ActionState.PERFORMING],
        committed_at=now,
        lease_until=now + timedelta(seconds=lease_s),
    )


def settle_report(connection: Connection, claimed: Report, outcome: Outcome, now: datetime) -> bool:
    """Store the outcome; False if the report is no longer ours.

    A worker that was only slow may still replace `unknown` with the real outcome, and a commit
    whose answer was lost counts as stored.
    """
    is_final = outcome.state in _ENDED
    tries = claimed.tries if outcome.reason is None else _one_more(claimed.tries, outcome.reason)
    is_stored = _changed(
        connection,
        claimed,
        [*_OPEN, ActionState.PERFORMING, ActionState.UNKNOWN],
        state=outcome.state,
        reason=outcome.reason,
        due_at=outcome.until or reports.c.due_at,
        lease_until=None,
        lease_token=None,
        committed_at=None,
        finished_at=now if is_final else None,
        receipt=outcome.detail,
        tries=dict(tries),
    )
    return is_stored or _is_settled_as(connection, claimed, outcome)


def _is_settled_as(connection: Connection, claimed: Report, outcome: Outcome) -> bool:
    found = connection.execute(
        select(reports.c.state, reports.c.reason, reports.c.receipt).where(
            reports.c.id == claimed.report_id, reports.c.lease_token.is_(None)
        )
    ).first()
    return found is not None and tuple(found) == (outcome.state, outcome.reason, outcome.detail)


def _changed(
    connection: Connection,
    claimed: Report,
    states: list[Any],
    **values: Any,  # noqa: ANN401 - of any column
) -> bool:
    """Change a claimed report if it is still ours and in one of these states."""
    done = connection.execute(
        update(reports)
        .where(
            reports.c.id == claimed.report_id,
            reports.c.lease_token == claimed.token,
            reports.c.state.in_(states),
        )
        .values(**values)
    )
    return done.rowcount == 1


def expire_reports(connection: Connection, now: datetime, *, lease_s: float) -> tuple[int, int]:
    """Settle reports whose worker vanished; return how many are repeated and how many unknown.

    One cut off before `commit_report` is sent again. The token stays, so that a worker that was
    only slow can still store the real outcome.
    """
    repeated = unknown = 0
    is_over = is_lease_over(reports.c.lease_until, now, lease_s)
    vanished = connection.execute(
        select(reports.c.id, reports.c.committed_at, reports.c.tries).where(
            UNFINISHED_REPORTS, reports.c.state == ActionState.PERFORMING, is_over
        )
    ).all()
    for row in vanished:
        is_unknown = row.committed_at is not None
        before: Mapping[str, int] = row.tries or {}
        values: dict[str, Any] = {
            "state": ActionState.WAITING,
            "reason": Reason.MAIL_INTERRUPTED,
            "due_at": now + wait_after_cuts(before.get(Reason.MAIL_INTERRUPTED, 0)),
        }
        if is_unknown:
            values = {
                "state": ActionState.UNKNOWN,
                "reason": Reason.HANDOVER_UNKNOWN,
                "finished_at": now,
            }
        tries = _one_more(before, values["reason"])
        done = connection.execute(
            update(reports)
            .where(reports.c.id == row.id, reports.c.state == ActionState.PERFORMING, is_over)
            .values(**values, tries=tries, lease_until=None, committed_at=None)
        )
        if done.rowcount == 1:
            repeated, unknown = repeated + (not is_unknown), unknown + is_unknown
    return repeated, unknown


def _one_more(tries: Mapping[str, int], reason: Reason) -> dict[str, int]:
    return {**tries, reason.value: tries.get(reason.value, 0) + 1}


def store_report_copy(connection: Connection, report_id: int, copy: Copy, now: datetime) -> None:
    """Store the copy of a report, replacing an earlier one."""
    values = copy.row(now)
    statement = insert_into(connection, report_copies).values(report_id=report_id, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[report_copies.c.report_id], set_=values)
    )


def last_reports(connection: Connection, now: datetime) -> list[Report]:
    """Return of each name and recipient the reports not finished, and the last that is.

    What ended longer ago than two months is left out; see `last_report`.
    """
    whose = (reports.c.name, reports.c.audience, reports.c.coworker_id)
    is_recent = and_(reports.c.finished_at > now - _RECENT, reports.c.state.in_(_ENDED))
    # SQLite would read the whole table in the order of the groups.
    recent = connection.execute(select(*whose, reports.c.id).where(is_recent))
    newest: dict[tuple[Any, ...], int] = {}
    for *one, report_id in recent:
        newest[tuple(one)] = max(report_id, newest.get(tuple(one), 0))
    rows = [*connection.execute(select(reports).where(UNFINISHED_REPORTS))]
    for ids in chunks(sorted(newest.values())):
        rows += connection.execute(select(reports).where(reports.c.id.in_(ids)))
    return [_report(row) for row in sorted(rows, key=lambda row: int(row.id))]


def last_report(connection: Connection, name: str, audience: str) -> Report | None:
    """Return the last finished report of this name to this audience; None if there is none."""
    is_it = and_(reports.c.name == name, reports.c.audience == audience)
    row = connection.execute(
        select(reports)
        .where(is_it, reports.c.state.in_(_ENDED))
        .order_by(reports.c.id.desc())
        .limit(1)
    ).first()
    return None if row is None else _report(row)


def report_state(connection: Connection, name: str) -> dict[str, Any]:
    """Return what was noted about reports of this name, by audience; empty if nothing was."""
    text = value_of(connection, f"{REPORT_STATE}.{name}")
    found: dict[str, Any] = {} if text is None else json.loads(text)
    return found


def note_report_state(
    connection: Connection, name: str, audience: str, state: Mapping[str, Any], now: datetime
) -> None:
    """Note something about reports of this name to this audience, in place of what was noted.

    The caller holds `ledger.engine.lock_decisions`: what is noted for all audiences is one value.
    """
    before = report_state(connection, name)
    if before.get(audience) != state:
        after = json.dumps(before | {audience: state})
        set_value(connection, f"{REPORT_STATE}.{name}", after, AUTOMATIC, now)


def _report(row: Row[Any], token: str = "") -> Report:
    plan = ReportPlan(
        row.key,
        row.name,
        row.audience,
        row.due_at,
        row.period_from,
        row.period_to,
        row.coworker_id,
        row.about or {},
    )
    return Report(
        row.id,
        plan,
        row.planned_at,
        ActionState(row.state),
        None if row.reason is None else Reason(row.reason),
        row.attempts,
        row.finished_at,
        row.receipt,
        token,
        row.tries or {},
    )
