"""The first look: what is there already is kept as seen, and nobody is written to about it."""

from collections.abc import Sequence
from datetime import datetime

from ledger.engine import Connection
from ledger.intake import Origin
from ledger.records import SeenVersion, accept_record, note_seen, present_among
from schemas.entity import Entity
from schemas.reasons import Reason
from schemas.records import Record
from workers.check.rows import version_of_record, version_of_row
from workers.check.tools import Checking, ask_about
from workers.source.client import whole_record
from workers.source.records import Changed

_NEVER_FRESH = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def keep_as_seen(
    connection: Connection,
    checking: Checking,
    entity: Entity,
    rows: Sequence[Changed],
    begun_at: datetime,
) -> list[SeenVersion]:
    """Keep the rows of one page as seen before we began, and return those that may be news.

    These are what came up after the first look began, and what differs from a record that was read
    here before, because somebody told us of it.
    """
    read = present_among(connection, entity, [row.record_id for row in rows])
    old, known, maybe_news, waiting = [], [], [], []
    for row in rows:
        seen = version_of_row(entity, row.record_id, row.at, row.row)
        stored = read.get(row.record_id)
        if stored is not None and _is_same(entity, stored.record, seen):
            known.append(seen)
        elif stored is not None or row.at > begun_at:
            maybe_news.append(seen)
        else:
            old.append(seen)
            if not _kept_for_later(connection, entity, row):
                waiting.append(row.record_id)
    now = checking.clock.now()
    note_seen(connection, entity, known, now)
    note_seen(connection, entity, old, now, suppressed=Reason.BEFORE_START)
    ask_about(connection, checking, entity, waiting, Origin.CHECK)
    return maybe_news


def _is_same(entity: Entity, record: Record, seen: SeenVersion) -> bool:
    return version_of_record(entity, record).digest == seen.digest


def _kept_for_later(connection: Connection, entity: Entity, row: Changed) -> bool:
    """Keep an enrolment that waits for approval: that it waited matters on the day it gets it.

    Returns False for one whose row is partial; these few have to be read by their Ids.
    """
    if entity is not Entity.COURSE_MEMBER or row.row.get("Approved") is not False:
        return True
    record = whole_record(entity, row.row)
    if record is None:
        return False
    accept_record(connection, entity, record, _NEVER_FRESH)
    return True
