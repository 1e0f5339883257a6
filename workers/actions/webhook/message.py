"""What is posted to an endpoint: a signed event, or one sentence for a chat program.

The form of an event is that of Standard Webhooks (type, timestamp, data). A chat gets what the
program's incoming webhooks take: Slack `text` and `blocks`, Teams a message with an Adaptive Card.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from schemas.endpoints import Endpoint, Personal, Shape
from schemas.events import EventKind
from schemas.text import cut_at_word, one_line
from workers.actions.base import ActionContext
from workers.actions.email.notice import Notice, what_happened
from workers.actions.email.phrases import Writer
from workers.languages import language_for

MEDIA_TYPE = "application/json"
VERSION = "webhook-1"
_ID_LENGTH = 32  # hex digits of the digest of a key
_LONGEST_SENTENCE = 1_000  # characters; Slack takes 3,000 in a block, also once they are escaped
_MOST_LESSONS = 100  # in one message; the number of all is beside them

TYPES: Mapping[EventKind, str] = {
    EventKind.ENROLLED: "course.enrolled",
    EventKind.ENROLMENT_REQUESTED: "course.enrolment_requested",
    EventKind.ENROLMENT_APPROVED: "course.enrolment_approved",
    EventKind.ENROLMENT_BLOCKED: "course.enrolment_blocked",
    EventKind.ENROLMENT_UNBLOCKED: "course.enrolment_unblocked",
    EventKind.COURSE_STARTED: "course.started",
    EventKind.LESSON_COMPLETED: "lesson.completed",
    EventKind.COURSE_COMPLETED: "course.completed",
    EventKind.NOT_STARTED: "course.not_started",
    EventKind.STALLED: "course.stalled",
    EventKind.LESSON_AVAILABLE: "lesson.available",
}
TEST_TYPE = "coursebell.test"


def message_id(action_key: str) -> str:
    """Return the id that a receiver can recognise repeats by; it is the same for one action."""
    return f"msg_{hashlib.sha256(action_key.encode()).hexdigest()[:_ID_LENGTH]}"


def sentence(context: ActionContext, endpoint: Endpoint) -> str:
    """Return what happened in one sentence, in the language of the course's location."""
    write = Writer(language_for(*context.languages))
    kind = context.events[-1].kind
    lessons = sum(one.lesson_id is not None for one in context.events)
    notice = Notice(_called(context, endpoint), kind, to_host=False)
    words = what_happened(notice, one_line(context.course.title), lessons, write).text()
    return cut_at_word(words, _LONGEST_SENTENCE)


def _called(context: ActionContext, endpoint: Endpoint) -> str:
    """Return the member's name, or their Id for an endpoint that may not learn the name."""
    name = one_line(context.person.full_name) if Personal.NAME in endpoint.include else ""
    return name or f"#{context.person.coworker_id}"


def event_of(context: ActionContext, endpoint: Endpoint) -> dict[str, Any]:
    """Return the event as an object for JSON."""
    last, person, course = context.events[-1], context.person, context.course
    member: dict[str, Any] = {"id": person.coworker_id}
    if Personal.NAME in endpoint.include:
        member["name"] = one_line(person.full_name)
    if Personal.EMAIL in endpoint.include:
        member["email"] = person.email
    titles = {one.record_id: one.title for one in context.lessons}
    about = [one for one in context.events if one.lesson_id is not None]
    done, of = context.progress.done, context.progress.total
    return {
        "type": TYPES[last.kind],
        "timestamp": _moment(last.happened_at),
        "data": {
            "enrolment_id": context.enrolment.record_id,
            "member": member,
            "course": {"id": course.record_id, "title": one_line(course.title)},
            "lessons": [
                {
                    "id": one.lesson_id,
                    "title": one_line(titles.get(one.lesson_id or 0)),
                    "at": _moment(one.happened_at),
                }
                for one in about[:_MOST_LESSONS]
            ],
            "lesson_count": len(about),
            "progress": {"done": done, "of": of, "finished": context.progress.finished},
        },
    }


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def event_of_test(now: datetime) -> dict[str, Any]:
    """Return the event that `coursebell webhook test` posts."""
    return {"type": TEST_TYPE, "timestamp": _moment(now), "data": {}}


def body_of(endpoint: Endpoint, event: Mapping[str, Any], words: str) -> bytes:
    """Return the body in the shape of the endpoint, of an event and its sentence."""
    make = _SHAPES[endpoint.shape]
    content = make(event, words)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _standard(event: Mapping[str, Any], _: str) -> Mapping[str, Any]:
    return event


def _slack(_: Mapping[str, Any], words: str) -> Mapping[str, Any]:
    # `text` is read as Slack's mark-up, where these three could begin a mention of everyone.
    escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = {"type": "plain_text", "text": words, "emoji": False}
    return {"text": escaped, "blocks": [{"type": "section", "text": plain}]}


def _teams(_: Mapping[str, Any], words: str) -> Mapping[str, Any]:
    # A text run, since a text block would read titles as Markdown.
    run = {"type": "TextRun", "text": words}
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [run]}],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


_SHAPES: Mapping[Shape, Callable[[Mapping[str, Any], str], Mapping[str, Any]]] = {
    Shape.STANDARD: _standard,
    Shape.SLACK: _slack,
    Shape.TEAMS: _teams,
}


def headers_of(endpoint: Endpoint, identity: str, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers of a message; every secret of the endpoint signs it."""
    found = {"Content-Type": MEDIA_TYPE}
    if endpoint.shape is not Shape.STANDARD:
        return found
    at, text = now.astimezone(UTC), body.decode("utf-8")
    signed = " ".join(Webhook(one).sign(identity, at, text) for one in endpoint.secrets)
    return found | {
        "webhook-id": identity,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signed,
    }
