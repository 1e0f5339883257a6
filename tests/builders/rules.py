"""Rules and events with everyday values, so that a test names only what it is about."""

from datetime import datetime
from typing import Any

from schemas.entity import CompletionType
from schemas.events import Event, EventKind
from schemas.rules import Rule, Rules, Stream, Timing, Where
from tests.builders.records import COURSE_ID, COURSE_MEMBER_ID, COWORKER_ID, NOON

COUNTS = frozenset({CompletionType.VISITED, CompletionType.BUTTON, CompletionType.VIDEO})
ANY_TIME = Timing(None, None, None, None, None)


def event(
    kind: EventKind = EventKind.LESSON_COMPLETED, at: datetime = NOON, lesson_id: int | None = 1
) -> Event:
    """Build an event of the usual enrolment."""
    key = f"{kind}:{lesson_id}"
    return Event(kind, key, at, COURSE_ID, COWORKER_ID, COURSE_MEMBER_ID, lesson_id)


def rule(**different: Any) -> Rule:  # noqa: ANN401 - any field of the rule
    """Build an email rule about each finished lesson, with the default timing, not spread."""
    fields: dict[str, Any] = {
        "name": "congratulate-lesson",
        "event": EventKind.LESSON_COMPLETED,
        "action": "email",
        "template": "lesson-finished",
        "stream": Stream.SERVICE,
        "delay_s": 0,
        "gather_s": None,
        "gather_at_most_s": None,
        "timing": Timing(spread_s=None),
        "where": Where(),
        "enabled": True,
    }
    return Rule(**(fields | different))


def gathering_rule(**different: Any) -> Rule:  # noqa: ANN401 - any field of the rule
    """Build a rule that waits for 30 quiet minutes, at most 3 hours."""
    fields: dict[str, Any] = {"gather_s": 1_800, "gather_at_most_s": 10_800}
    return rule(**(fields | different))


def rules(*these: Rule) -> Rules:
    """Build a rules file of these."""
    return Rules(these, COUNTS, "digest-of-the-file")
