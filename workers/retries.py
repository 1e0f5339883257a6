"""When to try again: the one place with numbers about waiting. Pure: randomness is an argument."""

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

# Waiting for the source or the ledger: short at first, since most failures are short.
_LOOKUP_FIRST_S = 2.0
_LOOKUP_LONGEST_S = 900.0
# One action that is deferred: six tries over most of a day, as mail servers expect.
_SEND_WAITS_S = (60.0, 600.0, 3_600.0, 14_400.0, 50_400.0)

# During an outage one action is tried from time to time: soon where the outage may end by itself,
# and seldom where an operator has to change something.
_OUTAGE_FIRST_S, _OUTAGE_LONGEST_S = 30.0, 900.0
_FAULT_FIRST_S, _FAULT_LONGEST_S = 300.0, 3_600.0
_TRANSIENT_OUTAGES = frozenset(
    {
        Reason.MAIL_UNREACHABLE,
        Reason.MAIL_BUSY,
        Reason.MAIL_INTERRUPTED,
        Reason.DELIVERY_DOWN,
        Reason.DELIVERY_BUSY,
    }
)

# Several actions in a row that cannot read the source delay the reads of all; fewer may each have a
# cause of its own.
SOURCE_FAILS_AFTER = 3
# The first failures of an action wait as long as the fifth of a lookup, which is more urgent.
_LESS_URGENT = 4

# An action waits for a lookup a quarter of the time that has been due, within these limits. The
# longest is below `workers.lookup.read.LONGEST_LOOKUP`, so what the lookup read is still fresh.
_AFTER_LOOKUP_S, _AFTER_LOOKUP_LONGEST_S = 2.0, 60.0

# A person has to fix a refusal. Rare retries notice the fix, and lock no account.
_REFUSED_S = 900.0
_REFUSED_LONGEST_S = 6 * 3600.0

# How long one lookup or action may take to read what it needs: longer than a limit per minute can
# make it wait. With a batch, sending (`SmtpTimeouts`) and recording the receipt, it stays under a
# task's limit of 300 s.
LOOK_PATIENCE_S = 75.0
BATCH_S = 60.0  # claims not started by then are returned

RECEIPT_S = 30.0  # for recording how an attempt ended, if the ledger is busy
PROBE_LEASE_S = 120.0  # for the one action that is tried during an outage

_MOST_JITTER = 1.25
_SOURCE_S = _MOST_JITTER * _LOOKUP_LONGEST_S + 3_600.0  # plus the wait the source asked for
# The longest wait for each reason, counted from our clock. A longer one was written while a clock
# was ahead, and is ended (`ledger.skew`).
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
        Reason.UNREADABLE: _MOST_JITTER * max(_SEND_WAITS_S),
        Reason.INTERNAL_ERROR: _MOST_JITTER * max(_SEND_WAITS_S),
        Reason.NEXUDUS_REFUSED: _MOST_JITTER * _REFUSED_LONGEST_S,
        # Until the end of the night, or the next morning; a day may have 25 hours.
        Reason.QUIET_HOURS: 25 * 3_600.0,
        Reason.CAP_DAY: 49 * 3_600.0,
    }.items()
}

# The same for reports. What a report may cause itself stops no other email, so it waits for that as
# for `MAIL_TEMPORARY`. It checks every hour, or sooner, whether a pause ended or a lookup is done.
LONGEST_REPORT_WAITS: Mapping[Reason, timedelta] = {
    **LONGEST_WAITS,
    **dict.fromkeys(
        (
            Reason.MAIL_INTERRUPTED,
            Reason.MAIL_REFUSES_US,
            Reason.MAIL_RELAY,
            Reason.MAIL_SENDER,
        ),
        LONGEST_WAITS[Reason.MAIL_TEMPORARY],
    ),
    **dict.fromkeys((Reason.PAUSED, Reason.CHANGED_MEANWHILE), timedelta(hours=1)),
}

MOST_LOST_LEASES = 5  # a lookup that lost this many workers in a row fails, for a person to look at


def lookup_again_at(
    now: datetime, attempts: int, *, retry_after_s: float | None, chance: float
) -> datetime:
    """Return when to look again after the `attempts`-th try. `chance` is from 0 to 1.

    It is never sooner than the source asked for.
    """
    grown = min(_LOOKUP_FIRST_S * 2.0 ** min(attempts - 1, 20), _LOOKUP_LONGEST_S)
    return now + timedelta(seconds=_jittered(grown, chance) + (retry_after_s or 0.0))


