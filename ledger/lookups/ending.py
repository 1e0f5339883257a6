"""Ends look-ups: done, waiting, given back, or failed; and only while the lease is still ours."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, update

from ledger.lookups.claiming import Claim, is_ours
from ledger.tables import lookups
from schemas.reasons import Reason
from schemas.states import LookupState

# Somebody asked for the record while it was being read.
_ASKED_AGAIN = lookups.c.asked > lookups.c.leased_asked


def finish_lookup(
    connection: Connection, claim: Claim, now: datetime, reason: Reason | None = None
) -> bool:
    """End a look-up as done, or as due again if somebody asked meanwhile.

    `reason` says why there was nothing to find: the record is gone.

    Returns False when the lease was lost: then nothing of this work may be committed.
    """
    return _settle(
        connection,
        claim,
        state=case((_ASKED_AGAIN, LookupState.DUE), else_=LookupState.DONE),
        due_at=now,
        asked_at=case((_ASKED_AGAIN, now), else_=lookups.c.asked_at),
        attempts=0,
        reason=reason,
        last_error=None,
    )


def postpone_lookup(  # noqa: PLR0913 - what, until when, why, and whether it counts
    connection: Connection,
    claim: Claim,
    until: datetime,
    reason: Reason,
    error: str,
    *,
    counted: bool = True,
) -> bool:
    """Let a look-up wait until a time, because the source could not answer now.

    Unless `counted`, this was no failed attempt.
    """
    return _settle(
        connection,
        claim,
        state=LookupState.WAITING,
        attempts=claim.attempts - (not counted),
        due_at=until,
        reason=reason,
        last_error=error,
    )


def return_lookup(connection: Connection, claim: Claim, until: datetime, reason: Reason) -> bool:
    """Give back a look-up that was not begun, without counting an attempt."""
    return _settle(
        connection,
        claim,
        state=LookupState.WAITING,
        due_at=until,
        reason=reason,
        attempts=claim.attempts - 1,
        lost_leases=claim.lost_leases,
    )


def fail_lookup(connection: Connection, claim: Claim, reason: Reason, error: str) -> bool:
    """End a look-up that cannot succeed; a new notification makes it due again.

    One that came while we were reading does so too: it may speak of what repaired the record.
    """
    return _settle(
        connection,
        claim,
        state=case((_ASKED_AGAIN, LookupState.DUE), else_=LookupState.FAILED),
        attempts=case((_ASKED_AGAIN, 0), else_=lookups.c.attempts),
        reason=reason,
        last_error=error,
    )


def _settle(connection: Connection, claim: Claim, **values: Any) -> bool:  # noqa: ANN401 - columns
    done = connection.execute(
        update(lookups)
        .where(is_ours(claim))
        .values({"lease_until": None, "lease_token": None, "lost_leases": 0, **values})
    )
    return done.rowcount == 1
