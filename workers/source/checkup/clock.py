"""How far our clock is from the source's, by the date of an answer."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from workers.source.answers import Answer
from workers.source.checkup.values import Check, Topic, Verdict, lasting

_NOTED_S = 60.0
_WRONG_S = 300.0
_CLOCK = (
    "Let this machine's clock be set over the network (NTP). Quiet hours, the end of a sign-in and"
    " the codes of a second factor go by it."
)


def clock_check(answer: Answer, now: datetime) -> Check:
    """Say how far our clock is from that of whoever answered."""
    theirs = _their_time(answer)
    if theirs is None:
        return _said(Verdict.NOTE, "Nexudus did not say what time it has, so ours is not compared")
    ahead_s = (now - theirs).total_seconds()
    way = "ahead of" if ahead_s > 0 else "behind"
    if abs(ahead_s) <= _NOTED_S:
        return _said(Verdict.OK, "this machine's clock agrees with that of Nexudus to the minute")
    found = f"this machine's clock is {lasting(abs(ahead_s))} {way} that of Nexudus"
    if abs(ahead_s) <= _WRONG_S:
        return _said(Verdict.NOTE, found, _CLOCK)
    return _said(Verdict.PROBLEM, found, _CLOCK)


def _their_time(answer: Answer) -> datetime | None:
    """Return when the answer was given; one that was kept on the way says how old it is."""
    try:
        date = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    age = answer.headers.get("age", "").strip()
    age_s = int(age[:9]) if age.isascii() and age.isdigit() else 0
    return (date if date.tzinfo else date.replace(tzinfo=UTC)) + timedelta(seconds=age_s)


def _said(verdict: Verdict, found: str, fix: str | None = None) -> Check:
    return Check(Topic.SIGN_IN, "clock", verdict, found, fix)
