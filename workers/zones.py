"""Where somebody's clock stands: from the source's name of a time zone to one we can reckon with.

The source names zones as Windows does (contract, section 2.6). Unicode keeps the table from those
names to IANA's, and Babel brings it. A name that is in neither is no zone, and never a fault:
whoever asks falls back to `COURSEBELL_ZONE`.
"""

from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from babel.core import get_global


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
