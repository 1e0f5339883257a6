"""Decides a second time what becomes of a history, to compare with what Coursebell decides.

Written from docs/rules.md, without the code of `workers`, and as plainly as that page: a difference
between the two is a fault in the code, in the page, or here. It shares with
`tests.builders.histories` only what states facts: lines of history, and the space they change.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from schemas.actions import Mode
from schemas.records import Course, CourseMember
from tests.builders.playback import Playback
from tests.builders.space import Space

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LENGTHS = {"not_started": "7d", "stalled": "14d", "lesson_available": []}
_DEFAULTS = {"quiet_hours": "20:00-08:00", "holidays": [], "spread": "45m", "cap_per_day": "2"}
_DEFAULTS |= {"cap_per_week": "4", "reminders_per_week": "1", "reminders_per_enrolment": "2"}
_DEFAULTS |= {"stale_after": "48h", "flood": "25/10m", "brake": "none"}
_DEFAULTS |= {"count_nexudus": "false"}
_DAY, _WEEK, _LATELY = timedelta(days=1), timedelta(days=7), timedelta(days=5)
_LESSONS = {"lesson_completed", "course_started", "course_completed"}  # about these
_LONG, _NEVER = timedelta(days=366), datetime.min.replace(tzinfo=UTC)
Objections = Iterator[tuple[bool, str]]
Waits = Iterator[tuple[str, datetime]]


@lru_cache(maxsize=8)
def _file(rules: str) -> Any:  # noqa: ANN401 - whatever a rules file holds
    return yaml.load(rules, Loader=yaml.BaseLoader)  # noqa: S506 - every value is a text


def _span(text: str) -> timedelta:
    return timedelta() if text == "none" else timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def _minutes(text: str) -> tuple[int, int]:
    start, end = ([int(part) for part in one.split(":")] for one in text.split("-"))
    return start[0] * 60 + start[1], end[0] * 60 + end[1]


def _values(written: Any) -> list[str]:  # noqa: ANN401 - whatever a rules file holds
    return written if isinstance(written, list) else [written]


def _folded(text: object) -> str:
    return unicodedata.normalize("NFC", str(text)).strip().casefold()


def _weekdays(text: str) -> set[int]:
    pairs = [part.strip().partition("-") for part in text.split(",")]
    both = [(_DAYS.index(first), _DAYS.index(last or first)) for first, _, last in pairs]
    return {day for first, last in both for day in range(first, last + 1)}


class Timing:
    """When emails of one rule about one course to members in one zone may go."""

    def __init__(self, keys: Mapping[str, Any], zone: ZoneInfo) -> None:
        self._keys, self._zone = keys, zone
        self._holidays = {date.fromisoformat(day) for day in _values(keys["holidays"])}
        hours, _, days = str(keys["send"]).partition(" ")
        self._quiet = _minutes(self.text("quiet_hours") or "00:00-00:00")
        self._window = _minutes("00:00-24:00" if hours == "none" else hours)
        self._weekdays = _weekdays(days or "mon-sun")

    def text(self, key: str) -> str:
        """Return what is written for this key, empty for `none`."""
        return str(self._keys[key]).removeprefix("none")

    def is_reached(self, key: str, number: int) -> bool:
        return number >= float(self.text(key) or "inf")

    def day(self, moment: datetime) -> date:
        return moment.astimezone(self._zone).date()

    def is_quiet(self, moment: datetime) -> bool:
        (start, end), now = self._quiet, self._minute(moment)
        return start <= now < end if start <= end else now >= start or now < end

    def objection(self, moment: datetime) -> str | None:
        if self.day(moment) in self._holidays:
            return "holiday"
        if self.is_quiet(moment):
            return "quiet-hours"
        is_open = self._window[0] <= self._minute(moment) < self._window[1]
        return None if is_open and self.day(moment).weekday() in self._weekdays else "send-window"

    def opening(self, at: datetime) -> datetime:
        """Return when nothing objects, going from the end of one objection to that of the next."""
        while reason := self.objection(at):
            is_early = self.day(at).weekday() in self._weekdays
            is_early = is_early and self._minute(at) < self._window[0]
            ends = {"quiet-hours": self._quiet[1], "send-window": self._window[0] * is_early}
            days = (self.day(at), self.day(at) + _DAY)
            moments = [self._at(day, ends.get(reason, 0), at) for day in days]
            at = next(moment for moment in moments if moment > at)
        return at

    def morning(self, now: datetime) -> datetime:
        wall = self._quiet[1] if self.text("quiet_hours") else 8 * 60
        return self._at(self.day(now) + _DAY, wall, now)

    def spread(self, moment: datetime, coworker_id: int) -> datetime:
        """Return this moment plus the offset of a member."""
        digest = hashlib.sha256(str(coworker_id).encode()).digest()
        longest_s = int(_span(str(self._keys["spread"])).total_seconds()) or 1
        offset_s = int.from_bytes(digest[:8], "big") % longest_s
        while offset_s and self.objection(moment + timedelta(seconds=offset_s)):
            offset_s //= 2
        return moment + timedelta(seconds=offset_s)

    def evening(self, moment: datetime) -> datetime:
        """Return one minute before the quiet hours begin in which this moment is."""
        day = self.day(moment) - _DAY * (self._minute(moment) < self._quiet[0])
        begins = [one for one in self._readings(day, self._quiet[0]) if one <= moment]
        return max(begins) - timedelta(minutes=1)

    def _minute(self, moment: datetime) -> int:
        local = moment.astimezone(self._zone)
        return local.hour * 60 + local.minute

    def _readings(self, day: date, minute: int) -> tuple[datetime, datetime]:
        """Return the two moments at which a clock shows this while it is changed, or one twice."""
        wall = datetime.combine(day, time(minute // 60, minute % 60), self._zone)
        return wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)

    def _at(self, day: date, minute: int, begun: datetime) -> datetime:
        """Return when the clock shows this; of two moments the second, if the first is past."""
        first, second = self._readings(day, minute)
        return second if first <= begun < second else first


@dataclass(slots=True)
class Event:
    """Something that happened to a member of a course, or, as a timer, that may happen."""

    kind: str
    at: datetime
    name: str
    title: str
    enrolment_id: int
    number: int | None = None  # of the lesson
    length: timedelta | None = None  # of an absence

    @property
    def key(self) -> str:
        if self.kind in {"enrolled", "course_started", "course_completed"}:
            return f"{self.kind} {self.name} {self.title}"
        is_change = self.kind == "enrolment_approved"
        return f"{self} {self.enrolment_id} {self.length} {is_change and self.at}"

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind} {self.number}"


class Truth:
    """What is true now of one person on one course. `done` has when each lesson was finished."""

    def __init__(self, space: Space, counts: set[str], name: str, title: str) -> None:
        self.person, self.course = space.person(name), space.course(title)
        member, self.lessons = space.member(name, title), space.lessons[self.course.record_id]
        assert member.enrolment
        self.enrolment, self.choices = member.enrolment, space.choices.get(name, {})
        self.done: dict[int, datetime] = {}
        for one in sorted(member.done, key=lambda one: (one.created_at, one.record_id)):
            self.done.setdefault(one.lesson_id, one.created_at)
        self._words = {one.record_id: one.completion_type.name.lower() for one in self.lessons}
        active = {one.record_id for one in self.lessons if one.active}
        self.counted = {one for one in active if self._words[one] in counts}
        self.is_finished = bool(self.counted) and self.counted <= set(self.done)
        self.opened_at = self.enrolment.last_access_at or _NEVER
        self.active_at = max([self.opened_at, *(one.created_at for one in member.done)])

    def matches(self, where: Mapping[str, Any], number: int | None) -> list[bool]:
        """Return for each line of conditions whether it matches an event about this lesson."""
        course, enrolment = self.course, self.enrolment
        facts: dict[str, list[Any]] = {
            "course": [course.record_id, course.title],
            "group": [course.group_name],
            "location": [course.business_id, course.business_name],
            "host": [course.host_name],
            "visibility": [course.visibility and course.visibility.name],
            "team": (enrolment.team_names or "").split(","),
            "coworker_type": [enrolment.coworker_kind and enrolment.coworker_kind.name],
            "completion_type": [self._words.get(number or 0)],
        }
        known = {line: {_folded(one) for one in some if one} for line, some in facts.items()}
        if self.counted:
            percent = 100 * len(self.counted & set(self.done)) // len(self.counted)
            low, _, high = str(where.get("completion", "0")).partition("-")
            is_so_far = int(low) <= percent <= int(high or low)
            known["completion"] = {_folded(where.get("completion"))} if is_so_far else set()
        asked = {line: {_folded(one) for one in _values(some)} for line, some in where.items()}
        return [bool(known.get(line, set()) & some) for line, some in asked.items()]


class Rule:
    """One rule of the file."""

    def __init__(self, written: Mapping[str, Any], file: Mapping[str, Any]) -> None:
        self._written, self._file, self.event = written, file, str(written["event"])
        self.name = str(written["name"])
        self.is_enabled = written.get("enabled") != "false"
        self.gather, self.delay = self.span("gather"), self.span("delay")
        stream = "reminder" if self.event in _LENGTHS else "service"
        self.is_reminder = written.get("stream", stream) == "reminder"
        self.until, steps = written.get("until"), written.get("steps")
        self.steps = [_span(one) for one in _values(steps)] if steps else [self.delay]
        after = written.get("after", _LENGTHS.get(self.event, []))
        self.lengths = {_span(one) for one in _values(after)}

    def span(self, key: str) -> timedelta:
        return _span(str(self._written.get(key, "none")))

    def template(self, step: int) -> str:
        templates = _values(self._written["template"])
        return str(templates[step % len(templates)])

    def _of_course(self, course: Course) -> Mapping[str, Any]:
        names = {_folded(course.record_id), _folded(course.title)}
        entries = [dict(one) for one in self._file.get("courses", [])]
        mine = (one for one in entries if names & {_folded(n) for n in _values(one["course"])})
        return next(mine, {})

    def timing(self, course: Course, zone: ZoneInfo) -> Timing:
        send = "09:00-17:00 mon-fri" if self.is_reminder else "none"
        keys = {**_DEFAULTS, "send": send, **self._file.get("timing", {})}
        return Timing({**keys, **self._of_course(course), **self._written}, zone)

    def is_about(self, event: Event) -> bool:
        is_long = event.length is None or event.length in self.lengths
        return self.is_enabled and self.event == event.kind and is_long

    def applies(self, event: Event, truth: Truth) -> bool:
        is_off = self.name in _values(self._of_course(truth.course).get("off", []))
        where = dict(self._written.get("where", {}))
        excluded = truth.matches(where.pop("not", {}), event.number)
        return not is_off and all(truth.matches(where, event.number)) and not any(excluded)


@dataclass(slots=True)
class Email:
    """One planned email."""

    rule: Rule
    step: int
    events: list[Event]
    planned_at: datetime
    due_at: datetime
    state: str = "waiting"  # or: held, skipped, sent
    reason: str = "gathering"  # why it waits
    is_released: bool = False
    waits: list[str] = field(default_factory=list)
    done_at: datetime = _NEVER

    @property
    def first(self) -> Event:
        return self.events[0]

    @property
    def first_at(self) -> datetime:
        return min(one.at for one in self.events)


class SecondDecider(Playback):
    """Plays a history by the text of a rules file.

    `forecast` is the accepted one: emails on the busiest day, by the name of the rule.
    """

    def __init__(
        self,
        rules: str,
        zone: str,
        people: Mapping[str, str],
        forecast: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(zone, people)
        self._forecast = forecast or {}
        file = _file(rules)
        self._rules = [Rule(one, file) for one in file["rules"]]
        counts = file.get("completion", {}).get("counts", ["visited", "button", "video"])
        self._counts = set(_values(counts))
        self._read: dict[int, CourseMember] = {}  # the version read last
        self._begun: dict[int, datetime] = {}  # by the Id of the enrolment
        self._known: set[str] = set()
        self._completed: dict[tuple[str, str], datetime] = {}  # when an email about it was planned
        self._timers: dict[str, Event | None] = {}  # None: it ended
        self._emails: list[Email] = []

    def _release(self, name: str, now: datetime) -> None:
        for email in self._emails:
            if email.state == "held" and email.first.name == name:
                email.state, email.due_at, email.is_released = "waiting", now, True

    def _next_timer(self) -> tuple[datetime, int, str] | None:
        timers = [(one.at, one.enrolment_id, key) for key, one in self._timers.items() if one]
        return min(timers, key=lambda one: one[0], default=None)

    def _drop_timer(self, key: str) -> None:
        self._timers[key] = None

    def _waiting(self) -> Iterator[tuple[datetime, str]]:
        for email in (one for one in self._emails if one.state == "waiting"):
            yield email.due_at, f"{self._title(email)} still waits: {email.reason}"

    def _find(self, name: str, title: str, now: datetime) -> None:
        """Read an enrolment with its lessons, and decide on what is new."""
        if not (enrolment := self._space.member(name, title).enrolment):
            return
        whose = (name, title, enrolment.record_id)
        truth = Truth(self._space, self._counts, name, title)
        shown = [Event(kind, at, *whose, number) for kind, at, number in self._studied(truth)]
        for event in (one for one in shown if one.kind == "enrolled"):
            self._begun.setdefault(event.enrolment_id, min(event.at, now))
        shown += self._absent(truth, whose, now)
        for event in sorted(shown, key=lambda one: one.kind != "course_completed"):
            if (key := event.key) not in self._known:
                self._known.add(key)
                event.at = min(event.at, now)
                self._decide(event, truth, now)

    def _studied(self, truth: Truth) -> Iterator[tuple[str, datetime, int | None]]:
        """Yield what an enrolment and its lessons show, in the order in which it is decided."""
        enrolment, done = truth.enrolment, truth.done
        before = self._read.get(enrolment.record_id, enrolment)
        self._read[enrolment.record_id] = enrolment
        has_waited, changed_at = not before.approved, enrolment.updated_at
        if not enrolment.blocked:
            kind = "enrolled" if enrolment.approved else "enrolment_requested"
            has_changed = has_waited and enrolment.approved
            yield kind, changed_at if has_changed else enrolment.created_at, None
        if has_waited and enrolment.approved and changed_at >= before.updated_at:
            yield "enrolment_approved", changed_at, None
        for number in [*done][:1]:
            yield "course_started", done[number], number
        for number, at in done.items():
            yield "lesson_completed", at, number
        if truth.is_finished:
            last = [one for one in done if one in truth.counted][-1]
            yield "course_completed", done[last], last

    def _absent(self, truth: Truth, whose: tuple[str, str, int], now: datetime) -> list[Event]:
        """Move, end and make the timers of an enrolment; return what happens now."""
        enrolment, happened = truth.enrolment, []
        timers = {one.key: one for one in self._to_come(truth, whose, now)}
        for key, timer in [(key, one) for key, one in self._timers.items() if one]:
            if timer.enrolment_id != enrolment.record_id:
                continue
            self._timers[key] = None
            if key in timers:
                timer.at = max(timer.at, timers[key].at)
                if timer.kind == "not_started" and truth.opened_at != _NEVER:
                    timer.at = max(timer.at, truth.opened_at + _LATELY)
                if timer.at <= now and (enrolment.blocked or not enrolment.approved):
                    timer.at = now + _LATELY
                self._timers[key] = timer if timer.at > now else None
                happened += [] if timer.at > now else [timer]
        for key, timer in timers.items():
            is_begun = enrolment.approved and (timer.kind != "stalled" or bool(truth.done))
            if is_begun and timer.at > now:
                self._timers.setdefault(key, timer)
        return happened

    def _to_come(self, truth: Truth, whose: tuple[str, str, int], now: datetime) -> Iterator[Event]:
        begun = self._begun.get(whose[2], min(truth.enrolment.created_at, now))
        rules = [rule for rule in self._rules if rule.is_enabled]
        for kind, since, is_possible in (
            ("not_started", begun, not truth.done),
            ("stalled", max(begun, truth.active_at), not truth.is_finished),
        ):
            spans = {span for rule in rules if rule.event == kind for span in rule.lengths}
            for span in sorted(spans) if is_possible else ():
                yield Event(kind, since + span, *whose, None, span)
        for one in truth.lessons if any(rule.event == "lesson_available" for rule in rules) else ():
            if one.active and one.unlock_after_days and one.record_id not in truth.done:
                at = begun + timedelta(days=one.unlock_after_days)
                yield Event("lesson_available", at, *whose, one.record_id)

    def _decide(self, event: Event, truth: Truth, now: datetime) -> None:
        rules = [one for one in self._rules if one.is_about(event) and one.applies(event, truth)]
        whose, kind = (event.name, event.title), event.kind
        is_asked = any(one.is_about(event) for one in self._rules)
        is_over = event.at <= self._completed.get(whose, _NEVER)
        reasons = (
            (kind == "enrolment_requested" and not is_asked, "not-approved"),
            (not rules, "kind-off"),
            (event.at < (self._space.sending_since or _NEVER), "before-start"),
            (kind == "lesson_completed" and is_over, "superseded"),
        )
        if reason := next((reason for applies, reason in reasons if applies), None):
            if reason != "kind-off" or kind in {rule.event for rule in self._rules}:
                self._write(now, f"{event.name}: {event} leads to nothing: {reason}")
            return
        if kind == "course_completed":
            self._completed[whose] = event.at
            for email in self._emails:
                about = email.first
                is_same = about.kind == "lesson_completed" and (about.name, about.title) == whose
                if is_same and email.state in {"waiting", "held"}:
                    self._end(email, now, "skipped", "superseded")
        for rule in rules:
            self._plan(rule, event, now)

    def _plan(self, rule: Rule, event: Event, now: datetime) -> None:
        at_most = rule.span("gather_at_most") or _LONG
        near = [one for one in self._emails if one.rule is rule and one.state == "waiting"]
        near = [one for one in near if one.first.enrolment_id == event.enrolment_id]
        near = [one for one in near if abs(one.first_at - event.at) <= at_most]
        if near and rule.gather:
            email = max(near, key=lambda one: one.first_at)
            email.events.append(event)
            if email.reason == "gathering":
                email.due_at = self._gathered(email, email.events)
            return
        for step, span in enumerate(rule.steps):
            email = Email(rule, step, [event], now, event.at + span)
            email.due_at = self._gathered(email, [event]) if rule.gather else email.due_at
            self._emails.append(email)

    def _gathered(self, email: Email, events: list[Event]) -> datetime:
        """Return when an email about these lessons is due."""
        rule, moments = email.rule, [one.at for one in events]
        most = min(moments) + (rule.span("gather_at_most") or _LONG)
        due, timing = min(max(moments) + rule.gather, most), self._timing(email)
        is_moved = timing.is_quiet(due) and max(moments) <= timing.evening(due)
        return timing.evening(due) if is_moved else due

    def _timing(self, email: Email) -> Timing:
        course = self._space.course(email.first.title)
        return email.rule.timing(course, self._zone_of(email.first.name))

    def _advance(self, until: datetime) -> None:
        """Check the emails that are due, the earliest first."""
        while due := [e for e in self._emails if e.state == "waiting" and e.due_at <= until]:
            email = min(due, key=lambda one: (max(one.due_at, one.planned_at), one.due_at))
            now = max(email.due_at, email.planned_at)
            state, reason, again_at = next(self._objections(email, now), ("sent", "", now))
            if state == "waiting":
                email.reason, email.due_at = reason, again_at
                email.waits += [] if reason in {*email.waits, "gathering"} else [reason]
            else:
                self._end(email, now, state, reason)

    def _objections(self, email: Email, now: datetime) -> Iterator[tuple[str, str, datetime]]:
        """Yield what keeps an email from being sent, in the order of the page."""
        if self._space.whose(email.first.enrolment_id):
            truth = Truth(self._space, self._counts, email.first.name, email.first.title)
            true = [e for e in email.events if e.kind not in _LESSONS or e.number in truth.done]
            for applies, reason in self._skips(email, truth, true):
                yield from [("skipped", reason, now)] * applies
            for applies, reason in self._holds(email, true, now):
                yield from [("held", reason, now)] * applies
            for reason, until in self._waits(email, true, now):
                yield "waiting", reason, until
            if self._is_beyond_forecast(email, now):
                yield "held", "over-forecast", now
            yield from self._because_of_nexudus(email, now)
        else:
            yield "skipped", "record-gone", now

    def _end(self, email: Email, now: datetime, state: str, reason: str) -> None:
        email.state, email.done_at = state, now
        self._write_end(now, self._title(email), state, reason, email.waits)

    def _title(self, email: Email) -> str:
        numbers = {one.number for one in email.events if one.number}
        whose, template = (email.first.name, email.first.title), email.rule.template(email.step)
        return self._words(whose, template, numbers, is_sent=email.state == "sent")

    def _sent(self, name: str) -> list[Email]:
        sent = [one for one in self._emails if one.state == "sent" and one.first.name == name]
        return sorted(sent, key=lambda one: one.done_at)

    def _skips(self, email: Email, truth: Truth, true: list[Event]) -> Objections:
        first, rule, enrolment = email.first, email.rule, truth.enrolment
        is_absence = rule.event in {"not_started", "stalled"}
        until = rule.until if email.step else None
        yield not true, "record-gone"
        yield enrolment.blocked, "blocked"
        yield not enrolment.approved, "not-approved"
        yield not truth.course.active, "course-inactive"
        yield not truth.person.active, "member-inactive"
        yield not truth.person.email, "no-email"
        yield bool(is_absence or until) and truth.is_finished, "completed-meanwhile"
        yield is_absence and truth.active_at > first.at, "active-meanwhile"
        is_first = rule.event == "not_started" or until == "started"
        yield is_first and bool(truth.done), "active-meanwhile"
        yield rule.event == "lesson_available" and first.number in truth.done, "active-meanwhile"
        yield truth.choices.get("all") is False, "opted-out-all"
        stream = "reminder" if rule.is_reminder else "service"
        yield truth.choices.get(stream) is False, "opted-out-kind"
        yield rule.is_reminder and not truth.choices.get("reminder"), "no-consent"
        had = [one for one in self._sent(first.name) if one.rule.is_reminder]
        had = [one for one in had if one.first.enrolment_id == first.enrolment_id]
        is_enough = self._timing(email).is_reached("reminders_per_enrolment", len(had))
        yield rule.is_reminder and is_enough, "reminder-limit"
        since = self._space.sending_since or _NEVER
        yield max(one.at for one in true) < since and not email.is_released, "before-start"

    def _holds(self, email: Email, true: list[Event], now: datetime) -> Objections:
        timing, planned_at = self._timing(email), email.planned_at
        yield self._space.mode is Mode.OBSERVE, "observe"
        stale, flood = timing.text("stale_after"), timing.text("flood")
        if stale and not email.is_released:
            age = planned_at - max(one.at for one in true)
            yield age > _span(stale) + email.rule.delay, "too-old"
            yield now - email.due_at > _span(stale), "too-old"
        if flood and not email.is_released:
            number, _, span = flood.partition("/")
            near = [one for one in self._emails if one.state != "skipped" and not one.step]
            near = [one for one in near if abs(one.planned_at - planned_at) <= _span(span)]
            yield len(near) > int(number), "flood-guard"

    def _is_beyond_forecast(self, email: Email, now: datetime) -> bool:
        brake, busiest_day = self._timing(email).text("brake"), self._forecast.get(email.rule.name)
        if not brake or busiest_day is None or email.is_released:
            return False
        sent = [one for one in self._emails if one.rule is email.rule and one.state == "sent"]
        days = [one.done_at.astimezone(self._zone).date() for one in sent if not one.is_released]
        most = Fraction(brake.removesuffix("x")) * busiest_day
        return days.count(now.astimezone(self._zone).date()) >= max(5, most // 1)

    def _waits(self, email: Email, true: list[Event], now: datetime) -> Waits:
        timing, rule, name = self._timing(email), email.rule, email.first.name
        whose = self._space.person(name).coworker_id
        if rule.gather and (due_at := self._gathered(email, true)) > now:
            yield "gathering", due_at
        if reason := timing.objection(now):
            yield reason, timing.spread(timing.opening(now), whose)
        sent = [(one.done_at, one.rule.is_reminder) for one in self._sent(name)]
        yield from self._limits(email, sent, now)

    def _limits(self, email: Email, sent: list[tuple[datetime, bool]], now: datetime) -> Waits:
        """Yield the limits that were reached; `sent` says when, and whether it was a reminder."""
        timing, rule = self._timing(email), email.rule
        whose = self._space.person(email.first.name).coworker_id
        today = [at for at, _ in sent if timing.day(at) == timing.day(now)]
        if timing.is_reached("cap_per_day", len(today)):
            yield "cap-day", timing.spread(timing.morning(now), whose)
        recent = sorted(one for one in sent if one[0] > now - _WEEK)
        reminders = [at for at, is_reminder in recent if is_reminder and rule.is_reminder]
        is_beyond = rule.event in {"enrolled", "course_completed"}
        week = [] if is_beyond else [at for at, _ in recent]
        for key, some in (("reminders_per_week", reminders), ("cap_per_week", week)):
            if timing.is_reached(key, len(some)):
                yield "cap-week", some[len(some) - int(timing.text(key))] + _WEEK

    def _because_of_nexudus(
        self, email: Email, now: datetime
    ) -> Iterator[tuple[str, str, datetime]]:
        rule, name = email.rule, email.first.name
        if not rule.is_reminder or self._timing(email).text("count_nexudus") != "true":
            return
        messages = self._space.messages.get(name, [])
        written = [(one.created_at, bool(one.reminder_id)) for one in messages]
        written = [one for one in written if one[0] > now - _WEEK]
        if rule.event in {"not_started", "stalled"} and any(is_one for _, is_one in written):
            yield "skipped", "nexudus-reminded", now
        sent = [(one.done_at, one.rule.is_reminder) for one in self._sent(name)]
        for reason, until in self._limits(email, sent + written, now):
            yield "waiting", reason, until
