"""Planned actions, their states and outcomes.

The states of a look-up and of an action. Every arrow is one compare-and-set in the ledger.

What the engine decides: a planned action, and how an attempt at one ended.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.events import EventKind
from schemas.reasons import Reason


class LookupState(StrEnum):
    """Where the need to read one record stands."""

    DUE = "due"  # somebody should read it, as soon as its due time comes
    LEASED = "leased"  # a worker is reading it; after the lease it is due again
    DONE = "done"  # read, compared and decided; a new notification makes it due again
    WAITING = "waiting"  # the source was down or busy; due again at its due time
    FAILED = "failed"  # reading again cannot help until a person or a new notification comes


class ActionState(StrEnum):
    """Where one planned effect stands."""

    PLANNED = "planned"  # decided, and nobody has looked at it since
    PERFORMING = "performing"  # committed before the hand-over begins
    DONE = "done"  # the other side took it; its receipt is kept
    SKIPPED = "skipped"  # on purpose not done; the reason says why
    WAITING = "waiting"  # has a later due time; the reason says what for
    HELD = "held"  # waits for a person; the reason says what for
    FAILED = "failed"  # cannot be done; the reason says why
    UNKNOWN = "unknown"  # cut off during the hand-over; never repeated by itself


# Of these, what is due may be taken up.
OPEN_ACTIONS = (ActionState.PLANNED, ActionState.WAITING)


class Mode(StrEnum):
    """Whether due actions leave the house."""

    OBSERVE = "observe"  # read, decide, write, keep
    SENDING = "sending"  # perform


# The key of an action is that of its rule, a slash and that of its event; a repeated one adds this.
_RESEND = "/resend-"


@dataclass(frozen=True, slots=True)
class Plan:
    """An effect to have, decided from one event by one rule.

    `gather_until` is set when more events of the same kind, person and course may join: it is the
    latest time to wait for them. `asked`: a person asked for it. `held_for` is set when it is held
    from the beginning.
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
    asked: bool = False
    held_for: Reason | None = None


@dataclass(frozen=True, slots=True)
class PersonNeeds:
    """What a kind of action needs of the person it is about.

    `address`: a usable email address. `stream`: that they did not refuse the rule's stream of
    messages, or agreed to it where it needs consent.
    """

    address: bool = False
    stream: bool = False


def resend_key(key: str) -> str:
    """Return the permanent key of the action that repeats the one with this key.

    It is the same for every caller and every call, so that an action is repeated once at most.
    """
    first, _, number = key.partition(_RESEND)
    return f"{first}{_RESEND}{int(number or 0) + 1}"


def event_key_of(key: str) -> str:
    """Return the key of the event that an action was planned for, from the action's own key."""
    return key.partition(_RESEND)[0].partition("/")[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, or why there was none. `until` belongs to `waiting` only."""

    state: ActionState
    reason: Reason | None = None
    until: datetime | None = None
    detail: str | None = None

    @classmethod
    def done(cls, receipt: str) -> "Outcome":
        """Build: the other side took it, and said this."""
        return cls(ActionState.DONE, detail=receipt)

    @classmethod
    def skipped(cls, reason: Reason, detail: str | None = None) -> "Outcome":
        """Build: on purpose not done."""
        return cls(ActionState.SKIPPED, reason, detail=detail)

    @classmethod
    def waiting(cls, until: datetime, reason: Reason, detail: str | None = None) -> "Outcome":
        """Build: decided again at `until`."""
        return cls(ActionState.WAITING, reason, until, detail)

    @classmethod
    def held(cls, reason: Reason) -> "Outcome":
        """Build: waits for a person."""
        return cls(ActionState.HELD, reason)

    @classmethod
    def failed(cls, reason: Reason, detail: str | None = None) -> "Outcome":
        """Build: cannot be done."""
        return cls(ActionState.FAILED, reason, detail=detail)

    @classmethod
    def unknown(cls, detail: str | None = None) -> "Outcome":
        """Build: cut off during the hand-over."""
        return cls(ActionState.UNKNOWN, Reason.HANDOVER_UNKNOWN, detail=detail)
