"""Lists the courses of the source now and then, so that a name in the rules that none has is seen.

Nothing is asked unless a rule names a course, a group or a location.
"""

from datetime import timedelta

import structlog

from ledger.catalogue import catalogue_of, keep_catalogue
from ledger.checks import is_first_look_wanted
from ledger.engine import reading, writing
from schemas.entity import Entity
from schemas.errors import SourceError
from schemas.rules import Catalogue, Rules, names_in
from workers.check.check import EARLIEST
from workers.check.tools import Checking
from workers.source.limits import Patience, Urgency
from workers.source.records import Row

EVERY = timedelta(hours=1)
_LONGEST_S = 60.0

_log = structlog.get_logger("check")


def learn_catalogue(checking: Checking, rules: Rules) -> None:
    """List the courses, if a rule needs that and the last list is old.

    What goes wrong at the source is logged; the next check tries again. Raises `LedgerUnavailable`.
    """
    if not any(names_in(rule.where) for rule in rules.rules):
        return
    now = checking.clock.now()
    with reading(checking.engine) as connection:
        known = catalogue_of(connection)
        if is_first_look_wanted(connection):
            return
    if known is not None and timedelta() <= now - known.seen_at < EVERY:
        return
    patience = Patience(Urgency.WORK, checking.clock.monotonic() + _LONGEST_S, lambda: None)
    courses: dict[int, str | None] = {}
    locations: dict[int, str | None] = {}
    groups: set[str | None] = set()
    try:
        with checking.source(patience) as source:
            for page in source.changed_since(Entity.COURSE, EARLIEST):
                for one in page.rows:
                    courses[one.record_id] = _text(one.row, "Title")
                    groups.add(_text(one.row, "GroupName", empty=""))
                    location_id = one.row.get("BusinessId")
                    if isinstance(location_id, int):
                        locations[location_id] = _text(one.row, "BusinessName")
    except SourceError as error:
        _log.info("catalogue.unread", error=str(error))
        return
    with writing(checking.engine) as connection:
        keep_catalogue(connection, Catalogue(courses, frozenset(groups), locations, now))


def _text(row: Row, name: str, empty: str | None = None) -> str | None:
    """Return a name in a row; None if the row leaves it out, `empty` if there is none."""
    value = row.get(name)
    if value is None and name in row:
        return empty
    return value if isinstance(value, str) else None
