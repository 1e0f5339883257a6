"""The source's records, one room each: a frozen, typed record and the schema that loads it.

Only the fields we use are kept; a coworker record carries PINs and bank data that never get
past these doors (contract, section 2.6). `load_record` is the one way in.
"""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError

from schemas.entity import Entity
from schemas.errors import RecordUnreadable
from schemas.records.completed_lesson import CompletedLesson, CompletedLessonSchema
from schemas.records.course import Course, CourseSchema
from schemas.records.course_member import CourseMember, CourseMemberSchema
from schemas.records.coworker import Coworker, CoworkerSchema
from schemas.records.lesson import Lesson, LessonSchema

__all__ = [
    "CompletedLesson",
    "Course",
    "CourseMember",
    "Coworker",
    "Lesson",
    "Record",
    "dump_record",
    "load_record",
]

Record = CourseMember | CompletedLesson | Lesson | Course | Coworker

SCHEMAS: dict[Entity, Schema] = {
    Entity.COURSE_MEMBER: CourseMemberSchema(),
    Entity.COMPLETED_LESSON: CompletedLessonSchema(),
    Entity.LESSON: LessonSchema(),
    Entity.COURSE: CourseSchema(),
    Entity.COWORKER: CoworkerSchema(),
}


def load_record(entity: Entity, fields: object) -> Record:
    """Return the typed record of one JSON object as the source sends it.

    Raises:
        RecordUnreadable: it does not fit; carries the errors by field name, never a value.
    """
    if not isinstance(fields, Mapping):
        raise RecordUnreadable(f"{entity}: not a JSON object", {"_schema": ["Not an object."]})
    try:
        record: Record = SCHEMAS[entity].load(fields)
    except ValidationError as error:
        found = error.messages_dict
        names = ", ".join(sorted(str(name) for name in found))
        raise RecordUnreadable(f"{entity}: unreadable field {names}", found) from None
    return record


def dump_record(entity: Entity, record: Record) -> dict[str, Any]:
    """Return the record as JSON values, so that `load_record` gives back an equal one."""
    dumped: dict[str, Any] = SCHEMAS[entity].dump(record)
    return dumped
