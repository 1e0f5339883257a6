"""A budget that is never spent. tests/contract/test_budget_double.py holds it to the real one."""

from workers.source.limits import Patience


class OpenGate:
    """The interface of `Budgeting`. `taken` is how many left, `calms` what was asked for."""

    def __init__(self) -> None:
        self.taken = 0
        self.back_offs: list[float] = []

    def take(self, patience: Patience) -> None:
        """Let every request leave at once."""
        patience.keep()
        self.taken += 1

    def back_off(self, seconds: float) -> None:
        """Record the requested back-off, and delay nothing."""
        self.back_offs.append(seconds)