def refused_again_at(now: datetime, attempts: int, *, chance: float) -> datetime:
    """Return when to try again after the source refused us `attempts` times."""
    grown = min(_REFUSED_S * 2.0 ** min(attempts - 1, 20), _REFUSED_LONGEST_S)
    return now + timedelta(seconds=_jittered(grown, chance))


def send_again_at(now: datetime, attempts: int, *, chance: float) -> datetime | None:
    """Return when to try an action again after the `attempts`-th try; None to give up."""
    if attempts > len(_SEND_WAITS_S):
        return None
    return now + timedelta(seconds=_jittered(_SEND_WAITS_S[attempts - 1], chance))


def outage_wait_s(reason: Reason, failures: int, *, asked_s: float | None = None) -> float:
    """Return how long to pause a channel after this many failures in a row.

    It is never shorter than the receiving system asked for (`asked_s`), up to an hour.
    """
    passes = reason in _TRANSIENT_OUTAGES
    first_s = _OUTAGE_FIRST_S if passes else _FAULT_FIRST_S
    longest_s = _OUTAGE_LONGEST_S if passes else _FAULT_LONGEST_S
    grown = min(first_s * 2.0 ** min(failures - 1, 20), longest_s)
    return max(grown, min(asked_s or 0.0, _FAULT_LONGEST_S))


def source_pause_s(reason: Reason, failures: int) -> float:
    """Return how long no action reads the source after this many failures of actions in a row."""
    if failures < SOURCE_FAILS_AFTER:
        return 0.0
    if reason is Reason.NEXUDUS_REFUSED:
        return _REFUSED_S
    grown = _OUTAGE_FIRST_S * 2.0 ** min(failures - SOURCE_FAILS_AFTER, 20)
    return min(grown, _OUTAGE_LONGEST_S)


def after_lookup_at(now: datetime, due_at: datetime) -> datetime:
    """Return when to check again whether a lookup is done that is or was due at `due_at`."""
    share_s = (now - due_at).total_seconds() / 4
    wait_s = min(max(share_s, _AFTER_LOOKUP_S), _AFTER_LOOKUP_LONGEST_S)
    return max(now, due_at) + timedelta(seconds=wait_s)


def _jittered(wait_s: float, chance: float) -> float:
    return wait_s * (0.75 + 0.5 * chance)


@dataclass(frozen=True, slots=True)
class BackOff:
    """Until when to wait, and why. `counts` is whether this was a failed try."""

    reason: Reason
    until: datetime
    counts: bool = True


def back_off_after(error: SourceError, tries: int, now: datetime, *, chance: float) -> BackOff:
    """Return how long to wait after the `tries`-th try failed with this error."""
    if isinstance(error, SourceRefused):
        return BackOff(Reason.NEXUDUS_REFUSED, refused_again_at(now, tries, chance=chance))
    if isinstance(error, NotThereYet):
        tries = min(tries, 2)  # the record appears within seconds or not at all
    asked_s = error.retry_after_s if isinstance(error, Transient) else None
    # A wait that the source stated is no failure, and need not grow.
    counts = asked_s is None
    until = lookup_again_at(now, tries if counts else 1, retry_after_s=asked_s, chance=chance)
    return BackOff(source_reason(error), until, counts)


def action_back_off_after(
    error: SourceError, tries: int, now: datetime, *, chance: float
) -> BackOff:
    """Return how long an action waits after its `tries`-th try failed with this error."""
    later = 0 if isinstance(error, SourceRefused) else _LESS_URGENT
    return back_off_after(error, tries + later, now, chance=chance)


def source_reason(error: SourceError) -> Reason:
    """Return why something waits after this error, if it is tried again."""
    match error:
        case SourceRefused():
            return Reason.NEXUDUS_REFUSED
        case SourceThrottled():
            return Reason.NEXUDUS_BUSY
        case RecordStuck():
            return Reason.RECORD_STUCK
        case NotThereYet():
            return Reason.NOT_THERE_YET
        case _:
            return Reason.NEXUDUS_DOWN
