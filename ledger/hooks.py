"""What the guardian of our webhooks saw last, and what it did: one row each, beside the controls.

Nothing of it holds an address with its query, or a text of the source's.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, select

from ledger.tables import controls
from ledger.upsert import insert_into
from schemas.entity import Entity
from schemas.hook_actions import action_name

_WATCH = "guard"
_HOOK = "guard:"


class Silence(StrEnum):
    """Why a webhook that called us calls us no more."""

    OFF = "off"  # switched off at the source
    GONE = "gone"  # deleted there
    MOVED = "moved"  # it calls somebody else now


_SILENCES = {
    Silence.OFF: "is switched off at Nexudus",
    Silence.GONE: "was deleted at Nexudus",
    Silence.MOVED: "calls another address now",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """One silence. What happened from `missed_from` on may not have been told to us."""

    silence: Silence
    since: datetime  # when we first saw it
    missed_from: datetime
    covered_until: datetime | None = None  # up to when the source was asked for what was missed
    asked_for: int = 0  # how many records that were
    left_off: str | None = None  # why we did not switch it on


@dataclass(frozen=True, slots=True)
class KnownHook:
    """A webhook that calls us, as seen last.

    `well_at` is when it was last seen switched on and without a failure. `written_at` are the times
    at which we tried to switch it on, within a day.
    """

    record_id: int
    name: str | None
    action: int
    business_id: int
    entities: tuple[Entity, ...]  # what its address says it tells of
    active: bool
    error_count: int
    last_trigger_at: datetime | None
    seen_at: datetime
    active_at: datetime | None = None  # when it was last seen switched on
    well_at: datetime | None = None
    warned: bool = False  # of its failures in a row
    alarm: Alarm | None = None
    written_at: tuple[datetime, ...] = ()
    last_deed: str | None = None  # what the guardian did about it last, in words
    last_deed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """How the guardian stands as a whole. `actions` are those about courses that the source has."""

    origin: str | None  # of the address by which our webhooks were known
    looked_at: datetime | None = None
    actions: tuple[str, ...] = ()
    actions_read_at: datetime | None = None
    refused: str | None = None  # why the list could not be read, if it is a right that is missing
    refused_at: datetime | None = None  # when that was last said


def watch_of(connection: Connection) -> Watch:
    """Return how the guardian stands."""
    text = connection.scalar(select(controls.c.value).where(controls.c.name == _WATCH))
    if text is None:
        return Watch(None)
    said = json.loads(text)
    return Watch(
        said["origin"],
        _moment(said["looked_at"]),
        tuple(said["actions"]),
        _moment(said["actions_read_at"]),
        said["refused"],
        _moment(said["refused_at"]),
    )


def keep_watch(connection: Connection, watch: Watch, now: datetime) -> None:
    """Keep how the guardian stands."""
    _keep(connection, _WATCH, asdict(watch), now)


def look_at_hooks_soon(connection: Connection, now: datetime) -> None:
    """Make the next look at the webhooks due, since a missing right may have been granted."""
    watch = watch_of(connection)
    if watch.looked_at is not None:
        keep_watch(connection, replace(watch, looked_at=None), now)


def known_hooks(connection: Connection) -> dict[int, KnownHook]:
    """Return all webhooks that we know to call us, or that did, by their Ids."""
    rows = connection.execute(
        select(controls.c.value).where(controls.c.name.startswith(_HOOK)).order_by(controls.c.name)
    )
    hooks = [_hook(json.loads(row.value)) for row in rows]
    return {hook.record_id: hook for hook in hooks}


def keep_hook(connection: Connection, hook: KnownHook, now: datetime) -> None:
    """Keep what is known of a webhook, in place of what was known before."""
    _keep(connection, f"{_HOOK}{hook.record_id}", asdict(hook), now)


def forget_hook(connection: Connection, record_id: int) -> None:
    """Forget a webhook."""
    connection.execute(delete(controls).where(controls.c.name == f"{_HOOK}{record_id}"))


def hook_alarms(connection: Connection) -> list[str]:
    """Return one sentence for each webhook that calls us no more, and for what else is amiss."""
    said = [
        f"webhook {hook.record_id} ({action_name(hook.action)}) {sentence}"
        for hook in known_hooks(connection).values()
        if (sentence := alarm_sentence(hook)) is not None
    ]
    watch = watch_of(connection)
    if watch.refused is not None:
        said.append(f"the webhooks at Nexudus cannot be watched: {watch.refused}")
    return said


def alarm_sentence(hook: KnownHook) -> str | None:
    """Return what is amiss with a webhook, and what was done about it; None if nothing is."""
    alarm = hook.alarm
    if alarm is None:
        return None
    what = "was off, and is on again" if hook.active else _SILENCES[alarm.silence]
    told = f"{what}, seen {alarm.since:%Y-%m-%d %H:%M} UTC"
    asked_for = "1 record" if alarm.asked_for == 1 else f"{alarm.asked_for} records"
    if alarm.covered_until is None:
        told += "; what was missed is not asked for yet"
    elif alarm.covered_until < alarm.since:
        upto = f"{alarm.covered_until:%Y-%m-%d %H:%M} UTC"
        told += f"; asked for what was missed up to {upto}, {asked_for}; it goes on"
    else:
        told += f"; asked for what was missed, {asked_for}"
    return told if alarm.left_off is None else f"{told}; not switched on: {alarm.left_off}"


def _keep(connection: Connection, name: str, value: dict[str, Any], now: datetime) -> None:
    text = json.dumps(value, default=datetime.isoformat)
    values = {"value": text, "changed_at": now, "changed_by": "guardian"}
    statement = insert_into(connection, controls).values(name=name, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[controls.c.name], set_=values)
    )


def _hook(said: dict[str, Any]) -> KnownHook:
    hook = KnownHook(**said)
    return replace(
        hook,
        entities=tuple(Entity(name) for name in said["entities"]),
        last_trigger_at=_moment(said["last_trigger_at"]),
        seen_at=datetime.fromisoformat(said["seen_at"]),
        active_at=_moment(said["active_at"]),
        well_at=_moment(said["well_at"]),
        alarm=None if said["alarm"] is None else _alarm(said["alarm"]),
        written_at=tuple(datetime.fromisoformat(text) for text in said["written_at"]),
        last_deed_at=_moment(said["last_deed_at"]),
    )


def _alarm(said: dict[str, Any]) -> Alarm:
    return replace(
        Alarm(**said),
        silence=Silence(said["silence"]),
        since=datetime.fromisoformat(said["since"]),
        missed_from=datetime.fromisoformat(said["missed_from"]),
        covered_until=_moment(said["covered_until"]),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
