"""What it means that a record is gone: who it was of, as far as we ever saw it."""

from datetime import datetime

from ledger.engine import Connection
from ledger.records import record_of, references_of
from schemas.entity import Entity
from schemas.events import Event
from workers.decide.happened import Belonging, from_gone_completion, from_gone_enrolment


def events_of_gone(
    connection: Connection, gone: list[tuple[Entity, int]], found_at: datetime
) -> list[Event]:
    """Return what happened to those records that are gone, of enrolments and completions.

    Completions that went with their enrolment are no news of their own; nor is what we never saw.
    """
    found = []
    for entity, record_id in gone:
        if entity is Entity.COURSE_MEMBER:
            member = _member(connection, record_id)
            if member is not None:
                found.append(from_gone_enrolment(member, found_at))
        elif entity is Entity.COMPLETED_LESSON:
            whose, lesson_id = completion_of(connection, record_id)
            member = None if whose is None else _member(connection, whose)
            went = (Entity.COURSE_MEMBER, whose) in gone or _is_gone(connection, whose)
            if member is not None and not went:
                found.append(from_gone_completion(record_id, lesson_id, member, found_at))
    return found


def completion_of(connection: Connection, record_id: int) -> tuple[int | None, int | None]:
    """Return the Ids of the enrolment and of the lesson that a completion was of."""
    known = references_of(connection, Entity.COMPLETED_LESSON, record_id)
    return known.course_member_id, known.lesson_id


def _member(connection: Connection, record_id: int) -> Belonging | None:
    known = references_of(connection, Entity.COURSE_MEMBER, record_id)
    if known.course_id is None or known.coworker_id is None:
        return None
    return Belonging(record_id, known.course_id, known.coworker_id)


def _is_gone(connection: Connection, course_member_id: int | None) -> bool:
    if course_member_id is None:
        return False
    known = record_of(connection, Entity.COURSE_MEMBER, course_member_id)
    return known is not None and known.gone_at is not None
