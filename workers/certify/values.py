"""What a certificate is made of: rows of the source, what the ledger has, fates and differences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from ledger.retention import ATTEMPTS
from ledger.stories.certificate import Asked, Effect, Happened, Kept, Link, Seen, Stock
from schemas.entity import Entity
from schemas.records import Lesson
from workers.certify.words import Fate, Kind

Ref = tuple[Entity, int]  # a record at the source


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` on and before `until`; the days are those of `zone`.

    `is_cut`: the last days asked for are not over, or only just.
    """

    first: date
    last: date
    since: datetime
    until: datetime
    zone: ZoneInfo
    is_cut: bool = False

    def holds(self, moment: datetime) -> bool:
        """Say whether this lies in the window."""
        return self.since <= moment < self.until

    def day(self, moment: datetime) -> date:
        """Return the day of this moment."""
        return moment.astimezone(self.zone).date()


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of a list of the source. What the row leaves out is None."""

    entity: Entity
    record_id: int
    created_at: datetime
    course_id: int | None = None
    coworker_id: int | None = None
    course_member_id: int | None = None
    lesson_id: int | None = None
    person: str | None = None
    lesson: str | None = None
    course: str | None = None

    @property
    def ref(self) -> Ref:
        """Which record this is."""
        return self.entity, self.record_id


@dataclass(frozen=True, slots=True)
class Member:
    """Whose enrolment in which course, as far as the ledger or the source can say."""

    course_id: int | None
    coworker_id: int | None
    is_gone: bool = False
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A course and where it is offered."""

    title: str
    location_id: int | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Schooling:
    """The lessons of a course, if all that was known of them was so since `unchanged_since`."""

    counting: tuple[Lesson, ...]
    unchanged_since: datetime


@dataclass(frozen=True, slots=True)
class Here:
    """What the ledger has about the window, and what is needed to name it.

    `began_at` is when the lists of the source began to be read; `listed` is every record that they
    showed, also those just outside the window. `events` has those of the window and those that the
    rows of the source lead to; `event_ids` are all that links lead to and that are there.
    `stated` is how many rows of the window the source's lists say they have, `stock` how many rows
    the database counts; nothing else here is made of either.
    """

    window: Window
    began_at: datetime
    listed: frozenset[Ref] = frozenset()
    kept: Mapping[Ref, Kept] = field(default_factory=dict)
    seen: Mapping[Ref, Seen] = field(default_factory=dict)
    asked: Mapping[Ref, Asked] = field(default_factory=dict)
    events: Mapping[str, Happened] = field(default_factory=dict)
    effects: Mapping[int, Effect] = field(default_factory=dict)
    links: frozenset[Link] = frozenset()
    event_ids: frozenset[int] = frozenset()
    members: Mapping[int, Member] = field(default_factory=dict)
    first_lessons: Mapping[tuple[int, int], datetime] = field(default_factory=dict)
    schooling: Mapping[int, Schooling] = field(default_factory=dict)
    people: Mapping[int, str] = field(default_factory=dict)
    lessons: Mapping[int, str] = field(default_factory=dict)
    courses: Mapping[int, Place] = field(default_factory=dict)
    rules: str = ""
    stated: Mapping[Entity, int] = field(default_factory=dict)
    stock: Stock = field(default_factory=Stock)

    @property
    def traced_since(self) -> datetime:
        """Since when the attempts at every action are kept; older ones may be deleted."""
        return self.began_at - ATTEMPTS


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not accounted for, by name. `record_id` is its Id at the source, if known.

    `detail` says what is missing, in words without anybody's address.
    """

    kind: Kind
    day: date
    location: str
    course: str
    person: str
    lesson: str | None
    entity: Entity | None
    record_id: int | None
    detail: str


Counts = Counter[tuple[str, str | None]]  # a word and its reason


@dataclass(slots=True)
class Line:
    """One course on one day.

    Rows and fates are of what was created then. An email is counted once, on the day of the first
    thing that it is about.
    """

    location: str
    location_id: int | None
    course: str
    course_id: int | None
    day: date
    at_source: Counter[Entity] = field(default_factory=Counter)
    here: Counter[Entity] = field(default_factory=Counter)
    fates: Counts = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    event_fates: Counts = field(default_factory=Counter)
    emails: Counts = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Sum:
    """One number in two ways: as it was counted apart from us, and as the lines add up to it."""

    what: str
    counted: int
    shown: int

    @property
    def closes(self) -> bool:
        """Say whether the two are the same."""
        return self.counted == self.shown


@dataclass(frozen=True, slots=True)
class Certificate:
    """The whole.

    `carried_over` are emails that are also about this window and are counted on other days.
    `not_here` are rows of the source that are not here (yet), `only_here` those it does not list.
    `traced_since` is set if the attempts at some emails of the window may have been deleted for
    their age: it was not checked whether those at emails planned before are all here.
    """

    window: Window
    lines: Sequence[Line]
    totals: Line
    carried_over: int
    not_here: int
    only_here: int
    differences: Sequence[Difference]
    sums: Sequence[Sum]
    traced_since: datetime | None = None

    @property
    def closes(self) -> bool:
        """Say whether every sum is the same both ways, and somebody can account for each row."""
        unaccounted = Fate.UNACCOUNTED, None
        lost = self.totals.fates[unaccounted] + self.totals.event_fates[unaccounted]
        return not lost and all(one.closes for one in self.sums)

    @property
    def is_clean(self) -> bool:
        """Say whether nothing was missed."""
        return not self.differences and self.closes
