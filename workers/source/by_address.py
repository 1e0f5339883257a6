"""Finds coworkers at the source by their email address, for a person who waits for the answer."""

from contextlib import suppress

from schemas.entity import Entity
from schemas.errors import RecordStuck, RecordUnreadable
from schemas.records import Coworker
from schemas.text import folded
from workers.source.reads import BurstReads

MOST_COWORKERS = 5


def enrolled_coworkers(source: BurstReads, email: str) -> list[Coworker]:
    """Return the coworkers with an enrolment who have exactly this address; nothing is written.

    A source may ignore the filter, so each of at most `MOST_COWORKERS` is read by Id, and the
    address compared as `folded` says. One that cannot be read is left out.

    Raises:
        SourceThrottled, SourceUnavailable, SourceRefused: the source gave no usable answer.
    """
    found = []
    for coworker_id in source.enrolled_with(email, MOST_COWORKERS):
        with suppress(RecordUnreadable, RecordStuck):
            record = source.fetch(Entity.COWORKER, coworker_id)
            if isinstance(record, Coworker) and folded(record.email) == folded(email):
                found.append(record)
    return found
