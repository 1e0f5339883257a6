"""Switches a webhook on again, with care, and has what was missed asked for.

Between reading and writing anybody may have done the same, so it is read right before, nothing is
written to one that is on, and after writing it is read again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from ledger.hooks import KnownHook
from schemas.entity import Entity
from schemas.errors import SourceUnavailable
from workers.check.backfill import Unfinished
from workers.guard.judging import MARGIN
from workers.guard.looking import is_for_us
from workers.source.writing import RawHook, Writing, lost_by_writing

# Has what changed between two moments read and decided on; returns how many records that are.
# Raises `FirstLookAwaited` or `Unfinished`, as `workers.check.backfill.missed_in` does.
Backfill = Callable[[datetime, datetime, tuple[Entity, ...]], int]


class Came(Enum):
    """What came of switching a webhook on."""

    ON = auto()  # we did it, and saw it
    ALREADY = auto()  # somebody else had done it; nothing was written
    NOT_THERE = auto()  # it is gone; nothing was written
    NOT_OURS = auto()  # its address is not ours; nothing was written
    STILL_OFF = auto()  # the source says it was done, and it was not


@dataclass(frozen=True, slots=True)
class Switched:
    """What came of it, and the names of fields that the source changed besides."""

    came: Came
    lost: Sequence[str] = ()


def switch_on(
    writing: Writing, record_id: int, public_url: str, note: Callable[[], None]
) -> Switched:
    """Switch a webhook of ours on; `note` is called right before anything is written.

    Raises:
        WriteDenied, SourceRefused: the source does not let us, or showed it incomplete.
        SourceThrottled, SourceUnavailable: as `Asking.send`, and it was not seen on afterwards.
    """
    before = writing.read(record_id)
    if before is None:
        return Switched(Came.NOT_THERE)
    if not is_for_us(_address(before), public_url):
        return Switched(Came.NOT_OURS)
    if before.get("Active") is True:
        return Switched(Came.ALREADY)
    note()
    unanswered: SourceUnavailable | None = None
    try:
        writing.switch_on(before)
    except SourceUnavailable as error:
        # It may have been done all the same: looking is the only way to know.
        unanswered = error
    after = writing.read(record_id)
    if after is not None and after.get("Active") is True:
        return Switched(Came.ON, lost_by_writing(before, after))
    if unanswered is not None:
        raise unanswered
    return Switched(Came.STILL_OFF)


def cover(known: KnownHook, backfill: Backfill, until: datetime) -> KnownHook:
    """Have asked for what was missed up to now and was not asked for yet. Raises as `backfill`."""
    alarm = known.alarm
    if alarm is None:
        return known
    since = alarm.covered_until or alarm.missed_from
    asked_for = backfill(since - MARGIN, until + MARGIN, known.entities)
    covered = replace(alarm, covered_until=until, asked_for=alarm.asked_for + asked_for)
    return replace(known, alarm=covered)


def cover_in_part(known: KnownHook, stopped: Unfinished, until: datetime) -> KnownHook:
    """Return what is known of it after `cover` had to stop: the next time goes on from there."""
    alarm = known.alarm
    if alarm is None:
        return known
    alarm = replace(alarm, asked_for=alarm.asked_for + stopped.asked_for)
    reached = min(stopped.reached, until)
    if reached > (alarm.covered_until or alarm.missed_from):
        alarm = replace(alarm, covered_until=reached)
    return replace(known, alarm=alarm)


def _address(hook: RawHook) -> str | None:
    return hook["URL"] if isinstance(hook.get("URL"), str) else None
