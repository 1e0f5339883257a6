"""How a record looks on the wire: one spelling when it is read, another when it is delivered.

The same instant has no fraction on GET and seven digits in a delivery (contract, section 2.9), so
that nobody gets away with comparing the texts. Pure.
"""

import json
from datetime import UTC, datetime
from typing import Any

Record = dict[str, Any]  # field name -> value, as at the source; moments are aware datetimes

# Left out of list and several-by-id rows (contract, section 3; the exact list is not published).
LEFT_OUT_OF_LISTS = frozenset(
    {"LessonContents", "FullDescription", "OverviewText", "SectionContents"}
)
# Collections are filled on by-id reads only (contract, section 3).
BY_ID_ONLY = frozenset({"Businesses", "Teams"})


def as_read(record: Record) -> Record:
    """Return the record as GET by Id shows it."""
    return {name: _spelled(value, _moment_when_read) for name, value in record.items()}


def as_listed(record: Record) -> Record:
    """Return the record as a list shows it: some fields are missing, some are empty."""
    return {
        name: None if name in BY_ID_ONLY else value
        for name, value in as_read(record).items()
        if name not in LEFT_OUT_OF_LISTS
    }


def delivery_body(record: Record) -> str:
    """Return the text of a delivery: an array of this one record (contract, section 5.2).

    Written as Newtonsoft's serialiser does by default: no spaces, and no escapes for accents,
    emoji or foreign scripts.
    """
    delivered = {name: _spelled(value, _moment_when_delivered) for name, value in record.items()}
    return json.dumps([delivered], ensure_ascii=False, separators=(",", ":"))


def _spelled(value: Any, moment: Any) -> Any:  # noqa: ANN401 - any JSON value, and one of the two below
    return moment(value) if isinstance(value, datetime) else value


def _moment_when_read(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment_when_delivered(moment: datetime) -> str:
    # The source counts in tenths of a microsecond and drops trailing zeros, so a last digit that
    # is never zero always gives seven.
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{1 + moment.microsecond % 9}Z"
    )
