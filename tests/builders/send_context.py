"""A send context with everyday values, in which the action may be performed."""

from typing import Any
from zoneinfo import ZoneInfo

from schemas.actions import Mode
from schemas.entity import CoworkerKind
from schemas.person import Person
from tests.builders.records import COWORKER_ID, NOON, course, course_member
from tests.builders.rules import event, rule
from workers.actions.email.action import EmailAction
from workers.decide.send_check import SendContext


def person(**different: Any) -> Person:  # noqa: ANN401 - any field of the person
    """Build an active person with an address."""
    fields: dict[str, Any] = {
        "coworker_id": COWORKER_ID,
        "full_name": "Ana López",
        "first_name": "Ana",
        "kind": CoworkerKind.INDIVIDUAL,
        "email": "ana@example.org",
        "active": True,
        "fetched_at": NOON,
        "gone_at": None,
    }
    return Person(**(fields | different))


def send_context(**different: Any) -> SendContext:  # noqa: ANN401 - any field of it
    """Build what is true of one finished lesson, at noon, to which nothing objects."""
    fields: dict[str, Any] = {
        "now": NOON,
        "zone": ZoneInfo("Europe/London"),
        "mode": Mode.SENDING,
        "sending_started_at": None,
        "rule": rule(),
        "needs": EmailAction.needs,
        "events": [event()],
        "planned_at": NOON,
        "due_at": NOON,
        "enrolment": course_member(),
        "course": course(),
        "person": person(),
        "choices": {},
        "sent_at": [],
        "planned_nearby": 1,
    }
    return SendContext(**(fields | different))
