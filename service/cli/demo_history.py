"""The week before `coursebell demo` begins: members study, and emails are sent, held and lost.

Everything in it goes the usual way, with a clock of its own: the stand-in has the records, lookups
read them, rules decide, and the mailbox gets the emails.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from ledger.choices import choice_keys, mailbox_hash, store_choices
from ledger.clock import Clock
from ledger.engine import reading, writing
from ledger.intake import Origin, store_notifications
from ledger.lookups import next_lookup_at
from ledger.mail_reports import store_reports
from ledger.outbox import next_action_at
from schemas.choices import ALL, Choice
from schemas.entity import Entity
from schemas.mail_reports import MailReport, Provider, ReportKind
from schemas.notification import Notification
from schemas.settings import Settings
from workers.actions import webhook
from workers.context import Context, SharedConfig, make_context, read_shared_config
from workers.deliver.claim import perform_batch
from workers.lookup.claim import drain_batch
from workers.mail_reports import apply_reports
from workers.secret_key import secret_key

WEEK = timedelta(days=7)
Ask = Callable[[str, dict[str, Any] | None], Any]

_NO_LIMITS = "10000/second;1000000/minute"  # what a week asks for is asked within seconds
_MOST_ROUNDS = 200  # of work up to one moment
LATE = timedelta(hours=50)  # emails about what happened so long ago are held
_FINANCE, _CERAMICS, _CALLIGRAPHY = range(3)  # the courses, by their places in the stand-in


class PastDeed(StrEnum):
    """What can happen in the week."""

    ENROL = "enrol"
    LESSON = "lesson"
    LATE_LESSON = "late-lesson"  # finished days before anybody reported it
    FINISH = "finish"
    STOP = "stop"  # the member wants no emails
    BOUNCE = "bounce"  # the mail provider reports that the address does not work
    REFUSE = "refuse"  # the mail server refuses the next email


@dataclass(frozen=True, slots=True)
class PastStep:
    """Something that a member did, so many days ago; on the last day, at so many minutes ago."""

    days_ago: int
    at: str
    who: str
    deed: PastDeed
    course: int = _FINANCE

    def moment(self, now: datetime, zone: ZoneInfo) -> datetime:
        """Return when it happened."""
        if not self.days_ago:
            return now - timedelta(minutes=int(self.at))
        day = now.astimezone(zone).date() - timedelta(days=self.days_ago)
        return datetime.combine(day, time.fromisoformat(self.at), zone)


_E, _L, _F = PastDeed.ENROL, PastDeed.LESSON, PastDeed.FINISH
# Some emails wait for days to come; one is held, one not wanted, one refused, and one comes back.
STEPS = (
    PastStep(6, "09:20", "Zoë", _E),
    PastStep(6, "10:05", "Amara", _E, _CERAMICS),
    PastStep(6, "11:30", "Mateusz", _E),
    PastStep(6, "15:10", "Amara", _L, _CERAMICS),
    PastStep(6, "15:10", "Amara", _L, _CERAMICS),
    PastStep(6, "17:45", "נועה", _E, _CALLIGRAPHY),
    PastStep(5, "08:50", "Dev", _E),
    PastStep(5, "09:15", "Zoë", _L),
    PastStep(5, "13:25", "Siobhán", _E, _CERAMICS),
    PastStep(5, "16:40", "Dev", PastDeed.STOP),
    PastStep(5, "18:05", "נועה", _L, _CALLIGRAPHY),
    PastStep(4, "09:40", "Mara", _E),
    PastStep(4, "11:15", "Amara", _F, _CERAMICS),
    PastStep(4, "14:30", "Dev", _L),
    PastStep(4, "16:20", "Giulia", _E),
    PastStep(4, "16:50", "Giulia", PastDeed.BOUNCE),
    PastStep(3, "10:10", "Siobhán", _L, _CERAMICS),
    PastStep(3, "12:35", "Zoë", _L),
    PastStep(3, "12:35", "Zoë", _L),
    PastStep(3, "19:20", "נועה", _F, _CALLIGRAPHY),
    PastStep(3, "20:10", "Fatima", _E, _CERAMICS),
    PastStep(3, "20:30", "Ingrid", _E),
    PastStep(2, "09:05", "田中", _E),
    PastStep(2, "10:45", "Giulia", _L),
    PastStep(2, "17:30", "Mara", _L),
    PastStep(1, "09:30", "Bartholomew", _E),
    PastStep(1, "11:20", "Tomasz", _E, _CERAMICS),
    PastStep(1, "14:05", "田中", _L),
    PastStep(1, "16:15", "Zoë", _F),
    PastStep(0, "95", "Fatima", PastDeed.LATE_LESSON, _CERAMICS),
    PastStep(0, "70", "Siobhán", _F, _CERAMICS),
    PastStep(0, "42", "Mara", PastDeed.REFUSE),
    PastStep(0, "41", "Mara", _L),
    PastStep(0, "18", "田中", _L),
)


class PastClock(Clock):
    """A clock that stands at the moment that is played."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """Return that moment."""
        return self.at


def play_week(settings: Settings, ask: Ask, now: datetime, stop: threading.Event) -> None:
    """Play the week before `now`, until `stop` is set. `ask` controls the stand-in.

    No other process may work on the ledger meanwhile.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    clock, zone = PastClock(now - WEEK), ZoneInfo(settings.zone)
    config = _without_posts(read_shared_config(settings))
    without_limits = replace(settings, nexudus_limits=_NO_LIMITS)
    with closing(make_context(without_limits, config, clock=clock)) as context:
        week = _PastWeek(context, clock, ask, secret_key(settings))
        for moment, step in _in_order(now, zone):
            if stop.is_set():
                return
            week.go_to(moment)
            week.play(step)
        week.go_to(now)
    ask("/sandbox/clock", {"real": True})


