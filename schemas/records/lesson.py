"""CourseLesson: one lesson of a course (contract, section 2.3)."""

from dataclasses import dataclass
from datetime import datetime

from marshmallow import fields

from schemas.base import SourceSchema
from schemas.fields import Flag, MaybeKnown, RecordId, SourceTime, Text, optional_id, optional_text
from schemas.vocabulary import CompletionType, UnlockType


@dataclass(frozen=True, slots=True)
class Lesson:
    """A lesson as the source has it; its contents are not kept."""

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
    """Loads a CourseLesson, by Id or as a row of a list."""

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
