"""Finds whom an action is to: the member, the host of the course, or a fixed address."""

from ledger.choices import address_keys, choice_keys
from ledger.engine import Connection
from ledger.outbox import ClaimedAction
from ledger.people import person_of
from ledger.records import StoredRecord, record_of
from schemas.actions import HOST
from schemas.entity import Entity
from schemas.person import Person
from schemas.records import Course
from schemas.rules import Rule
from workers.actions.base import Recipient


def recipient_of(
    audience: str | None, member: Person | None, host: Person | None, rule: Rule | None
) -> Recipient:
    """Return whom an action is to; without an address if they are unknown."""
    if audience in {None, HOST}:
        person = member if audience is None else host
        return Recipient(audience) if person is None else Recipient.of(audience, person)
    return Recipient(audience, rule.address_of(audience) if rule else None)


def host_of(
    connection: Connection, claimed: ClaimedAction, course: StoredRecord | None
) -> Person | None:
    """Return the host of the course of an action that is to them, if they were ever read."""
    record = course.record if course is not None and claimed.audience == HOST else None
    if not isinstance(record, Course) or record.host_id is None:
        return None
    return person_of(connection, record.host_id)


def recipient_now(connection: Connection, claimed: ClaimedAction, rule: Rule | None) -> Recipient:
    """Return whom an action is to, as the ledger knows them now."""
    member = person_of(connection, claimed.coworker_id) if claimed.audience is None else None
    course = record_of(connection, Entity.COURSE, claimed.course_id)
    return recipient_of(claimed.audience, member, host_of(connection, claimed, course), rule)


def assumed_host(course: Course | None) -> Person | None:
    """Return the host of a course who was not read yet, as one who can be written to.

    Workers read them just before an action, so only forecasts need this.
    """
    if course is None or course.host_id is None:
        return None
    return Person(
        course.host_id,
        course.host_name or "",
        first_name=None,
        kind=None,
        email="",
        active=True,
        fetched_at=course.updated_at,
        gone_at=None,
    )


def keys_of(to: Recipient, secret_key: str) -> frozenset[str]:
    """Return the keys under which the choices of a recipient are stored."""
    if to.coworker_id is not None:
        return choice_keys(secret_key, to.coworker_id, to.address)
    return address_keys(secret_key, to.address)
