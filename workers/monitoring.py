"""Whether changes at Nexudus still reach us, in sentences, for `coursebell status` and `/readyz`.

`workers.decide.monitoring` judges it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ledger.checks import CheckKind, Run, last_run, open_run
from ledger.engine import Connection
from ledger.intake import Origin
from ledger.monitoring import (
    ReportCounts,
    activity_by_hour,
    busy_since,
    last_happened_at,
    reports_by_location,
)
from schemas.entity import FOLLOWED, Entity
from schemas.reasons import EXPLANATIONS, Reason
from schemas.settings import Settings
from workers.decide.monitoring import (
    HISTORY,
    Loss,
    PollTrouble,
    Signal,
    SignalReport,
    judge_poll,
    judge_reports,
    judge_silence,
)

_KINDS = (CheckKind.CHECK, CheckKind.BASELINE)
_COUNTED_FOR = timedelta(days=7)
_LATELY = timedelta(hours=24)
_SLOW = timedelta(minutes=30)  # a relay may poll only every quarter of an hour
_IN_HOURS_FROM = 120  # minutes
_ENOUGH_EVENTS = 20_000  # to learn habits from, if they cover `_BUSY_HISTORY`
_BUSY_HISTORY = timedelta(weeks=3)

WORDS = {Entity.COURSE_MEMBER: "enrolments", Entity.COMPLETED_LESSON: "finished lessons"}
_BY = {
    Origin.HOOK: "by hook",
    Origin.RELAY: "by relay",
    Origin.CHECK: "by poll",
    Origin.BACKFILL: "by backfill",
    Origin.PERSON: "by a person",
    Origin.REVIEW: "by backfill",
    Origin.TIMER: "by a timer",
}
_LOST = {Origin.HOOK: "hooks", Origin.RELAY: "relay calls"}


@dataclass(frozen=True, slots=True)
class PollView:
    """The polls of one kind of record: the last, the one under way, and what is wrong, if any."""

    entity: Entity
    last: Run | None
    under_way: Run | None
    trouble: PollTrouble | None

    @property
    def problem(self) -> str | None:
        """What is wrong, with Nexudus's error, and what to do; None if nothing is."""
        return self.sentence(with_error=True)

    def sentence(self, *, with_error: bool) -> str | None:
        """Return what is wrong and what to do, with or without Nexudus's error."""
        if self.trouble is None:
            return None
        what = f"the poll of {WORDS[self.entity]}"
        if self.trouble is PollTrouble.LATE or self.under_way is None:
            since = "" if self.last is None else f"; the last ended {_utc(self.last.ended_at)}"
            return f"{what} is late{since}; check that worker and clock are `ok` in `/readyz`"
        reason = self.under_way.reason
        why = "" if reason is None else f": {EXPLANATIONS[reason].sentence}"
        error = f" ({self.under_way.error})" if with_error else ""
        return f"{what} fails{why}{error}; try `coursebell doctor`"


@dataclass(frozen=True, slots=True)
class MonitoringNow:
    """Whether changes reach us at one moment: polls, silence, and reports by location."""

    polls: tuple[PollView, ...]
    silence: SignalReport
    reports: tuple[ReportCounts, ...]
    losses: tuple[Loss, ...]


def _polls(connection: Connection, settings: Settings, now: datetime) -> tuple[PollView, ...]:
    """Return the polls of each kind of record."""
    found = []
    for entity in FOLLOWED:
        last, under_way = last_run(connection, _KINDS, entity), open_run(connection, _KINDS, entity)
        trouble = judge_poll(last, under_way, settings.check_every_s, now)
        found.append(PollView(entity, last, under_way, trouble))
    return tuple(found)


def check_part(
    connection: Connection, settings: Settings, now: datetime, *, with_errors: bool
) -> str:
    """Return "ok", or what is wrong with the polls. One failure that may pass is no problem."""
    wrong = [
        one
        for one in _polls(connection, settings, now)
        if one.trouble in {PollTrouble.FAILING, PollTrouble.LATE}
    ]
    # A failing poll has a reason, and the others may be late for the same one.
    wrong.sort(key=lambda one: one.trouble is PollTrouble.LATE)
    return (wrong[0].sentence(with_error=with_errors) if wrong else None) or "ok"


def monitoring_now(connection: Connection, settings: Settings, now: datetime) -> MonitoringNow:
    """Return whether changes at Nexudus still reach us."""
    last_at = last_happened_at(connection, now)
    sittings = {} if last_at is None else _sittings(connection, last_at)
    reports = reports_by_location(connection, now - _COUNTED_FOR, now - _LATELY, now - _SLOW)
    return MonitoringNow(
        _polls(connection, settings, now),
        judge_silence(sittings, last_at, now, ZoneInfo(settings.zone)),
        tuple(reports),
        tuple(loss for loss in map(judge_reports, reports) if loss is not None),
    )


def _sittings(connection: Connection, last_at: datetime) -> dict[datetime, int]:
    """Count sittings for as long as habits need: eight weeks, or three where there are many."""
    busy = busy_since(connection, last_at, _ENOUGH_EVENTS)
    since = last_at - HISTORY
    if busy is not None:
        since = max(since, min(busy, last_at - _BUSY_HISTORY))
    return activity_by_hour(connection, since)


