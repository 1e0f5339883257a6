"""Decides by docs/rules.md alone, sharing no code with `workers`, to compare both."""

import hashlib
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from schemas.actions import Mode
from schemas.entity import UnlockType
from schemas.records import CourseMember
from tests.builders.playback import Playback
from tests.builders.space import Space

_NEVER = datetime.min.replace(tzinfo=UTC)
_DAY, _PUT_OFF, _WEEK = (timedelta(days=number) for number in (1, 5, 7))
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ABSENCES = {"not_started": "7d", "stalled": "14d", "lesson_available": ""}
_OF_MEMBER = {"enrolled", "course_started", "course_completed"}  # once for course and member
_OF_LESSONS = {"lesson_completed", "course_started", "course_completed"}
_LIMITS = ("cap_per_day", "cap_per_week", "reminders_per_week", "reminders_per_enrolment", "flood")
_parsed = lru_cache(partial(yaml.load, Loader=yaml.BaseLoader))
_DEFAULTS = _parsed("""{where: {}, delay: none, gather: none, gather_at_most: 366d, until: "",
    quiet_hours: "20:00-08:00", send: none, holidays: [], spread: 45m, cap_per_day: 2,
    cap_per_week: 4, reminders_per_week: 1, reminders_per_enrolment: 2, count_nexudus: false,
    stale_after: 48h, flood: 25/10m, brake: none}""")
_Yaml = dict[str, Any]
_Forecast = Mapping[str, int]
_Times = Collection[datetime]
_Event = tuple[str, int | None, timedelta | None, datetime]  # kind, lesson, length, happened_at
_Check = tuple[str, bool | datetime | None, str]  # what follows, if or until when, the reason


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - as YAML has it
    return value if isinstance(value, list) else [value] if value else []


def _plain(value: Any) -> set[str]:  # noqa: ANN401 - as above
    return {unicodedata.normalize("NFC", one.strip().casefold()) for one in _listed(value) if one}


def _duration(text: str) -> timedelta:
    """Return a duration; `none` becomes 0, which no duration in a file is."""
    return timedelta(seconds=int(text[:-1]) * _UNITS[text[-1]] if text != "none" else 0)


class Facts:
    """What is true now of a member on a course, and the enabled rules as they are for both."""

    def __init__(self, space: Space, whose: tuple[str, str], file: _Yaml, zone: ZoneInfo) -> None:
        member, self.whose, self.zone = space.member(*whose), whose, zone
        assert member.enrolment is not None
        self.enrolment, self.opened_at = member.enrolment, member.enrolment.last_access_at or _NEVER
        self.person, self.course = space.person(whose[0]), space.course(whose[1])
        self.lessons = {one.record_id: one for one in space.lessons[self.course.record_id]}
        self.done: dict[int, datetime] = {}  # in the order in which they were finished
        for one in sorted(member.done, key=lambda done: (done.created_at, done.record_id)):
            self.done.setdefault(one.lesson_id, one.created_at)
        counts = (file.get("completion") or {}).get("counts", ["visited", "button", "video"])
        active = [one for one in self.lessons.values() if one.active]
        counted = [one for one in active if one.completion_type.name.lower() in counts]
        self.counted = {one.record_id for one in counted}
        self.is_finished = bool(counted) and self.counted <= self.done.keys()
        timed = [one for one in active if one.unlock_type is UnlockType.TIMED]
        ahead = [one for one in timed if one.unlock_after_days and one.record_id not in self.done]
        self.ahead = {one.record_id: _DAY * (one.unlock_after_days or 0) for one in ahead}
        self.activity = [self.opened_at, *(one.created_at for one in member.done)]
        enabled = [one for one in file["rules"] if one.get("enabled") != "false"]
        self.rules = {one["name"]: Rule(one, file, self) for one in enabled}

    def matches(self, key: str, value: Any, number: int | None) -> bool:  # noqa: ANN401 - as above
        """Return whether a line of `where` matches for an event about this lesson."""
        if key == "not":
            return not any(self.matches(one, value[one], number) for one in value)
        if key == "completion":
            percent = 100 * len(self.counted & self.done.keys()) // max(len(self.counted), 1)
            ranges = [one.partition("-") for one in _listed(value) if self.counted]
            return any(int(low) <= percent <= int(high or low) for low, _, high in ranges)
        course, lesson = self.course, self.lessons.get(number or 0)
        values = {
            "course": [str(course.record_id), course.title],
            "group": [course.group_name],
            "location": [str(course.business_id), course.business_name],
            "host": [course.host_name],
            "visibility": [course.visibility and course.visibility.name],
            "team": (self.enrolment.team_names or "").split(","),
            "coworker_type": [self.enrolment.coworker_kind and self.enrolment.coworker_kind.name],
            "completion_type": [lesson and lesson.completion_type.name],
        }
        return bool(_plain(values[key]) & _plain(value))


