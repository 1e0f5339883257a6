"""CourseSection: a part of a course; lessons may lie in one (contract, section 2.4)."""

from dataclasses import dataclass
from datetime import datetime

from marshmallow import fields

from schemas.base import SourceSchema
from schemas.fields import Flag, MaybeKnown, RecordId, SourceTime, Text
from schemas.vocabulary import UnlockType


@dataclass(frozen=True, slots=True)
class Section:
    """A section as the source has it; its contents are not kept."""

    record_id: int
    updated_at: datetime
    course_id: int
    title: str
    active: bool
    order: int | None
    unlock_type: UnlockType | None
    unlock_after_days: int | None


class SectionSchema(SourceSchema):
    """Loads a CourseSection, by Id or as a row of a list."""

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