def _without_posts(config: SharedConfig) -> SharedConfig:
    """Leave out what posts to programs, which refuse a signature that is minutes old."""
    kept = tuple(one for one in config.rules.rules if one.action != webhook.KIND)
    return replace(config, rules=replace(config.rules, rules=kept))


def _in_order(now: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, PastStep]]:
    yield from sorted(
        ((step.moment(now, zone), step) for step in STEPS), key=lambda found: found[0]
    )


class _PastWeek:
    """The stand-in and our ledger at one moment of the past."""

    def __init__(self, context: Context, clock: PastClock, ask: Ask, key: str) -> None:
        self._context, self._clock, self._ask, self._key = context, clock, ask, key
        self._people = ask("/sandbox/people", None)
        self._courses = [one["id"] for one in ask("/sandbox/courses", None)]
        self._members: dict[tuple[str, int], int] = {}

    def go_to(self, moment: datetime) -> None:
        """Do all that is due until then, each at its time."""
        for _ in range(_MOST_ROUNDS):
            lookup_at, action_at = self._due()
            due_at = min(one or moment for one in (lookup_at, action_at))
            if (lookup_at is None and action_at is None) or due_at > moment:
                break
            self._set_clock(max(due_at, self._clock.at))
            if lookup_at is not None and lookup_at <= self._clock.at:
                number, _ = drain_batch(self._context.lookup_context)
            else:
                number = perform_batch(self._context.delivery, self._context.lookup_context.source)
            if not number:
                break  # what is due is tried again later
        self._set_clock(moment)

    def play(self, step: PastStep) -> None:
        """Let it happen now."""
        match step.deed:
            case PastDeed.ENROL:
                self._enrol(step)
            case PastDeed.LESSON | PastDeed.LATE_LESSON | PastDeed.FINISH:
                self._study(step)
            case PastDeed.STOP:
                self._stop(step)
            case PastDeed.BOUNCE:
                self._bounce(step)
            case PastDeed.REFUSE:
                self._ask("/sandbox/mailbox", {"answer": "refuse"})

    def _enrol(self, step: PastStep) -> None:
        about = {"course_id": self._courses[step.course], "coworker_id": self._person(step)["id"]}
        made = self._ask("/sandbox/enrol", {**about, "deliver": False})
        self._members[step.who, step.course] = made["course_member_id"]
        self._notify(Entity.COURSE_MEMBER, made["course_member_id"])

    def _study(self, step: PastStep) -> None:
        member_id = self._members[step.who, step.course]
        about: dict[str, Any] = {"course_member_id": member_id, "deliver": False}
        if step.deed is PastDeed.LATE_LESSON:
            about["at"] = (self._clock.at - LATE).isoformat()
        if step.deed is PastDeed.FINISH:
            done = self._ask("/sandbox/finish-course", about)["completed_lesson_ids"]
        else:
            done = [self._ask("/sandbox/finish-lesson", about)["completed_lesson_id"]]
        self._notify(Entity.COMPLETED_LESSON, *done)
        self._notify(Entity.COURSE_MEMBER, member_id)

    def _stop(self, step: PastStep) -> None:
        person = self._person(step)
        keys = choice_keys(self._key, person["id"], person["email"])
        refused = Choice(agreed=False, chosen_at=self._clock.at)
        with writing(self._context.engine) as connection:
            store_choices(connection, keys, {ALL: refused})

    def _bounce(self, step: PastStep) -> None:
        report = MailReport(
            Provider.POSTMARK,
            ReportKind.HARD_BOUNCE,
            "a-bounce-of-the-demo",
            happened_at=self._clock.at,
            recipient=self._person(step)["email"],
            code="HardBounce",
            detail="The address does not exist.",
        )
        with writing(self._context.engine) as connection:
            store_reports(
                connection, [report], lambda one: mailbox_hash(one, self._key), self._clock.at
            )
        apply_reports(self._context.engine, self._key, self._clock)

    def _notify(self, entity: Entity, *record_ids: int) -> None:
        changed = [Notification(entity, one) for one in record_ids]
        with writing(self._context.engine) as connection:
            store_notifications(connection, changed, Origin.HOOK, self._clock.at)

    def _person(self, step: PastStep) -> dict[str, Any]:
        found: dict[str, Any] = next(
            one for one in self._people if one["name"].startswith(step.who)
        )
        return found

    def _due(self) -> tuple[datetime | None, datetime | None]:
        now, lease_s = self._clock.at, self._context.delivery.lease_s
        with reading(self._context.engine) as connection:
            return (
                next_lookup_at(connection, now, lease_s=lease_s),
                next_action_at(connection, now, lease_s=lease_s),
            )

    def _set_clock(self, moment: datetime) -> None:
        self._clock.at = moment
        self._ask("/sandbox/clock", {"now": moment.isoformat()})
