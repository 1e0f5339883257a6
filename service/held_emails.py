"""Decides about held, failed and unknown emails, for commands and pages."""

from collections.abc import Callable, Collection
from datetime import datetime

from ledger.engine import Connection, Engine, chunks, lock_decisions, writing
from ledger.heartbeats import Gap
from ledger.interventions import close_ended, hold_open, skip_held
from schemas.actions import Mode
from schemas.reasons import Reason

Decide = Callable[[Connection, Collection[int], str, datetime], list[int]]
_IN_ONE_GO = 2_000  # emails, so that workers and the receiver wait only shortly


def drop_or_close(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime
) -> list[int]:
    """Skip held emails for good, and close failed and unknown ones; return their ids."""
    skipped = skip_held(connection, action_ids, who, now)
    return sorted([*skipped, *close_ended(connection, action_ids, who, now)])


def drop_any(
    connection: Connection, action_ids: Collection[int], who: str, now: datetime
) -> list[int]:
    """Do as `drop_or_close`, also with emails that wait for their time."""
    hold_open(connection, action_ids, who, now)
    return drop_or_close(connection, action_ids, who, now)


def decide_in_parts(
    engine: Engine, action_ids: Collection[int], decide: Decide, who: str, now: datetime
) -> int:
    """Decide about many emails, some at a time; return about how many.

    Each part is a transaction of its own. If the process is killed between two, the emails of the
    later ones stay as they were, and deciding again continues with them.
    """
    number = 0
    for some in chunks(action_ids, _IN_ONE_GO):
        with writing(engine) as connection:
            # An email that is decided at this moment was decided before, or sees this.
            lock_decisions(connection)
            number += len(decide(connection, some, who, now))
    return number


def is_releasable(reason: Reason | None, mode: Mode) -> bool:
    """Return whether emails held for this reason can be released.

    In observe mode nothing is sent, and what a pause holds is sent once the pause ends: released
    before, it would be held again.
    """
    return mode is Mode.SENDING and reason is not Reason.PAUSED


def is_unsure(reason: Reason | None, planned_at: datetime, gap: Gap | None) -> bool:
    """Return whether such an email may have been sent already, before the ledger was restored."""
    return gap is not None and (reason is Reason.RESTORED or planned_at < gap.ended_at)
