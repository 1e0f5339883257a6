"""Writes a note on the member's record in Nexudus."""

from typing import Self

from schemas.settings import Settings
from workers.actions.base import ActionContext
from workers.actions.staff_record import StaffRecordAction, first_moment
from workers.source.staff_records import NOTE, StaffRecord, note_fields


class NexudusNoteAction(StaffRecordAction):
    """Writes notes, which only the staff can read."""

    kind = "nexudus-note"

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the action as workers use it."""
        del settings
        return cls()

    def record(self, context: ActionContext, text: str, marker: str) -> StaffRecord:
        """Return the note."""
        fields = note_fields(text, marker)
        whose = context.person.coworker_id
        return StaffRecord(NOTE, whose, fields, marker, first_moment(context))
