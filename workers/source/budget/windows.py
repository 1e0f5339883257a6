"""The limits of the setting, as a pace and as windows that are counted. Nothing is counted here.

A limit per second is a pace: the source allows one request per 100 ms (contract, section 4), so
ten of them at once would be nine too many. Longer limits are windows.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from limits import parse_many

from workers.source.budget.values import Urgency

_PACE = "second"
# Requests travel for different times, and arrive closer together than they left.
_MARGIN = Fraction(11, 10)  # of the pace
_MARGIN_S = 1  # of each window; it also allows for machines whose clocks differ
_RESERVED = 30  # one in so many is kept for people
_SMALLEST_SHARED = 20  # of less, nothing can be kept back


@dataclass(frozen=True, slots=True)
class Window:
    """At most so many requests in any stretch of so many seconds."""

    unit: str  # "minute", "hour", "day"
    written: str  # as in the setting
    seconds: int  # somewhat more than the unit has
    most: int

    def room(self, urgency: Urgency) -> int:
        """Return how many may leave; work leaves a small part of it to people."""
        if urgency is Urgency.PERSON or self.most < _SMALLEST_SHARED:
            return self.most
        return self.most - max(1, self.most // _RESERVED)


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit: how far apart requests leave, and the windows, the shortest first."""

    pace_ms: int  # 0: as close as they like
    windows: tuple[Window, ...]

    def share(self, shares: int) -> "Limits":
        """Return what one of so many programs may use by itself: at least one of each."""
        windows = (replace(one, most=max(1, one.most // shares)) for one in self.windows)
        return Limits(self.pace_ms * shares, tuple(windows))


def read_limits(written: str) -> Limits:
    """Return the limits of a setting such as `10/second;120/minute`.

    Of two limits for the same unit only the smaller one can ever hold anybody back.

    Raises:
        ValueError: this is not written as `schemas.settings.table.limits` wants it.
    """
    smallest: dict[str, Window] = {}
    for item in parse_many(written):
        unit, amount = item.GRANULARITY.name, item.amount
        if unit not in smallest or amount < smallest[unit].most:
            smallest[unit] = Window(unit, f"{amount}/{unit}", item.get_expiry() + _MARGIN_S, amount)
    pace = smallest.pop(_PACE, None)
    pace_ms = 0 if pace is None else math.ceil(1000 * _MARGIN / pace.most)
    return Limits(pace_ms, tuple(sorted(smallest.values(), key=lambda one: one.seconds)))