class Rule:
    """A rule as it is for one member and course; its hours are texts that their clock shows."""

    def __init__(self, own: _Yaml, file: _Yaml, facts: Facts) -> None:
        self.name, self.event, self._facts = own["name"], own["event"], facts
        self.whose, self.enrolment_id = facts.whose, facts.enrolment.record_id
        self.key = self.name, self.enrolment_id
        self.stream = own.get("stream", "reminder" if self.event in _ABSENCES else "service")
        self.is_reminder = self.stream == "reminder"
        names = _plain([str(facts.course.record_id), facts.course.title])
        courses = file.get("courses", [])
        of_course: _Yaml = next((one for one in courses if names & _plain(one["course"])), {})
        usual = {"send": "09:00-17:00 mon-fri"} if self.is_reminder else {}
        self.keys = keys = _DEFAULTS | usual | (file.get("timing") or {}) | of_course | own
        keys |= {key: "inf" for key in _LIMITS if keys[key] == "none"}
        self._is_off = self.name in _listed(of_course.get("off"))
        self.after = {*map(_duration, _listed(own.get("after") or _ABSENCES.get(self.event)))}
        self.gather, self.at_most = _duration(keys["gather"]), _duration(keys["gather_at_most"])
        lengths = [_duration(one) for one in own.get("steps") or [keys["delay"]]]
        self.steps = list(zip(lengths, _listed(own["template"]) * len(lengths), strict=False))
        night = keys["quiet_hours"].replace("none", "08:00-08:00")
        hours, days = f"{keys['send']} mon-sun".replace("none", "00:00-24:00").split()[:2]
        self._night, self._morning, self._opens, self._closes = f"{night}-{hours}".split("-")
        ends = [[_WEEKDAYS.index(day) for day in one.split("-")] for one in days.split(",")]
        self._days = {n for n in range(7) for a in ends if (n - a[0]) % 7 <= (a[-1] - a[0]) % 7}
        digest = hashlib.sha256(str(facts.person.coworker_id).encode()).digest()
        spread_s = int(_duration(keys["spread"]).total_seconds())
        self._spread_s = int.from_bytes(digest[:8], "big") % max(spread_s, 1)

    def applies(self, event: _Event) -> bool:
        """Return whether it is about this event, is on, and its conditions hold."""
        is_meant = self.event == event[0] and event[2] in {None, *self.after} and not self._is_off
        where = self.keys["where"]
        return is_meant and all(self._facts.matches(one, where[one], event[1]) for one in where)

    def _local(self, at: datetime) -> tuple[date, str, bool]:
        local = at.astimezone(self._facts.zone)
        clock, (first, second) = f"{local:%H:%M:%S}", sorted([self._night, self._morning])
        return local.date(), clock, (first <= clock < second) is (self._night <= self._morning)

    def _moment(self, day: date, clock: str, after: datetime) -> datetime:
        """Return when the clock shows this; the second time if `after` is not before the first."""
        hour, minute = map(int, clock.split(":"))
        local = datetime.combine(day, time.min, self._facts.zone)
        local += timedelta(hours=hour, minutes=minute)
        first, again = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        return again if first <= after < again else first

    def obstacle(self, at: datetime) -> tuple[str, date, str] | None:
        """Return why nothing is sent at this moment, and what the clock shows when that ends."""
        day, clock, is_quiet = self._local(at)
        if day.isoformat() in _listed(self.keys["holidays"]):
            return "holiday", day + _DAY, "00:00"
        if is_quiet:
            return "quiet-hours", day + _DAY * (clock >= self._morning), self._morning
        if day.weekday() not in self._days or clock >= self._closes:
            return "send-window", day + _DAY, "00:00"
        return ("send-window", day, self._opens) if clock < self._opens else None

    def opening(self, at: datetime, *, is_tomorrow: bool = False) -> datetime:
        """Return when an email goes that waits for the hours to send, or for the next day."""
        if is_tomorrow:
            at = self._moment(self._local(at)[0] + _DAY, self._morning, at)
        while not is_tomorrow and (obstacle := self.obstacle(at)):
            at = self._moment(obstacle[1], obstacle[2], at)
        seconds = self._spread_s
        while seconds and self.obstacle(at + timedelta(seconds=seconds)):
            seconds //= 2
        return at + timedelta(seconds=seconds)

    def gathered(self, lessons: _Times) -> datetime:
        """Return when an email about lessons that were finished at these times is due."""
        due = min(max(lessons) + self.gather, min(lessons) + self.at_most)
        day, clock, is_quiet = self._local(due)
        night = self._moment(day - _DAY * (clock < self._night), self._night, min(lessons))
        early = night - timedelta(minutes=1)
        return early if is_quiet and max(lessons) <= early else due

    def limits(self, now: datetime, sent: _Times, reminders: _Times) -> Iterator[_Check]:
        """Yield the checks of the limits of a member who was sent these."""
        days = [self._local(one)[0] for one in [*sent, now]]
        is_reached = days.count(days[-1]) > float(self.keys["cap_per_day"])
        yield "waits", is_reached and self.opening(now, is_tomorrow=True), "cap-day"
        every = [] if self.event in {"enrolled", "course_completed"} else sent
        for times, key in (reminders, "reminders_per_week"), (every, "cap_per_week"):
            recent, limit = sorted(one for one in times if one > now - _WEEK), self.keys[key]
            yield "waits", len(recent) >= float(limit) and recent[-int(limit)] + _WEEK, "cap-week"


