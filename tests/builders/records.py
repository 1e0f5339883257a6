"""Records with everyday values, so that a test names only what it is about."""

from datetime import UTC, datetime
from typing import Any

from schemas.entity import CompletionType, CoworkerKind, UnlockType, Visibility
from schemas.records import CompletedLesson, Course, CourseMember, Lesson

NOON = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
COURSE_ID, COWORKER_ID, COURSE_MEMBER_ID = 1234, 77, 9001


def course_member(**different: Any) -> CourseMember:  # noqa: ANN401 - any field of the record
    """Build an approved enrolment of an individual."""
    fields: dict[str, Any] = {
        "record_id": COURSE_MEMBER_ID,
        "created_at": NOON,
        "updated_at": NOON,
        "course_id": COURSE_ID,
        "course_title": "Freelance Finance",
        "coworker_id": COWORKER_ID,
        "coworker_kind": CoworkerKind.INDIVIDUAL,
        "full_name": "Ana López",
        "company_name": None,
        "team_names": None,
        "last_completed_lesson_id": None,
        "last_access_at": None,
        "approved": True,
        "blocked": False,
    }
    return CourseMember(**(fields | different))


def course(**different: Any) -> Course:  # noqa: ANN401 - any field of the record
    """Build an active, public course."""
    fields: dict[str, Any] = {
        "record_id": COURSE_ID,
        "unique_id": "b3e0",
        "updated_at": NOON,
        "business_id": 500,
        "business_name": "Harbour Works",
        "title": "Freelance Finance",
        "summary": None,
        "host_id": None,
        "host_name": None,
        "group_name": "Business",
        "active": True,
        "visibility": Visibility.PUBLIC,
        "order": 1,
    }
    return Course(**(fields | different))


def lesson(record_id: int, **different: Any) -> Lesson:  # noqa: ANN401 - any field of the record
    """Build an active lesson that is completed by a button; its order is its Id."""
    fields: dict[str, Any] = {
        "record_id": record_id,
        "unique_id": None,
        "updated_at": NOON,
        "course_id": COURSE_ID,
        "section_id": None,
        "section_order": 0,
        "title": f"Lesson {record_id}",
        "active": True,
        "order": record_id,
        "unlock_type": UnlockType.IMMEDIATE,
        "unlock_after_days": 0,
        "completion_type": CompletionType.BUTTON,
    }
    return Lesson(**(fields | different))


def completed_lesson(record_id: int, lesson_id: int, at: datetime = NOON) -> CompletedLesson:
    """Build a completion of the usual enrolment."""
    return CompletedLesson(record_id, at, at, lesson_id, None, COURSE_MEMBER_ID, None)
