"""Reads the two sides of a certificate, the source first, and has them assembled.

The source is read before the ledger: what we learn meanwhile is here then, and what was deleted
meanwhile is known to have been there.
"""

from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from ledger.engine import reading
from schemas.rules import Rules
from workers.certify.assemble import assemble
from workers.certify.gathering import Gathering
from workers.certify.listing import Listed, all_courses, all_members, listed_in
from workers.certify.values import Certificate, Here, Window
from workers.check.tools import Checking
from workers.source.limits import Patience, Urgency
from workers.source.reads import BurstReads

SETTLED = timedelta(minutes=15)  # by then our own checks have seen what was created
_FOR_S = 900.0  # that one certificate may wait for its turn at the source


def window_of(first: date, last: date, zone: ZoneInfo, now: datetime) -> Window:
    """Return the window of these days, the last included, as far as it is over for some time."""
    since = datetime.combine(first, datetime.min.time(), zone)
    until = datetime.combine(last + timedelta(days=1), datetime.min.time(), zone)
    end = (now - SETTLED).replace(second=0, microsecond=0)
    utc = now.tzinfo
    cut = min(until.astimezone(utc), end)
    return Window(first, last, since.astimezone(utc), cut, zone, cut < until)


def certify(checking: Checking, window: Window, rules: Rules) -> Certificate:
    """Return the certificate of this window. Only lists are read, and nothing is written.

    Raises:
        SourceError: the source could not be read, or what it showed does not add up; nothing can
            be said.
        LedgerUnavailable: the ledger could not be read.
    """
    began_at = checking.clock.now()
    with checking.source(_patience(checking)) as source:
        listed = listed_in(source, window)
        with reading(checking.engine) as connection:
            here = Gathering(connection, listed, window).gather(began_at, rules)
        here = _named(source, listed, here, checking.clock.now())
    return assemble(listed.rows, here)


def _named(source: BurstReads, listed: Listed, here: Here, now: datetime) -> Here:
    """Ask the source for enrolments and courses that the ledger has never met."""
    studying = {row.course_member_id for row in listed.rows if row.course_member_id is not None}
    if not studying <= here.members.keys():
        here = replace(here, members={**all_members(source, now), **here.members})
    met = {row.course_id for row in listed.rows}
    met |= {here.members[one].course_id for one in studying & here.members.keys()}
    met |= {one.course_id for one in here.events.values()}
    if not met - {None} <= here.courses.keys():
        here = replace(here, courses={**all_courses(source), **here.courses})
    return here


def _patience(checking: Checking) -> Patience:
    return Patience(Urgency.WORK, checking.clock.monotonic() + _FOR_S, lambda: None)
