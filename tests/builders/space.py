"""A space with people and courses, as Nexudus has it, changed by lines in plain words."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from schemas.actions import Mode
from schemas.entity import CompletionType, CoworkerKind, UnlockType, Visibility
from schemas.person import Person
from schemas.records import CompletedLesson, Course, CourseMember, Lesson, Message
from tests.builders.records import course, course_member, lesson
from tests.builders.send_context import person

_YEAR = 2026
_LINE = re.compile(
    r"(?P<at>\d{1,2} \w{3} \d\d:\d\d(:\d\d)?Z?) (?P<what>.+?)(?:, found (?P<found>.+))?"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_COURSE = "Freelance Finance"
_LESSONS = 8
Words = dict[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a history: it happens at `at`, and Coursebell finds it at `found_at`."""

    at: datetime
    found_at: datetime
    what: str


def step_of(line: str, zone: ZoneInfo) -> Step:
    """Read one line; its times are in this zone, or in UTC with a Z."""
    written = _LINE.fullmatch(line.strip())
    assert written, f"not a line of a history: {line!r}"
    at = _moment(written["at"], zone)
    found = written["found"]
    return Step(at, at if found is None else _moment(found, zone), written["what"])


def _moment(text: str, zone: ZoneInfo) -> datetime:
    day, month, clock = text.removesuffix("Z").split()
    hour, minute, second = (int(part) for part in f"{clock}:0".split(":")[:3])
    where = UTC if text.endswith("Z") else zone
    date = (_YEAR, _MONTHS.index(month) + 1, int(day))
    return datetime(*date, hour, minute, second, tzinfo=where).astimezone(UTC)


def clock(moment: datetime, zone: ZoneInfo) -> str:
    """Write a moment as lines of a history do."""
    local = moment.astimezone(zone)
    seconds = f":{local:%S}" if local.second else ""
    return f"{local.day} {_MONTHS[local.month - 1]} {local:%H:%M}{seconds}"


@dataclass(slots=True)
class Member:
    """One person in one course. `before` is the enrolment that Coursebell decided on last.

    `gone` are completions that were deleted, when the lessons `reopened` were reopened.
    """

    enrolment: CourseMember | None = None
    before: CourseMember | None = None
    done: list[CompletedLesson] = field(default_factory=list)
    gone: list[CompletedLesson] = field(default_factory=list)
    reopened: set[int] = field(default_factory=set)