@dataclass
class Email:
    """An email that was planned. It is `open` while it is planned or waits; steps count from 0."""

    rule: Rule
    template: str
    step: int
    about: dict[int, datetime]  # when its lessons were finished; 0 is an event without a lesson
    planned_at: datetime
    due: datetime  # or when it was sent, skipped or held
    state: str = "open"
    waits: list[str] = field(default_factory=lambda: ["gathering"])
    is_released: bool = False


class SecondDecider(Playback):
    """Decides as docs/rules.md says. `forecast`: emails on the busiest day, by name of the rule."""

    def __init__(
        self, rules: str, zone: str, people: Mapping[str, str], forecast: _Forecast | None = None
    ) -> None:
        super().__init__(zone, people)
        self._file, self._forecast, self._now = _parsed(rules), forecast or {}, _NEVER
        self._versions: dict[int, CourseMember] = {}
        self._enrolled_at: dict[int, datetime] = {}
        self._known: set[object] = set()  # keys of events that happened, and of timers that ended
        self._timers: dict[tuple[Any, ...], datetime] = {}  # in the order in which they were made
        self._emails: list[Email] = []  # in the order in which they were planned

    def _find(self, name: str, title: str, now: datetime) -> None:
        if self._space.member(name, title).enrolment is None:
            return
        facts = Facts(self._space, (name, title), self._file, self._zone_of(name))
        number = facts.enrolment.record_id
        for event in [*self._changes(facts, number, now), *self._absences(facts, number, now)]:
            key = (facts.whose, event[0]) if event[0] in _OF_MEMBER else (number, *event[:3])
            if key not in self._known:
                self._known.add(key)
                self._decide(event, facts, now)
        self._versions[number] = facts.enrolment

    def _changes(self, facts: Facts, number: int, now: datetime) -> Iterator[_Event]:
        enrolment, before = facts.enrolment, self._versions.get(number, facts.enrolment)
        is_change = enrolment.approved and not before.approved
        changed_at, is_entry = min(now, enrolment.updated_at), is_change and not enrolment.blocked
        entered_at = changed_at if is_entry else min(now, enrolment.created_at)
        lessons = [(lesson, None, min(at, now)) for lesson, at in facts.done.items()]
        last = [one for one in lessons if one[0] in facts.counted][-1:]
        yield from (("course_completed", *one) for one in last if facts.is_finished)
        is_new = not enrolment.blocked and (facts.whose, "enrolled") not in self._known
        if enrolment.approved and (is_new or number not in self._enrolled_at):
            self._enrolled_at[number] = entered_at
        if not enrolment.blocked:
            kind = "enrolled" if enrolment.approved else "enrolment_requested"
            yield kind, None, None, entered_at
        if is_change and enrolment.updated_at >= before.updated_at:  # no rule is about a block
            yield "enrolment_approved", None, None, changed_at
        yield from (("course_started", *one) for one in lessons[:1])
        yield from (("lesson_completed", *one) for one in lessons)

    def _absences(self, facts: Facts, number: int, now: datetime) -> Iterator[_Event]:
        """Make, move and end the timers of an enrolment; yield what happens now."""
        start, asked = self._enrolled_at.get(number, _NEVER), dict[tuple[Any, ...], datetime]()
        times = {} if facts.done else {"not_started": start}
        times |= {} if facts.is_finished else {"stalled": max([start, *facts.activity])}
        for kind, rule in [(one.event, one) for one in facts.rules.values()]:
            lengths = rule.after if kind in times else ()
            days = facts.ahead if kind == "lesson_available" else {}
            asked |= {(number, kind, None, one): times[kind] + one for one in lengths}
            asked |= {(number, kind, one, None): start + days[one] for one in days}
        for key, at in sorted(asked.items(), key=lambda one: (one[0][3] is None, one[1])):
            can_begin = facts.enrolment.approved and (facts.done or key[1] != "stalled")
            if at > now and can_begin and key not in self._known:
                self._timers.setdefault(key, at)
        for key in [one for one in self._timers if one[0] == number]:
            opened_at = facts.opened_at if key[1] == "not_started" else _NEVER
            at = max(self._timers[key], asked.get(key, now), opened_at + _PUT_OFF)
            if key not in asked:
                self._known.add(key)
                del self._timers[key]
            elif at > now or facts.enrolment.blocked:
                self._timers[key] = at if at > now else at + _PUT_OFF
            else:
                yield *key[1:], self._timers.pop(key)

    def _decide(self, event: _Event, facts: Facts, now: datetime) -> None:
        kind, lesson, _, at = event
        rules = [one for one in facts.rules.values() if one.applies(event)]
        since = self._space.sending_since or _NEVER
        planned = [one for one in self._emails if one.rule.whose == facts.whose]
        ends = [max(one.about.values()) for one in planned if one.rule.event == "course_completed"]
        covered = kind == "lesson_completed" and at <= max(ends, default=_NEVER)
        off = "not-approved" if kind == "enrolment_requested" else "kind-off"
        reasons = {off: not rules, "before-start": at < since, "superseded": covered}
        if reason := next((reason for reason in reasons if reasons[reason]), ""):
            if kind in {"enrolment_requested", *(one["event"] for one in self._file["rules"])}:
                words = f"{kind} {lesson or ''}".strip()
                self._write(now, f"{facts.whose[0]}: {words} leads to nothing: {reason}")
            return
        for email in planned if kind == "course_completed" else []:
            if email.rule.event == "lesson_completed" and email.state in {"open", "held"}:
                self._end(email, now, "skipped", "superseded")
        for rule in rules:
            self._plan(rule, lesson or 0, at, now)

    def _plan(self, rule: Rule, lesson: int, at: datetime, now: datetime) -> None:
        alike = [one for one in self._emails if one.rule.key == rule.key and one.state == "open"]
        near = [one for one in alike if abs(min(one.about.values()) - at) <= rule.at_most]
        for step, (length, template) in enumerate([] if rule.gather and near else rule.steps):
            self._emails.append(Email(rule, template, step, {lesson: at}, now, at + length))
        if rule.gather:
            email = max(near, key=lambda one: min(one.about.values()), default=self._emails[-1])
            email.about[lesson] = at
            if email.waits[-1] == "gathering":
                email.due = rule.gathered(email.about.values())

    def _release(self, name: str, now: datetime) -> None:
        for email in self._emails:
            if email.rule.whose[0] == name and email.state == "held":
                email.state, email.is_released, email.due = "open", True, now

    def _advance(self, until: datetime) -> None:
        while due := [one for one in self._emails if one.state == "open" and one.due <= until]:
            email = min(due, key=lambda one: (max(one.due, self._now), one.due))
            self._now = max(email.due, self._now)
            state, applies, reason = next(one for one in self._checks(email, self._now) if one[1])
            if isinstance(applies, datetime):
                email.due = applies
                email.waits.append(reason)
            else:
                self._end(email, self._now, state, reason)
        self._now = max(until, self._now)

    def _end(self, email: Email, now: datetime, state: str, reason: str) -> None:
        email.state, email.due = state, now
        words = self._words(email.rule.whose, email.template, email.about, is_sent=state == "sent")
        self._write_end(now, words, state, reason, list(dict.fromkeys(email.waits))[1:])

    def _checks(self, email: Email, now: datetime) -> Iterator[_Check]:  # noqa: PLR0915 - a table
        enrolment = self._space.member(*email.rule.whose).enrolment
        if enrolment is None or enrolment.record_id != email.rule.enrolment_id:
            yield "skipped", True, "record-gone"
            return
        facts = Facts(self._space, email.rule.whose, self._file, self._zone_of(email.rule.whose[0]))
        rule, name = facts.rules[email.rule.name], email.rule.whose[0]
        finished = [at for lesson, at in email.about.items() if lesson in facts.done]
        yield "skipped", rule.event in _OF_LESSONS and not finished, "record-gone"
        yield "skipped", enrolment.blocked, "blocked"
        yield "skipped", not enrolment.approved, "not-approved"
        yield "skipped", not facts.course.active, "course-inactive"
        yield "skipped", not facts.person.active, "member-inactive"
        yield "skipped", not facts.person.email, "no-email"
        is_silence, until = bool(rule.after), rule.keys["until"] if email.step else ""
        yield "skipped", facts.is_finished and bool(is_silence or until), "completed-meanwhile"
        last = max(email.about.values())
        yield "skipped", is_silence and max(facts.activity) > last, "active-meanwhile"
        is_over = bool(facts.done) and (rule.event == "not_started" or until == "started")
        yield "skipped", is_over, "active-meanwhile"
        yield "skipped", rule.event == "lesson_available" and bool(finished), "active-meanwhile"
        choices = self._space.choices.get(name, {})
        yield "skipped", choices.get("all") is False, "opted-out-all"
        yield "skipped", choices.get(rule.stream) is False, "opted-out-kind"
        yield "skipped", rule.is_reminder and not choices.get("reminder"), "no-consent"
        sent = [one for one in self._emails if one.state == "sent"]
        to_member = [one for one in sent if one.rule.whose[0] == name]
        reminders = [one for one in to_member if one.rule.is_reminder and rule.is_reminder]
        had = [one for one in reminders if one.rule.enrolment_id == rule.enrolment_id]
        yield "skipped", len(had) >= float(rule.keys["reminders_per_enrolment"]), "reminder-limit"
        since, is_free = self._space.sending_since or _NEVER, email.is_released
        yield "skipped", not is_free and last < since, "before-start"
        yield "held", self._space.mode is Mode.OBSERVE, "observe"
        stale = _duration(rule.keys["stale_after"])
        age = max(email.planned_at - last - _duration(rule.keys["delay"]), now - email.due)
        yield "held", not is_free and bool(stale) and age > stale, "too-old"
        limit, span = [*rule.keys["flood"].split("/"), "none"][:2]
        planned = [one for one in self._emails if one.state != "skipped" and not one.step]
        near = [abs(one.planned_at - email.planned_at) <= _duration(span) for one in planned]
        yield "held", not is_free and sum(near) > float(limit), "flood-guard"
        gathered = rule.gathered(finished) if rule.gather else now
        yield "waits", gathered > now and gathered, "gathering"
        if obstacle := rule.obstacle(now):
            yield "waits", rule.opening(now), obstacle[0]
        every, ours = [one.due for one in to_member], [one.due for one in reminders]
        yield from rule.limits(now, every, ours)
        if rule.keys["brake"] != "none" and rule.name in self._forecast and not is_free:
            most = round(10 * float(rule.keys["brake"][:-1])) * self._forecast[rule.name] // 10
            of_rule = [one for one in sent if one.rule.name == rule.name and not one.is_released]
            days = [one.due.astimezone(self._zone).date() for one in of_rule]
            today = days.count(now.astimezone(self._zone).date())
            yield "held", today >= max(most, 5), "over-forecast"
        if rule.is_reminder and rule.keys["count_nexudus"] == "true":
            read = sorted(self._space.messages.get(name, []), key=lambda one: one.created_at)[-100:]
            recent = [one for one in read if one.created_at > now - _WEEK and not one.incoming]
            theirs = [min(one.created_at, now) for one in recent if one.is_reminder]
            yield "skipped", is_silence and bool(theirs), "nexudus-reminded"
            every += [min(one.created_at, now) for one in recent]
            yield from rule.limits(now, every, ours + theirs)
        yield "sent", True, ""

    def _next_timer(self) -> tuple[datetime, int, str] | None:
        due = [(at, key[0], str(key)) for key, at in self._timers.items()]
        return min(due, key=lambda one: one[0], default=None)

    def _drop_timer(self, key: str) -> None:
        self._timers = {one: at for one, at in self._timers.items() if str(one) != key}

    def _waiting(self) -> Iterator[tuple[datetime, str]]:
        for email in self._emails:
            if email.state == "open":
                words = self._words(email.rule.whose, email.template, email.about, is_sent=False)
                yield email.due, f"{words} still waits: {email.waits[-1]}"
