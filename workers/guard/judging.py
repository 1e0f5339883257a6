"""Compares a webhook as it is with what was known of it. Pure: decides, and does nothing."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from ledger.hooks import Alarm, KnownHook, Silence
from schemas.records import WebHook
from schemas.skew import is_within
from workers.guard.looking import entities_of
from workers.source.foreign import short

MANY_FAILURES = 5  # at ten in a row the source switches a webhook off (contract, 5.4)
MOST_WRITES = 3  # to one webhook within a day: one that keeps failing would be switched on for ever
A_DAY = timedelta(days=1)
# Clocks differ, and what is written at one moment may be listed at the next.
MARGIN = timedelta(minutes=5)
SHOWN_FOR = timedelta(days=7)  # a webhook that was deleted or moved; then that was meant


def seen(known: KnownHook | None, hook: WebHook, now: datetime) -> KnownHook:
    """Return what is known of a webhook after it was seen. One that is off has an alarm."""
    errors = hook.error_count or 0
    active_at = now if hook.active else None
    well_at = now if hook.active and not errors else None
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
        active_at,
        well_at,
    )
    if known is not None:
        found = replace(
            found,
            active_at=active_at or known.active_at,
            well_at=well_at or known.well_at,
            warned=known.warned and errors >= MANY_FAILURES,
            alarm=known.alarm,
            written_at=tuple(at for at in known.written_at if is_within(at, now, A_DAY)),
            last_deed=known.last_deed,
            last_deed_at=known.last_deed_at,
        )
    if hook.active and found.alarm is not None:
        # What was missed may not have been asked for yet, and then the next round does.
        return replace(found, alarm=replace(found.alarm, left_off=None))
    return found if hook.active else silenced(found, Silence.OFF, now, hook.updated_at)


def silenced(known: KnownHook, silence: Silence, now: datetime, at_least: datetime) -> KnownHook:
    """Return what is known of a webhook that calls us no more; `at_least` if nothing else is."""
    alarm = known.alarm or Alarm(silence, now, _missed_from(known, at_least))
    return replace(known, active=False, alarm=replace(alarm, silence=silence))


def _missed_from(known: KnownHook, at_least: datetime) -> datetime:
    """Return since when we may have missed something.

    The last call before ten failures is itself one that failed, and so are those before it: the
    time when all was well is looked at too, and the earlier one counts. Without a call it is when
    the webhook was last seen on.
    """
    times = [at for at in (known.last_trigger_at, known.well_at) if at is not None]
    return min(times) if times else known.active_at or at_least


def is_failing(known: KnownHook) -> bool:
    """Say whether it is about to be switched off."""
    return known.active and known.error_count >= MANY_FAILURES


def is_covered(alarm: Alarm) -> bool:
    """Say whether what was missed until we saw the silence was asked for, and not only a part."""
    return alarm.covered_until is not None and alarm.covered_until >= alarm.since


def is_settled(known: KnownHook, others: Collection[KnownHook], now: datetime) -> bool:
    """Say whether a webhook that is no more was shown long enough, or has a successor."""
    alarm = known.alarm
    if alarm is None or alarm.silence is Silence.OFF or not is_covered(alarm):
        return False
    return now - alarm.since >= SHOWN_FOR or any(
        other.active
        and (other.business_id, other.action, other.entities)
        == (known.business_id, known.action, known.entities)
        for other in others
    )
