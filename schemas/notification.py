"""Parses deliveries into notifications: which records changed. Takes only entity and Id.

Rows are independent: the readable ones are returned, the others are reported by position. The
receiver decides how to answer when some are unreadable. Needs no web framework.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import ValidationError

from schemas.entity import Entity, followed_entity
from schemas.errors import FieldErrors, Unreadable
from schemas.fields import RecordId

MAX_BYTES = 1024 * 1024  # 1 MiB; also bounds the number of rows
MAX_NAMED_ERRORS = 20  # of the unreadable rows of one delivery
_MOST_DIGITS = 19  # of 2^63-1

# The fields by which a delivery that names no entity is recognised (contract, section 2).
_TELLING_FIELDS = {
    Entity.COURSE_MEMBER: {"CourseId", "CoworkerId"},
    Entity.COMPLETED_LESSON: {"CourseLessonId", "CourseMemberId"},
}
# Every field that Nexudus documents for these kinds (contract, sections 2.0 to 2.2).
_EVERY_RECORD = (
    *("Id", "UniqueId", "CreatedOn", "UpdatedOn", "UpdatedBy", "IsNew", "SystemId"),
    *("ToStringText", "LocalizationDetails", "CustomFields"),
)
_KNOWN_FIELDS = {
    Entity.COURSE_MEMBER: frozenset(
        (
            *_EVERY_RECORD,
            *("CourseId", "CourseTitle", "CoworkerId", "CoworkerCoworkerType"),
            *("CoworkerFullName", "CoworkerCompanyName", "CoworkerTeamNames"),
            *("CoworkerBillingName", "LastCompletedLessonId", "LastCompletedLessonTitle"),
            *("LastAccess", "Approved", "Blocked"),
        )
    ),
    Entity.COMPLETED_LESSON: frozenset(
        (
            *_EVERY_RECORD,
            *("CourseLessonId", "CourseLessonTitle", "CourseMemberId"),
            *("CourseMemberCoworkerFullName", "CourseMemberCoworkerCompanyName"),
            "CourseMemberCoworkerTeamNames",
        )
    ),
}
_RELAY_FIELDS = frozenset({"entity", "id"})
_ALWAYS_NULL = ("LocalizationDetails", "CustomFields")  # others could hold anything
_ID = RecordId()


@dataclass(frozen=True, slots=True)
class Notification:
    """One statement "this record changed". `entity` is None for a kind we do not follow."""

    entity: Entity | None
    record_id: int


@dataclass(slots=True)
class Statements:
    """The notifications of one delivery, and what could not be read.

    `errors` has the field errors of up to `MAX_NAMED_ERRORS` of the `unreadable` rows, by position
    and without values. `is_plain` is true if every row was readable and held only plain values in
    documented fields of a followed kind of record; only then may the body be kept.
    """

    notifications: list[Notification] = field(default_factory=list)
    errors: dict[Any, Any] = field(default_factory=dict)
    unreadable: int = 0
    is_plain: bool = True

    def refuse(self, place: int, errors: FieldErrors | list[str]) -> None:
        """Count the row at this position as unreadable."""
        self.unreadable += 1
        self.is_plain = False
        if len(self.errors) < MAX_NAMED_ERRORS:
            self.errors[place] = errors


def parse_hook(body: bytes, entity: Entity | None, *, recognise: bool) -> Statements:
    """Parse a Nexudus delivery: an array of records, or one record.

    `entity` comes from the URL. If the URL names none, `recognise` allows guessing it from the
    fields, because nothing in a delivery names its kind (contract, section 5.2).

    Raises:
        Unreadable: not JSON, or an empty list.
    """
    rows, said = _rows(body)
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            said.refuse(place, ["Not an object."])
            continue
        try:
            record_id = _record_id(row, "Id")
        except ValidationError as error:
            said.refuse(place, error.messages_dict)
            continue
        kind = entity or (_recognised(row) if recognise else None)
        said.notifications.append(Notification(kind, record_id))
        if said.is_plain:
            said.is_plain = kind in _KNOWN_FIELDS and _is_plain(row, _KNOWN_FIELDS[kind])
    return said


def parse_relay(body: bytes) -> Statements:
    """Parse a relay's delivery: `{"entity": …, "id": …}` or a list of these.

    Raises:
        Unreadable: not JSON, or an empty list.
    """
    rows, said = _rows(body)
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            said.refuse(place, ["Not an object."])
            continue
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
        wrong |= {str(key): ["Unknown field."] for key in row.keys() - _RELAY_FIELDS}
        if wrong:
            said.refuse(place, wrong)
        else:
            said.notifications.append(Notification(entity, record_id))
            said.is_plain = said.is_plain and not isinstance(row, _Ambiguous)
    return said


def _rows(body: bytes) -> tuple[list[Any], Statements]:
    try:
        given = _DECODER.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        # ValueError covers invalid UTF-8, invalid JSON and absurdly large numbers.
        raise Unreadable("the body is not JSON", {"body": ["Not valid JSON."]}) from None
    rows = given if isinstance(given, list) else [given]
    if not rows:
        raise Unreadable("the list is empty", {"body": ["Holds no notification."]})
    return rows, Statements()


class _Ambiguous(dict[str, Any]):
    """An object that gives a field twice, of which only the last value is seen."""


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    return row if len(row) == len(pairs) else _Ambiguous(row)


_DECODER = json.JSONDecoder(object_pairs_hook=_read_object)


def _is_plain(row: Mapping[str, Any], known: frozenset[str]) -> bool:
    return (
        not isinstance(row, _Ambiguous)
        and row.keys() <= known
        and not any(isinstance(value, dict | list) for value in row.values())
        and all(row.get(name) is None for name in _ALWAYS_NULL)
    )


def _record_id(row: Mapping[str, Any], key: str) -> int:
    if key not in row:
        raise ValidationError({key: ["Missing."]})
    value = row[key]
    # Relays often turn numbers into text. Only plain digits are accepted: int() would also read
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
