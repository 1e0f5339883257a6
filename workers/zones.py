"""Time zones: from Windows names to IANA names, and which one is a person's.

Where somebody's clock stands: from the source's name of a time zone to one we can reckon with.

The source names zones as Windows does (contract, section 2.6). Unicode keeps the table from those
names to IANA's, and Babel brings it. A name that is in neither is no zone, and never a fault:
whoever asks falls back to `COURSEBELL_ZONE`.

The source's time zones, read as a whole and seldom, since they hardly ever change.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import structlog
from babel.core import get_global

from ledger.engine import Engine, lock_decisions, reading, writing
from ledger.records import accept_record, listed_at, note_listing, record_of
from schemas.entity import Entity
from schemas.errors import RecordUnreadable, SourceRefused, Transient
from schemas.records import Record, TimeZone


def iana_zone(windows_name: str) -> ZoneInfo | None:
    """Return the zone of a Windows name, or of an IANA name; None for an unknown one.

    Spaces around the name do not count.
    """
    name = windows_name.strip()
    known: str = get_global("windows_zone_mapping").get(name, name)
    return ZoneInfo(known) if known in _iana_names() else None


def own_zone(name: str | None, otherwise: ZoneInfo) -> ZoneInfo:
    """Return a person's own zone, or the other where theirs is not known."""
    found = None if name is None else iana_zone(name)
    return otherwise if found is None else found


@cache
def _iana_names() -> frozenset[str]:
    # A list, not a try: ZoneInfo takes its names for paths, and a folder's name is another error.
    return frozenset(available_timezones())


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
