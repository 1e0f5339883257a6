"""Reads in which language to write to a person, just before their email is prepared.

A coworker has no language: their portal account has one, and so does the location of the course
(contract, sections 2.6 and 2.7). Lookups do not need it, so they do not read it, and what is known
is used for days. Nothing fails because a language cannot be read: the location's is used then, or
that of the settings, and Nexudus is asked again an hour later.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.listings import listed_at, note_listing
from ledger.people import person_of, store_language
from ledger.records import accept_record, record_of
from schemas.entity import Entity
from schemas.errors import SourceError, SourceThrottled
from schemas.events import is_within
from schemas.person import Person
from schemas.records import Business, Course, SourceLanguage, User
from schemas.text import language_tag
from workers.deliver.context import still_there
from workers.lookup.read import Reader
from workers.source.answers import AccessDenied

OWN_LASTS = timedelta(days=7)  # a person who changes their language gets it within a week
LOCATION_LASTS = timedelta(days=1)
_TAG_LASTS = timedelta(days=30)  # the tag of one of Nexudus' languages
AGAIN_AFTER = timedelta(hours=1)  # when something could not be read
_EVERYONE = 0  # who could not be read for lack of a role

_log = structlog.get_logger("deliver")


def refresh_languages(
    reader: Reader, coworker_id: int, course_id: int, is_wanted: Callable[[Connection], bool]
) -> None:
    """Read the languages of a person and of a course's location, unless they are known.

    `is_wanted` returns whether they would be used now. It is called only before requests: one for
    the person, one for the location, and one for a language that nobody had before.

    Raises:
        SourceThrottled: the email waits, as when another of its records cannot be read for that.
        LedgerUnavailable, LeaseLost: as the reader's own methods.
    """
    with reading(reader.engine) as connection:
        person = _person_to_read(connection, coworker_id, reader.findings.asked_at)
        business_id = _location_to_read(connection, course_id, reader.findings.asked_at)
        if (person is None and business_id is None) or not is_wanted(connection):
            return
    if person is not None:
        _read_person(reader, person)
    if business_id is not None:
        _read_location(reader, business_id)


def _person_to_read(connection: Connection, coworker_id: int, now: datetime) -> Person | None:
    """Return the person if their account has to be read."""
    person = person_of(connection, coworker_id)
    if person is None or person.user_id is None:
        return None
    if person.language_at is not None and is_within(person.language_at, now, OWN_LASTS):
        return None
    refused_at = listed_at(connection, Entity.USER, _EVERYONE)
    if refused_at is not None and is_within(refused_at, now, AGAIN_AFTER):
        return None
    return person


def _location_to_read(connection: Connection, course_id: int, now: datetime) -> int | None:
    """Return the Id of the course's location if it has to be read."""
    course = still_there(record_of(connection, Entity.COURSE, course_id), Course)
    if course is None:
        return None
    read_at = listed_at(connection, Entity.BUSINESS, course.business_id)
    is_known = read_at is not None and is_within(read_at, now, LOCATION_LASTS)
    return None if is_known else course.business_id


def _read_person(reader: Reader, person: Person) -> None:
    now = reader.findings.asked_at
    read_at = now
    try:
        language = _language_of(reader, person.user_id or 0)
    except SourceThrottled:
        raise
    except AccessDenied as error:
        _log.warning("language.refused", error=str(error))
        with writing(reader.engine) as connection:
            note_listing(connection, Entity.USER, _EVERYONE, now)
        return
    except SourceError as error:
        _log.warning("language.unread", coworker_id=person.coworker_id, error=str(error))
        language, read_at = person.language, now - OWN_LASTS + AGAIN_AFTER
    with writing(reader.engine) as connection:
        lock_decisions(connection)
        store_language(connection, person.coworker_id, language, read_at)


def _language_of(reader: Reader, user_id: int) -> str | None:
    """Return the tag of the language that a portal account prefers."""
    reader.before_asking()
    user = reader.source.fetch(Entity.USER, user_id)
    if not isinstance(user, User) or user.preferred_language_id is None:
        return None
    language_id = user.preferred_language_id
    known = reader.known(Entity.LANGUAGE, language_id, _TAG_LASTS)
    if not isinstance(known, SourceLanguage):
        reader.before_asking()
        found = reader.source.fetch(Entity.LANGUAGE, language_id)
        if not isinstance(found, SourceLanguage):
            return None
        with writing(reader.engine) as connection:
            lock_decisions(connection)
            accept_record(connection, Entity.LANGUAGE, found, reader.findings.asked_at)
        known = found
    return language_tag(known.culture)


def _read_location(reader: Reader, business_id: int) -> None:
    now = reader.findings.asked_at
    found, read_at = None, now
    try:
        reader.before_asking()
        found = reader.source.fetch(Entity.BUSINESS, business_id)
    except SourceThrottled:
        raise
    except SourceError as error:
        _log.warning("location.unread", business_id=business_id, error=str(error))
        read_at = now - LOCATION_LASTS + AGAIN_AFTER
    with writing(reader.engine) as connection:
        lock_decisions(connection)
        if isinstance(found, Business):
            accept_record(connection, Entity.BUSINESS, found, now)
        note_listing(connection, Entity.BUSINESS, business_id, read_at)
