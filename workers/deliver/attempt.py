"""Performs one claimed action: reads its records again, checks, prepares and sends it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.actions import store_copy
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.outbox import ClaimedAction, begin_action, release_action
from ledger.records import present_among, record_of
from schemas.actions import HOST, ActionState, Outcome
from schemas.entity import Entity
from schemas.errors import (
    DeliveryRefused,
    LedgerUnavailable,
    SourceError,
)
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import Message, Record
from workers.actions.base import Action, ActionContext, Prepared
from workers.decide.send_check import check_send, needs_messages
from workers.deliver.context import DeliveryTools, LoadedContext, Stopping, load_context
from workers.deliver.language import refresh_languages
from workers.deliver.settle import refused, send
from workers.deliver.waits import (
    end_probe,
    release_probe,
    settle_source_error,
    settle_wait,
    unproven,
    wait_before_reading,
    wait_for_lookups,
)
from workers.leases import LeaseLost
from workers.lookup.commit import keep_findings
from workers.lookup.read import CACHED, FRESH, NOW, Findings, Reader
from workers.retries import LOOK_PATIENCE_S
from workers.source.limits import Patience, Urgency
from workers.source.reads import Lend
from workers.versions import version_of_record


def refresh(reader: Reader, claimed: ClaimedAction) -> bool:
    """Update the ledger with what the source has about this action's person and course.

    A change that was not decided on yet is looked up: the person completed another lesson or was
    approved just now, or a list lacks a record it had. The action waits for that lookup, since the
    change may add to it or cancel it.

    Returns whether the enrolment still exists. Raises as `Source.fetch`, and `LedgerUnavailable`
    and `LeaseLost`.
    """
    reader.enrolment(claimed.course_member_id, FRESH)
    reader.person(claimed.coworker_id, FRESH)
    reader.course(claimed.course_id, CACHED)
    if claimed.audience == HOST:
        _read_host(reader, claimed)
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
        keep_findings(connection, findings, findings.asked_at)
        gone = [Notification(*one) for one in findings.gone if one[0] is Entity.COURSE_MEMBER]
        store_notifications(connection, undecided + gone, Origin.CHECK, findings.asked_at)
        has_read = findings.records or findings.listings or findings.people or findings.gone
        end_probe(connection, claimed, findings.asked_at, has_read=bool(has_read))
    return not gone


def _read_host(reader: Reader, claimed: ClaimedAction) -> None:
    """Read the host of a course, if it has one."""
    if reader.findings.course is not None and reader.findings.course.host_id is None:
        # A record that an earlier version stored may lack it.
        reader.course(claimed.course_id, NOW)
    course = reader.findings.course
    host_id = course.host_id if course else None
    if host_id is not None and host_id != claimed.coworker_id:  # who was just read
        reader.person(host_id, FRESH)


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


_MOMENT = timedelta(seconds=15)
_MOST_DRAFTS = 3  # an action whose context keeps changing waits a moment
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A prepared action or its outcome, and the context it was prepared from."""

    context: ActionContext | None
    result: Prepared | Outcome


class _NeedsMessages:
    """Nothing objects so far, and what Nexudus itself sent to the person has to be read."""


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
        begun = _read_and_begin(tools, lend, claimed, keep)
    except SourceError as error:
        begun = settle_source_error(tools, claimed, error)
    except Stopping:
        with writing(tools.engine) as connection:
            release_probe(connection, claimed)
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
        return send(tools, lend, claimed, begun)
    except LeaseLost:
        return None


