"""Planned actions, and the states and outcomes of lookups and actions.

Every change of a state is one compare-and-set in the ledger.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from schemas.events import EventKind
from schemas.reasons import Reason


class LookupState(StrEnum):
    """The state of a lookup."""

    DUE = "due"  # to be read once its due time has come
    LEASED = "leased"  # a worker is reading it; after the lease it is due again
    DONE = "done"  # read and decided on; a new notification makes it due again
    WAITING = "waiting"  # the source was down or busy; due again at its due time
    FAILED = "failed"  # not retried until a person or a new notification makes it due


class ActionState(StrEnum):
    """The state of an action."""

    PLANNED = "planned"  # decided, not yet attempted
    PERFORMING = "performing"  # committed before the hand-over begins
    DONE = "done"  # the receiving server accepted it; its receipt is stored
    SKIPPED = "skipped"  # deliberately not done; the reason says why
    WAITING = "waiting"  # has a later due time; the reason says what for
    HELD = "held"  # waits for a person; the reason says what for
    FAILED = "failed"  # cannot be done; the reason says why
    UNKNOWN = "unknown"  # cut off during the hand-over; never retried automatically


# Due actions in these states may be claimed.
OPEN_ACTIONS = (ActionState.PLANNED, ActionState.WAITING)


class Mode(StrEnum):
    """Whether due actions are performed."""

    OBSERVE = "observe"  # decide, render and hold
    SENDING = "sending"  # perform


# The key of an action is that of its rule, a slash and that of its event; a repeated one adds this.
_RESEND = "/resend-"
_TO = "/to-"  # then comes this, if it is not to the member
_STEP = "/step-"  # and this, if it is not the first of a sequence

# Whom a rule writes to: one of these words, or an address.
MEMBER = "member"
HOST = "host"  # of the course
NOTICE = "notice"  # the template of what is sent to others than the member
RECORD = "record"  # of the member at Nexudus, on which the staff read notes
STAFF = "staff"  # one of whom gets a task at Nexudus
ENDPOINT = "endpoint:"  # then comes its name, for what is posted to a program and not to a person
_DIGEST_LENGTH = 16  # of an address; enough to distinguish those in one file


@dataclass(frozen=True, slots=True)
class KindForm:
    """What a rule about a kind of action may say.

    `templates` are those it must choose from, with the events that each can be about. `keys` are
    keys of rules that it needs and other kinds do not have. `to` is whom all its actions are to, if
    rules do not say it: `record` or `staff`.
    """

    templates: Mapping[str, Collection[EventKind]] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """An effect to have, decided from one event by one rule.

    `gather_until` is set when more events of the same kind, person and course may join: it is the
    latest time to wait for them. `due_with` then returns when an action is due of which this is the
    last event, and whose first was at that time. `asked`: a person requested it. `held_for` is set
    when it is held from the start. `audience` is whom it is to: see `audience_of`.
    """

    key: str
    kind: str
    rule: str
    rules_version: str
    event_kind: EventKind
    template: str | None
    stream: str
    course_id: int
    coworker_id: int
    course_member_id: int
    happened_at: datetime
    due_at: datetime
    gather_until: datetime | None = None
    due_with: Callable[[datetime], datetime] | None = field(default=None, compare=False)
    asked: bool = False
    held_for: Reason | None = None
    audience: str | None = None

    @property
    def may_join(self) -> bool:
        """Whether its event may join an action that waits for more of them.

        That is one that gathers, or a member's email of the week about finished lessons.
        """
        is_lesson = self.event_kind is EventKind.LESSON_COMPLETED and self.audience is None
        return self.gather_until is not None or is_lesson


@dataclass(frozen=True, slots=True)
class PersonNeeds:
    """What a kind of action requires of the person it is about.

    `address`: a usable email address. `stream`: no opt-out from the rule's stream, and consent
    where it needs consent. `language`: none is required, but theirs is read before.
    """

    address: bool = False
    stream: bool = False
    language: bool = False


def first_key(key: str) -> str:
    """Return the key of the action that the one with this key repeats first; else its own."""
    return key.partition(_RESEND)[0]


def resend_key(key: str) -> str:
    """Return the permanent key of the action that repeats the one with this key.

    It is the same for every caller and every call, so that an action is repeated once at most.
    """
    first, _, number = key.partition(_RESEND)
    return f"{first}{_RESEND}{int(number or 0) + 1}"


def audience_of(to: str) -> str | None:
    """Return how the ledger names whom an action is to: None is the member.

    `to` is `member`, `host`, an endpoint or an address. Of an address it is a digest, the same in
    any letter case, so that the ledger holds no address.
    """
    if to in {MEMBER, HOST}:
        return None if to == MEMBER else HOST
    if not is_to_person(to):
        return to
    return hashlib.sha256(to.lower().encode()).hexdigest()[:_DIGEST_LENGTH]


def is_to_person(audience: str | None) -> bool:
    """Return whether this is an email: to the member, the host or a fixed address."""
    return audience is None or not (audience in {RECORD, STAFF} or audience.startswith(ENDPOINT))


def endpoint_of(audience: str | None) -> str | None:
    """Return the name of the endpoint that an action is to; None if it is to none."""
    is_to_endpoint = audience is not None and audience.startswith(ENDPOINT)
    return audience.removeprefix(ENDPOINT) if audience and is_to_endpoint else None


TEXT_PLACES = ("member", "course", "lesson")
_PLACE = re.compile(r"\{([^{}]*)\}")


def places_of_text(text: str) -> tuple[str, ...]:
    """Return the names in braces in the text of a rule, each once."""
    return tuple(dict.fromkeys(_PLACE.findall(text)))


def fill_text(text: str, values: Mapping[str, str]) -> str:
    """Return the text of a rule with these values for its places, which may hold braces."""
    return _PLACE.sub(lambda found: values[found[1]], text)


def channel_of(kind: str, audience: str | None) -> str:
    """Return the name of what an action goes through, such as `email` or `webhook:team-chat`.

    An outage holds the actions of one channel.
    """
    name = endpoint_of(audience)
    return kind if name is None else f"{kind}:{name}"


def action_key(rule: str, event_key: str, step: int = 0, audience: str | None = None) -> str:
    """Return the permanent key of the action that a rule plans for an event.

    `step` counts from 0, for a rule that is a sequence.
    """
    to = "" if audience is None else f"{_TO}{audience}"
    return f"{rule}/{event_key}{to}{f'{_STEP}{step}' if step else ''}"


def event_key_of(key: str) -> str:
    """Return the key of the event that an action was planned for, from the action's own key."""
    whole = key.partition(_RESEND)[0].partition(_STEP)[0].partition(_TO)[0]
    return whole.partition("/")[2]