class Space:
    """What is true now. `zones` are those of people whose zone is not the business's."""

    def __init__(self, zones: Mapping[str, str]) -> None:
        self.people: dict[str, Person] = {}
        self.courses: dict[str, Course] = {}
        self.lessons: dict[int, list[Lesson]] = {}
        self.members: dict[tuple[str, str], Member] = {}
        self.choices: dict[str, dict[str, bool]] = {}
        self.messages: dict[str, list[Message]] = {}  # from Nexudus itself
        self.mode = Mode.SENDING
        self.sending_since: datetime | None = None
        self._zones = zones
        self._teams: dict[str, str] = {}
        self._records = 5000

    def happen(self, step: Step) -> tuple[str, str] | None:
        """Change what is true; return whose enrolment on which course it concerns, if any."""
        for pattern, change in _CHANGES:
            found = pattern.fullmatch(step.what)
            if found:
                words = found.groupdict()
                title = words.get("title") or _COURSE
                change(self, step, words | {"title": title})
                return (words["who"], title) if "who" in words else None
        raise AssertionError(f"nothing is known about: {step.what!r}")

    def person(self, name: str) -> Person:
        """Return a person, who exists from the first mention on."""
        if name not in self.people:
            zone = self._zones.get(name)
            self.people[name] = person(
                coworker_id=70 + len(self.people), full_name=name, first_name=name, zone=zone
            )
        return self.people[name]

    def course(self, title: str) -> Course:
        """Return a course, which exists from the first mention on, with its lessons."""
        if title not in self.courses:
            record_id = 1234 + len(self.courses)
            self.courses[title] = course(record_id=record_id, title=title)
            self.lessons[record_id] = [
                lesson(number, course_id=record_id) for number in range(1, _LESSONS + 1)
            ]
        return self.courses[title]

    def member(self, name: str, title: str) -> Member:
        """Return a person in a course."""
        return self.members.setdefault((name, title), Member())

    def whose(self, enrolment_id: int) -> tuple[str, str] | None:
        """Return the person and the course of an enrolment, unless it is gone."""
        for whose, member in self.members.items():
            if member.enrolment is not None and member.enrolment.record_id == enrolment_id:
                return whose
        return None

    def _new_id(self) -> int:
        self._records += 1
        return self._records

    def enrol(self, step: Step, words: Words, *, approved: bool) -> None:
        """Enrol a person anew."""
        member, someone = self.member(words["who"], words["title"]), self.person(words["who"])
        place = self.course(words["title"])
        member.done, member.gone, member.reopened = [], [], set()
        member.enrolment = course_member(
            record_id=self._new_id(),
            created_at=step.at,
            updated_at=step.at,
            course_id=place.record_id,
            course_title=place.title,
            coworker_id=someone.coworker_id,
            coworker_kind=someone.kind,
            full_name=someone.full_name,
            team_names=self._teams.get(words["who"]),
            approved=approved,
        )

    def change_enrolment(self, step: Step, words: Words, **changes: Any) -> None:  # noqa: ANN401 - any field of the record
        """Change an enrolment."""
        member = self.member(words["who"], words["title"])
        assert member.enrolment is not None, f"{words['who']} is not enrolled"
        member.enrolment = replace(member.enrolment, updated_at=step.at, **changes)

    def leave(self, _: Step, words: Words) -> None:
        """Delete an enrolment."""
        member = self.member(words["who"], words["title"])
        member.before, member.enrolment = member.enrolment, None

    def finish(self, step: Step, words: Words) -> None:
        """Add a completed lesson."""
        member, number = self.member(words["who"], words["title"]), int(words["number"])
        assert member.enrolment is not None, f"{words['who']} is not enrolled"
        member.reopened.discard(number)
        member.done.append(
            CompletedLesson(
                self._new_id(), step.at, step.at, number, None, member.enrolment.record_id, None
            )
        )

    def visit(self, step: Step, words: Words) -> None:
        """Note that a person opened the course, as Nexudus does."""
        self.change_enrolment(step, words, last_access_at=step.at)

    def reopen(self, _: Step, words: Words) -> None:
        """Delete a completed lesson."""
        member, number = self.member(words["who"], words["title"]), int(words["number"])
        member.gone += [one for one in member.done if one.lesson_id == number]
        member.done = [one for one in member.done if one.lesson_id != number]
        member.reopened.add(number)

    def change_person(self, _: Step, words: Words, **changes: Any) -> None:  # noqa: ANN401 - any field of the record
        """Change a profile."""
        who = words["who"]
        self.people[who] = replace(self.person(who), **changes)

    def move(self, _: Step, words: Words) -> None:
        """Change the time zone of a profile."""
        self.people[words["who"]] = replace(self.person(words["who"]), zone=words["zone"])

    def join_team(self, _: Step, words: Words) -> None:
        """Put a person into a team, before they enrol."""
        self._teams[words["who"]] = words["team"]

    def choose(self, _: Step, words: Words, *, stream: str, choice: bool) -> None:
        """Store what a person wants."""
        self.choices.setdefault(words["who"], {})[stream] = choice

    def write(self, step: Step, words: Words, *, reminder: bool) -> None:
        """Let Nexudus itself write to a person."""
        whose = self.person(words["who"]).coworker_id
        about = "4c5d" if reminder else None
        written = Message(self._new_id(), step.at, step.at, whose, reminder_id=about)
        self.messages.setdefault(words["who"], []).append(written)

    def change_course(self, _: Step, words: Words, **changes: Any) -> None:  # noqa: ANN401 - any field of the record
        """Change a course."""
        place = self.course(words["title"])
        self.courses[words["title"]] = replace(place, **changes)

    def host(self, _: Step, words: Words) -> None:
        """Let a person be the host of a course."""
        whose = self.person(words["host"])
        place = replace(
            self.course(words["title"]), host_id=whose.coworker_id, host_name=whose.full_name
        )
        self.courses[words["title"]] = place

    def change_lesson(self, _: Step, words: Words, **changes: Any) -> None:  # noqa: ANN401 - any field of the record
        """Change a lesson."""
        lessons = self.lessons[self.course(words["title"]).record_id]
        at = int(words["number"]) - 1
        lessons[at] = replace(lessons[at], **changes)

    def time_lesson(self, step: Step, words: Words) -> None:
        """Let a lesson open some days after the enrolment."""
        days = int(words["days"])
        self.change_lesson(step, words, unlock_type=UnlockType.TIMED, unlock_after_days=days)

    def cut_lessons(self, _: Step, words: Words) -> None:
        """Keep only the first lessons of a course."""
        del self.lessons[self.course(words["title"]).record_id][int(words["number"]) :]

    def change_mode(self, step: Step, _: Words, *, mode: Mode) -> None:
        """Switch sending on or off."""
        self.mode = mode
        if mode is Mode.SENDING:
            self.sending_since = self.sending_since or step.at

    def release(self, _: Step, words: Words) -> None:
        """Nothing changes at Nexudus when an operator releases emails."""
        assert words["who"] in self.people


