"""Performs one claimed action: reads its records again, checks, prepares and sends it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.actions import store_copy
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.outbox import ClaimedAction, begin_action, release_action, settle_action
from ledger.records import present_among, record_of
from schemas.actions import ActionState, Outcome
from schemas.entity import Entity
from schemas.errors import (
    DeliveryRefused,
    LedgerUnavailable,
    RecordUnreadable,
    SourceError,
    SourceRefused,
)
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import Record
from workers.actions.base import Action, ActionContext, Prepared
from workers.decide.send_check import check_send
from workers.deliver.context import DeliveryTools, LoadedContext, Stopping, load_context
from workers.deliver.settle import refused, send
from workers.leases import LeaseLost
from workers.lookup.commit import keep_findings
from workers.lookup.read import CACHED, FRESH, Findings, Reader
from workers.retries import LOOK_PATIENCE_S, back_off_after
from workers.source.limits import Patience, Urgency
from workers.source.reads import Lend
from workers.sync.rows import version_of_record


def refresh(reader: Reader, claimed: ClaimedAction) -> bool:
    """Update the ledger with what the source has about this action's person and course.

    Returns whether the source has a change that was not decided on yet: the person completed
    another lesson or was approved just now, or a list lacks a record it had. That record is looked
    up at once, and the action waits, since the change may add to it or cancel it.

    Raises as `Source.fetch`, and `LedgerUnavailable` and `LeaseLost`.
    """
    reader.enrolment(claimed.course_member_id, FRESH)
    reader.person(claimed.coworker_id, FRESH)
    reader.course(claimed.course_id, CACHED)
    reader.lessons(claimed.course_id, CACHED)
    reader.completions(claimed.course_member_id, FRESH)
    findings = reader.findings
    with writing(reader.engine) as connection:
        # Two transactions that store the same records must not deadlock.
        lock_decisions(connection)
        undecided = _changed_enrolments(connection, findings) + _new_completions(
            connection, findings
        )
        # A changed record is stored by the lookup that decides on it, which compares the two.
        findings.records = [
            (entity, record)
            for entity, record in findings.records
            if Notification(entity, record.record_id) not in undecided
        ]
        lacking = keep_findings(connection, findings, findings.asked_at)
        gone = [Notification(*one) for one in findings.gone if one[0] is Entity.COURSE_MEMBER]
        store_notifications(connection, undecided + gone, Origin.CHECK, findings.asked_at)
    # Without an enrolment the action is not performed, so it need not wait.
    return not gone and (lacking or bool(undecided))


def _changed_enrolments(connection: Connection, findings: Findings) -> list[Notification]:
    """Return the enrolments that changed since they were decided on."""
    entity, changed = Entity.COURSE_MEMBER, []
    for kind, record in findings.records:
        known = record_of(connection, kind, record.record_id) if kind is entity else None
        if known is not None and _version(entity, known.record) != _version(entity, record):
            changed.append(Notification(entity, record.record_id))
    return changed


def _version(entity: Entity, record: Record) -> str:
    return version_of_record(entity, record).digest


def _new_completions(connection: Connection, findings: Findings) -> list[Notification]:
    """Return the completions on the list that are not in the ledger."""
    listed = {
        record.record_id
        for entity, _, records in findings.listings
        for record in records
        if entity is Entity.COMPLETED_LESSON
    }
    known = present_among(connection, Entity.COMPLETED_LESSON, listed)
    return [Notification(Entity.COMPLETED_LESSON, one) for one in sorted(listed - known.keys())]


_LOOKUP_TAKES = timedelta(seconds=15)
_MOST_DRAFTS = 3  # an action whose context keeps changing waits a moment


@dataclass(frozen=True, slots=True)
class _Draft:
    """A prepared action or its outcome, and the context it was prepared from."""

    context: ActionContext | None
    result: Prepared | Outcome


def attempt(tools: DeliveryTools, lend: Lend, claimed: ClaimedAction) -> Outcome | None:
    """Perform a claimed action; return how it ended, None if its lease was lost or given back.

    `lend` lends a connection to the source while records are read. A failure of this action is
    recorded as its outcome instead of raised.

    Raises:
        LedgerUnavailable: the outcome could not be recorded; the action is claimed again when its
            lease ends.
    """
    try:
        lease = tools.lease_of(claimed)

        def keep() -> None:
            if tools.is_stopping():
                raise Stopping  # noqa: TRY301 - it is raised from far below, where `keep` is called
            lease.keep()

        keep()
        patience = Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, keep)
        with lend(patience) as source:
            reader = Reader(tools.engine, source, Findings(tools.clock.now()), keep, tools.locks)
            has_changes = refresh(reader, claimed)
        keep()
        begun = _wait_for_lookup(tools, claimed) if has_changes else _begin(tools, claimed)
    except SourceError as error:
        begun = _settle(tools, claimed, _after_source_error(tools, claimed, error))
    except Stopping:
        with writing(tools.engine) as connection:
            release_action(connection, claimed)
        return None
    except LeaseLost:
        return None
    except LedgerUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - our own fault, before anything was sent: not retried
        begun = _settle(tools, claimed, Outcome.failed(Reason.INTERNAL_ERROR, type(error).__name__))
    if not isinstance(begun, Prepared):
        return begun
    try:
        return send(tools, claimed, begun)
    except LeaseLost:
        return None


def _wait_for_lookup(tools: DeliveryTools, claimed: ClaimedAction) -> Outcome | None:
    """Let the action wait for a lookup, since the source has changes not decided on yet."""
    soon = tools.clock.now() + _LOOKUP_TAKES
    return _settle(tools, claimed, Outcome.waiting(soon, Reason.GATHERING))


def _begin(tools: DeliveryTools, claimed: ClaimedAction) -> Prepared | Outcome | None:
    """Check and prepare the action; commit `performing`, or the outcome instead."""
    now = tools.clock.now()
    draft = None
    with reading(tools.engine) as connection:
        loaded = load_context(connection, claimed, tools.setup, now)
    for _ in range(_MOST_DRAFTS):
        if _is_prepared(check_send(loaded.send)):
            draft = _Draft(loaded.action, prepare(tools.actions, claimed.kind, loaded.action))
        with writing(tools.engine) as connection:
            lock_decisions(connection)
            loaded = load_context(connection, claimed, tools.setup, now)
            outcome = check_send(loaded.send)
            if not _is_prepared(outcome):
                return _settled(connection, claimed, outcome, now)
            if draft is not None and draft.context == loaded.action:
                return _decided(connection, tools, claimed, loaded, draft.result, outcome)
    return _wait_for_lookup(tools, claimed)


def _is_prepared(outcome: Outcome | None) -> bool:
    return outcome is None or outcome.state is ActionState.HELD


def _decided(  # noqa: PLR0913, PLR0917 - independent inputs of one commit
    connection: Connection,
    tools: DeliveryTools,
    claimed: ClaimedAction,
    loaded: LoadedContext,
    result: Prepared | Outcome,
    held: Outcome | None,
) -> Prepared | Outcome | None:
    """Commit the result of an up-to-date draft: an outcome, held, or `performing`."""
    now = loaded.send.now
    if isinstance(result, Outcome):
        return _settled(connection, claimed, result, now)
    store_copy(connection, claimed.action_id, result.copy, now)
    if held is not None:
        return _settled(connection, claimed, held, now)
    events, lease_s = loaded.event_count, tools.lease_s
    if begin_action(connection, claimed, now, lease_s=lease_s, events=events):
        return result
    release_action(connection, claimed)
    return None


def _settled(
    connection: Connection, claimed: ClaimedAction, outcome: Outcome | None, now: datetime
) -> Outcome | None:
    if outcome is None or not settle_action(connection, claimed, outcome, now):
        return None
    return outcome


def prepare(
    actions: Mapping[str, Action], kind: str, context: ActionContext | None
) -> Prepared | Outcome:
    """Prepare an action of this kind, or return why it cannot be prepared."""
    action = actions.get(kind)
    if action is None or context is None:
        return Outcome.failed(Reason.INTERNAL_ERROR, "no installed action has this kind")
    try:
        return action.prepare(context)
    except DeliveryRefused as error:
        return refused(error, action.reasons)


def _after_source_error(
    tools: DeliveryTools, claimed: ClaimedAction, error: SourceError
) -> Outcome:
    if isinstance(error, RecordUnreadable):
        return Outcome.failed(Reason.UNREADABLE, str(error))
    # An action is less urgent than a lookup; refusals grow slowly enough by themselves.
    tries = claimed.attempts + (1 if isinstance(error, SourceRefused) else 5)
    wait = back_off_after(error, tries, tools.clock.now(), chance=tools.clock.random())
    return Outcome.waiting(wait.until, wait.reason, str(error))


def _settle(tools: DeliveryTools, claimed: ClaimedAction, outcome: Outcome) -> Outcome | None:
    with writing(tools.engine) as connection:
        settled = settle_action(connection, claimed, outcome, tools.clock.now())
    return outcome if settled else None
