"""Notifications: what a delivery says changed. A hint, never a fact: only entity and Id are taken.

Bytes in, values out; no framework. The two borders differ in what an unknown thing means: Nexudus
is never told off for sending something odd, a person building a relay is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError

from schemas.entity import Entity, followed_entity
from schemas.errors import TooLarge, Unreadable
from schemas.fields import RecordId

MOST_BYTES = 1024 * 1024  # the body cap of a delivery, 1 MiB
MOST_NOTIFICATIONS = 1000  # in one delivery
_MOST_DIGITS = 19  # of 2^63-1

# The fields that tell one entity from another in a delivery without a name (contract, section 2).
_TELLING_FIELDS = {
    Entity.COURSE_MEMBER: {"CourseId", "CoworkerId"},
    Entity.COMPLETED_LESSON: {"CourseLessonId", "CourseMemberId"},
}
_ID = RecordId()


@dataclass(frozen=True, slots=True)
class Notification:
    """One statement "this record changed". `entity` None: about a kind we do not follow."""

    entity: Entity | None
    record_id: int


def parse_hook(body: bytes, entity: Entity | None, *, recognise: bool) -> list[Notification]:
    """Return what a Nexudus delivery says: an array of records, or one record.

    `entity` is what the address said; where it said nothing, `recognise` tells to look at the
    fields (contract, section 5.2: nothing in a delivery names its kind).

    Raises:
        Unreadable: not JSON, not records, or an Id that is none; carries the errors by place.
        TooLarge: more than `MOST_NOTIFICATIONS`.
    """
    rows = _rows(body)
    errors: dict[Any, Any] = {}
    found: list[Notification] = []
    for place, row in enumerate(rows):
        try:
            record_id = _record_id(row, "Id")
        except ValidationError as error:
            errors[place] = error.messages
            continue
        kind = entity or (_recognised(row) if recognise else None)
        found.append(Notification(kind, record_id))
    if errors:
        raise Unreadable("the delivery holds records without a usable Id", errors)
    return found


def parse_relay(body: bytes) -> list[Notification]:
    """Return what a relay says: `{"entity": …, "id": …}` or a list of these.

    Raises:
        Unreadable: carries the errors by place and field, for the person building the relay.
        TooLarge: more than `MOST_NOTIFICATIONS`.
    """
    errors: dict[Any, Any] = {}
    found: list[Notification] = []
    for place, row in enumerate(_rows(body)):
        wrong: dict[str, Any] = {}
        name = row.get("entity")
        entity = followed_entity(name) if isinstance(name, str) else None
        if entity is None:
            wrong["entity"] = ["Must be CourseMember or CourseCompletedLesson."]
        record_id = 0
        try:
            record_id = _record_id(row, "id")
        except ValidationError as error:
            wrong |= error.messages_dict
        wrong |= {str(key): ["Unknown field."] for key in row.keys() - {"entity", "id"}}
        if wrong:
            errors[place] = wrong
        else:
            found.append(Notification(entity, record_id))
    if errors:
        raise Unreadable("the notification cannot be read", errors)
    return found


def _rows(body: bytes) -> list[Mapping[str, Any]]:
    try:
        given = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        # ValueError covers bytes that are no UTF-8, text that is no JSON, and absurd numbers.
        raise Unreadable("the body is not JSON", {"body": ["Not valid JSON."]}) from None
    rows = given if isinstance(given, list) else [given]
    if len(rows) > MOST_NOTIFICATIONS:
        raise TooLarge(f"more than {MOST_NOTIFICATIONS} notifications in one delivery")
    wrong = {
        place: ["Not an object."] for place, row in enumerate(rows) if not isinstance(row, dict)
    }
    if wrong:
        raise Unreadable("the body is not an object or a list of objects", wrong)
    if not rows:
        raise Unreadable("the list is empty", {"body": ["Holds no notification."]})
    return rows


def _record_id(row: Mapping[str, Any], key: str) -> int:
    if key not in row:
        raise ValidationError({key: ["Missing."]})
    value = row[key]
    # Relays often turn numbers into text. Only plain digits are taken: int() would also read
    # digits of other scripts, " 7 " and "7_0".
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isdigit()
        and len(value) <= _MOST_DIGITS
    ):
        value = int(value)
    try:
        loaded: int = _ID.deserialize(value)
    except ValidationError as error:
        raise ValidationError({key: error.messages}) from None
    return loaded


def _recognised(row: Mapping[str, Any]) -> Entity | None:
    for entity, fields in _TELLING_FIELDS.items():
        if fields <= row.keys():
            return entity
    return None
