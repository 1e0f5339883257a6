"""Figures over several rounds, and the rows of the published table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


class InvalidMeasurementError(Exception):
    """Something was refused, lost or not done, so the figures say nothing."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a figure over the rounds, and its extremes."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of these values."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def over(cls, spreads: Sequence["Spread"]) -> "Spread":
        """Return the median of the medians, and the extremes of all."""
        return cls(
            statistics.median(one.median for one in spreads),
            min(one.least for one in spreads),
            max(one.most for one in spreads),
        )

    def times(self, factor: float) -> "Spread":
        """Return the spread in another unit."""
        return Spread(self.median * factor, self.least * factor, self.most * factor)

    def __str__(self) -> str:
        """Return it as text: `4.9 (4.3-5.4)`."""
        digits = next((count for limit, count in _DIGITS if self.median < limit), 0)
        median, least, most = (
            f"{value:,.{digits}f}" for value in (self.median, self.least, self.most)
        )
        return f"{median} ({least}-{most})"


_DIGITS = ((10, 2), (100, 1))


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is to reach: at least the bound, or, where less is better, at most."""

    bound: float
    less_is_better: bool = False

    def is_reached(self, value: float) -> bool:
        """Tell whether the value reaches the goal."""
        return value <= self.bound if self.less_is_better else value >= self.bound

    def __str__(self) -> str:
        """Return it as text: `at least 4`."""
        return f"{'at most' if self.less_is_better else 'at least'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the published table."""

    part: str
    name: str
    unit: str  # "/s", "s", "ms" or "µs"; a ratio has none
    found: Spread
    goal: Goal | None = None

    @property
    def is_reached(self) -> bool:
        """Whether the median reaches the goal; a row without a goal always does."""
        return self.goal is None or self.goal.is_reached(self.found.median)


def over_runs(runs: Sequence[Sequence[Row]]) -> list[Row]:
    """Return the rows of several whole runs as one table.

    Raises:
        InvalidMeasurementError: the runs did not measure the same rows.
    """
    names = [[(row.part, row.name) for row in rows] for rows in runs]
    if any(one != names[0] for one in names):
        raise InvalidMeasurementError("the runs measured different rows")
    return [
        Row(
            first.part, first.name, first.unit, Spread.over([row.found for row in rows]), first.goal
        )
        for first, rows in zip(runs[0], zip(*runs, strict=True), strict=True)
    ]
