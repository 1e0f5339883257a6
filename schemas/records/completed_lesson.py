"""CourseCompletedLesson: one enrolment finished one lesson (contract, section 2.2).

It names no course, no person and no email; those are separate reads. The time of completion is
`created_at`.
"""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import SourceSchema
from schemas.fields import RecordId, SourceTime, optional_text


@dataclass(frozen=True, slots=True)
class CompletedLesson:
    """A finished lesson as the source has it. Times are aware UTC."""

    record_id: int
    created_at: datetime
    updated_at: datetime
    lesson_id: int
    lesson_title: str | None
    course_member_id: int
    full_name: str | None


class CompletedLessonSchema(SourceSchema):
    """Loads a CourseCompletedLesson, by Id or as a row of a list."""

    record_class = CompletedLesson

    record_id = RecordId(data_key="Id", required=True)
    created_at = SourceTime(data_key="CreatedOn", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    lesson_id = RecordId(data_key="CourseLessonId", required=True)
    lesson_title = optional_text("CourseLessonTitle")
    course_member_id = RecordId(data_key="CourseMemberId", required=True)
    full_name = optional_text("CourseMemberCoworkerFullName")
