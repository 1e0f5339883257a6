"""Decides how long an action waits for the source: for lookups, and after its own reads failed.

An action is decided on only once every lookup of its enrolment and of its lessons is done: a list
may lack a lesson for a moment, and a lesson found just now may belong into the same email. Lookups
never wait for actions.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from ledger.attempts import SOURCE_REASONS, source_wait
from ledger.engine import Connection, reading, writing
from ledger.heartbeats import release_lease, take_lease
from ledger.intake import Origin, store_notifications
from ledger.open_lookups import OpenLookup, open_lookups
from ledger.outages import end_source_pause, pause_source, source_pause
from ledger.outbox import ClaimedAction, defer_action, settle_action
from schemas.actions import ActionState, LookupState, Outcome
from schemas.errors import (
    RecordStuck,
    RecordUnreadable,
    SourceError,
    SourceRefused,
    SourceUnavailable,
)
from schemas.notification import Notification
from schemas.reasons import Reason
from workers.deliver.context import DeliveryTools
from workers.retries import (
    PROBE_LEASE_S,
    SOURCE_FAILS_AFTER,
    action_back_off_after,
    after_lookup_at,
    send_again_at,
    source_pause_s,
    source_reason,
)

_PROBE = "source.probe"  # the lease of the one action that reads the source after a pause
_PROBE_TAKES = timedelta(seconds=15)
_AFTER_PROBE = timedelta(seconds=1)  # so that the next probe is another action
# A lookup with one of these may wait for ever because of its own record. An action that needs
# nothing else of that record does not wait for it.
_OWN_FAULTS = frozenset({Reason.RECORD_STUCK, Reason.NEXUDUS_REFUSED})


def wait_before_reading(tools: DeliveryTools, claimed: ClaimedAction) -> Outcome | None:
    """Return why this action must not read the source now, or None if it may.

    It waits for lookups, or for the end of a pause after other actions failed. When the pause ends,
    one action reads the source; the others wait for how that ends.
    """
    now = tools.clock.now()
    with reading(tools.engine) as connection:
        waits = wait_for_lookups(connection, claimed, now)
        pause = source_pause(connection)
    if waits is not None or pause is None or pause.tries < SOURCE_FAILS_AFTER:
        return waits
    until = pause.until
    if until <= now:
        with writing(tools.engine) as connection:
            if take_lease(connection, _PROBE, claimed.token, now, lease_s=PROBE_LEASE_S):
                return None
        until = now + _PROBE_TAKES
    return Outcome.waiting(until, pause.reason, pause.answer)


def wait_for_lookups(
    connection: Connection, claimed: ClaimedAction, now: datetime
) -> Outcome | None:
    """Return how long to wait for lookups of this enrolment and its lessons, None if not at all.

    The reason is that of the lookups, if they have one.
    """
    found = [one for one in open_lookups(connection, [claimed.course_member_id]) if _delays(one)]
    if not found:
        return None
    reasons = [one.reason for one in found if one.reason in SOURCE_REASONS]
    last = max(found, key=lambda one: one.due_at)
    return Outcome.waiting(
        max(after_lookup_at(now, one.due_at) for one in found),
        reasons[0] if reasons else Reason.GATHERING,
        f"until {last.entity} {last.record_id} has been read",
    )


def _delays(lookup: OpenLookup) -> bool:
    if lookup.state is LookupState.FAILED:
        return False  # no worker will perform it: see `unproven`
    return lookup.lesson_id is not None or lookup.reason not in _OWN_FAULTS


def unproven(
    connection: Connection,
    tools: DeliveryTools,
    claimed: ClaimedAction,
    missing: Collection[int],
) -> Outcome | None:
    """Return how long to wait for proof that these `missing` lessons are gone; None: it is there.

    A list lacked their completions, and the lookups that read them by Id failed. These are due
    again, and after several tries the action fails.
    """
    failed = [
        one
        for one in open_lookups(connection, [claimed.course_member_id])
        if one.state is LookupState.FAILED and one.lesson_id in missing
    ]
    if not failed:
        return None
    first = failed[0]
    reason = first.reason or Reason.INTERNAL_ERROR
    if reason is not Reason.INTERNAL_ERROR:  # that may end more workers
        again = [Notification(one.entity, one.record_id) for one in failed]
        store_notifications(connection, again, Origin.CHECK, tools.clock.now())
    detail = f"{first.entity} {first.record_id} cannot be read"
    return _try_again(connection, tools, claimed, reason, detail)


def _try_again(
    connection: Connection,
    tools: DeliveryTools,
    claimed: ClaimedAction,
    reason: Reason,
    detail: str,
) -> Outcome:
    """Return the wait after a failure that may pass, or the end after the last try."""
    tries = 1 + _tries(connection, claimed, reason)
    again = send_again_at(tools.clock.now(), tries, chance=tools.clock.random())
    if again is None:
        return Outcome.failed(reason, detail)
    return Outcome.waiting(again, reason, detail)


def _tries(connection: Connection, claimed: ClaimedAction, reason: Reason) -> int:
    """Return how often this action was tried already since it waits for this reason."""
    before = source_wait(connection, claimed.action_id)
    return before.tries if before is not None and before.reason is reason else 0


def settle_source_error(
    tools: DeliveryTools, claimed: ClaimedAction, error: SourceError, *, pauses_others: bool = True
) -> Outcome | None:
    """Record that what this action needs could not be read; return how it ended, None if not ours.

    It is tried again. After several such failures in a row all actions pause, unless
    `pauses_others` is off: the others need nothing of what could not be read.
    """
    with writing(tools.engine) as connection:
        release_lease(connection, _PROBE, claimed.token)
        if isinstance(error, RecordUnreadable):
            outcome = _try_again(connection, tools, claimed, Reason.UNREADABLE, str(error))
        else:
            outcome = _back_off(connection, tools, claimed, error, pauses_others=pauses_others)
        settled = settle_wait(connection, claimed, outcome, tools.clock.now(), tried=True)
    return outcome if settled else None


def _back_off(
    connection: Connection,
    tools: DeliveryTools,
    claimed: ClaimedAction,
    error: SourceError,
    *,
    pauses_others: bool,
) -> Outcome:
    now = tools.clock.now()
    tries = 1 + _tries(connection, claimed, source_reason(error))
    wait = action_back_off_after(error, tries, now, chance=tools.clock.random())
    until = wait.until
    is_own = isinstance(error, RecordStuck) or not pauses_others
    if isinstance(error, SourceUnavailable | SourceRefused) and not is_own:
        pause = pause_source(
            connection,
            wait.reason,
            str(error),
            now,
            lambda failures: source_pause_s(wait.reason, failures),
        )
        until = max(until, pause.until + _AFTER_PROBE)
    return Outcome.waiting(until, wait.reason, str(error))


def end_probe(
    connection: Connection, claimed: ClaimedAction, now: datetime, *, has_read: bool
) -> None:
    """Let the other actions read the source again, if this one did (`has_read`)."""
    if source_pause(connection) is None:
        return
    release_lease(connection, _PROBE, claimed.token)
    if has_read:
        end_source_pause(connection, now, least=SOURCE_FAILS_AFTER)


def release_probe(connection: Connection, claimed: ClaimedAction) -> None:
    """Let another action read the source first, as this one does not."""
    release_lease(connection, _PROBE, claimed.token)


def settle_wait(
    connection: Connection, claimed: ClaimedAction, outcome: Outcome, now: datetime, *, tried: bool
) -> bool:
    """Store an outcome before the hand-over; return False if the action is no longer ours.

    `tried` is whether it waits because it was tried, and what it needs could not be read.
    """
    if outcome.state is ActionState.WAITING:
        return defer_action(connection, claimed, outcome, now, tried=tried)
    return settle_action(connection, claimed, outcome, now)
