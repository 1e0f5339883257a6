"""The retention rule of each table, and the deletion of old rows.

Every table has a rule: rows are deleted after some days, or never. Keys that make an email go out
only once, and decisions of people, are never deleted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)

from ledger.checks import outdated_checks
from ledger.controls import RETAINED_UPTO, set_value, value_of
from ledger.engine import Engine, reading, writing
from ledger.heartbeats import parse_stored_time
from ledger.interventions import AUTOMATIC
from ledger.tables import (
    action_events,
    actions,
    attempts,
    checks,
    choices,
    completion_certificates,
    control_log,
    controls,
    copies,
    decisions,
    deliveries,
    events,
    gaps,
    heartbeats,
    leases,
    listings,
    lookups,
    mail_reports,
    notifications,
    operator_links,
    operator_sessions,
    operators,
    outages,
    pauses,
    people,
    records,
    refusals,
    report_copies,
    reports,
    revisions,
    sent_emails,
    sign_ins,
    suppressions,
    tallies,
    timers,
)
from schemas.actions import LookupState

BODIES = timedelta(days=30)
REFUSALS = timedelta(days=30)
COPIES = timedelta(days=90)
DECISIONS = timedelta(days=90)
NOTIFICATIONS = timedelta(days=90)
CHECKS = timedelta(days=90)
ATTEMPTS = timedelta(days=365)
REPORTS = timedelta(days=365)
SIGN_INS = timedelta(days=60)

STEP = 500  # rows changed in one transaction, so that others do not wait long
_STEPS_AT_ONCE = 20  # steps per query
_FURTHEST = timedelta(days=1)  # how far the time that ages count from may advance per run


@dataclass(frozen=True, slots=True)
class KeptFor:
    """Rows that are deleted after some days, or only lose the value of column `emptied`.

    `outdated` returns the condition for rows older than a time.
    """

    table: Table
    kept_for: timedelta
    outdated: Callable[[datetime], ColumnElement[bool]]
    emptied: str | None = None


@dataclass(frozen=True, slots=True)
class KeptForever:
    """A table whose rows are never deleted because of their age."""

    table: Table
    why: str


@dataclass(slots=True)
class Deleted:
    """How many rows of each table were deleted or emptied. `more`: not all yet."""

    rows: dict[str, int] = field(default_factory=dict)
    more: bool = False


def _old_bodies(before: datetime) -> ColumnElement[bool]:
    # Older versions also stored unreadable bodies, which may hold anything.
    is_old = or_(deliveries.c.received_at < before, deliveries.c.error.is_not(None))
    return and_(deliveries.c.body.is_not(None), is_old)


def _old_notifications(before: datetime) -> ColumnElement[bool]:
    # Ids of notifications are compared (`records.decided_upto`), and SQLite reuses the largest id
    # once its row is deleted. So the newest row stays.
    newest = select(func.max(notifications.c.id)).scalar_subquery()
    is_unanswered = exists().where(
        lookups.c.entity == notifications.c.entity,
        lookups.c.record_id == notifications.c.record_id,
        lookups.c.state.not_in([LookupState.DONE, LookupState.FAILED]),
    )
    return and_(notifications.c.received_at < before, notifications.c.id < newest, ~is_unanswered)


def _old_deliveries(before: datetime) -> ColumnElement[bool]:
    is_referred_to = exists().where(notifications.c.delivery_id == deliveries.c.id)
    return and_(deliveries.c.received_at < before, ~is_referred_to)


def _old_lookups(before: datetime) -> ColumnElement[bool]:
    # A failed one stays until its record is read: it needs a person.
    return and_(lookups.c.state == LookupState.DONE, lookups.c.due_at < before)


def _old_attempts(before: datetime) -> ColumnElement[bool]:
    # All of an action or none, so that its history is never partial.
    finished = select(actions.c.id).where(actions.c.finished_at < before)
    return attempts.c.action_id.in_(finished)


# In this order: rows are deleted before the rows they refer to.
RULES: tuple[KeptFor | KeptForever, ...] = (
    KeptFor(deliveries, BODIES, _old_bodies, emptied="body"),
    KeptFor(notifications, NOTIFICATIONS, _old_notifications),
    KeptFor(deliveries, NOTIFICATIONS, _old_deliveries),
    KeptFor(lookups, NOTIFICATIONS, _old_lookups),
    KeptFor(attempts, ATTEMPTS, _old_attempts),
    KeptFor(copies, COPIES, lambda before: copies.c.written_at < before),
    KeptFor(report_copies, COPIES, lambda before: report_copies.c.written_at < before),
    KeptFor(decisions, DECISIONS, lambda before: decisions.c.decided_at < before),
    KeptFor(mail_reports, REPORTS, lambda before: mail_reports.c.received_at < before),
    KeptFor(sent_emails, REPORTS, lambda before: sent_emails.c.sent_at < before),
    KeptFor(checks, CHECKS, outdated_checks),
    KeptFor(refusals, REFUSALS, lambda before: refusals.c.last_at < before),
    KeptFor(heartbeats, timedelta(days=1), lambda before: heartbeats.c.beat_at < before),
    KeptFor(operator_links, SIGN_INS, lambda before: operator_links.c.ends_at < before),
    KeptFor(operator_sessions, SIGN_INS, lambda before: operator_sessions.c.seen_at < before),
    KeptForever(events, "the key of an event lets it be decided on only once"),
    KeptForever(actions, "the key of an action lets its email go out only once"),
    KeptForever(action_events, "an event leads to one email of each rule and step"),
    KeptForever(reports, "the key of a report lets it go out only once"),
    KeptForever(
        records, "changes are found by comparing with the last version; one row per record"
    ),
    KeptForever(listings, "one row for each list that was read in full"),
    KeptForever(
        people,
        "emails and `coursebell why` need name, address and language; one row for each person",
    ),
    KeptForever(choices, "an opt-out never expires"),
    KeptForever(suppressions, "an address that does not work must not be written to again"),
    KeptForever(completion_certificates, "a certificate can be checked years later"),
    KeptForever(timers, "the key of a timer lets its event happen only once"),
    KeptForever(pauses, "one row for each pause; who paused and when can be looked up later"),
    KeptForever(control_log, "decisions can be looked up later"),
    KeptForever(operators, "the log of decisions has their names"),
    KeptForever(gaps, "emails that may have been sent before a restore must not be sent again"),
    KeptForever(controls, "one row for each switch"),
    KeptForever(sign_ins, "one row"),
    KeptForever(leases, "one row for each kind of exclusive work"),
    KeptForever(
        outages, "one row for each kind of action or endpoint, deleted when the outage ends"
    ),
    KeptForever(revisions, "one row for each migration"),
    KeptForever(tallies, "one row for each state and reason"),
)


def delete_old(
    engine: Engine,
    now: datetime,
    *,
    most: int = STEP,
    may_continue: Callable[[], bool] = lambda: True,
) -> Deleted:
    """Delete old rows, at most `most` in one transaction.

    Ages count from `now`, or from a day after the time the last complete run counted from, if that
    is earlier. So a clock that is briefly a year ahead costs a day of history, not a year.

    `may_continue` is called between two transactions. It may wait, so that others can write, and
    stops the deletion by returning False.

    Raises:
        LedgerUnavailable: the ledger could not be read or written; earlier steps stay committed.
    """
    deleted = Deleted()
    with reading(engine) as connection:
        last = parse_stored_time(value_of(connection, RETAINED_UPTO))
    upto = now if last is None else min(now, last + _FURTHEST)
    for rule in RULES:
        if isinstance(rule, KeptFor) and not deleted.more:
            for changed in _steps(engine, rule, upto - rule.kept_for, most):
                name = f"{rule.table.name}.{rule.emptied}" if rule.emptied else rule.table.name
                deleted.rows[name] = deleted.rows.get(name, 0) + changed
                if not may_continue():
                    deleted.more = True
                    break
    if upto != last and not deleted.more:
        with writing(engine) as connection:
            set_value(connection, RETAINED_UPTO, upto.isoformat(), AUTOMATIC, now)
    return deleted


def _steps(engine: Engine, rule: KeptFor, before: datetime, most: int) -> Iterator[int]:
    """Delete step by step, and yield the number of rows after each."""
    key = tuple_(*rule.table.primary_key)
    wanted = (
        select(*rule.table.primary_key).where(rule.outdated(before)).limit(most * _STEPS_AT_ONCE)
    )
    changed = 1
    while changed:
        # In a read-only transaction, which blocks no other process, however long it takes.
        with reading(engine) as connection:
            found = [tuple(row) for row in connection.execute(wanted)]
        changed = 0
        for first in range(0, len(found), most):
            some = key.in_(found[first : first + most])
            with writing(engine) as connection:
                step = _delete(connection, rule, and_(some, rule.outdated(before)))
            changed += step
            yield step


def _delete(connection: Connection, rule: KeptFor, where: ColumnElement[bool]) -> int:
    # Rows that another transaction has locked are skipped, so that two never deadlock.
    key = list(rule.table.primary_key)
    free = tuple_(*key).in_(select(*key).where(where).with_for_update(skip_locked=True))
    if rule.emptied is not None:
        return connection.execute(
            update(rule.table).where(free).values({rule.emptied: None})
        ).rowcount
    return connection.execute(delete(rule.table).where(free)).rowcount
