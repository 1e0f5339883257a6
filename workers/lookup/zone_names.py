"""The source's time zones, read as a whole and seldom, since they hardly ever change."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from ledger.engine import Engine, lock_decisions, reading, writing
from ledger.records import accept_record, listed_at, note_listing, record_of
from schemas.entity import Entity
from schemas.errors import RecordUnreadable, SourceRefused, Transient
from schemas.records import Record, TimeZone
from workers.zones import iana_zone

STEADY = timedelta(days=1)
_AGAIN_AFTER = timedelta(hours=1)  # when the list could not be read
_ALL = 0  # there is no parent that this list hangs on

_log = structlog.get_logger("lookup")


def zone_name(
    engine: Engine,
    time_zone_id: int | None,
    asked_at: datetime,
    ask: Callable[[], Sequence[Record]],
) -> str | None:
    """Return the IANA name behind the source's number; None where it cannot be found out.

    An email does not fail for want of it: somebody else's clock is used then. The right to read
    time zones may be missing, and where the list lies is not published (contract, section 2.6).
    """
    if time_zone_id is None:
        return None
    with reading(engine) as connection:
        when = listed_at(connection, Entity.TIME_ZONE, _ALL)
    if when is None or not -STEADY < asked_at - when < STEADY:
        _read_all(engine, asked_at, ask)
    with reading(engine) as connection:
        known = record_of(connection, Entity.TIME_ZONE, time_zone_id)
    if known is None or not isinstance(known.record, TimeZone):
        return None
    zone = iana_zone(known.record.name)
    return None if zone is None else zone.key


def _read_all(engine: Engine, asked_at: datetime, ask: Callable[[], Sequence[Record]]) -> None:
    found: Sequence[Record] = ()
    good_from = asked_at
    try:
        found = ask()
    except (SourceRefused, Transient, RecordUnreadable) as error:
        good_from = asked_at - STEADY + _AGAIN_AFTER
        _log.warning("time-zones.unread", error=str(error))
    with writing(engine) as connection:
        lock_decisions(connection)
        for record in found:
            accept_record(connection, Entity.TIME_ZONE, record, asked_at)
        note_listing(connection, Entity.TIME_ZONE, _ALL, good_from)
