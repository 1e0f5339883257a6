"""Random rules files and random histories in plain words, each from a seed."""

import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import count
from zoneinfo import ZoneInfo

from schemas.errors import ConfigurationError
from schemas.rules import Rules, load_rules
from workers.actions.registry import kinds_for_rules

_ZONES = (
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",  # its clocks change at midnight
    "Africa/Cairo",  # so do these
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # its clocks change by half an hour
    "Pacific/Chatham",
    "Pacific/Honolulu",
    "Pacific/Kiritimati",
)
_HISTORIES_PER_FILE = 4  # reading a file takes longer than playing a history
_COURSES = ("Freelance Finance", "Sales")
_PEOPLE = ("Ana", "Ben", "Cem")
_PAUSES_S = (0, 1, 59, 300, 1200, 1800, 3600, 7200, 18_000, 43_200, 86_400, 259_200, 604_800)
_LATE_S = (60, 900, 3600, 10_800, 43_200, 86_400, 172_800, 172_801, 432_000)


@dataclass(frozen=True)
class RandomCase:
    """A rules file, and a history to play by it."""

    rules: str
    zone: str
    people: dict[str, str]
    history: str

    def load(self) -> Rules:
        """Load the rules. Raises `ConfigurationError` if they are refused."""
        return _loaded(self.rules)


def random_case(seed: int) -> RandomCase:
    """Return the case of this seed. Four in a row have the same rules."""
    chance = random.Random(f"history {seed}")  # noqa: S311 - nothing secret
    people = {name: chance.choice(_ZONES) for name in _PEOPLE if chance.random() < 0.5}
    zone = chance.choice(_ZONES)
    history = _History(chance, chance.choice([zone, *people.values()])).write()
    return RandomCase(_rules(seed // _HISTORIES_PER_FILE), zone, people, history)


@lru_cache(maxsize=8)
def _loaded(rules: str) -> Rules:
    return load_rules(rules, "rules.yaml", actions=kinds_for_rules())


@lru_cache(maxsize=8)
def _rules(seed: int) -> str:
    """Return random rules that are not refused."""
    for draw in count():
        text = _Rules(random.Random(f"rules {seed} {draw}")).write()  # noqa: S311 - nothing secret
        with suppress(ConfigurationError):
            _loaded(text)
            return text
    raise AssertionError


@cache
def _clock_changes(zone: str) -> list[datetime]:
    """Return the hours of 2026 in which the clocks of a zone change, except late in the year."""
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=one) for one in range(24 * 310)]
    offsets = [one.astimezone(ZoneInfo(zone)).utcoffset() for one in hours]
    changes = zip(hours[1:], offsets, offsets[1:], strict=False)
    return [hour for hour, before, after in changes if before != after]


