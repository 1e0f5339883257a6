"""Decides a second time what becomes of a history, to compare with what Coursebell decides.

Written from docs/rules.md alone, without the code of `workers`, and as plainly as that page: a
difference between the two is a fault in the code, in the page, or here. It shares with
`tests.builders.histories` only what states facts: lines of history, and the space they change.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from schemas.actions import Mode
from schemas.records import CompletedLesson, Course, CourseMember, Lesson
from tests.builders.space import Member, Space, Step, clock, step_of

_PATIENCE = timedelta(days=60)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIMED = {"not_started": ["7d"], "stalled": ["14d"], "lesson_available": None}
_DEFAULTS = {
    "quiet_hours": "20:00-08:00",
    "holidays": [],
    "spread": "45m",
    "cap_per_day": "2",
    "cap_per_week": "4",
    "reminders_per_week": "1",
    "reminders_per_enrolment": "2",
    "stale_after": "48h",
    "flood": "25/10m",
}
_DAY, _WEEK, _AWAY, _MINUTE = (timedelta(minutes=n) for n in (1440, 10080, 7200, 1))
_LONG = timedelta(days=366)
_NEVER = datetime.min.replace(tzinfo=UTC)


def _span(text: str) -> timedelta:
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _values(written: Any) -> list[str]:  # noqa: ANN401 - whatever a rules file holds
    return written if isinstance(written, list) else [written]


def _folded(text: object) -> str:
    return unicodedata.normalize("NFC", str(text)).strip().casefold()


class Timing:
    """When emails of one rule about one course may go. `keys` are the values that count."""

    def __init__(self, keys: Mapping[str, Any], *, is_reminder: bool) -> None:
        default = "09:00-17:00 mon-fri" if is_reminder else "none"
        self._keys = {**_DEFAULTS, "send": default, **keys}
        self.holidays = {date.fromisoformat(day) for day in _values(self._keys["holidays"])}
        quiet, send = self.text("quiet_hours"), self.text("send")
        self.quiet = tuple(map(_minutes, quiet.split("-"))) if quiet else None
        hours, _, days = (send or "00:00-24:00").partition(" ")
        self.window = tuple(map(_minutes, hours.split("-")))
        self.weekdays = set(_weekdays(days)) if days else set(range(7))

    def text(self, key: str) -> str | None:
        return None if self._keys[key] == "none" else str(self._keys[key])

    def number(self, key: str) -> int | None:
        return None if self.text(key) is None else int(self._keys[key])

    def span(self, key: str) -> timedelta | None:
        return None if self.text(key) is None else _span(self._keys[key])

    def is_quiet(self, moment: datetime, zone: ZoneInfo) -> bool:
        if self.quiet is None:
            return False
        (start, end), now = self.quiet, _minute_of(moment.astimezone(zone))
        return start <= now < end if start < end else now >= start or now < end

    def objection(self, moment: datetime, zone: ZoneInfo) -> str | None:
        local = moment.astimezone(zone)
        if local.date() in self.holidays:
            return "holiday"
        if self.is_quiet(moment, zone):
            return "quiet-hours"
        is_open = self.window[0] <= _minute_of(local) < self.window[1]
        return None if is_open and local.weekday() in self.weekdays else "send-window"

    def opening(self, after: datetime, zone: ZoneInfo) -> datetime:
        walls = {0, self.window[0]} | ({self.quiet[1]} if self.quiet else set())
        day = after.astimezone(zone).date()
        while True:
            for moment in sorted(_at(day, wall, zone, after) for wall in walls):
                if moment > after and not self.objection(moment, zone):
                    return moment
            day += _DAY

    def spread(self, moment: datetime, zone: ZoneInfo, coworker_id: int) -> datetime:
        span = self.span("spread")
        if span is None:
            return moment
        digest = hashlib.sha256(str(coworker_id).encode()).digest()
        offset = int.from_bytes(digest[:8], "big") % int(span.total_seconds())
        while offset and self.objection(moment + timedelta(seconds=offset), zone):
            offset //= 2
        return moment + timedelta(seconds=offset)

    def next_day(self, now: datetime, zone: ZoneInfo) -> datetime:
        wall = self.quiet[1] if self.quiet else 8 * 60
        return _at(now.astimezone(zone).date() + _DAY, wall, zone, now)

    def before_night(self, moment: datetime, zone: ZoneInfo) -> datetime:
        assert self.quiet is not None
        local = moment.astimezone(zone)
        is_after_midnight = _minute_of(local) < self.quiet[0]
        day = local.date() - _DAY * is_after_midnight
        return _at(day, self.quiet[0], zone, _NEVER) - _MINUTE


def _minute_of(local: datetime) -> int:
    return local.hour * 60 + local.minute


def _at(day: date, minutes: int, zone: ZoneInfo, begun: datetime) -> datetime:
    """Return when a clock shows this; of two such moments the second, if the first is past."""
    wall = datetime.combine(day, time(minutes // 60, minutes % 60), zone)
    first, second = (wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return second if first <= begun < second else first


def _weekdays(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        yield from range(_DAYS.index(first), _DAYS.index(last or first) + 1)


@dataclass(slots=True)
class Event:
    """Something that happened to one member of one course."""

    kind: str
    at: datetime
    enrolment_id: int
    number: int | None = None  # of the lesson
    length: timedelta | None = None  # of an absence
    name: str = ""
    title: str = ""
    put_off_until: datetime = _NEVER  # of an absence

    def key(self, name: str, title: str) -> tuple[object, ...]:
        """Return what this event is once for."""
        if self.kind in {"enrolled", "course_started", "course_completed"}:
            return (self.kind, name, title)
        if self.kind in {"enrolment_approved", "enrolment_blocked", "enrolment_unblocked"}:
            return (self.kind, self.enrolment_id, self.at)
        return (self.kind, self.enrolment_id, self.number, self.length)

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind} {self.number}"


class Rule:
    """One rule of the file."""

    def __init__(self, written: Mapping[str, Any], file: Mapping[str, Any]) -> None:
        self.written, self._file = written, file
        self.event = written["event"]
        self.is_enabled = written.get("enabled", "true") == "true"
        self.gathers = written.get("gather", "none") != "none"
        is_late = self.event in _TIMED
        self.stream = written.get("stream", "reminder" if is_late else "service")
        self.until = written.get("until")
        self.steps = [_span(step) for step in _values(written.get("steps", []))]
        self.lengths = [_span(s) for s in _values(written.get("after", _TIMED.get(self.event)) or [])]
        self._timings: dict[tuple[object, str], Timing] = {}

    def template(self, step: int) -> str:
        templates = _values(self.written["template"])
        return str(templates[step] if len(templates) > 1 else templates[0])

    def span(self, key: str) -> timedelta | None:
        text = self.written.get(key, "none")
        return None if text == "none" else _span(text)

    def _of_course(self, course: Any) -> Mapping[str, Any]:  # noqa: ANN401
        names = {_folded(course.record_id), _folded(course.title)}
        for entry in self._file.get("courses", []):
            if names & {_folded(one) for one in _values(entry["course"])}:
                return dict(entry)
        return {}

    def is_on(self, course: Any) -> bool:  # noqa: ANN401
        return self.is_enabled and self.written["name"] not in _values(
            self._of_course(course).get("off", [])
        )

    def timing(self, course: Any) -> Timing:  # noqa: ANN401
        key = (course.record_id, course.title)
        if key not in self._timings:
            whole = {**self._file.get("timing", {}), **self._of_course(course), **self.written}
            keys = {k: v for k, v in whole.items() if k in {*_DEFAULTS, "send"}}
            self._timings[key] = Timing(keys, is_reminder=self.stream == "reminder")
        return self._timings[key]

    def is_about(self, event: Event) -> bool:
        is_asked = event.length is None or event.length in self.lengths
        return self.event == event.kind and is_asked

    def matches(self, facts: Mapping[str, set[str]], percent: int | None) -> bool:
        where = dict(self.written.get("where", {}))
        excluded = where.pop("not", {})

        def holds(line: str, wanted: Any) -> bool:  # noqa: ANN401
            if line == "completion":
                low, _, high = str(wanted).partition("-")
                return percent is not None and int(low) <= percent <= int(high or low)
            return bool(facts[line] & {_folded(one) for one in _values(wanted)})

        return all(holds(*one) for one in where.items()) and not any(
            holds(*one) for one in excluded.items()
        )


@dataclass(slots=True)
class Email:
    """One planned email."""

    rule: Rule
    step: int
    events: list[Event]
    planned_at: datetime
    due_at: datetime
    state: str = "waiting"  # or: held, skipped, sent
    reason: str | None = None  # why it waits
    is_released: bool = False
    waits: list[str] = field(default_factory=list)
    done_at: datetime = _NEVER

    @property
    def first_at(self) -> datetime:
        return min(one.at for one in self.events)


class SecondDecider:
    """Plays a history by the text of a rules file, like `tests.builders.histories.Stage`."""

    def __init__(self, rules: str, zone: str, people: Mapping[str, str]) -> None:
        file = yaml.load(rules, Loader=yaml.BaseLoader)  # noqa: S506 - every value is a text
        self._rules = [Rule(one, file) for one in file["rules"]]
        self._counts = set(file.get("completion", {}).get("counts", ["visited", "button", "video"]))
        self._zone, self._space = ZoneInfo(zone), Space(people)
        self._known: set[tuple[object, ...]] = set()
        self._read: dict[int, CourseMember] = {}
        self._begun: dict[int, datetime] = {}
        self._completed: dict[tuple[str, str], datetime] = {}
        self._timers: dict[tuple[object, ...], Event | None] = {}
        self._emails: list[Email] = []
        self._lines: list[tuple[datetime, str]] = []

    def play(self, history: str) -> list[str]:
        """Return a line for each email and for each event that led to nothing."""
        steps = [step_of(line, self._zone) for line in history.splitlines() if line.strip()]
        moments = [(min(step.at, step.found_at), 0, step) for step in steps]
        moments += [(step.found_at, 1, step) for step in steps]
        concerned: dict[Step, tuple[str, str] | None] = {}
        for moment, is_found, step in sorted(moments, key=lambda one: one[:2]):
            self._pass(moment)
            if not is_found:
                concerned[step] = self._space.happen(step)
                self._release(step)
            elif whose := concerned[step]:
                self._find(*whose, step.found_at)
        self._pass(max(step.found_at for step in steps) + _PATIENCE)
        for email in self._emails:
            if email.state == "waiting":
                text = f"{self._title(email)} still waits: {email.reason}"
                self._lines.append((email.due_at, text))
        return [f"{clock(at, self._zone)} {text}" for at, text in sorted(self._lines)]

    def _release(self, step: Step) -> None:
        name, words, _ = step.what.partition("'s held emails are released")
        for email in self._emails if words else ():
            if email.state == "held" and email.events[0].name == name:
                email.state, email.due_at, email.is_released = "waiting", step.at, True

    def _pass(self, until: datetime) -> None:
        """Move the clock, and look at enrolments again whose timers are due on the way."""
        while due := [one for one in self._timers.values() if one and one.at <= until]:
            event = min(due, key=lambda one: one.at)
            self._advance(event.at)
            enrolment = self._space.member(event.name, event.title).enrolment
            if enrolment and enrolment.record_id == event.enrolment_id:
                self._find(event.name, event.title, event.at)
            else:
                self._timers[event.key("", "")] = None
        self._advance(until)

    # What happened

    def _find(self, name: str, title: str, now: datetime) -> None:
        member = self._space.member(name, title)
        if member.enrolment is None:
            return
        found = [*self._changes(member.enrolment), *self._studied(member, title)]
        found += self._absent(member, name, title, now)
        new = {one.key(name, title): one for one in reversed(found)}
        new = {key: one for key, one in new.items() if key not in self._known}
        self._known |= set(new)
        for event in new.values():
            event.name, event.title, event.at = name, title, min(event.at, now)
        for event in sorted(new.values(), key=lambda one: (one.kind != "course_completed", one.at)):
            self._decide(event, member, now)

    def _changes(self, enrolment: CourseMember) -> Iterator[Event]:
        whose, changed_at = enrolment.record_id, enrolment.updated_at
        before, self._read[whose] = self._read.get(whose, enrolment), enrolment
        self._begun.setdefault(whose, enrolment.created_at)
        if enrolment.approved and not before.approved:
            self._begun[whose] = changed_at
            yield Event("enrolment_approved", changed_at, whose)
        if enrolment.blocked != before.blocked:
            word = "blocked" if enrolment.blocked else "unblocked"
            yield Event(f"enrolment_{word}", changed_at, whose)
        if not enrolment.blocked:
            kind = "enrolled" if enrolment.approved else "enrolment_requested"
            yield Event(kind, self._begun[whose], whose)

    def _done(self, member: Member) -> dict[int, datetime]:
        """Return the finished lessons, with the first time that each was finished."""
        done: dict[int, datetime] = {}
        for one in sorted(member.done, key=lambda one: one.created_at):
            if one.lesson_id not in member.reopened:
                done.setdefault(one.lesson_id, one.created_at)
        return done

    def _counted(self, title: str) -> set[int]:
        lessons = self._space.lessons[self._space.course(title).record_id]
        return {
            one.record_id
            for one in lessons
            if one.active and one.completion_type.name.lower() in self._counts
        }

    def _is_finished(self, member: Member, title: str) -> bool:
        counted = self._counted(title)
        return bool(counted) and counted <= set(self._done(member))

    def _studied(self, member: Member, title: str) -> Iterator[Event]:
        assert member.enrolment
        whose, done = member.enrolment.record_id, self._done(member)
        for kind, numbers, choose in (
            ("course_completed", self._counted(title), max),
            ("course_started", set(done), min),
        ):
            if numbers and numbers <= set(done):
                at, number = choose((done[one], one) for one in numbers)
                yield Event(kind, at, whose, number)
        for number, at in done.items():
            yield Event("lesson_completed", at, whose, number)

    # What did not happen

    def _last_activity(self, member: Member) -> datetime:
        assert member.enrolment
        moments = [one.created_at for one in member.done if one.lesson_id not in member.reopened]
        return max(moments + [member.enrolment.last_access_at or _NEVER], default=_NEVER)

    def _wanted(self, member: Member, title: str) -> Iterator[Event]:
        """Return the absences that will happen if this member does nothing more."""
        assert member.enrolment
        whose, done = member.enrolment.record_id, self._done(member)
        begun, opened = self._begun[whose], member.enrolment.last_access_at or _NEVER
        for rule in self._rules:
            if rule.is_enabled and rule.event == "not_started" and not done:
                for length in rule.lengths:
                    at = max(begun + length, opened + _AWAY)
                    yield Event(rule.event, at, whose, length=length)
            elif rule.is_enabled and rule.event == "stalled" and done:
                for length in () if self._is_finished(member, title) else rule.lengths:
                    at = self._last_activity(member) + length
                    yield Event(rule.event, at, whose, length=length)
            elif rule.is_enabled and rule.event == "lesson_available":
                for one in self._space.lessons[self._space.course(title).record_id]:
                    days = one.unlock_after_days * _DAY
                    if one.active and days and one.record_id not in done:
                        yield Event(rule.event, begun + days, whose, one.record_id)

    def _absent(self, member: Member, name: str, title: str, now: datetime) -> list[Event]:
        """Move, cancel and make timers; return those that happen now."""
        assert member.enrolment
        enrolment = member.enrolment
        wanted = {one.key("", ""): one for one in self._wanted(member, title)}
        for event in wanted.values():
            event.name, event.title = name, title
        happened = []
        for key in [*self._timers]:
            timer = self._timers[key]
            if timer and timer.enrolment_id == enrolment.record_id and key not in wanted:
                self._timers[key] = None
        for key, event in wanted.items():
            if key not in self._timers:
                if event.at > now:
                    self._timers[key] = event
            elif timer := self._timers[key]:
                event.at = max(event.at, timer.put_off_until)
                event.put_off_until = timer.put_off_until
                if event.at <= now and (enrolment.blocked or not enrolment.approved):
                    event.at = event.put_off_until = now + _AWAY
                is_due = event.at <= now
                self._timers[key] = None if is_due else event
                happened += [event] if is_due else []
        return happened

    # What follows

    def _decide(self, event: Event, member: Member, now: datetime) -> None:
        about = [one for one in self._rules if one.is_enabled and one.is_about(event)]
        facts, percent = self._facts(event, member)
        course = self._space.course(event.title)
        rules = [one for one in about if one.is_on(course) and one.matches(facts, percent)]
        completed_at = self._completed.get((event.name, event.title), _NEVER)
        since = self._space.sending_since
        reason = ""
        if event.kind == "enrolment_requested" and not about:
            reason = "not-approved"
        elif not rules:
            reason = "kind-off"
        elif since and event.at < since:
            reason = "before-start"
        elif event.kind == "lesson_completed" and event.at <= completed_at:
            reason = "superseded"
        is_named = any(one.written["event"] == event.kind for one in self._rules)
        if reason and (is_named or reason != "kind-off"):
            self._lines.append((now, f"{event.name}: {event} leads to nothing: {reason}"))
        if not reason and event.kind == "course_completed":
            self._complete(event, now)
        for rule in () if reason else rules:
            self._plan(rule, event, now)

    def _complete(self, event: Event, now: datetime) -> None:
        self._completed[event.name, event.title] = event.at
        for email in self._emails:
            first = email.events[0]
            is_replaced = first.kind == "lesson_completed" and email.state in {"waiting", "held"}
            if is_replaced and (first.name, first.title) == (event.name, event.title):
                self._end(email, now, "skipped", "superseded")

    def _facts(self, event: Event, member: Member) -> tuple[dict[str, set[str]], int | None]:
        course, enrolment = self._space.course(event.title), member.enrolment
        assert enrolment
        lessons = self._space.lessons[course.record_id]
        kinds = [one.completion_type.name for one in lessons if one.record_id == event.number]
        values: dict[str, list[object]] = {
            "course": [course.record_id, course.title],
            "group": [course.group_name],
            "location": [course.business_id, course.business_name],
            "host": [course.host_name],
            "visibility": [course.visibility.name if course.visibility else None],
            "team": [*(enrolment.team_names or "").split(",")],
            "coworker_type": [enrolment.coworker_kind.name if enrolment.coworker_kind else None],
            "completion_type": [*kinds],
        }
        counted = self._counted(event.title)
        percent = 100 * len(counted & set(self._done(member))) // len(counted) if counted else None
        facts = {key: {_folded(one) for one in some if one} for key, some in values.items()}
        return facts, percent

    def _plan(self, rule: Rule, event: Event, now: datetime) -> None:
        if rule.gathers:
            at_most = rule.span("gather_at_most") or _LONG
            near = [
                one
                for one in self._emails
                if one.rule is rule
                and one.state == "waiting"
                and one.events[0].enrolment_id == event.enrolment_id
                and abs(one.first_at - event.at) <= at_most
            ]
            if near:
                email = max(near, key=lambda one: one.first_at)
                email.events.append(event)
                if email.reason in {None, "gathering"}:
                    email.due_at = self._gathered(email, email.events)
                return
        for step, length in enumerate(rule.steps or [rule.span("delay") or timedelta(0)]):
            email = Email(rule, step, [event], now, event.at + length)
            if rule.gathers:
                email.due_at = self._gathered(email, [event])
            self._emails.append(email)

    def _gathered(self, email: Email, events: list[Event]) -> datetime:
        """Return when an email about these lessons is due."""
        timing, zone, rule = *self._clock(email), email.rule
        first, last = (choose(one.at for one in events) for choose in (min, max))
        at_most = rule.span("gather_at_most") or _LONG
        moment = min(last + (rule.span("gather") or timedelta(0)), first + at_most)
        if timing.is_quiet(moment, zone):
            evening = timing.before_night(moment, zone)
            return moment if last > evening else evening
        return moment

    def _clock(self, email: Email) -> tuple[Timing, ZoneInfo]:
        event = email.events[0]
        zone = self._space.person(event.name).zone
        timing = email.rule.timing(self._space.course(event.title))
        return timing, ZoneInfo(zone) if zone else self._zone

    # When an email goes

    def _advance(self, until: datetime) -> None:
        while due := [one for one in self._emails if one.state == "waiting" and one.due_at <= until]:
            email = min(due, key=lambda one: max(one.due_at, one.planned_at))
            now = max(email.due_at, email.planned_at)
            state, reason, again_at = self._verdict(email, now)
            if state == "waiting":
                email.reason, email.due_at = reason, again_at
                email.waits += [reason] if reason not in {*email.waits, "gathering"} else []
            else:
                self._end(email, now, state, reason)

    def _end(self, email: Email, now: datetime, state: str, reason: str) -> None:
        email.state, email.done_at = state, now
        after = f" (after {', '.join(email.waits)})" if email.waits else ""
        words = {"sent": f"is sent{after}", "held": f"is held: {reason}"}
        text = words.get(state, f"is not sent: {reason}")
        self._lines.append((now, f"{self._title(email)} {text}"))

    def _title(self, email: Email) -> str:
        first, template = email.events[0], email.rule.template(email.step)
        gone = self._space.member(first.name, first.title).reopened
        numbers = {one.number for one in email.events if one.number}
        numbers -= gone if email.state == "sent" else set()
        about = ", ".join(map(str, sorted(numbers))) if template == "lesson-finished" else ""
        return f"{first.name}: {template} {about}".strip()

    def _is_true(self, event: Event, member: Member) -> bool:
        assert member.enrolment
        if event.kind in {"lesson_completed", "course_started"}:
            is_same = event.enrolment_id == member.enrolment.record_id
            return is_same and event.number in self._done(member)
        return event.kind != "course_completed" or self._is_finished(member, event.title)

    def _verdict(self, email: Email, now: datetime) -> tuple[str, str, datetime]:
        first = email.events[0]
        member = self._space.member(first.name, first.title)
        true = [one for one in email.events if member.enrolment and self._is_true(one, member)]
        if not true:
            return "skipped", "record-gone", now
        for applies, reason in self._skips(email, member, true):
            if applies:
                return "skipped", reason, now
        for applies, reason in self._holds(email, true, now):
            if applies:
                return "held", reason, now
        return self._wait(email, true, now) or ("sent", "", now)

    def _skips(
        self, email: Email, member: Member, true: list[Event]
    ) -> Iterator[tuple[bool, str]]:
        first, enrolment, kind = email.events[0], member.enrolment, email.rule.event
        person, course = self._space.person(first.name), self._space.course(first.title)
        choices = self._space.choices.get(first.name, {})
        timing, _ = self._clock(email)
        assert enrolment
        is_absence, until = kind in _TIMED, email.rule.until if email.step else None
        is_reminder, is_started = email.rule.stream == "reminder", bool(self._done(member))
        yield enrolment.blocked and kind != "enrolment_blocked", "blocked"
        yield not enrolment.blocked and kind == "enrolment_blocked", "changed-meanwhile"
        is_request = kind in {"enrolment_requested", "enrolment_blocked"}
        yield not enrolment.approved and not is_request, "not-approved"
        yield not course.active, "course-inactive"
        yield not person.active, "member-inactive"
        yield not person.email, "no-email"
        is_finished = self._is_finished(member, first.title)
        yield (is_absence or until is not None) and is_finished, "completed-meanwhile"
        yield is_absence and self._last_activity(member) > first.at, "active-meanwhile"
        yield (kind == "not_started" or until == "started") and is_started, "active-meanwhile"
        is_done = kind == "lesson_available" and first.number in self._done(member)
        yield is_done, "active-meanwhile"
        yield choices.get("all") is False, "opted-out-all"
        yield choices.get(email.rule.stream) is False, "opted-out-kind"
        if is_reminder:
            yield not choices.get("reminder"), "no-consent"
            sent = [one for one in self._sent(first.name) if one.rule.stream == "reminder"]
            same = [one for one in sent if one.events[0].enrolment_id == first.enrolment_id]
            most = timing.number("reminders_per_enrolment")
            yield most is not None and len(same) >= most, "reminder-limit"
        since = self._space.sending_since
        is_old = since is not None and all(one.at < since for one in true)
        yield is_old and not email.is_released, "before-start"

    def _sent(self, name: str) -> list[Email]:
        return [one for one in self._emails if one.state == "sent" and one.events[0].name == name]

    def _holds(
        self, email: Email, true: list[Event], now: datetime
    ) -> Iterator[tuple[bool, str]]:
        yield self._space.mode is Mode.OBSERVE, "observe"
        timing, _ = self._clock(email)
        if email.is_released:
            return
        stale = timing.span("stale_after")
        if stale is not None:
            allowed = stale + (email.rule.span("delay") or timedelta(0))
            is_old = email.planned_at - max(one.at for one in true) > allowed
            yield is_old or now - email.due_at > stale, "too-old"
        if (flood := timing.text("flood")) is not None:
            number, _, span = flood.partition("/")
            near = [
                one
                for one in self._emails
                if one.state != "skipped"
                and not one.step
                and abs(one.planned_at - email.planned_at) <= _span(span)
            ]
            yield len(near) > int(number), "flood-guard"

    def _wait(
        self, email: Email, true: list[Event], now: datetime
    ) -> tuple[str, str, datetime] | None:
        (timing, zone), first = self._clock(email), email.events[0]
        whose = self._space.person(first.name).coworker_id
        if email.rule.gathers and (due := self._gathered(email, true)) > now:
            return "waiting", "gathering", due
        if reason := timing.objection(now, zone):
            opening = timing.opening(now, zone)
            return "waiting", reason, timing.spread(opening, zone, whose)
        sent = sorted((one for one in self._sent(first.name)), key=lambda one: one.done_at)
        today = [one for one in sent if _day_of(one.done_at, zone) == _day_of(now, zone)]
        most = timing.number("cap_per_day")
        if most is not None and len(today) >= most:
            morning = timing.next_day(now, zone)
            return "waiting", "cap-day", timing.spread(morning, zone, whose)
        week = [one for one in sent if one.done_at > now - _WEEK]
        reminders = [one for one in week if one.rule.stream == "reminder"]
        caps = []
        if email.rule.stream == "reminder":
            caps.append((reminders, timing.number("reminders_per_week")))
        if email.rule.event not in {"enrolled", "course_completed"}:
            caps.append((week, timing.number("cap_per_week")))
        for some, cap in caps:
            if cap is not None and len(some) >= cap:
                return "waiting", "cap-week", some[len(some) - cap].done_at + _WEEK
        return None


def _day_of(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()