_TITLE = r"(?: (?:of|on) (?P<title>[A-Z][\w ]*?))?"
_ABOUT = r"the course(?: (?P<title>[A-Z][\w ]*?))?"
_Change = Callable[[Space, Step, Words], None]


def _with(change: Callable[..., None], **fixed: object) -> _Change:
    return lambda space, step, words: change(space, step, words, **fixed)


# What may stand in a line, and what it changes. The first that matches counts.
_CHANGES: list[tuple[re.Pattern[str], _Change]] = [
    (re.compile(pattern), change)
    for pattern, change in (
        (rf"(?P<who>\w+) enrols{_TITLE}", _with(Space.enrol, approved=True)),
        (rf"(?P<who>\w+) asks for a place{_TITLE}", _with(Space.enrol, approved=False)),
        (rf"(?P<who>\w+) is approved{_TITLE}", _with(Space.change_enrolment, approved=True)),
        (rf"(?P<who>\w+) is blocked{_TITLE}", _with(Space.change_enrolment, blocked=True)),
        (rf"(?P<who>\w+) is unblocked{_TITLE}", _with(Space.change_enrolment, blocked=False)),
        (rf"(?P<who>\w+) is in team (?P<team>\w+){_TITLE}", Space.join_team),
        (r"(?P<who>\w+) leaves(?: (?P<title>[A-Z][\w ]*?))?", Space.leave),
        (rf"(?P<who>\w+) finishes lesson (?P<number>\d+){_TITLE}", Space.finish),
        (rf"(?P<who>\w+) opens the course{_TITLE}", Space.visit),
        (rf"(?P<who>\w+)'s lesson (?P<number>\d+){_TITLE} is reopened", Space.reopen),
        (r"(?P<who>\w+) has no address", _with(Space.change_person, email=None)),
        (r"(?P<who>\w+) is inactive", _with(Space.change_person, active=False)),
        (r"(?P<who>\w+) is a company", _with(Space.change_person, kind=CoworkerKind.COMPANY)),
        (r"(?P<who>\w+) moves to (?P<zone>[A-Z]\S+)", Space.move),
        (
            r"(?P<who>\w+) wants no service emails",
            _with(Space.choose, stream="service", choice=False),
        ),
        (r"(?P<who>\w+) wants no emails", _with(Space.choose, stream="all", choice=False)),
        (r"(?P<who>\w+) wants one email a week", _with(Space.choose, stream="weekly", choice=True)),
        (r"(?P<who>\w+) wants each email", _with(Space.choose, stream="weekly", choice=False)),
        (
            r"(?P<who>\w+) agrees to reminders",
            _with(Space.choose, stream="reminder", choice=True),
        ),
        (r"Nexudus writes to (?P<who>\w+)", _with(Space.write, reminder=False)),
        (r"Nexudus reminds (?P<who>\w+)", _with(Space.write, reminder=True)),
        (rf"{_ABOUT} is switched off", _with(Space.change_course, active=False)),
        (rf"{_ABOUT} is switched on", _with(Space.change_course, active=True)),
        (rf"{_ABOUT} is private", _with(Space.change_course, visibility=Visibility.PRIVATE)),
        (rf"(?P<host>\w+) hosts {_ABOUT}", Space.host),
        (rf"{_ABOUT} has (?P<number>\d+) lessons?", Space.cut_lessons),
        (
            rf"lesson (?P<number>\d+){_TITLE} is switched off",
            _with(Space.change_lesson, active=False),
        ),
        (
            rf"lesson (?P<number>\d+){_TITLE} opens after (?P<days>\d+) days",
            Space.time_lesson,
        ),
        (
            rf"lesson (?P<number>\d+){_TITLE} is not tracked",
            _with(Space.change_lesson, completion_type=CompletionType.NONE),
        ),
        (r"sending begins", _with(Space.change_mode, mode=Mode.SENDING)),
        (r"sending ends", _with(Space.change_mode, mode=Mode.OBSERVE)),
        (r"(?P<who>\w+)'s held emails are released", Space.release),
    )
]
