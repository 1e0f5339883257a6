"""Courses, sections, lessons, enrolments and completed lessons (contract, sections 2.1 to 2.5)."""

from dataclasses import dataclass
from datetime import datetime

from marshmallow import fields

from schemas.entity import CompletionType, CoworkerKind, UnlockType, Visibility
from schemas.fields import (
    CoworkerKindField,
    Flag,
    MaybeKnown,
    RecordId,
    SourceSchema,
    SourceTime,
    Text,
    optional_id,
    optional_text,
    optional_time,
)


@dataclass(frozen=True, slots=True)
class Course:
    """A course, without its long texts. `order` is its place in the portal."""

    record_id: int
    unique_id: str | None
    updated_at: datetime
    business_id: int
    business_name: str | None
    title: str
    summary: str | None
    host_id: int | None  # a coworker
    host_name: str | None
    group_name: str | None
    active: bool
    visibility: Visibility | None
    order: int | None = None


class CourseSchema(SourceSchema):
    """Loads a Course read by Id."""

    record_class = Course

    record_id = RecordId(data_key="Id", required=True)
    unique_id = optional_text("UniqueId")
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    business_id = RecordId(data_key="BusinessId", required=True)
    business_name = optional_text("BusinessName")
    title = Text(data_key="Title", required=True)
    summary = optional_text("SummaryText")
    host_id = optional_id("HostId")  # not in records that an earlier version stored
    host_name = optional_text("HostFullName")
    group_name = optional_text("GroupName")
    active = Flag(data_key="Active", required=True)
    visibility = MaybeKnown(Visibility, data_key="Visibility")
    order = fields.Integer(data_key="DisplayOrder", strict=True, load_default=None, allow_none=True)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a course, without its contents."""

    record_id: int
    updated_at: datetime
    course_id: int
    title: str
    active: bool
    order: int | None
    unlock_type: UnlockType | None
    unlock_after_days: int | None


class SectionSchema(SourceSchema):
    """Loads a CourseSection, read by Id or as a row of a list."""

    record_class = Section

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    course_id = RecordId(data_key="CourseId", required=True)
    title = Text(data_key="Title", required=True)
    active = Flag(data_key="Active", required=True)
    order = fields.Integer(data_key="DisplayOrder", strict=True, load_default=0, allow_none=True)
    unlock_type = MaybeKnown(UnlockType, data_key="UnlockType")
    unlock_after_days = fields.Integer(
        data_key="UnlockAfterDays", strict=True, load_default=0, allow_none=True
    )


@dataclass(frozen=True, slots=True)
class Lesson:
    """A lesson, without its contents."""

    record_id: int
    unique_id: str | None
    updated_at: datetime
    course_id: int
    section_id: int | None
    section_order: int | None
    title: str
    active: bool
    order: int | None
    unlock_type: UnlockType | None
    unlock_after_days: int | None
    completion_type: CompletionType


class LessonSchema(SourceSchema):
    """Loads a CourseLesson, read by Id or as a row of a list."""

    record_class = Lesson

    record_id = RecordId(data_key="Id", required=True)
    unique_id = optional_text("UniqueId")
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    course_id = RecordId(data_key="CourseId", required=True)
    section_id = optional_id("SectionId")
    section_order = fields.Integer(
        data_key="SectionDisplayOrder", strict=True, load_default=0, allow_none=True
    )
    title = Text(data_key="Title", required=True)
    active = Flag(data_key="Active", required=True)
    order = fields.Integer(data_key="DisplayOrder", strict=True, load_default=0, allow_none=True)
    unlock_type = MaybeKnown(UnlockType, data_key="UnlockType")
    unlock_after_days = fields.Integer(
        data_key="UnlockAfterDays", strict=True, load_default=0, allow_none=True
    )
    completion_type = fields.Enum(
        CompletionType,
        by_value=fields.Integer(strict=True),
        data_key="CompletionType",
        required=True,
    )


@dataclass(frozen=True, slots=True)
class CourseMember:
    """An enrolment. Times are aware UTC."""

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
    """Loads a CourseMember read by Id."""

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


@dataclass(frozen=True, slots=True)
class CompletedLesson:
    """A finished lesson. Times are aware UTC."""

    record_id: int
    created_at: datetime
    updated_at: datetime
    lesson_id: int
    lesson_title: str | None
    course_member_id: int
    full_name: str | None


class CompletedLessonSchema(SourceSchema):
    """Loads a CourseCompletedLesson, read by Id or as a row of a list."""

    record_class = CompletedLesson

    record_id = RecordId(data_key="Id", required=True)
    created_at = SourceTime(data_key="CreatedOn", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    lesson_id = RecordId(data_key="CourseLessonId", required=True)
    lesson_title = optional_text("CourseLessonTitle")
    course_member_id = RecordId(data_key="CourseMemberId", required=True)
    full_name = optional_text("CourseMemberCoworkerFullName")
