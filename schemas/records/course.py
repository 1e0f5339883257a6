"""Course: what a lesson belongs to, and which location offers it (contract, section 2.5)."""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import SourceSchema
from schemas.fields import Flag, MaybeKnown, RecordId, SourceTime, Text, optional_text
from schemas.vocabulary import Visibility


@dataclass(frozen=True, slots=True)
class Course:
    """A course as the source has it; its long texts are not kept."""

    record_id: int
    unique_id: str | None
    updated_at: datetime
    business_id: int
    business_name: str | None
    title: str
    summary: str | None
    host_name: str | None
    group_name: str | None
    active: bool
    visibility: Visibility | None


class CourseSchema(SourceSchema):
    """Loads a Course as GET by Id answers it."""

    record_class = Course

    record_id = RecordId(data_key="Id", required=True)
    unique_id = optional_text("UniqueId")
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    business_id = RecordId(data_key="BusinessId", required=True)
    business_name = optional_text("BusinessName")
    title = Text(data_key="Title", required=True)
    summary = optional_text("SummaryText")
    host_name = optional_text("HostFullName")
    group_name = optional_text("GroupName")
    active = Flag(data_key="Active", required=True)
    visibility = MaybeKnown(Visibility, data_key="Visibility")