def _read_and_begin(
    tools: DeliveryTools, lend: Lend, claimed: ClaimedAction, keep: Callable[[], None]
) -> Prepared | Outcome | None:
    """Read what the action depends on, check and prepare it; see `_begin`. Raises as `refresh`."""
    waits = wait_before_reading(tools, claimed)
    if waits is not None:
        return _settle(tools, claimed, waits)
    patience = Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, keep)
    with lend(patience) as source:
        reader = Reader(tools.engine, source, Findings(tools.clock.now()), keep, tools.locks)
        is_enrolled = refresh(reader, claimed)
        if is_enrolled and _needs_language(tools, claimed):
            refresh_languages(
                reader,
                _recipient_id(claimed, reader),
                claimed.course_id,
                lambda connection: _would_be_prepared(connection, tools, claimed),
            )
    keep()
    begun = _begin(tools, claimed, None, is_enrolled=is_enrolled)
    if not isinstance(begun, _NeedsMessages):
        return begun
    try:
        with lend(patience) as source:
            messages = source.messages_to(claimed.coworker_id, tools.clock.now() - _WEEK)
    except SourceError as error:
        # Only reminders need this, so the emails of other streams do not wait for it.
        return settle_source_error(tools, claimed, error, pauses_others=False)
    keep()
    begun = _begin(tools, claimed, messages, is_enrolled=is_enrolled)
    return None if isinstance(begun, _NeedsMessages) else begun


def _begin(
    tools: DeliveryTools,
    claimed: ClaimedAction,
    messages: Sequence[Message] | None,
    *,
    is_enrolled: bool,
) -> Prepared | Outcome | _NeedsMessages | None:
    """Check and prepare the action; commit `performing`, or the outcome instead.

    It waits for lookups, unless its enrolment was just found to be gone (`is_enrolled`). Nothing is
    committed if it would be sent and `messages`, which count for it, were not read.
    """
    now = tools.clock.now()
    draft = None
    with reading(tools.engine) as connection:
        loaded = load_context(connection, claimed, tools.setup, now, messages)
    for _ in range(_MOST_DRAFTS):
        if _is_prepared(check_send(loaded.send)):
            draft = _Draft(loaded.action, prepare(tools.actions, claimed.kind, loaded.action))
        with writing(tools.engine) as connection:
            lock_decisions(connection)
            loaded = load_context(connection, claimed, tools.setup, now, messages)
            waits = wait_for_lookups(connection, claimed, now) if is_enrolled else None
            if waits is not None:
                return _settled(connection, claimed, waits, now)
            if is_enrolled and loaded.missing:
                waits = unproven(connection, tools, claimed, loaded.missing)
            if waits is not None:
                return _settled(connection, claimed, waits, now, tried=True)
            outcome = check_send(loaded.send)
            if not _is_prepared(outcome):
                return _settled(connection, claimed, outcome, now)
            if draft is not None and draft.context == loaded.action:
                is_sent = outcome is None and isinstance(draft.result, Prepared)
                if is_sent and needs_messages(loaded.send):
                    return _NeedsMessages()
                return _decided(connection, tools, claimed, loaded, draft.result, outcome)
    return _settle(tools, claimed, Outcome.waiting(now + _MOMENT, Reason.GATHERING))


def _recipient_id(claimed: ClaimedAction, reader: Reader) -> int:
    """Return the coworker Id of the recipient; 0: nobody at the source, or unknown."""
    if claimed.audience is None:
        return claimed.coworker_id
    course = reader.findings.course
    return (course.host_id or 0) if course and claimed.audience == HOST else 0


def _needs_language(tools: DeliveryTools, claimed: ClaimedAction) -> bool:
    kind = tools.actions.get(claimed.kind)
    return kind is not None and kind.needs.language


def _would_be_prepared(
    connection: Connection, tools: DeliveryTools, claimed: ClaimedAction
) -> bool:
    loaded = load_context(connection, claimed, tools.setup, tools.clock.now())
    return _is_prepared(check_send(loaded.send))


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
        result.keep(connection, now)
        return result
    release_action(connection, claimed)
    return None


def _settled(
    connection: Connection,
    claimed: ClaimedAction,
    outcome: Outcome | None,
    now: datetime,
    *,
    tried: bool = False,
) -> Outcome | None:
    if outcome is None or not settle_wait(connection, claimed, outcome, now, tried=tried):
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


def _settle(tools: DeliveryTools, claimed: ClaimedAction, outcome: Outcome) -> Outcome | None:
    with writing(tools.engine) as connection:
        return _settled(connection, claimed, outcome, tools.clock.now())
