"""The limits on requests to the source, and how requests are counted against them.

A limit per second is a pace: the source allows one request per 100 ms (contract, section 4), so ten
at once would be nine too many. Longer limits are windows. A minute and an hour are moving windows:
the time of each request is stored, so the limit is never exceeded. A day would need a list of
200,000 times, so two counters estimate it. Times are those of the requesting machine, so the clocks
of several machines must agree to about a second.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from typing import Protocol

from limits import RateLimitItemPerSecond, parse_many
from limits.storage import Storage
from limits.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter


class Urgency(Enum):
    """Whether a person waits for the answer."""

    PERSON = "person"  # a person at a screen
    WORK = "work"  # lookups, emails, polls


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request may wait for the budget, and what to call meanwhile."""

    urgency: Urgency
    until: float  # clock.monotonic() when waiting ends
    keep: Callable[[], None]  # called before and every half second; its exceptions pass through


class Budgeting(Protocol):
    """The part of a budget that the source client uses."""

    def take(self, patience: Patience) -> None:
        """Return when one request may leave; see `Budget.take`."""

    def back_off(self, seconds: float) -> None:
        """Stop requests because the source asked for it; see `Budget.back_off`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One limit of a minute or longer, and how much of it is used now."""

    limit: str  # as written in the setting, "120/minute"
    used: int
    most: int  # the share of this process while the broker is unreachable


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The current state of the budget."""

    shared: bool  # False: the broker is unreachable, and this process uses its share
    back_off_s: float  # rest of a back-off that the source requested
    usage: tuple[Usage, ...]


_PACE = "second"
# Requests take different times, and can arrive closer together than they left.
_MARGIN = Fraction(11, 10)  # of the pace
_MARGIN_S = 1  # of each window; it also allows for machines whose clocks differ
_RESERVED = 30  # one in so many is kept for people
_SMALLEST_SHARED = 20  # smaller limits have no reserve
_ESTIMATED_FROM_S = 86_400


@dataclass(frozen=True, slots=True)
class Window:
    """At most `most` requests within any `seconds`."""

    unit: str  # "minute", "hour", "day"
    written: str  # as in the setting
    seconds: int  # somewhat more than the unit has
    most: int

    @property
    def is_estimated(self) -> bool:
        """Whether two counters estimate it, since a list of all times would be too long."""
        return self.seconds >= _ESTIMATED_FROM_S

    def room(self, urgency: Urgency) -> int:
        """Return how many requests may leave; a small part is reserved for people."""
        if urgency is Urgency.PERSON or self.most < _SMALLEST_SHARED:
            return self.most
        return self.most - max(1, self.most // _RESERVED)


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits: the time between requests, and the windows, shortest first."""

    pace_ms: int  # 0: no pace
    windows: tuple[Window, ...]

    def share(self, shares: int) -> "Limits":
        """Return the share of one of so many processes: at least one request of each."""
        windows = (replace(one, most=max(1, one.most // shares)) for one in self.windows)
        return Limits(self.pace_ms * shares, tuple(windows))


def read_limits(written: str) -> Limits:
    """Return the limits of a setting such as `10/second;120/minute`.

    Of two limits for the same unit only the smaller one matters.

    Raises:
        ValueError: the text is not in the form that `schemas.settings.table.limits` accepts.
    """
    smallest: dict[str, Window] = {}
    for item in parse_many(written):
        unit, amount = item.GRANULARITY.name, item.amount
        if unit not in smallest or amount < smallest[unit].most:
            smallest[unit] = Window(unit, f"{amount}/{unit}", item.get_expiry() + _MARGIN_S, amount)
    pace = smallest.pop(_PACE, None)
    pace_ms = 0 if pace is None else math.ceil(1000 * _MARGIN / pace.most)
    return Limits(pace_ms, tuple(sorted(smallest.values(), key=lambda one: one.seconds)))


_FEWEST_THREADS, _MOST_THREADS = 4, 16
_REQUESTS_OF_A_THREAD = 20  # in a second, if the source answers in 50 ms


def threads_for(limits: Limits) -> int:
    """Return how many threads can use up these limits, from 4 to 16.

    More would only wait for each other, and their lookups would run out of patience.
    """
    rates = [one.most / one.seconds for one in limits.windows]
    rates += [1000 / limits.pace_ms] if limits.pace_ms else []
    wanted = math.ceil(min(rates) / _REQUESTS_OF_A_THREAD) if rates else _MOST_THREADS
    return min(max(wanted, _FEWEST_THREADS), _MOST_THREADS)


_SOON_S = 0.02  # another process was faster, and probably would be on an immediate retry


class _Item(RateLimitItemPerSecond):
    """A limit whose key does not contain its amount.

    So requests of work and of people are counted together, although work has a smaller limit; and
    after a change of the setting, earlier requests still count.
    """

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """Return the key under which this limit is counted."""
        return "/".join(str(part) for part in identifiers)


class Counting:
    """Counts the windows, on the broker or in this process."""

    def __init__(self, windows: Sequence[Window], storage: Storage) -> None:
        moving = MovingWindowRateLimiter(storage)
        sliding = SlidingWindowCounterRateLimiter(storage)
        self._counted = tuple(
            (window, sliding if window.is_estimated else moving) for window in windows
        )

    def wait_s(self, urgency: Urgency) -> float:
        """Return after how many seconds every window may have room; 0.0 is now."""
        longest = 0.0
        for window, strategy in self._counted:
            reset_at, left = strategy.get_window_stats(_item(window, urgency), window.unit)
            if left <= 0:
                # A clock that was ahead may have left times in the future.
                reset_s = min(reset_at - time.time(), window.seconds)
                longest = max(longest, reset_s, _SOON_S)
        return longest

    def hit(self, urgency: Urgency) -> float:
        """Count one request in every window and return 0.0, or after how many seconds to retry.

        Called after `wait_s` found room in all. In a race a request may be counted in a short
        window and refused by a longer one; then one request too few leaves.
        """
        for window, strategy in self._counted:
            if not strategy.hit(_item(window, urgency), window.unit):
                return _SOON_S
        return 0.0

    def note(self) -> None:
        """Count one request that already left, in every window."""
        for window, strategy in self._counted:
            strategy.hit(_item(window, Urgency.PERSON), window.unit)

    def usage(self) -> tuple[Usage, ...]:
        """Return how much of each window is used now."""
        found = []
        for window, strategy in self._counted:
            item = _item(window, Urgency.PERSON)
            left = strategy.get_window_stats(item, window.unit).remaining
            found.append(Usage(window.written, max(0, window.most - left), window.most))
        return tuple(found)


def _item(window: Window, urgency: Urgency) -> _Item:
    return _Item(window.room(urgency), window.seconds)