def monitoring_lines(
    found: MonitoringNow, settings: Settings, now: datetime, zone: tzinfo | None = None
) -> list[str]:
    """Return lines for people; those about what needs a person begin with an exclamation mark.

    `zone` is that of their times, if not this machine's.
    """
    lines = [f"{_polled(found, settings, now)}; {_last_change(found.silence, now, zone)}"]
    said: set[Reason] = set()
    for poll in found.polls:
        reason = None if poll.under_way is None else poll.under_way.reason
        if poll.problem is not None and reason not in said:
            said |= set() if reason is None else {reason}
            mark = " " if poll.trouble is PollTrouble.STUMBLED else "!"
            lines.append(f"{mark} check: {poll.problem}")
    if found.silence.signal is Signal.STALE:
        lines.append(f"! {unusual_line(found.silence)}")
    lines += [f"  {line}" for line in _location_lines(found.reports)]
    return lines + [f"! {loss_line(loss)}" for loss in found.losses]


def loss_line(loss: Loss) -> str:
    """Return that the hooks or relay calls of a location stopped arriving, with the numbers."""
    return (
        f"{_LOST[loss.by]} of {loss.counts.location} do not arrive: they reported {loss.reported}"
        f" of the {loss.of} {WORDS[loss.counts.entity]} of the last day; polls found the rest"
    )


def monitoring_plain(found: MonitoringNow) -> dict[str, object]:
    """Return the same for programs."""
    silence = found.silence
    return {
        "hearing": silence.signal,
        "last_news_at": silence.last_at,
        "usual_gap_h": None if silence.usual_gap_h is None else round(silence.usual_gap_h, 1),
        "expected": None if silence.expected is None else round(silence.expected, 1),
        "checks": {
            poll.entity: {
                "checked_at": None if poll.last is None else poll.last.ended_at,
                "trouble": poll.trouble,
                "says": poll.problem,
            }
            for poll in found.polls
        },
        "locations": [
            {
                "location": report.location,
                "business_id": report.business_id,
                "entity": report.entity,
                "before": report.before,
                "last_day": report.lately,
                "lost": any(loss.counts == report for loss in found.losses),
            }
            for report in found.reports
        ],
    }


def _polled(found: MonitoringNow, settings: Settings, now: datetime) -> str:
    if not settings.check_every_s:
        return "polls are off (COURSEBELL_CHECK_EVERY_S is 0)"
    ended = [one.last.ended_at for one in found.polls if one.last and one.last.ended_at]
    if len(ended) == len(found.polls):
        return f"last poll {_length(now - min(ended))} ago"
    for one in found.polls:
        if one.last is None and one.under_way is not None and one.trouble is None:
            of = f" of {one.under_way.total}" if one.under_way.total else ""
            return f"first poll under way: {one.under_way.rows}{of} {WORDS[one.entity]} read"
    return "no poll yet"


def _last_change(silence: SignalReport, now: datetime, zone: tzinfo | None) -> str:
    if silence.last_at is None:
        return "no change yet"
    at = silence.last_at.astimezone(zone)
    is_today = at.date() == now.astimezone(zone).date()
    line = f"last change {at.strftime('%H:%M' if is_today else '%Y-%m-%d %H:%M')}"
    if silence.signal is Signal.UNKNOWN:
        return f"{line}; not enough history yet to tell whether this silence is usual"
    if silence.usual_gap_h is not None:
        line += f"; usual gap at this hour {_length(timedelta(hours=silence.usual_gap_h))}"
    return f"{line}: quiet, as usual" if silence.signal is Signal.SILENT else line


def unusual_line(silence: SignalReport) -> str:
    """Return since when nothing happened, and how many sittings usually would have."""
    last = "" if silence.last_at is None else f" since {_utc(silence.last_at)}"
    return (
        f"unusually silent: no change{last}, where about {silence.expected or 0:.0f} sittings are "
        "usual; unless it is a holiday, try `coursebell doctor`"
    )


def _location_lines(reports: tuple[ReportCounts, ...]) -> list[str]:
    by_location: dict[str, dict[Origin, int]] = {}
    for one in reports:
        total = by_location.setdefault(one.location, {})
        for origin in Origin:
            number = one.before.get(origin, 0) + one.lately.get(origin, 0)
            total[origin] = total.get(origin, 0) + number
    lines = []
    for location, total in by_location.items():
        counts = [f"{number} {_BY[origin]}" for origin, number in total.items() if number]
        if len(counts) > 1:
            lines.append(f"{location}, last 7 days: {', '.join(counts)}")
    return lines


def _length(length: timedelta) -> str:
    minutes = max(0, round(length / timedelta(minutes=1)))
    if minutes < 1:
        return f"{max(0, round(length.total_seconds()))} s"
    return f"{minutes} min" if minutes < _IN_HOURS_FROM else f"{round(minutes / 60)} h"


def _utc(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
