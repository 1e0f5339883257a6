"""Time zones: from the source's zone records to IANA zones, and which zone is a person's.

The source names zones as Windows does (contract, section 2.6). Babel carries Unicode's table from
those names to IANA's. An unknown name is no fault: the caller falls back to `COURSEBELL_ZONE`. The
source's list of zones hardly ever changes, so it is read as a whole and rarely.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import structlog
from babel.core import get_global

from ledger.engine import Engine, lock_decisions, reading, writing
from ledger.listings import listed_at, note_listing
from ledger.records import accept_record, record_of
from schemas.entity import Entity
from schemas.errors import RecordUnreadable, SourceRefused, Transient
from schemas.records import Record, TimeZone


def iana_zone(windows_name: str) -> ZoneInfo | None:
    """Return the zone of a Windows or IANA name; None for an unknown name."""
    name = windows_name.strip()
    known: str = get_global("windows_zone_mapping").get(name, name)
    return ZoneInfo(known) if known in _iana_names() else None


def own_zone(name: str | None, otherwise: ZoneInfo) -> ZoneInfo:
    """Return a person's own zone, or `otherwise` if theirs is unknown."""
    found = None if name is None else iana_zone(name)
    return otherwise if found is None else found


@cache
def _iana_names() -> frozenset[str]:
    # ZoneInfo treats names as paths, and the name of a folder raises another error.
    return frozenset(available_timezones())


STEADY = timedelta(days=1)  # how long the list is used without reading it again
_AGAIN_AFTER = timedelta(hours=1)  # when the list could not be read
_ALL = 0  # the list has no parent

_log = structlog.get_logger("lookup")


def zone_name(
    engine: Engine,
    time_zone_id: int,
    asked_at: datetime,
    ask: Callable[[], Sequence[Record]],
) -> str | None:
    """Return the IANA name of the source's time zone Id; None if it cannot be determined.

    An email does not fail without it: the default zone is used then. The permission to read time
    zones may be missing, and the list's address is not published (contract, section 2.6).
    """
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
