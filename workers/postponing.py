"""How long to wait after the source gave nothing usable, and for which reason."""

from dataclasses import dataclass
from datetime import datetime

from schemas.errors import (
    NotThereYet,
    RecordStuck,
    SourceError,
    SourceRefused,
    SourceThrottled,
    Transient,
)
from schemas.reasons import Reason
from workers.retries import lookup_again_at, refused_again_at


@dataclass(frozen=True, slots=True)
class Postponement:
    """Until when to wait, and why. Unless it `counts`, this was no failed try."""

    reason: Reason
    until: datetime
    counts: bool = True


def postponement(error: SourceError, tries: int, now: datetime, *, chance: float) -> Postponement:
    """Return how long to wait after the `tries`-th try failed with this error."""
    if isinstance(error, SourceRefused):
        return Postponement(Reason.NEXUDUS_REFUSED, refused_again_at(now, tries, chance=chance))
    if isinstance(error, NotThereYet):
        tries = min(tries, 2)  # it is a matter of seconds, and then of a decision
    wish = error.retry_after_s if isinstance(error, Transient) else None
    # With a stated wait this was no failure, and the wait need not grow each time.
    counts = wish is None
    until = lookup_again_at(now, tries if counts else 1, retry_after_s=wish, chance=chance)
    return Postponement(_reason(error), until, counts)


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
