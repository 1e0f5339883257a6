"""The loaded rules, and the search for names in them that the source does not have.

Durations are whole seconds, in names that end in `_s`. The defaults of `Timing` apply to a file
without timing.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any

from schemas.actions import HOST, MEMBER, audience_of
from schemas.entity import CompletionType, CoworkerKind, Visibility
from schemas.events import TIMED, EventKind
from schemas.text import folded, nearest


class Stream(StrEnum):
    """The kind of email, to which members can agree or object."""

    SERVICE = "service"  # about something they did
    REMINDER = "reminder"  # about something they did not do; needs their consent

    @classmethod
    def usual_for(cls, event: EventKind) -> "Stream":
        """Return the stream of emails about an event, unless a rule names another."""
        return cls.REMINDER if event in TIMED else cls.SERVICE


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `start` to `end` on the person's wall clock; may cross midnight."""

    start: time
    end: time

    def covers(self, clock: time) -> bool:
        """Return whether this time of day is quiet; the start is, the end is not."""
        if self.start > self.end:
            return clock >= self.start or clock < self.end
        return self.start <= clock < self.end


@dataclass(frozen=True, slots=True)
class Flood:
    """More than `count` within `window_s` seconds is held for a person."""

    count: int
    window_s: int


@dataclass(frozen=True, slots=True)
class SendWindow:
    """From `start` until before `end` on these days of the week, on the person's wall clock.

    Monday is 0. An `end` of midnight is the end of the day.
    """

    start: time
    end: time
    days: frozenset[int]

    def is_open(self, clock: time) -> bool:
        """Return whether this time of a day that counts is inside."""
        return self.start <= clock and (self.end == time() or clock < self.end)


# For reminders, unless a rule or the file says otherwise.
REMINDER_WINDOW = SendWindow(time(9), time(17), frozenset(range(5)))


