"""CourseMember: one enrolment of one customer in one course (contract, section 2.1)."""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import SourceSchema
from schemas.fields import (
    CoworkerKindField,
    Flag,
    RecordId,
    SourceTime,
    optional_id,
    optional_text,
    optional_time,
)
from schemas.vocabulary import CoworkerKind


@dataclass(frozen=True, slots=True)
class CourseMember:
    """An enrolment as the source has it. Times are aware UTC."""

    record_id: int
    created_at: datetime
    updated_at: datetime
    course_id: int
    course_title: str | None
    coworker_id: int
    coworker_kind: CoworkerKind | None
    full_name: str | None
    company_name: str | None
    team_names: str | None
    last_completed_lesson_id: int | None
    last_access_at: datetime | None
    approved: bool
    blocked: bool


class CourseMemberSchema(SourceSchema):
    """Loads a CourseMember as GET by Id answers it."""

    record_class = CourseMember

    record_id = RecordId(data_key="Id", required=True)
    created_at = SourceTime(data_key="CreatedOn", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    course_id = RecordId(data_key="CourseId", required=True)
    course_title = optional_text("CourseTitle")
    coworker_id = RecordId(data_key="CoworkerId", required=True)
    coworker_kind = CoworkerKindField(
        data_key="CoworkerCoworkerType", load_default=None, allow_none=True
    )
    full_name = optional_text("CoworkerFullName")
    company_name = optional_text("CoworkerCompanyName")
    team_names = optional_text("CoworkerTeamNames")
    last_completed_lesson_id = optional_id("LastCompletedLessonId")
    last_access_at = optional_time("LastAccess")
    approved = Flag(data_key="Approved", required=True)
    blocked = Flag(data_key="Blocked", required=True)
