"""What a budget is asked with and what it answers. No waiting and no broker here."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Urgency(Enum):
    """Who waits for the answer."""

    PERSON = "person"  # somebody in front of a screen
    WORK = "work"  # look-ups, emails, checks


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request may wait for its turn, and what has to be done meanwhile."""

    urgency: Urgency
    until: float  # clock.monotonic() after which waiting is given up
    keep: Callable[[], None]  # called before and about each half second; what it raises passes


class Budgeting(Protocol):
    """What the source client needs of a budget."""

    def take(self, patience: Patience) -> None:
        """Return when one request may leave; see `Budget.take`."""

    def calm(self, seconds: float) -> None:
        """Hear that the source asked for quiet; see `Budget.calm`."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One limit of a minute or longer, and how much of it is used now."""

    limit: str  # as written in the setting, "120/minute"
    used: int
    most: int  # the share of this program while it is alone


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How the budget stands at this moment."""

    shared: bool  # False: the broker is away, and this program uses its share
    calm_s: float  # how long the source still wants quiet; 0.0: not at all
    spent: tuple[Spent, ...]
