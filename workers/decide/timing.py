"""Computes when an email may go: gathering, quiet hours and caps, as moments in aware UTC.

Quiet hours and calendar days follow the wall clock where the person is.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from schemas.events import Event
from schemas.reasons import Reason
from schemas.rules import QuietHours, Rule, Timing

_BEFORE_QUIET = timedelta(minutes=1)
_NO_END = timedelta(days=366)
_WEEK = timedelta(days=7)
_INSTANT = timedelta(seconds=1)
_MOST_CHANGES = 1_000  # of being closed and open in a row; holidays may follow each other
_ALWAYS_ALLOWED = 5  # emails of a rule on one day, whatever its forecast is
_FRIDAY, _WEEKLY_AT = 4, time(16)  # when members who chose so get their email of the week
_MORNING = time(8)  # when a capped email may go, if no quiet hours are set


def gather_due(events: Sequence[Event], rule: Rule, zone: ZoneInfo) -> datetime:
    """Return when these gathered events should be sent together.

    That is `gather_s` after the last one, at most `gather_at_most_s` after the first, and just
    before quiet hours that would begin meanwhile.
    """
    moments = [event.happened_at for event in events]
    gather = timedelta(seconds=rule.gather_s or 0)
    due = min(max(moments) + gather, gather_until(min(moments), rule))
    quiet = rule.timing.quiet_hours
    if quiet is None or quiet_until(due, quiet, zone) is None:
        return due
    early = _quiet_began(due, quiet, zone) - _BEFORE_QUIET
    return early if max(moments) <= early else due


def gather_until(first: datetime, rule: Rule) -> datetime:
    """Return until when to wait for more events after the first."""
    at_most = rule.gather_at_most_s
    return first + (_NO_END if at_most is None else timedelta(seconds=at_most))


def weekly_due(events: Sequence[Event], rule: Rule, zone: ZoneInfo) -> datetime:
    """Return when these lessons should be sent together to a member who wants one email a week.

    That is the first Friday at 16:00 by which the first of them would have been sent otherwise.
    """
    first = min(event.happened_at for event in events)
    earliest = first + timedelta(seconds=rule.gather_s or 0)
    day = earliest.astimezone(zone).date()
    day += timedelta(days=(_FRIDAY - day.weekday()) % 7)
    friday = datetime.combine(day, _WEEKLY_AT, zone).astimezone(first.tzinfo)
    if friday >= earliest:
        return friday
    return datetime.combine(day + _WEEK, _WEEKLY_AT, zone).astimezone(first.tzinfo)


def opens_at(
    moment: datetime, timing: Timing, zone: ZoneInfo, coworker_id: int
) -> tuple[datetime, Reason] | None:
    """Return when an email may go that may not at `moment`, and why not; None if it may.

    That is the first moment outside quiet hours and holidays and inside the window, plus this
    person's part of the time over which emails are spread.
    """
    closed = _closed_until(moment, timing, zone)
    if closed is None:
        return None
    reason, at = closed[1], moment
    for _ in range(_MOST_CHANGES):
        if closed is None:
            break
        at, closed = closed[0], _closed_until(closed[0], timing, zone)
    return spread(at, timing, zone, coworker_id), reason


def spread(moment: datetime, timing: Timing, zone: ZoneInfo, coworker_id: int) -> datetime:
    """Return a moment somewhat later, always the same for one person, at which emails may go."""
    if timing.spread_s is None:
        return moment
    digest = hashlib.sha256(str(coworker_id).encode()).digest()
    offset = int.from_bytes(digest[:8]) % timing.spread_s
    while offset and _closed_until(moment + timedelta(seconds=offset), timing, zone):
        offset //= 2
    return moment + timedelta(seconds=offset)


def _closed_until(
    moment: datetime, timing: Timing, zone: ZoneInfo
) -> tuple[datetime, Reason] | None:
    """Return the end of what forbids emails at `moment`, and what it is; None if nothing does."""
    local = moment.astimezone(zone)
    if local.date() in timing.holidays:
        return _midnight_after(local, moment), Reason.HOLIDAY
    quiet = timing.quiet_hours
    until = None if quiet is None else quiet_until(moment, quiet, zone)
    if until is not None:
        return until, Reason.QUIET_HOURS
    window = timing.send
    if window is None:
        return None
    is_day = local.weekday() in window.days
    if is_day and window.is_open(local.time()):
        return None
    if is_day and local.time() < window.start:
        opening = datetime.combine(local.date(), window.start.replace(fold=local.fold), zone)
        # In an hour that the clock repeats, the window may open before this reading of it.
        return max(opening.astimezone(moment.tzinfo), moment + _INSTANT), Reason.SEND_WINDOW
    return _midnight_after(local, moment), Reason.SEND_WINDOW


def _midnight_after(local: datetime, moment: datetime) -> datetime:
    """Return the beginning of the next day; where the clock skips midnight, the first after it."""
    next_day = local.date() + timedelta(days=1)
    begins = datetime.combine(next_day, time(), local.tzinfo).astimezone(moment.tzinfo)
    return max(begins, moment + _INSTANT)


def quiet_until(moment: datetime, quiet: QuietHours, zone: ZoneInfo) -> datetime | None:
    """Return the end of the quiet hours that `moment` is in, or None."""
    local = moment.astimezone(zone)
    clock = local.time()
    if not quiet.covers(clock):
        return None
    crosses = quiet.start > quiet.end
    day = local.date() + timedelta(days=1 if crosses and clock >= quiet.start else 0)
    # In an hour that the clock repeats, the end is in the same pass as the moment.
    end = quiet.end.replace(fold=local.fold)
    return datetime.combine(day, end, zone).astimezone(moment.tzinfo)


def _quiet_began(moment: datetime, quiet: QuietHours, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    crosses_back = quiet.start > quiet.end and local.time() < quiet.start
    day = local.date() - timedelta(days=1 if crosses_back else 0)
    # In an hour that the clock repeats, quiet hours begin twice. Of an hour that it skips, one
    # reading is too early and the other may be later than this moment.
    readings = (
        datetime.combine(day, quiet.start.replace(fold=fold), zone).astimezone(moment.tzinfo)
        for fold in (0, 1)
    )
    return max(one for one in readings if one <= moment)


def day_cap_until(
    now: datetime, sent_at: Sequence[datetime], rule: Rule, zone: ZoneInfo
) -> datetime | None:
    """Return the next morning if the person reached the daily cap, else None."""
    cap = rule.timing.cap_per_day
    today = now.astimezone(zone).date()
    if cap is None or sum(moment.astimezone(zone).date() == today for moment in sent_at) < cap:
        return None
    quiet = rule.timing.quiet_hours
    morning = quiet.end if quiet else _MORNING
    return datetime.combine(today + timedelta(days=1), morning, zone).astimezone(now.tzinfo)


def week_cap_until(now: datetime, sent_at: Sequence[datetime], cap: int | None) -> datetime | None:
    """Return when the person is below this limit for seven days again, or None if below it now."""
    recent = sorted(moment for moment in sent_at if moment > now - _WEEK)
    if cap is None or len(recent) < cap:
        return None
    return recent[len(recent) - cap] + _WEEK


def day_began(now: datetime, zone: ZoneInfo) -> datetime:
    """Return the beginning of the day of `now` in this zone."""
    return datetime.combine(now.astimezone(zone).date(), time(), zone).astimezone(now.tzinfo)


def most_per_day(brake: Decimal, busiest_day: int) -> int:
    """Return how many emails a rule with this brake may send on one day.

    `busiest_day` is how many it sends on its busiest day by the accepted forecast.
    """
    return max(_ALWAYS_ALLOWED, int(brake * busiest_day))
