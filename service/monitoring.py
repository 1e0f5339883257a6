"""Whether changes still reach us, for `coursebell status` and `/readyz`.

`workers.decide.monitoring` judges it; this module puts it into sentences.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ledger.checks import CheckKind, Run, last_run, open_run
from ledger.engine import Connection
from ledger.intake import Origin
from ledger.monitoring import ReportCounts, activity_by_hour, last_happened_at, reports_by_location
from schemas.entity import FOLLOWED, Entity
from schemas.reasons import EXPLANATIONS
from schemas.settings import Settings
from workers.decide.monitoring import (
    HISTORY,
    Loss,
    PollTrouble,
    Signal,
    SignalReport,
    judge_check,
    judge_reports,
    judge_silence,
)

_KINDS = (CheckKind.CHECK, CheckKind.BASELINE)
_TOLD_FOR = timedelta(days=7)
_LATELY = timedelta(hours=24)
_SLOW = timedelta(minutes=30)  # a relay may look only every quarter of an hour
_IN_HOURS_FROM = 120  # minutes

WORDS = {Entity.COURSE_MEMBER: "enrolments", Entity.COMPLETED_LESSON: "finished lessons"}
_BY = {
    Origin.HOOK: "by hook",
    Origin.RELAY: "by relay",
    Origin.CHECK: "by our own check",
    Origin.BACKFILL: "by backfill",
    Origin.PERSON: "by a person",
    Origin.REVIEW: "by backfill",
}
_LOST = {Origin.HOOK: "hooks", Origin.RELAY: "relay calls"}


@dataclass(frozen=True, slots=True)
class OwnCheck:
    """How our own check of one kind of record goes; `says` is what is wrong, if anything is."""

    entity: Entity
    last: Run | None
    under_way: Run | None
    trouble: PollTrouble | None

    @property
    def says(self) -> str | None:
        """Say what is wrong, with Nexudus's error, and what to do."""
        return self.sentence(with_error=True)

    def sentence(self, *, with_error: bool) -> str | None:
        """Say what is wrong, and what to do."""
        if self.trouble is None:
            return None
        what = f"our own check of {WORDS[self.entity]}"
        if self.trouble is PollTrouble.LATE or self.under_way is None:
            since = "" if self.last is None else f"; the last ended {_utc(self.last.ended_at)}"
            return f"{what} is late{since}; see whether worker and clock are `ok` in `/readyz`"
        reason = self.under_way.reason
        why = "" if reason is None else f": {EXPLANATIONS[reason].sentence}"
        error = f" ({self.under_way.error})" if with_error else ""
        return f"{what} does not get through{why}{error}; try `coursebell doctor`"


@dataclass(frozen=True, slots=True)
class MonitoringNow:
    """All there is to say about hearing at one moment."""

    checks: tuple[OwnCheck, ...]
    silence: SignalReport
    told: tuple[ReportCounts, ...]
    losses: tuple[Loss, ...]


def own_checks(connection: Connection, settings: Settings, now: datetime) -> tuple[OwnCheck, ...]:
    """Return how our own check of each kind of record goes."""
    found = []
    for entity in FOLLOWED:
        last, under_way = last_run(connection, _KINDS, entity), open_run(connection, _KINDS, entity)
        trouble = judge_check(last, under_way, settings.check_every_s, now)
        found.append(OwnCheck(entity, last, under_way, trouble))
    return tuple(found)


def check_part(
    connection: Connection, settings: Settings, now: datetime, *, with_errors: bool
) -> str:
    """Return "ok", or what is wrong with our own checks. Silence and a stumble are no fault."""
    wrong = [
        one
        for one in own_checks(connection, settings, now)
        if one.trouble in {PollTrouble.FAILING, PollTrouble.LATE}
    ]
    # One that fails tells why, and the others may be late for the same reason.
    wrong.sort(key=lambda one: one.trouble is PollTrouble.LATE)
    return (wrong[0].sentence(with_error=with_errors) if wrong else None) or "ok"


def monitoring_now(connection: Connection, settings: Settings, now: datetime) -> MonitoringNow:
    """Return whether we still hear what happens."""
    last_at = last_happened_at(connection, now)
    sittings = {} if last_at is None else activity_by_hour(connection, last_at - HISTORY)
    told = reports_by_location(connection, now - _TOLD_FOR, now - _LATELY, now - _SLOW)
    return MonitoringNow(
        own_checks(connection, settings, now),
        judge_silence(sittings, last_at, now, ZoneInfo(settings.zone)),
        tuple(told),
        tuple(loss for loss in map(judge_reports, told) if loss is not None),
    )


