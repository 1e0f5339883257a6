"""What the pages show of the records: names, progress and sentences. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.tenant import Tenant
from sandbox.wire import Record
from schemas.entity import Entity
from schemas.vocabulary import CoworkerKind

_MOST_PROGRESS = 100

# What the last act came to, by the word in the address; nothing else can be shown there.
SAID = {
    "enrolled": "Enrolled. Nexudus has a new enrolment.",
    "lesson": "One lesson finished.",
    "course": "The course is finished.",
    "enrolled-already": "They are on this course already.",
    "not-enrolled": "They are not on this course yet. Enrol them first.",
    "nothing-left": "They have finished this course already.",
}
REFUSALS = frozenset({"enrolled-already", "not-enrolled", "nothing-left"})

_ENTITY_WORDS = {
    Entity.COURSE_MEMBER.value: "Enrolment",
    Entity.COMPLETED_LESSON.value: "Finished lesson",
}


@dataclass(frozen=True, slots=True)
class Option:
    """One line of a choice."""

    id: int
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one person is in one course."""

    person: str
    course: str
    done: int
    of: int
    state: str
    tone: str


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """One try to tell Coursebell something."""

    at: str
    clock: str
    what: str
    record_id: int
    answer: str
    tone: str


def options(rows: Sequence[Record], chosen: int | None) -> list[Option]:
    """Return the records as choices; without a choice made, the first."""
    ids = [row["Id"] for row in rows]
    picked = chosen if chosen in ids else next(iter(ids), None)
    return [Option(row["Id"], _label(row), row["Id"] == picked) for row in rows]


def progress_of_all(tenant: Tenant) -> list[Progress]:
    """Return the progress of the newest enrolments, the newest first."""
    members = sorted(tenant.rows(Entity.COURSE_MEMBER), key=lambda row: -row["Id"])
    return [_progress(tenant, member) for member in members[:_MOST_PROGRESS]]


def delivery_lines(deliveries: Sequence[dict[str, Any]]) -> list[DeliveryLine]:
    """Return the tries, newest first."""
    return [_delivery_line(one) for one in reversed(deliveries)]


def hook_word(entity: str) -> str:
    """Return what a kind of record is called on the pages."""
    return _ENTITY_WORDS[entity]


def clock(at: str) -> str:
    """Return the time of day, in UTC, of a moment written in ISO 8601."""
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%H:%M:%S")


def _label(row: Record) -> str:
    if "Title" in row:
        return str(row["Title"])
    remarks = [
        row["CompanyName"] if row["CoworkerType"] == CoworkerKind.COMPANY.value else None,
        None if row["Email"] else "no email address",
        None if row["Active"] else "inactive",
        "archived" if row["Archived"] else None,
    ]
    remark = ", ".join(text for text in remarks if text)
    return f"{row['FullName']} ({remark})" if remark else str(row["FullName"])


def _progress(tenant: Tenant, member: Record) -> Progress:
    lessons = [row for row in tenant.lessons_of(member["CourseId"]) if tenant.counts(row)]
    finished = tenant.finished_lesson_ids(member["Id"])
    done = sum(row["Id"] in finished for row in lessons)
    if not member["Approved"]:
        state, tone = "Waits for approval", "attention"
    elif done == len(lessons):
        state, tone = "Finished", "good"
    else:
        state, tone = ("On the way", "plan") if done else ("Enrolled", "neutral")
    return Progress(
        member["CoworkerFullName"], member["CourseTitle"], done, len(lessons), state, tone
    )


def _delivery_line(one: dict[str, Any]) -> DeliveryLine:
    status = one["status"]
    went_well = status is not None and status // 100 == 2  # noqa: PLR2004 - the 2xx range
    answer = f"Answered {status}" if status is not None else _no_answer(one)
    if one["attempt"] > 1:
        answer += f", try {one['attempt']}"
    return DeliveryLine(
        one["at"],
        clock(one["at"]),
        _ENTITY_WORDS[one["entity"]],
        one["id"],
        answer,
        "good" if went_well else "bad",
    )


def _no_answer(one: dict[str, Any]) -> str:
    return "Not sent, switched off" if one["attempt"] == 0 else f"No answer ({one['error']})"
