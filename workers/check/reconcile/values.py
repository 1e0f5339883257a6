"""What a full comparison is asked for, and what it found. Values only."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ledger.records import References, SeenVersion
from schemas.entity import Entity
from schemas.reasons import Reason


class Way(StrEnum):
    """In which way a record differs."""

    MISSING = "missing"  # the source lists it, and here it is not known
    GONE = "gone"  # it is here, and the source does not list it
    DIFFERENT = "different"  # the source lists another version than was asked about or decided on


class How(StrEnum):
    """What is to be done about what differs."""

    NOTHING = "nothing"
    IMPORT = "import"  # read it, and write to nobody about what happened until now
    SEND = "send"  # read it, and write as if somebody had just told us of it


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared. None: all of it.

    `since`: only what was changed since then, or made, for completions. `course_ids`: only what
    belongs to these courses.
    """

    since: datetime | None = None
    course_ids: frozenset[int] | None = None
    accept_gone: bool = False  # somebody looked, and what is not listed was deleted on purpose


@dataclass(frozen=True, slots=True)
class Difference:
    """One record that differs, with what is known of it. `at` is the source's time of it.

    `person` is a name, and never an address. `reason` says why the last look-up of it found
    nothing. `seen` is the row of the list, or None where there was none.
    """

    way: Way
    entity: Entity
    record_id: int
    references: References
    at: datetime | None = None
    person: str | None = None
    course: str | None = None
    lesson: str | None = None
    reason: Reason | None = None
    seen: SeenVersion | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """One kind of record. `rows` were listed and `known` were here, both within the scope.

    `under_way`: how many are about to be read in any case, so that nothing is said of them.
    `unplaced`: how many finished lessons belong to enrolments that nobody here knows, so that
    their course could not be told. `doubt`: why nothing was taken as gone, and what to do about it.
    """

    entity: Entity
    rows: int
    known: int
    under_way: int
    unplaced: int
    differences: tuple[Difference, ...]
    doubt: str | None = None

    def count(self, way: Way) -> int:
        """Return how many differ in this way."""
        return sum(one.way is way for one in self.differences)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found, for each kind of record."""

    scope: Scope
    kinds: tuple[Compared, ...]

    def of(self, way: Way) -> list[Difference]:
        """Return all that differ in this way, enrolments first."""
        return [one for one in self._all() if one.way is way]

    @property
    def doubt(self) -> str | None:
        """Return why nothing of a kind was taken as gone; None if there was no doubt."""
        return " ".join(kind.doubt for kind in self.kinds if kind.doubt) or None

    @property
    def differs(self) -> bool:
        """Say whether anything differs, or may differ."""
        return self.doubt is not None or any(kind.differences for kind in self.kinds)

    def report(self) -> dict[str, object]:
        """Return the counts and the doubt, without a name."""
        counts = {
            kind.entity.value: {
                "rows": kind.rows,
                "known": kind.known,
                "under_way": kind.under_way,
                "unplaced": kind.unplaced,
                **{way.value: kind.count(way) for way in Way},
            }
            for kind in self.kinds
        }
        return {**counts, "doubt": self.doubt}

    def _all(self) -> Iterator[Difference]:
        for kind in self.kinds:
            yield from kind.differences
