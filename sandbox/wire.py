"""How a record looks on the wire: one spelling when it is read, another when it is delivered.

The same instant has no fraction on GET and seven digits in a delivery (contract, section 2.9), so
that nobody gets away with comparing the texts. Pure.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

Record = dict[str, Any]  # field name -> value, as at the source; moments are aware datetimes
Moment = Callable[[datetime], str]

# Left out of list and several-by-id rows (contract, section 3; the exact list is not published).
LEFT_OUT_OF_LISTS = frozenset(
    {"LessonContents", "FullDescription", "OverviewText", "SectionContents", "Description"}
)
# Collections are filled on by-id reads only (contract, section 3).
BY_ID_ONLY = frozenset({"Businesses", "Teams"})


def as_read(record: Record) -> Record:
    """Return the record as GET by Id shows it."""
    return spelled(record, _without_fraction)


def as_listed(record: Record) -> Record:
    """Return the record as a list shows it: some fields are missing, some are empty."""
    return {
        name: None if name in BY_ID_ONLY else value
        for name, value in as_read(record).items()
        if name not in LEFT_OUT_OF_LISTS
    }


def spelled(record: Record, moment: Moment) -> Record:
    """Return the record with its moments as texts."""
    return {
        name: moment(value) if isinstance(value, datetime) else value
        for name, value in record.items()
    }


def delivery_body(record: Record, *, zone: tzinfo = UTC, is_bare: bool = False) -> str:
    """Return the text of a delivery: an array of this one record (contract, section 5.2).

    Written as Newtonsoft's serialiser does by default: no spaces, and no escapes for accents,
    emoji or foreign scripts. Moments of another zone claim to be UTC all the same; a bare
    delivery has no array.
    """
    delivered = spelled(record, lambda moment: _seven_digits(moment, zone) + "Z")
    whole = delivered if is_bare else [delivered]
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _seven_digits(moment: datetime, zone: tzinfo = UTC) -> str:
    # The source counts in tenths of a microsecond and drops trailing zeros, so a last digit that
    # is never zero always gives seven.
    there = moment.astimezone(zone)
    return there.strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{1 + moment.microsecond % 9}"


def _without_fraction(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:-6] + "Z"


# How a moment is read: with which digits, and whether its zone is said.
MOMENTS: Mapping[tuple[str, bool], Moment] = {
    ("none", True): _without_fraction,
    ("none", False): lambda moment: _without_fraction(moment)[:-1],
    ("fractions", True): lambda moment: _seven_digits(moment) + "Z",
    ("fractions", False): _seven_digits,
}
