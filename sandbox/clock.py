"""The time of the stand-in's world. It runs as everywhere, or stands where a test set it.

Records, webhooks and emails are dated by it. Tokens, quotas and delays are not: they are about this
machine, where time cannot be set.
"""

from datetime import UTC, datetime
from typing import Any


class WorldClock:
    """One clock for a whole run. Safe to use from several threads."""

    def __init__(self) -> None:
        self._stands_at: datetime | None = None

    def __call__(self) -> datetime:
        """Return the time, in UTC."""
        return self._stands_at or datetime.now(UTC)

    def stand(self, at: datetime) -> None:
        """Stand at an aware moment until told otherwise."""
        self._stands_at = at.astimezone(UTC)

    def run(self) -> None:
        """Be the real time again."""
        self._stands_at = None

    def report(self) -> dict[str, Any]:
        """Return the time, and whether it is the real one."""
        return {"now": self().isoformat().replace("+00:00", "Z"), "real": self._stands_at is None}
