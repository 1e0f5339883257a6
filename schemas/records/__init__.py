"""The source's records: a frozen, typed record of each kind and the schema that loads it.

Only the fields we use are loaded: a coworker record also has PINs and bank data (contract, section
2.6). Use `load_record`.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from marshmallow import Schema, ValidationError

from schemas.entity import Entity
from schemas.errors import RecordUnreadable
from schemas.records.answers import (
    ACTION_NAMES,
    WebHook,
    WebHookSchema,
    action_name,
    course_actions,
)
from schemas.records.courses import (
    CompletedLesson,
    CompletedLessonSchema,
    Course,
    CourseMember,
    CourseMemberSchema,
    CourseSchema,
    Lesson,
    LessonSchema,
    Section,
    SectionSchema,
)
from schemas.records.people import (
    Business,
    BusinessSchema,
    Coworker,
    CoworkerSchema,
    Message,
    MessageSchema,
    SourceLanguage,
    SourceLanguageSchema,
    TimeZone,
    TimeZoneSchema,
    User,
    UserSchema,
)
from schemas.records.plain import Loader, NotPlain, loader_of

__all__ = [
    "ACTION_NAMES",
    "Business",
    "CompletedLesson",
    "Course",
    "CourseMember",
    "Coworker",
    "Lesson",
    "Message",
    "Record",
    "Section",
    "SourceLanguage",
    "TimeZone",
    "User",
    "WebHook",
    "action_name",
    "course_actions",
    "dump_record",
    "is_whole",
    "load_record",
]

Record = (
    CourseMember
    | CompletedLesson
    | Lesson
    | Course
    | Coworker
    | Section
    | Business
    | User
    | SourceLanguage
    | TimeZone
    | WebHook
    | Message
)

SCHEMAS: dict[Entity, Schema] = {
    Entity.COURSE_MEMBER: CourseMemberSchema(),
    Entity.COMPLETED_LESSON: CompletedLessonSchema(),
    Entity.LESSON: LessonSchema(),
    Entity.COURSE: CourseSchema(),
    Entity.COWORKER: CoworkerSchema(),
    Entity.SECTION: SectionSchema(),
    Entity.BUSINESS: BusinessSchema(),
    Entity.USER: UserSchema(),
    Entity.LANGUAGE: SourceLanguageSchema(),
    Entity.TIME_ZONE: TimeZoneSchema(),
    Entity.WEB_HOOK: WebHookSchema(),
    Entity.MESSAGE: MessageSchema(),
}


def load_record(entity: Entity, fields: object) -> Record:
    """Return the typed record of one JSON object as the source sends it.

    Raises:
        RecordUnreadable: it does not fit the schema; carries the errors by field name, without
            values.
    """
    if not isinstance(fields, Mapping):
        raise RecordUnreadable(f"{entity}: not a JSON object", {"_schema": ["Not an object."]})
    load = _plain_loader(entity)
    if load is not None:
        with suppress(NotPlain):
            plain: Record = load(fields)
            return plain
    try:
        record: Record = SCHEMAS[entity].load(fields)
    except ValidationError as error:
        found = error.messages_dict
        names = ", ".join(sorted(str(name) for name in found))
        raise RecordUnreadable(f"{entity}: unreadable field {names}", found) from None
    return record


@cache
def _plain_loader(entity: Entity) -> Loader | None:
    return loader_of(SCHEMAS[entity])


def is_whole(entity: Entity, row: Mapping[str, object]) -> bool:
    """Return whether a row of a list has every field we read.

    Rows may be partial: a missing field may be set in the record (contract, section 3).
    """
    return all(field.data_key in row for field in SCHEMAS[entity].fields.values())


def dump_record(entity: Entity, record: Record) -> dict[str, Any]:
    """Return the record as JSON values; `load_record` turns them back into an equal record."""
    dumped: dict[str, Any] = SCHEMAS[entity].dump(record)
    return dumped
