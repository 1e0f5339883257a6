"""What every kind of action can do: be written, and be handed over. One folder each."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ledger.copies import Copy
from ledger.people import Person
from schemas.events import Event
from schemas.records import Course, CourseMember, Lesson
from workers.decide.completion import Progress
from workers.mailer.mailer import Steps


@dataclass(frozen=True, slots=True)
class Order:
    """All that an action may be about: what is true just before it, and its permanent key.

    `events` are those that still hold, the earliest first; `lessons` all of the course.
    """

    action_key: str
    template: str | None
    events: tuple[Event, ...]
    enrolment: CourseMember
    course: Course
    person: Person
    lessons: tuple[Lesson, ...]
    progress: Progress
    first_lesson: Lesson | None
    started_at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """An action as it will leave: what to keep of it, and how to hand it over.

    `hand_over` returns the other side's receipt. It raises `MailUnavailable` (later may help),
    `MailStopped` (the same, and for all actions of its kind), `ActionRefused` (a final no) or
    `HandoverUnknown` (nobody knows), and what the steps raise.
    """

    copy: Copy
    hand_over: Callable[[Steps], str]


class Action(Protocol):
    """One kind of effect outside us."""

    kind: str
    repeatable: bool  # whether doing it again by mistake is harmless

    def write(self, order: Order) -> Written:
        """Write it, touching nothing outside.

        Raises `TemplateGap` if it cannot be written, and `AddressUnusable` if there is no address
        to send it to.
        """
