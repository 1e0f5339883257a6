"""When to try again: the one place with numbers about waiting. Pure; chance is handed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.outages import OUTAGE_REASONS
from schemas.errors import (
    NotThereYet,
    RecordStuck,
    SourceError,
    SourceRefused,
    SourceThrottled,
    Transient,
)
from schemas.reasons import Reason

# Waiting for the source or the ledger: quickly at first, since most trouble is short.
_LOOKUP_FIRST_S = 2.0
_LOOKUP_LONGEST_S = 900.0
# One action that the other side puts off: six tries over most of a day, as mail servers expect.
_SEND_WAITS_S = (60.0, 600.0, 3_600.0, 14_400.0, 50_400.0)

# While no action of a kind can leave, one is tried now and then: soon where it may pass by itself,
# and seldom where an operator has to change something.
_OUTAGE_FIRST_S, _OUTAGE_LONGEST_S = 30.0, 900.0
_FAULT_FIRST_S, _FAULT_LONGEST_S = 300.0, 3_600.0
_PASSES = frozenset(
    {
        Reason.MAIL_UNREACHABLE,
        Reason.MAIL_BUSY,
        Reason.MAIL_INTERRUPTED,
        Reason.DELIVERY_DOWN,
    }
)

# A refusal is for a person to mend; asking seldom shows when they have, and locks nobody out.
_REFUSED_S = 900.0
_REFUSED_LONGEST_S = 6 * 3600.0

# How long one look-up or action may take to read what it needs: longer than the source's limit for
# a minute may make it wait. Together with a batch, sending (`workers.actions.email.connection`) and
# recording the receipt it is under a task's limit of 300 s.
LOOK_PATIENCE_S = 75.0
BATCH_S = 60.0  # what is not begun by then goes back

RECEIPT_S = 30.0  # for writing down how a hand-over ended, if the ledger is busy
PROBE_LEASE_S = 120.0  # for the one action that is tried during an outage

_MOST_JITTER = 1.25
_SOURCE_S = _MOST_JITTER * _LOOKUP_LONGEST_S + 3_600.0  # and the source's own wish
# The longest wait for each reason that is counted from the time here. One that is longer was put
# down by a clock that was ahead, and ends (`ledger.skew`).
LONGEST_WAITS: Mapping[Reason, timedelta] = {
    reason: timedelta(seconds=seconds)
    for reason, seconds in {
        **dict.fromkeys(OUTAGE_REASONS, _FAULT_LONGEST_S),
        Reason.HANDOVER_UNKNOWN: _LOOKUP_LONGEST_S,
        Reason.MAIL_TEMPORARY: _MOST_JITTER * max(_SEND_WAITS_S),
        Reason.DELIVERY_LATER: _MOST_JITTER * max(_SEND_WAITS_S),
        Reason.NEXUDUS_DOWN: _SOURCE_S,
        Reason.NEXUDUS_BUSY: _SOURCE_S,
        Reason.NOT_THERE_YET: _SOURCE_S,
        Reason.RECORD_STUCK: _SOURCE_S,
        Reason.NEXUDUS_REFUSED: _MOST_JITTER * _REFUSED_LONGEST_S,
        # Until the end of the night, or the next morning; a day may have 25 hours.
        Reason.QUIET_HOURS: 25 * 3_600.0,
        Reason.CAP_DAY: 49 * 3_600.0,
    }.items()
}

MOST_LOST_LEASES = 5  # a look-up that ended so many workers in a row is looked at by a person


def lookup_again_at(
    now: datetime, attempts: int, *, retry_after_s: float | None, chance: float
) -> datetime:
    """Return when to look again after the `attempts`-th try. `chance` is from 0 to 1.

    The source's own wish is never undercut.
    """
    grown = min(_LOOKUP_FIRST_S * 2.0 ** min(attempts - 1, 20), _LOOKUP_LONGEST_S)
    return now + timedelta(seconds=_jittered(grown, chance) + (retry_after_s or 0.0))


def refused_again_at(now: datetime, attempts: int, *, chance: float) -> datetime:
    """Return when to ask again after the source refused us the `attempts`-th time."""
    grown = min(_REFUSED_S * 2.0 ** min(attempts - 1, 20), _REFUSED_LONGEST_S)
    return now + timedelta(seconds=_jittered(grown, chance))


def send_again_at(now: datetime, attempts: int, *, chance: float) -> datetime | None:
    """Return when to send an action again after the `attempts`-th try; None: give up."""
    if attempts > len(_SEND_WAITS_S):
        return None
    return now + timedelta(seconds=_jittered(_SEND_WAITS_S[attempts - 1], chance))


def outage_wait_s(reason: Reason, failures: int) -> float:
    """Return how many seconds to send nothing of a kind after so many failures in a row."""
    passes = reason in _PASSES
    first_s = _OUTAGE_FIRST_S if passes else _FAULT_FIRST_S
    longest_s = _OUTAGE_LONGEST_S if passes else _FAULT_LONGEST_S
    return min(first_s * 2.0 ** min(failures - 1, 20), longest_s)


def _jittered(wait_s: float, chance: float) -> float:
    return wait_s * (0.75 + 0.5 * chance)


@dataclass(frozen=True, slots=True)
class BackOff:
    """Until when to wait, and why. Unless it `counts`, this was no failed try."""

    reason: Reason
    until: datetime
    counts: bool = True


def back_off_after(error: SourceError, tries: int, now: datetime, *, chance: float) -> BackOff:
    """Return how long to wait after the `tries`-th try failed with this error."""
    if isinstance(error, SourceRefused):
        return BackOff(Reason.NEXUDUS_REFUSED, refused_again_at(now, tries, chance=chance))
    if isinstance(error, NotThereYet):
        tries = min(tries, 2)  # it is a matter of seconds, and then of a decision
    wish = error.retry_after_s if isinstance(error, Transient) else None
    # With a stated wait this was no failure, and the wait need not grow each time.
    counts = wish is None
    until = lookup_again_at(now, tries if counts else 1, retry_after_s=wish, chance=chance)
    return BackOff(_reason(error), until, counts)


def _reason(error: SourceError) -> Reason:
    match error:
        case SourceThrottled():
            return Reason.NEXUDUS_BUSY
        case RecordStuck():
            return Reason.RECORD_STUCK
        case NotThereYet():
            return Reason.NOT_THERE_YET
        case _:
            return Reason.NEXUDUS_DOWN