def step_of(key: str) -> int:
    """Return which step of its sequence an action is, from its key; 0 is the first or only one."""
    return int(key.partition(_RESEND)[0].partition(_STEP)[2] or 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, or why there was none. `until` belongs to `waiting` only."""

    state: ActionState
    reason: Reason | None = None
    until: datetime | None = None
    detail: str | None = None

    @classmethod
    def done(cls, receipt: str) -> "Outcome":
        """Return: accepted, with this receipt."""
        return cls(ActionState.DONE, detail=receipt)

    @classmethod
    def skipped(cls, reason: Reason, detail: str | None = None) -> "Outcome":
        """Return: deliberately not done."""
        return cls(ActionState.SKIPPED, reason, detail=detail)

    @classmethod
    def waiting(cls, until: datetime, reason: Reason, detail: str | None = None) -> "Outcome":
        """Return: checked again at `until`."""
        return cls(ActionState.WAITING, reason, until, detail)

    @classmethod
    def held(cls, reason: Reason) -> "Outcome":
        """Return: waits for a person."""
        return cls(ActionState.HELD, reason)

    @classmethod
    def failed(cls, reason: Reason, detail: str | None = None) -> "Outcome":
        """Return: cannot be done."""
        return cls(ActionState.FAILED, reason, detail=detail)

    @classmethod
    def unknown(cls, detail: str | None = None) -> "Outcome":
        """Return: cut off during the hand-over."""
        return cls(ActionState.UNKNOWN, Reason.HANDOVER_UNKNOWN, detail=detail)
