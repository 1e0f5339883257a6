"""How far clocks may differ, and what that means for a time that should be past.

Several hosts need clocks that agree. `TOLERANCE` is how far apart they may be before one host
takes a live lease of another for a leftover of a clock that was ahead. Rows in a lease, which ends
by a token anyway, are never performed twice.
"""

from datetime import datetime, timedelta

TOLERANCE = timedelta(minutes=5)


def is_ahead(moment: datetime, now: datetime) -> bool:
    """Return whether a time that should be past is further in the future than clocks may differ."""
    return moment > now + TOLERANCE


def is_within(moment: datetime, now: datetime, length: timedelta) -> bool:
    """Return whether a past time is less than `length` ago; one far in the future is not."""
    return not is_ahead(moment, now) and now - moment < length
