"""What can become of a row, what can be wrong with one, and how people are told."""

from collections.abc import Mapping
from enum import StrEnum


class Fate(StrEnum):
    """What became of a row, or of an event. Each has exactly one."""

    WRITTEN = "written"  # somebody was written to about it
    WAITING = "waiting"  # its email is planned
    HELD = "held"  # its email waits for a person
    SKIPPED = "skipped"  # its email was left out on purpose, just before it was due
    FAILED = "failed"  # its email could not be sent
    UNKNOWN = "unknown"  # its email was cut off while it was handed over
    UNWRITTEN = "unwritten"  # it was decided at once that there is no email for it
    REPEAT = "repeat"  # the same was there before under another Id
    NO_EVENT = "no-event"  # by the rules of events this is none
    OPEN = "open"  # it is still to be read
    SEEN = "seen"  # it was seen on a list, from before we began or brought in, and not read
    UNACCOUNTED = "unaccounted"  # nobody can say: there is a difference


class Kind(StrEnum):
    """What is wrong. One row that is missing anywhere is one difference."""

    MISSING_HERE = "missing-here"
    MISSING_THERE = "missing-there"
    OTHER_KEYS = "other-keys"
    UNREADABLE = "not-read"
    NO_EVENT = "no-event"
    NO_RECORD = "no-record"
    NO_OUTCOME = "no-outcome"
    NO_ACTION = "no-action"
    NO_CAUSE = "no-cause"
    NO_TRACE = "no-trace"


SENTENCES: Mapping[Kind, str] = {
    Kind.MISSING_HERE: "At Nexudus, and not here",
    Kind.MISSING_THERE: "Here, and not at Nexudus",
    Kind.OTHER_KEYS: "Refers to something else at Nexudus than here",
    Kind.UNREADABLE: "Could not be read",
    Kind.NO_EVENT: "Was read, and no event came of it",
    Kind.NO_RECORD: "Happened, and the record that shows it is missing here",
    Kind.NO_OUTCOME: "Happened, and neither an email nor a reason came of it",
    Kind.NO_ACTION: "Its email is missing here",
    Kind.NO_CAUSE: "An email is about something that is missing here",
    Kind.NO_TRACE: "What became of its email is missing here",
}