@dataclass(frozen=True, slots=True)
class Timing:
    """When emails may be sent, and how many. None is no limit.

    `spread_s` is over how long emails are spread that all waited for the same moment. `brake` times
    the busiest day of the accepted forecast is how many emails a rule may send on one day. The last
    three apply to rules of the stream `reminder` only; with `count_nexudus` the messages that
    Nexudus itself sent to the person count towards the limits.
    """

    quiet_hours: QuietHours | None = QuietHours(time(20), time(8))
    cap_per_day: int | None = 2
    cap_per_week: int | None = 4
    stale_after_s: int | None = 48 * 3_600
    flood: Flood | None = Flood(25, 600)
    send: SendWindow | None = None
    holidays: tuple[date, ...] = ()
    spread_s: int | None = 45 * 60
    brake: Decimal | None = None
    reminders_per_week: int | None = 1
    reminders_per_enrolment: int | None = 2
    count_nexudus: bool = False

    def leaves_time(self) -> bool:
        """Return whether there is a minute of the week in which an email may be sent."""
        return any(
            (self.send is None or self.send.is_open(clock))
            and (self.quiet_hours is None or not self.quiet_hours.covers(clock))
            for clock in (time(hour, minute) for hour in range(24) for minute in range(60))
        )


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions of a rule; all must hold. A condition holds if it is empty or one value matches.

    Names and Ids are as written in the file; courses and locations may be given by either.
    `completion` is from how many to how many percent of the lessons that count are done. None of
    the conditions in `excluded` (`not` in the file) may match.
    """

    course: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    team: tuple[str, ...] = ()
    location: tuple[str, ...] = ()
    coworker_type: tuple[CoworkerKind, ...] = ()
    visibility: tuple[Visibility, ...] = ()
    completion_type: tuple[CompletionType, ...] = ()
    host: tuple[str, ...] = ()
    completion: tuple[int, int] | None = None
    excluded: "Where | None" = None


class Until(StrEnum):
    """What ends a sequence early."""

    STARTED = "started"
    FINISHED = "finished"


class Every(StrEnum):
    """How often a digest is sent."""

    WEEK = "week"  # on Monday
    MONTH = "month"  # on the first day


@dataclass(frozen=True, slots=True)
class Digest:
    """One digest: who enrolled, who finished and who got stuck, in courses that match `where`.

    `to` is `host`, for a digest of their own courses to each host, or addresses. A member is stuck
    who finished nothing and opened nothing for `stuck_after_s`.
    """

    name: str
    every: Every
    where: Where
    stuck_after_s: int
    enabled: bool
    to: tuple[str, ...] = field(repr=False)  # addresses stay out of logs

    @property
    def is_to_hosts(self) -> bool:
        """Whether each host gets one about their own courses."""
        return HOST in self.to


@dataclass(frozen=True, slots=True)
class SequenceStep:
    """One email of a sequence: how long after the event it is due, and its template."""

    after_s: int
    template: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `timing` is the file's, with this rule's overrides applied.

    `own_timing` are the names of the timing keys that the rule itself sets.

    `after_s` are the lengths of an absence that it is about. `steps` are the emails of a sequence,
    which `until` ends early; without, there is one email.
    `gather_s` is how long to wait after each event for more that share its email; None for one
    email each. `gather_at_most_s` is the longest wait in total; None for no limit.
    With `certificate` its emails carry a certificate of completion.
    `to` is whom it writes to: `member`, or `host` and addresses, or endpoints as `endpoint:NAME`,
    or `record` or `staff`. `text` is that of a note or task, `responsible` who gets the task.
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
    after_s: tuple[int, ...] = ()
    steps: tuple[SequenceStep, ...] = ()
    until: Until | None = None
    certificate: bool = False
    own_timing: frozenset[str] = frozenset()
    to: tuple[str, ...] = field(default=(MEMBER,), repr=False)  # addresses stay out of logs
    text: str | None = None
    responsible: int | None = None

    @property
    def audiences(self) -> tuple[str | None, ...]:
        """Whom each email is to, as `audience_of` names them, each once."""
        return tuple(dict.fromkeys(map(audience_of, self.to)))

    def address_of(self, audience: str | None) -> str | None:
        """Return the address in the file of this audience; None if it has none."""
        fixed = (one for one in self.to if "@" in one)
        return next((one for one in fixed if audience_of(one) == audience), None)


@dataclass(frozen=True, slots=True)
class CourseRules:
    """What differs for some courses: rules that are off, and timing for all rules.

    `course` are Ids or titles, `timing` has values by the names of fields of `Timing`.
    """

    course: tuple[str, ...]
    off: tuple[str, ...]
    timing: Mapping[str, Any]

    def is_about(self, course_id: int, title: str | None) -> bool:
        """Return whether this course is one of them."""
        return is_named(self.course, course_id, title)


def is_named(wanted: tuple[str, ...], record_id: int, name: str | None) -> bool:
    """Return whether a record with this Id and name is among those written in the file."""
    return bool({str(record_id), folded(name)} & {folded(one) for one in wanted})


@dataclass(frozen=True, slots=True)
class Rules:
    """A loaded rules file. `counts` are the lessons that a course needs; `digest` is its text's."""

    rules: tuple[Rule, ...]
    counts: frozenset[CompletionType]
    digest: str
    courses: tuple[CourseRules, ...] = ()
    digests: tuple[Digest, ...] = ()

    def conditions(self) -> list[Where]:
        """Return the conditions of all rules and digests."""
        return [one.where for one in self.rules] + [one.where for one in self.digests]

    def digest_named(self, name: str) -> Digest | None:
        """Return the enabled digest of this name, or None."""
        return next((one for one in self.digests if one.enabled and one.name == name), None)

    def for_event(self, kind: EventKind) -> tuple[Rule, ...]:
        """Return the enabled rules about this kind of event, in the file's order."""
        return tuple(rule for rule in self.rules if rule.enabled and rule.event is kind)

    def for_course(self, rule: Rule, course_id: int, title: str | None) -> Rule:
        """Return the rule as it applies to this course."""
        found = next((one for one in self.courses if one.is_about(course_id, title)), None)
        if found is None:
            return rule
        values = {key: value for key, value in found.timing.items() if key not in rule.own_timing}
        is_on = rule.enabled and rule.name not in found.off
        return replace(rule, timing=replace(rule.timing, **values), enabled=is_on)

    def timing_in_courses(self, rule: Rule) -> Iterator[tuple[int, Timing]]:
        """Yield the timing of a rule in each entry of `courses` that leaves it on, by its place."""
        for place, entry in enumerate(self.courses):
            there = self.for_course(rule, 0, entry.course[0])
            if there.enabled:
                yield place, there.timing

    def leave_time(self) -> bool:
        """Return whether each rule may send in some minute of the week, in every course."""
        return all(
            rule.timing.leaves_time()
            and all(timing.leaves_time() for _, timing in self.timing_in_courses(rule))
            for rule in self.rules
        )

    def braked(self) -> tuple[str, ...]:
        """Return the names of the enabled rules with a brake, for all courses or for some."""
        by_course = any(one.timing.get("brake") for one in self.courses)
        return tuple(
            rule.name
            for rule in self.rules
            if rule.enabled
            and (rule.timing.brake or (by_course and "brake" not in rule.own_timing))
        )

    def timed(self) -> dict[EventKind, frozenset[int]]:
        """Return the events that enabled rules wait for, by kind, with the lengths of absences."""
        found: dict[EventKind, frozenset[int]] = {}
        for rule in self.rules:
            if rule.enabled and rule.event in TIMED:
                found[rule.event] = found.get(rule.event, frozenset()) | set(rule.after_s)
        return found

    def has_certificates(self) -> bool:
        """Return whether an enabled rule sends certificates of completion."""
        return any(rule.certificate for rule in self.rules if rule.enabled)

    def counts_nexudus(self) -> bool:
        """Return whether messages of Nexudus count for an enabled reminder, in some course."""
        in_a_course = any(one.timing.get("count_nexudus") for one in self.courses)
        return any(
            rule.timing.count_nexudus or (in_a_course and "count_nexudus" not in rule.own_timing)
            for rule in self.rules
            if rule.enabled and rule.stream is Stream.REMINDER
        )

    def by_name(self, name: str) -> Rule | None:
        """Return the rule of that name, enabled or not, or None if there is none."""
        return next((rule for rule in self.rules if rule.name == name), None)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The courses of the source. Names are None where the list of courses omits them.

    `courses` and `locations` are names by Id, `groups` the groups of courses. `seen_at` is when
    they were listed.
    """

    courses: Mapping[int, str | None]
    groups: frozenset[str | None]
    locations: Mapping[int, str | None]
    seen_at: datetime


def names_in(where: Where) -> list[tuple[str, str]]:
    """Return, by condition, the names that can be compared with the courses of the source."""
    keys = {"course": where.course, "group": where.group, "location": where.location}
    found = [(key, name) for key, names in keys.items() for name in names]
    return found + (names_in(where.excluded) if where.excluded else [])


def unknown_names(rules: Rules, catalogue: Catalogue | None) -> Iterator[str]:
    """Yield a sentence for each name in an enabled rule that does not exist at the source.

    Yields nothing while no course was listed, or where the list omits such names.
    """
    if catalogue is None or not catalogue.courses:
        return
    known = {
        "course": (catalogue.courses.keys(), catalogue.courses.values()),
        "group": ((), catalogue.groups),
        "location": (catalogue.locations.keys(), catalogue.locations.values()),
    }
    named: tuple[Rule | Digest, ...] = (*rules.rules, *rules.digests)
    for one in named:
        word = "rule" if isinstance(one, Rule) else "digest"
        for key, name in names_in(one.where) if one.enabled else ():
            ids, names = known[key]
            if not _is_known(name, ids, names):
                meant = nearest(name, [other for other in names if other])
                hint = f"; did you mean {meant}?" if meant else ""
                called = f"has the Id or the name {name}" if name.isdigit() else f"is called {name}"
                yield f"{word} {one.name}: no {key} at Nexudus {called}{hint}"
    ids, names = known["course"]
    for name in (name for one in rules.courses for name in one.course):
        if not _is_known(name, ids, names):
            meant = nearest(name, [one for one in names if one])
            hint = f"; did you mean {meant}?" if meant else ""
            yield f"courses: no course at Nexudus has the Id or title {name}{hint}"


def _is_known(name: str, ids: Collection[int], names: Collection[str | None]) -> bool:
    if None in names:  # some names are unknown, so this may be one of them
        return True
    return folded(name) in {*map(str, ids), *map(folded, names)}
