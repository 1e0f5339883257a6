"""Computes when an email may go: gathering, quiet hours and caps, as moments in aware UTC.

Quiet hours and calendar days follow the wall clock where the person is.
"""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.events import Event
from schemas.rules import QuietHours, Rule

_BEFORE_QUIET = timedelta(minutes=1)
_NO_END = timedelta(days=366)
_WEEK = timedelta(days=7)
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


def quiet_until(moment: datetime, quiet: QuietHours, zone: ZoneInfo) -> datetime | None:
    """Return the end of the quiet hours that `moment` is in, or None."""
    local = moment.astimezone(zone)
    clock = local.time()
    crosses = quiet.start > quiet.end
    inside = (
        (clock >= quiet.start or clock < quiet.end) if crosses else quiet.start <= clock < quiet.end
    )
    if not inside:
        return None
    day = local.date() + timedelta(days=1 if crosses and clock >= quiet.start else 0)
    # In an hour that the clock repeats, the end is in the same pass as the moment.
    end = quiet.end.replace(fold=local.fold)
    return datetime.combine(day, end, zone).astimezone(moment.tzinfo)


def _quiet_began(moment: datetime, quiet: QuietHours, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    crosses_back = quiet.start > quiet.end and local.time() < quiet.start
    day = local.date() - timedelta(days=1 if crosses_back else 0)
    # In an hour that the clock repeats, quiet hours begin twice. In one that it skips, the second
    # reading is the earlier moment, and not quiet yet.
    first, second = (
        datetime.combine(day, quiet.start.replace(fold=fold), zone).astimezone(moment.tzinfo)
        for fold in (0, 1)
    )
    return second if second <= moment else first


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


def week_cap_until(now: datetime, sent_at: Sequence[datetime], rule: Rule) -> datetime | None:
    """Return when the person is below the weekly cap again, or None if below it now."""
    cap = rule.timing.cap_per_week
    recent = sorted(moment for moment in sent_at if moment > now - _WEEK)
    if cap is None or len(recent) < cap:
        return None
    return recent[len(recent) - cap] + _WEEK
