"""Counts requests in windows, by the strategies of the library `limits`, wherever it keeps them.

A minute and an hour are moving windows: one time per request is kept, and no stretch ever holds
more. A day would be a list of 200,000 times; it is two counters, which estimate. Times are those
of whoever asks, so the clocks of several machines must agree to about a second.
"""

import time
from collections.abc import Sequence

from limits import RateLimitItemPerSecond
from limits.storage import Storage
from limits.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from workers.source.budget.values import Spent, Urgency
from workers.source.budget.windows import Window

_ESTIMATED_FROM_S = 86_400
_SOON_S = 0.02  # somebody was quicker; asking again at once would only meet the next one


class _Item(RateLimitItemPerSecond):
    """A limit whose key does not hold its amount.

    So work and people are counted together, although work sees a smaller limit; and a limit that
    was changed in the setting goes on with what is already used.
    """

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """Return the key under which this limit is counted."""
        return "/".join(str(part) for part in identifiers)


class Counting:
    """The windows, counted in one place: on the broker, or in this program."""

    def __init__(self, windows: Sequence[Window], storage: Storage) -> None:
        moving = MovingWindowRateLimiter(storage)
        sliding = SlidingWindowCounterRateLimiter(storage)
        self._counted = tuple(
            (window, sliding if window.seconds >= _ESTIMATED_FROM_S else moving)
            for window in windows
        )

    def wait_s(self, urgency: Urgency) -> float:
        """Return in how many seconds every window may have room; 0.0: each has room now."""
        longest = 0.0
        for window, strategy in self._counted:
            reset_at, left = strategy.get_window_stats(_item(window, urgency), window.unit)
            if left <= 0:
                # A clock that was wrong for a while may have left times that are still to come.
                reset_s = min(reset_at - time.time(), window.seconds)
                longest = max(longest, reset_s, _SOON_S)
        return longest

    def hit(self, urgency: Urgency) -> float:
        """Count one request in every window, and return 0.0; or in how many seconds to ask again.

        It is asked after `wait_s` said that all have room, so that only a race leaves one counted
        in a short window and refused by a longer one. Then one request too few leaves.
        """
        for window, strategy in self._counted:
            if not strategy.hit(_item(window, urgency), window.unit):
                return _SOON_S
        return 0.0

    def note(self) -> None:
        """Count one request that left already, in every window that still counts."""
        for window, strategy in self._counted:
            strategy.hit(_item(window, Urgency.PERSON), window.unit)

    def spent(self) -> tuple[Spent, ...]:
        """Return how much of each window is used now."""
        found = []
        for window, strategy in self._counted:
            item = _item(window, Urgency.PERSON)
            left = strategy.get_window_stats(item, window.unit).remaining
            found.append(Spent(window.written, max(0, window.most - left), window.most))
        return tuple(found)


def _item(window: Window, urgency: Urgency) -> _Item:
    return _Item(window.room(urgency), window.seconds)
