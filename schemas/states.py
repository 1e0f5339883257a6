"""The states of a look-up and of an action. Every arrow is one compare-and-set in the ledger."""

from enum import StrEnum


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
