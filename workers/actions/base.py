"""What every kind of action offers: prepare it, send it, and print what was prepared.

A kind is a subclass of `Action` in a folder of its own, plus one line in
`workers.actions.registry`. See docs/adding-an-action.md.
"""

import abc
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol, Self

from ledger.actions import Copy
from ledger.engine import Connection
from schemas.actions import PersonNeeds
from schemas.entity import CoworkerKind
from schemas.errors import ChannelUnavailable
from schemas.events import Event
from schemas.person import Person
from schemas.reasons import Reason
from schemas.records import Course, CourseMember, Lesson
from schemas.rules import Rule, Stream
from schemas.settings import SendingRate, Settings
from workers.decide.completion import Progress


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom an action is to: the member it is about, or others.

    `audience` is as in `schemas.actions.audience_of`. Of a fixed address nothing else is known.
    """

    audience: str | None
    address: str | None = field(default=None, repr=False)
    name: str = field(default="", repr=False)
    first_name: str | None = field(default=None, repr=False)
    kind: CoworkerKind | None = None
    zone: str | None = None
    language: str | None = None
    coworker_id: int | None = None

    @classmethod
    def of(cls, audience: str | None, person: Person) -> Self:
        """Return a person as recipient."""
        return cls(
            audience,
            person.email,
            person.full_name,
            person.first_name,
            person.kind,
            person.zone,
            person.language,
            person.coworker_id,
        )


@dataclass(frozen=True, slots=True)
class ActionContext:
    """Everything an action may use: its permanent key, and what is true just before it.

    `events` are those that still hold, earliest first; `lessons` are all of the course.
    `started_at` is when the person completed their first lesson. `languages` are tags such as
    pt-BR, the best first: the recipient's own, that of the course's location, that of the settings.
    We may have no translation for the first ones. `next_course` is the next of its group
    that the person can begin, if they finished this one and the ledger knows such a course.
    `stream` is that of the rule. `recipient` is whom the action is to; None: `person`. `is_weekly`
    says that it is about the finished lessons of a week, as the recipient chose.
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
    languages: tuple[str, ...] = ()
    stream: Stream = Stream.SERVICE
    next_course: Course | None = None
    rule: Rule | None = None
    recipient: Recipient | None = None
    is_weekly: bool = False


def no_op() -> None:
    """Do nothing: the default checkpoint."""


def keep_nothing(connection: Connection, now: datetime) -> None:
    """Keep nothing: the default of `Prepared.keep`."""


class SourceSession(Protocol):
    """Signed-in requests to Nexudus, within the limits that all processes share.

    See `workers.source.client.ApiSession`.
    """

    def get_json(self, path: str, query: Mapping[str, str]) -> object:
        """Return the JSON value of an answer."""

    def send(self, method: str, path: str, value: object) -> object:
        """Write one JSON value."""


def lend_nothing() -> AbstractContextManager[SourceSession]:
    """Lend no session: the default, where nothing is written to Nexudus."""
    raise ChannelUnavailable(Reason.DELIVERY_DOWN, "there is no connection to Nexudus here")


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """What `send` calls as it proceeds. If either raises, `send` must stop and let it through.

    `before_step` is called before each request to the other system; it renews the worker's lease.
    `before_commit` is called exactly once, just before the step after which a lost connection
    leaves the result unknown. If it raises, that step must not be taken.
    `lend` lends a session at Nexudus, for kinds that write there.
    """

    before_step: Callable[[], None] = no_op
    before_commit: Callable[[], None] = no_op
    lend: Callable[[], AbstractContextManager[SourceSession]] = lend_nothing


@dataclass(frozen=True, slots=True)
class Prepared:
    """An action ready to be sent.

    `recipient` is an address in the form of its kind, or None. `title` is one line that names the
    action in lists. `body`, of type `media_type`, is kept as the copy of what was sent. `version`
    names the template or code that wrote the body.

    `keep` stores what the ledger must have before it is sent. It is called in the transaction after
    which the action is being performed.

    `send` performs the action once and returns the other system's receipt. It never retries. It
    raises `DeliveryUnavailable` if trying later may help, `ChannelUnavailable` if that holds for
    every action of its kind, `DeliveryRefused` for a final refusal, `DeliveryUnknown` if the action
    may or may not have been done, and whatever the checkpoints raise.
    """

    recipient: str | None = field(repr=False)
    title: str = field(repr=False)
    body: bytes = field(repr=False)
    media_type: str
    send: Callable[[Checkpoints], str]
    version: str = ""
    keep: Callable[[Connection, datetime], None] = keep_nothing

    @property
    def copy(self) -> Copy:
        """The copy to store of this action."""
        return Copy(self.version, self.recipient, self.title, self.body, self.media_type)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One line above a printed body. `if_none` replaces a missing value; "" drops the line."""

    label: str
    value: str | datetime | None
    if_none: str = ""


@dataclass(frozen=True, slots=True)
class Printable:
    """A copy in printable form: header lines, the text, and an HTML page if it has one."""

    lines: tuple[Labelled, ...]
    text: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryReasons:
    """The reasons recorded for actions of this kind.

    `later`: after `DeliveryUnavailable`. `refused`: after `DeliveryRefused`. `maybe_own` are the
    reasons of `ChannelUnavailable` that a single faulty action might cause as well.
    `refuses_all`: after several refusals in a row; then actions wait instead of failing.
    """

    later: Reason = Reason.DELIVERY_LATER
    refused: Reason = Reason.DELIVERY_REFUSED
    maybe_own: frozenset[Reason] = frozenset()
    refuses_all: Reason | None = None


class Action(abc.ABC):
    """One kind of effect outside Coursebell."""

    kind: ClassVar[str]
    """The kind's name in rules: the name of its folder."""
    repeatable: ClassVar[bool]
    """Whether performing it twice by mistake is harmless."""
    needs: ClassVar[PersonNeeds] = PersonNeeds()
    """What it needs of the person it is about. Checked just before each attempt."""
    reasons: ClassVar[DeliveryReasons] = DeliveryReasons()
    rate: SendingRate | None = None
    """How many may be performed at a time, by all workers together; None: as many as are due."""

    @classmethod
    @abc.abstractmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the action as workers use it. Called once per process."""

    @abc.abstractmethod
    def prepare(self, context: ActionContext) -> Prepared:
        """Return the action ready to be sent, without touching anything outside.

        Raises:
            DeliveryRefused: it cannot be prepared; it fails for good.
            RecipientUnusable: the person cannot be reached; it is skipped.
        """

    def in_a_row(self) -> AbstractContextManager[None]:
        """Return a context in which several are sent, perhaps over one connection."""
        return nullcontext()

    def printable(self, copy: Copy, *, to: str | None, written_at: datetime | None) -> Printable:
        """Return a copy in printable form. `to` is its recipient: name and shortened address."""
        return plain(copy, to=to, written_at=written_at)


def plain(copy: Copy, *, to: str | None, written_at: datetime | None) -> Printable:
    """Return the copy of an action of any kind in printable form."""
    is_text = copy.media_type.partition("/")[0] == "text" or copy.media_type == "application/json"
    text = copy.body.decode("utf-8", "replace") if is_text else f"({len(copy.body)} bytes)\n"
    lines = (
        Labelled("To", to),
        Labelled("Title", copy.title),
        Labelled("Date", written_at),
        Labelled("Type", copy.media_type),
    )
    return Printable(lines, text)
