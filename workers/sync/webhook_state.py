"""Updates of a known webhook when it is listed, stops calling, or is backfilled. Pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ledger.hooks import Alarm, KnownHook, SilenceCause
from schemas.entity import Entity
from schemas.errors import CoursebellError
from schemas.events import is_within
from schemas.records import WebHook
from workers.source.answers import short
from workers.source.webhooks import MANY_FAILURES, entities_of
from workers.sync.backfill import BackfillUnfinished

# Clocks differ, and a list may show a change only a moment later.
MARGIN = timedelta(minutes=5)
SHOWN_FOR = timedelta(
    days=7
)  # a webhook that was deleted or moved; after that it counts as intended
A_DAY = timedelta(days=1)

# Requests what changed between two moments; returns how many records that are. Raises
# `BaselineUnfinished` or `BackfillUnfinished`, as `workers.sync.backfill.backfill_gap` does.
Backfill = Callable[[datetime, datetime, tuple[Entity, ...]], int]


@dataclass(frozen=True, slots=True)
class Report:
    """What one check found and did, in numbers; `trouble` is why it could not do all of it."""

    ours: int = 0
    others: int = 0
    unread: int = 0
    silent: int = 0  # of ours, with an alarm after this check
    raised: int = 0  # new alarms
    switched_on: int = 0  # by us
    left_off: int = 0  # not switched on, because of a setting or a failure
    asked_for: int = 0  # records requested by the backfill
    failing: int = 0  # about to be switched off
    actions: int = 0  # of the source that are about courses
    trouble: str | None = None


def seen(known: KnownHook | None, hook: WebHook, now: datetime) -> KnownHook:
    """Return what is known of a webhook after it was seen; one that is off has an alarm."""
    errors = hook.error_count or 0
    found = KnownHook(
        hook.record_id,
        short(hook.name),
        hook.action,
        hook.business_id,
        entities_of(hook.url),
        hook.active,
        errors,
        hook.last_trigger_at,
        now,
        active_at=now if hook.active else None,
        well_at=now if hook.active and not errors else None,
    )
    if known is not None:
        found = replace(
            found,
            active_at=found.active_at or known.active_at,
            well_at=found.well_at or known.well_at,
            warned=known.warned and errors >= MANY_FAILURES,
            alarm=known.alarm,
            written_at=tuple(at for at in known.written_at if is_within(at, now, A_DAY)),
            last_deed=known.last_deed,
            last_deed_at=known.last_deed_at,
        )
    if hook.active and found.alarm is not None:
        # The alarm stays until what was missed was requested.
        return replace(found, alarm=replace(found.alarm, left_off=None))
    return found if hook.active else with_alarm(found, SilenceCause.OFF, now, hook.updated_at)


def with_alarm(known: KnownHook, why: SilenceCause, now: datetime, at_least: datetime) -> KnownHook:
    """Return what is known of a webhook that no longer calls us.

    The last call before ten failures is itself one that failed, and so are those before it. So we
    may have missed something since then, or since all was well if that is earlier; without a call,
    since it was last seen on; `at_least` if nothing else is known.
    """
    alarm = known.alarm
    if alarm is None:
        times = [at for at in (known.last_trigger_at, known.well_at) if at is not None]
        alarm = Alarm(why, now, min(times) if times else known.active_at or at_least)
    return replace(known, active=False, alarm=replace(alarm, silence=why))


def is_backfilled(alarm: Alarm) -> bool:
    """Return whether everything missed before we saw the silence was requested."""
    return alarm.covered_until is not None and alarm.covered_until >= alarm.since


def is_settled(known: KnownHook, others: Collection[KnownHook], now: datetime) -> bool:
    """Return whether a deleted or moved webhook was shown long enough, or has a successor."""
    alarm = known.alarm
    if alarm is None or alarm.silence is SilenceCause.OFF or not is_backfilled(alarm):
        return False
    reports = (known.business_id, known.action, known.entities)
    return now - alarm.since >= SHOWN_FOR or any(
        other.active and (other.business_id, other.action, other.entities) == reports
        for other in others
    )


def request_missed(
    hook: KnownHook, backfill: Backfill, until: datetime
) -> tuple[KnownHook, int, CoursebellError | None]:
    """Request what was missed up to `until` and not requested yet.

    Returns the webhook as then known, how many records were requested, and why it stopped early, if
    it did: the next call continues from where this one stopped. Raises as `backfill` otherwise.
    """
    alarm = hook.alarm
    if alarm is None:
        return hook, 0, None
    since, trouble = alarm.covered_until or alarm.missed_from, None
    covered_until: datetime | None = until
    try:
        asked_for = backfill(since - MARGIN, until + MARGIN, hook.entities)
    except BackfillUnfinished as stopped:
        asked_for, trouble = stopped.asked_for, stopped.trouble
        reached = min(stopped.reached, until)
        covered_until = reached if reached > since else alarm.covered_until
    alarm = replace(alarm, covered_until=covered_until, asked_for=alarm.asked_for + asked_for)
    return replace(hook, alarm=alarm), asked_for, trouble