class _Rules:
    """Writes one rules file."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def _is(self, probability: float) -> bool:
        return self._chance.random() < probability

    def write(self) -> str:
        lines = ["version: 1", f"timing: {{{self._timing(0.6, reminders=True)}}}"]
        if self._is(0.2):
            counts = self._chance.choice(("[button]", "[visited, video]", "[video, button]"))
            lines.append(f"completion: {{counts: {counts}}}")
        number = self._chance.choice((1, 2, 2, 3, 3, 4, 5))
        if self._is(0.3):
            lines += ["courses:", *self._courses(number)]
        lines.append("rules:")
        lines += [f"  - {{{self._rule(one)}}}" for one in range(number)]
        return "\n".join(lines) + "\n"

    def _courses(self, number: int) -> list[str]:
        pick, lines = self._chance.choice, []
        for names in (pick(("Sales", "[sales, 9999]", "1235")), "FREELANCE finance"):
            if self._is(0.7):
                off = f", off: r{pick(range(number))}" if self._is(0.4) else ""
                timing = self._timing(0.2, reminders=True)
                lines.append(f"  - {{course: {names}{off}{', ' * bool(timing)}{timing}}}")
        return lines or ["  - {course: Other, spread: none}"]

    def _timing(self, share: float, *, reminders: bool) -> str:
        """Write each timing key with this probability."""
        choices: dict[str, tuple[str, ...]] = {
            "quiet_hours": (
                '"20:00-08:00"',
                '"22:00-01:30"',
                '"12:00-14:15"',
                '"12:00-12:30"',
                '"00:00-06:00"',
                '"23:30-02:30"',
                '"17:00-13:00"',
                "none",
                "none",
            ),
            "send": (
                '"09:00-18:00 mon-fri"',
                '"06:30-24:00"',
                '"10:00-12:00 tue,sat-sun"',
                '"01:15-02:45"',
                '"00:00-24:00 mon,wed-thu"',
                "none",
                "none",
            ),
            "holidays": (self._holidays(), self._holidays(), "2026-03-09"),
            "spread": ("none", "none", "45m", "30s", "3h"),
            "cap_per_day": ("none", "1", "2", "3"),
            "cap_per_week": ("none", "1", "2", "4"),
            "stale_after": ("none", "48h", "12h", "1h"),
            "flood": ("none", "none", "25/10m", "2/10m", "3/1h", "4/1d"),
        }
        if reminders:
            choices["reminders_per_week"] = ("none", "1", "2")
            choices["reminders_per_enrolment"] = ("none", "1", "2", "3")
            choices["count_nexudus"] = ("true", "true", "false")
        keys = [key for key in choices if self._is(share)]
        return ", ".join(f"{key}: {self._chance.choice(choices[key])}" for key in keys)

    def _holidays(self) -> str:
        """Write a third of the days of some months."""
        first = datetime(2026, self._chance.randint(1, 8), 1, tzinfo=UTC)
        days = sorted(self._chance.sample(range(120), 40))
        return f"[{', '.join(f'{first + timedelta(days=day):%Y-%m-%d}' for day in days)}]"

    def _rule(self, number: int) -> str:
        pick = self._chance.choice
        event = pick(
            (
                "enrolled",
                "enrolled",
                "lesson_completed",
                "lesson_completed",
                "lesson_completed",
                "course_started",
                "course_completed",
                "course_completed",
                "enrolment_approved",
                "not_started",
                "stalled",
                "lesson_available",
            )
        )
        parts = [f"name: r{number}", f"event: {event}", "action: email"]
        is_reminder = event in {"not_started", "stalled", "lesson_available"}
        if not is_reminder and self._is(0.25):
            is_reminder = self._is(0.5)
            parts.append(f"stream: {'reminder' if is_reminder else 'service'}")
        if self._is(0.07):
            parts.append(f"enabled: {pick(('true', 'false', 'false'))}")
        if event in {"not_started", "stalled"} and self._is(0.6):
            parts.append(f"after: {pick(('3d', '[7d, 21d]', '[36h, 5d]', '[14d]', '30m'))}")
        parts += self._sending(event)
        if self._is(0.3):
            parts.append(f"where: {{{self._where(event)}}}")
        if timing := self._timing(0.12, reminders=is_reminder):
            parts.append(timing)
        return ", ".join(parts)

    def _sending(self, event: str) -> list[str]:
        """Write the template, and whether it is delayed, gathered or a sequence."""
        pick = self._chance.choice
        templates = {
            "enrolled": ("welcome",),
            "lesson_completed": ("lesson-finished",),
            "course_started": ("lesson-finished",),
            "course_completed": ("course-finished", "lesson-finished"),
            "enrolment_approved": ("welcome",),
            "not_started": ("not-started",),
            "stalled": ("stalled",),
            "lesson_available": ("lesson-available",),
        }
        template = pick(templates[event])
        if event == "lesson_completed" and self._is(0.65):
            most = pick(("3h", "3h", "2h", "1d"))
            gather = [f"gather: {pick(('30m', '30m', '10m', '2h', '40m'))}"]
            return [f"template: {template}", *gather, *[f"gather_at_most: {most}"] * self._is(0.8)]
        is_absence = event in {"not_started", "stalled", "lesson_available"}
        if not is_absence and self._is(0.2):
            steps = pick(("[0d, 3d, 7d]", "[1h, 2d, 30d]", "[30m, 1d, 10d]"))
            until = [f"until: {pick(('started', 'finished'))}"] * self._is(0.7)
            later = "not-started" if event == "enrolled" else template
            both = pick((template, f"[{template}, {later}, {template}]"))
            return [f"template: {both}", f"steps: {steps}", *until]
        delay = [f"delay: {pick(('1s', '20m', '1h', '3d'))}"] * self._is(0.25)
        return [f"template: {template}", *delay]

    def _where(self, event: str) -> str:
        choices = {
            "course": ("sales", "[1234, Nothing]", "' Freelance Finance '", "1235"),
            "group": ("business", "[Arts]"),
            "location": ("500", "harbour WORKS", "[1, Quay]"),
            "host": ("Rita",),
            "visibility": ("public", "[private, paid]", "[hidden, public]"),
            "team": ("red", "[Blue, green]"),
            "coworker_type": ("individual", "company"),
            "completion": ("100", "50-99", "0-30", "13-100"),
        }
        if event == "lesson_completed":
            choices["completion_type"] = ("button", "[video, none]", "[visited, button]")
        pick = self._chance.choice
        lines = [f"{key}: {pick(choices[key])}" for key in choices if self._is(0.15)]
        excluded = [f"{key}: {pick(choices[key])}" for key in choices if self._is(0.08)]
        if excluded or not lines:
            excluded = excluded or ["team: red"]
            lines.append(f"not: {{{', '.join(excluded)}}}")
        return ", ".join(lines)


class _History:
    """Writes one history. It keeps in mind who is enrolled, since only they can do anything."""

    def __init__(self, chance: random.Random, zone: str) -> None:
        self._chance = chance
        self._enrolled: set[tuple[str, str]] = set()
        self._lines: list[str] = []
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=chance.randint(0, 300))
        self._change, changes = start, _clock_changes(zone)
        if changes and chance.random() < 0.6:
            self._change = chance.choice(changes)
            start = self._change - timedelta(hours=chance.randint(1, 40))
        self._now = start + timedelta(minutes=chance.randint(0, 120))

    def _is(self, probability: float) -> bool:
        return self._chance.random() < probability

    def write(self) -> str:
        for name in _PEOPLE:
            self._introduce(name)
        if self._is(0.7):
            for course in _COURSES:
                number = self._chance.choice((1, 2, 2, 3, 3, 4))
                self._say(f"the course{self._of(course)} has {number} lessons")
        for _ in range(self._chance.choice((0, 0, 0, 1, 2))):
            self._change_lesson()
        for _ in range(self._chance.choice((2, 4, 6, 8, 12, 16))):
            self._continue()
        if not self._enrolled:
            self._enrol()
        for _ in range(self._chance.choice((0, 0, 0, 12))):
            self._nexudus()
        return "\n".join(self._lines)

    def _introduce(self, name: str) -> None:
        facts = (
            (0.06, "is a company"),
            (0.15, "is in team Red"),
            (0.1, "is in team BLUE"),
            (0.6, "agrees to reminders"),
        )
        for probability, words in facts:
            if self._is(probability):
                self._say(f"{name} {words}")

    def _say(self, words: str, found: str = "") -> None:
        self._lines.append(f"{self._written(self._now)} {words}{found}")

    @staticmethod
    def _written(moment: datetime) -> str:
        return f"{moment.day} {moment:%b %H:%M:%S}Z"

    @staticmethod
    def _of(course: str, word: str = "") -> str:
        return "" if course == _COURSES[0] else f" {word}{' ' * bool(word)}{course}"

    def _do(self, words: str) -> None:
        """Say that a person does something, which is found at once, late, or before its time."""
        seconds = timedelta(seconds=self._chance.choice(_LATE_S))
        if self._is(0.04):
            self._lines.append(
                f"{self._written(self._now + seconds)} {words}, found {self._written(self._now)}"
            )
            return
        found = f", found {self._written(self._now + seconds)}" if self._is(0.25) else ""
        self._say(words, found)

    def _continue(self) -> None:
        pause = self._chance.choice(_PAUSES_S)
        self._now += timedelta(seconds=pause)
        if self._is(0.2):
            self._now += timedelta(seconds=self._chance.randint(0, 3 * pause + 60))
        if self._now < self._change and self._is(0.2):
            at = self._change + timedelta(minutes=self._chance.randint(-90, 90))
            self._now = max(self._now, at)
        if self._now > datetime(2026, 12, 1, tzinfo=UTC):
            return
        if not self._enrolled or self._is(0.2):
            self._enrol()
            return
        chances = (
            (40, self._finish),
            (6, self._visit),
            (6, self._reopen),
            (8, self._change_enrolment),
            (6, self._change_person),
            (4, self._change_course),
            (3, self._change_lesson),
            (4, self._change_mode),
            (6, self._release),
            (6, self._nexudus),
        )
        weights, acts = zip(*chances, strict=True)
        self._chance.choices(acts, weights)[0]()

    def _one(self) -> tuple[str, str]:
        return self._chance.choice(sorted(self._enrolled))

    def _enrol(self) -> None:
        name, course = self._chance.choice(_PEOPLE), self._chance.choice(_COURSES)
        if (name, course) not in self._enrolled:
            self._enrolled.add((name, course))
            words = "enrols" if self._is(0.8) else "asks for a place"
            self._do(f"{name} {words}{self._of(course, 'on')}")

    def _finish(self) -> None:
        name, course = self._one()
        for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
            number = self._chance.choice((1, 1, 1, 2, 2, 2, 3, 3, 4, 8))
            self._do(f"{name} finishes lesson {number}{self._of(course, 'of')}")
            self._now += timedelta(seconds=self._chance.choice((0, 60, 600, 1500)))

    def _visit(self) -> None:
        name, course = self._one()
        self._do(f"{name} opens the course{self._of(course, 'on')}")

    def _reopen(self) -> None:
        name, course = self._one()
        number = self._chance.choice((1, 1, 2, 2, 3))
        self._do(f"{name}'s lesson {number}{self._of(course, 'of')} is reopened")

    def _change_enrolment(self) -> None:
        name, course = self._one()
        words = self._chance.choice(("approved", "approved", "blocked", "unblocked", "leaves"))
        if words == "leaves":
            self._do(f"{name} leaves{self._of(course)}")
            self._enrolled.discard((name, course))
        else:
            self._do(f"{name} is {words}{self._of(course, 'on')}")

    def _change_person(self) -> None:
        words = [
            "has no address",
            "is inactive",
            "wants no emails",
            "wants no service emails",
            *["agrees to reminders"] * 3,
            *[f"moves to {self._chance.choice(_ZONES)}"] * 4,
        ]
        self._say(f"{self._one()[0]} {self._chance.choice(words)}")

    def _change_course(self) -> None:
        words = self._chance.choice(("switched off", "switched on", "private"))
        self._say(f"the course{self._of(self._chance.choice(_COURSES))} is {words}")

    def _change_lesson(self) -> None:
        course, number = self._chance.choice(_COURSES), 1
        days = self._chance.choice((1, 3, 10))
        words = ("is switched off", "is not tracked", *(f"opens after {days} days",) * 3)
        self._say(f"lesson {number}{self._of(course, 'of')} {self._chance.choice(words)}")

    def _change_mode(self) -> None:
        self._say(self._chance.choice(("sending begins", "sending ends")))

    def _nexudus(self) -> None:
        """Let Nexudus itself write to a member now, or later, when reminders may be due."""
        words = self._chance.choice(("writes to", "writes to", "reminds"))
        later = timedelta(hours=self._chance.choice((0, self._chance.randint(0, 500))))
        self._lines.append(f"{self._written(self._now + later)} Nexudus {words} {self._one()[0]}")

    def _release(self) -> None:
        self._say(f"{self._one()[0]}'s held emails are released")
