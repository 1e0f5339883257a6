"""Switches one webhook on because a person asks for it, and has what was missed asked for."""

import time
from dataclasses import dataclass, replace
from datetime import datetime

from ledger.engine import reading, writing
from ledger.hooks import KnownHook, keep_hook, known_hooks
from schemas.errors import SourceError
from workers.check.backfill import FirstLookAwaited, Unfinished
from workers.guard.guard import Guarding
from workers.guard.judging import MARGIN, seen
from workers.guard.looking import fetch_hook, is_for_us
from workers.guard.mending import Came, Switched, cover, cover_in_part, switch_on
from workers.source.budget import Patience, Urgency
from workers.source.client import Source
from workers.source.writing import Writing

_PERSON_S = 60.0


@dataclass(frozen=True, slots=True)
class Enabled:
    """What came of it. `asked_for` records may have been missed since `since`.

    `trouble`: it is on, and what was missed could not be asked for; the guardian does it later.
    """

    switched: Switched
    since: datetime | None = None
    asked_for: int = 0
    trouble: str | None = None


def enable(guarding: Guarding, record_id: int, now: datetime) -> Enabled:
    """Switch a webhook of ours on and ask for what was missed. How often it was done is no matter.

    Raises:
        SourceError: it was not switched on, as far as we know; `WriteDenied` among others.
        LedgerUnavailable: it may be on, and we do not remember it.
    """
    patience = Patience(Urgency.PERSON, time.monotonic() + _PERSON_S, lambda: None)
    with guarding.source(patience) as source:
        found = fetch_hook(source, record_id)
        if found is None:
            return Enabled(Switched(Came.NOT_THERE))
        if not is_for_us(found.url, guarding.public_url):
            return Enabled(Switched(Came.NOT_OURS))
        with reading(guarding.engine) as connection:
            hook = seen(known_hooks(connection).get(record_id), found, now)
        switched = Switched(Came.ALREADY)
        if not found.active:
            switched = _switch_on(guarding, source, hook, now)
            hook = replace(hook, written_at=(*hook.written_at, now))
        if switched.came not in {Came.ON, Came.ALREADY}:
            return Enabled(switched)
    return _covered(guarding, replace(hook, active=True), switched, now)


def _switch_on(guarding: Guarding, source: Source, hook: KnownHook, now: datetime) -> Switched:
    """Switch it on; what was missed is remembered before, in case all ends in between."""

    def note() -> None:
        _keep(guarding, replace(hook, written_at=(*hook.written_at, now)), now)

    return switch_on(Writing(source.asking), hook.record_id, guarding.public_url, note)


def _covered(guarding: Guarding, hook: KnownHook, switched: Switched, now: datetime) -> Enabled:
    if hook.alarm is None:
        return Enabled(switched)
    since = (hook.alarm.covered_until or hook.alarm.missed_from) - MARGIN
    asked_before = hook.alarm.asked_for
    until = guarding.clock.now()
    try:
        hook = cover(hook, guarding.backfill, until)
    except Unfinished as stopped:
        _keep(guarding, cover_in_part(hook, stopped, until), now)
        return Enabled(switched, since, stopped.asked_for, trouble=str(stopped))
    except (FirstLookAwaited, SourceError) as error:
        _keep(guarding, hook, now)
        return Enabled(switched, since, trouble=str(error))
    asked_for = 0 if hook.alarm is None else hook.alarm.asked_for - asked_before
    deed = f"switched on by a person; asked for what was missed, {asked_for} records"
    _keep(guarding, replace(hook, alarm=None, last_deed=deed, last_deed_at=now), now)
    return Enabled(switched, since, asked_for)


def _keep(guarding: Guarding, hook: KnownHook, now: datetime) -> None:
    with writing(guarding.engine) as connection:
        keep_hook(connection, hook, now)
