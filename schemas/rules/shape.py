"""What loaded rules look like. Durations are whole seconds, and their names end in `_s`.

The defaults of `Timing` are the ones a file gets that says nothing about timing.
"""

from dataclasses import dataclass
from datetime import time
from enum import StrEnum

from schemas.events import EventKind
from schemas.vocabulary import CompletionType, CoworkerKind, Visibility


class Stream(StrEnum):
    """What kind of email it is to the person."""

    SERVICE = "service"  # about something they did
    REMINDER = "reminder"  # about something they did not do: needs their consent


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` to `end` on the wall clock where the person is, past midnight if need be."""

    start: time
    end: time


@dataclass(frozen=True, slots=True)
class Flood:
    """More than `count` within `window_s` seconds is held for a person."""

    count: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Timing:
    """When emails may go, and how many. None means no such limit."""

    quiet_hours: QuietHours | None = QuietHours(time(20), time(8))
    cap_per_day: int | None = 2
    cap_per_week: int | None = 4
    stale_after_s: int | None = 48 * 3_600
    flood: Flood | None = Flood(25, 600)


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions; all must hold. An empty one always holds, else one of its values must fit.

    Names and ids stand as they were written; courses and locations may be given by either.
    """

    course: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    team: tuple[str, ...] = ()
    location: tuple[str, ...] = ()
    coworker_type: tuple[CoworkerKind, ...] = ()
    visibility: tuple[Visibility, ...] = ()
    completion_type: tuple[CompletionType, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `timing` is the file's, with what this rule says otherwise already put in.

    `gather_s` is the quiet time before one email covers several events, None for one each;
    `gather_at_most_s` is the longest it may take in all, None for no end.
    """

    name: str
    event: EventKind
    action: str
    template: str | None
    stream: Stream
    delay_s: int
    gather_s: int | None
    gather_at_most_s: int | None
    timing: Timing
    where: Where
    enabled: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """A rules file. `counts` are the lessons that a course needs; `digest` names this very text."""

    rules: tuple[Rule, ...]
    counts: frozenset[CompletionType]
    digest: str

    def for_event(self, kind: EventKind) -> tuple[Rule, ...]:
        """Return the enabled rules about this kind of event, in the file's order."""
        return tuple(rule for rule in self.rules if rule.enabled and rule.event is kind)

    def by_name(self, name: str) -> Rule | None:
        """Return the rule of that name, enabled or not, or None if there is none."""
        return next((rule for rule in self.rules if rule.name == name), None)