def monitoring_lines(heard: MonitoringNow, settings: Settings, now: datetime) -> list[str]:
    """Return what a person reads; what needs a person begins with an exclamation mark."""
    lines = [f"{_checked(heard, settings, now)}; {_news(heard.silence, now)}"]
    for one in heard.checks:
        if one.says is not None:
            mark = " " if one.trouble is PollTrouble.STUMBLED else "!"
            lines.append(f"{mark} check: {one.says}")
    if heard.silence.hearing is Signal.DEAF:
        lines.append(f"! {unusual_line(heard.silence)}")
    lines += [f"  {line}" for line in _places(heard.told)]
    return lines + [f"! {loss_line(loss)}" for loss in heard.losses]


def loss_line(loss: Loss) -> str:
    """Say that hooks or a relay do not arrive any more."""
    return (
        f"{_LOST[loss.by]} of {loss.told.location} do not arrive: {loss.heard} of {loss.of} "
        f"{WORDS[loss.told.entity]} of the last day was told, the rest we found ourselves"
    )


def monitoring_plain(heard: MonitoringNow) -> dict[str, object]:
    """Return the same for programs."""
    silence = heard.silence
    return {
        "hearing": silence.hearing,
        "last_news_at": silence.last_at,
        "usual_gap_h": None if silence.usual_gap_h is None else round(silence.usual_gap_h, 1),
        "expected": None if silence.expected is None else round(silence.expected, 1),
        "checks": {
            one.entity: {
                "checked_at": None if one.last is None else one.last.ended_at,
                "trouble": one.trouble,
                "says": one.says,
            }
            for one in heard.checks
        },
        "locations": [
            {
                "location": told.location,
                "business_id": told.business_id,
                "entity": told.entity,
                "before": told.before,
                "last_day": told.lately,
                "lost": any(loss.told == told for loss in heard.losses),
            }
            for told in heard.told
        ],
    }


def _checked(heard: MonitoringNow, settings: Settings, now: datetime) -> str:
    if not settings.check_every_s:
        return "our own checks are off"
    ended = [one.last.ended_at for one in heard.checks if one.last and one.last.ended_at]
    if len(ended) == len(heard.checks):
        return f"checked {_ago(now - min(ended))} ago"
    for one in heard.checks:
        if one.last is None and one.under_way is not None:
            of = f" of {one.under_way.total}" if one.under_way.total else ""
            return f"looking for the first time: {one.under_way.rows}{of} {WORDS[one.entity]} seen"
    return "not checked yet"


def _news(silence: SignalReport, now: datetime) -> str:
    if silence.last_at is None:
        return "no news yet"
    at = silence.last_at.astimezone()
    is_today = at.date() == now.astimezone().date()
    said = f"last news {at.strftime('%H:%M' if is_today else '%Y-%m-%d %H:%M')}"
    if silence.hearing is Signal.UNKNOWN:
        return f"{said}; too little is known yet to tell whether silence is usual"
    if silence.usual_gap_h is not None:
        said += f"; usual gap at this hour {_ago(timedelta(hours=silence.usual_gap_h))}"
    return f"{said}: quiet, as usual" if silence.hearing is Signal.QUIET else said


def unusual_line(silence: SignalReport) -> str:
    """Say since when nothing happened, and how much usually would have."""
    last = "" if silence.last_at is None else f" since {_utc(silence.last_at)}"
    return (
        f"unusually silent: nothing{last}, and about {silence.expected or 0:.0f} sittings were to "
        "be expected; unless it is a holiday, try `coursebell doctor`"
    )


def _places(told: tuple[ReportCounts, ...]) -> list[str]:
    by_place: dict[str, dict[Origin, int]] = {}
    for one in told:
        total = by_place.setdefault(one.location, {})
        for origin in Origin:
            number = one.before.get(origin, 0) + one.lately.get(origin, 0)
            total[origin] = total.get(origin, 0) + number
    lines = []
    for place, total in by_place.items():
        said = [f"{number} {_BY[origin]}" for origin, number in total.items() if number]
        if len(said) > 1:
            lines.append(f"{place}, last 7 days: {', '.join(said)}")
    return lines


def _ago(length: timedelta) -> str:
    minutes = max(0, round(length / timedelta(minutes=1)))
    if minutes < 1:
        return f"{max(0, round(length.total_seconds()))} s"
    return f"{minutes} min" if minutes < _IN_HOURS_FROM else f"{round(minutes / 60)} h"


def _utc(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
