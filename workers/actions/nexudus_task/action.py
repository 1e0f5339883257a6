"""Writes a task about the member for one of the staff in Nexudus."""

from typing import Self

from schemas.errors import DeliveryRefused
from schemas.settings import Settings
from workers.actions.base import ActionContext
from workers.actions.staff_record import StaffRecordAction, first_moment
from workers.source.staff_records import TASK, StaffRecord, task_fields


class NexudusTaskAction(StaffRecordAction):
    """Writes tasks at the location of the course."""

    kind = "nexudus-task"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the action as workers use it."""
        del settings
        return cls()

    def record(self, context: ActionContext, text: str, marker: str) -> StaffRecord:
        """Return the task. Raises as `StaffRecordAction.record`."""
        responsible = context.rule.responsible if context.rule else None
        if responsible is None:
            raise DeliveryRefused("the rule names no responsible user any more")
        fields = task_fields(text, marker, context.course.business_id, responsible)
        whose = context.person.coworker_id
        return StaffRecord(TASK, whose, fields, marker, first_moment(context))
