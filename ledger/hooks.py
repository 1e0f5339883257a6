"""The webhooks that call us, as last seen: one JSON row each among the controls.

No row contains a URL's query or an error text of the source.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, select

from ledger.engine import insert_into
from ledger.tables import controls
from schemas.entity import Entity
from schemas.records import action_name

# Names of rows and fields are stored: renaming one needs a migration.
_WATCH = "guard"
_HOOK = "guard:"
_TIMES = {
    "active_at",
    "actions_read_at",
    "covered_until",
    "last_deed_at",
    "last_trigger_at",
    "looked_at",
    "missed_from",
    "refused_at",
    "seen_at",
    "since",
    "well_at",
}


class SilenceCause(StrEnum):
    """Why a webhook that called us no longer does."""

    OFF = "off"  # switched off at the source
    GONE = "gone"  # deleted there
    MOVED = "moved"  # its URL is no longer ours


_WHY = {
    SilenceCause.OFF: "is switched off at Nexudus",
    SilenceCause.GONE: "was deleted at Nexudus",
    SilenceCause.MOVED: "now calls another address",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """A webhook that does not call us. Changes since `missed_from` may have been missed."""

    silence: SilenceCause
    since: datetime  # when we first saw it
    missed_from: datetime
    covered_until: datetime | None = None  # missed changes were requested up to here
    asked_for: int = 0  # how many records that were
    left_off: str | None = None  # why we did not switch it on


@dataclass(frozen=True, slots=True)
class KnownHook:
    """A webhook that calls us, as last seen.

    `well_at` is when it was last seen switched on and without failures; `written_at` holds the
    times within the last day at which we tried to switch it on.
    """

    record_id: int
    name: str | None
    action: int
    business_id: int
    entities: tuple[Entity, ...]  # what it reports, according to its URL
    active: bool
    error_count: int
    last_trigger_at: datetime | None
    seen_at: datetime
    active_at: datetime | None = None  # when it was last seen switched on
    well_at: datetime | None = None
    warned: bool = False  # its repeated failures were logged
    alarm: Alarm | None = None
    written_at: tuple[datetime, ...] = ()
    last_deed: str | None = None  # what Coursebell last did about it, as a sentence
    last_deed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known about all webhooks together. `actions`: the source's actions about courses."""

    origin: str | None  # of COURSEBELL_PUBLIC_URL when the webhooks were last listed
    looked_at: datetime | None = None
    actions: tuple[str, ...] = ()
    actions_read_at: datetime | None = None
    refused: str | None = None  # why the list could not be read, if a role is missing
    refused_at: datetime | None = None  # when that was last logged


def watch_of(connection: Connection) -> Watch:
    """Return what is known about all webhooks together."""
    text = connection.scalar(select(controls.c.value).where(controls.c.name == _WATCH))
    if text is None:
        return Watch(None)
    watch = Watch(**json.loads(text, object_hook=_with_times))
    return replace(watch, actions=tuple(watch.actions))


def store_watch(connection: Connection, watch: Watch, now: datetime) -> None:
    """Store what is known about all webhooks together."""
    _keep(connection, _WATCH, asdict(watch), now)


def check_hooks_soon(connection: Connection, now: datetime) -> None:
    """Make the next check of the webhooks due now, since a missing role may have been granted."""
    watch = watch_of(connection)
    if watch.looked_at is not None:
        store_watch(connection, replace(watch, looked_at=None), now)


def known_hooks(connection: Connection) -> dict[int, KnownHook]:
    """Return the webhooks that call us, or did, by their Ids."""
    rows = connection.execute(
        select(controls.c.value).where(controls.c.name.startswith(_HOOK)).order_by(controls.c.name)
    )
    hooks = [_hook(json.loads(row.value, object_hook=_with_times)) for row in rows]
    return {hook.record_id: hook for hook in hooks}


def store_hook(connection: Connection, hook: KnownHook, now: datetime) -> None:
    """Store what is known about a webhook, replacing what was stored before."""
    _keep(connection, f"{_HOOK}{hook.record_id}", asdict(hook), now)


def delete_hook(connection: Connection, record_id: int) -> None:
    """Delete what is known about a webhook."""
    connection.execute(delete(controls).where(controls.c.name == f"{_HOOK}{record_id}"))


def hook_alarms(connection: Connection) -> list[str]:
    """Return a sentence for each webhook with an alarm, and one if they cannot be listed."""
    alarms = [
        f"webhook {hook.record_id} ({action_name(hook.action)}) {sentence}"
        for hook in known_hooks(connection).values()
        if (sentence := alarm_sentence(hook)) is not None
    ]
    watch = watch_of(connection)
    if watch.refused is not None:
        alarms.append(f"the webhooks at Nexudus cannot be monitored: {watch.refused}")
    return alarms


def alarm_sentence(hook: KnownHook) -> str | None:
    """Return what is wrong with a webhook and what was done; None if nothing is."""
    alarm = hook.alarm
    if alarm is None:
        return None
    what = "was off and is on again" if hook.active else _WHY[alarm.silence]
    records = "1 record" if alarm.asked_for == 1 else f"{alarm.asked_for} records"
    if alarm.covered_until is None:
        covered = "missed changes have not been requested yet"
    elif alarm.covered_until < alarm.since:
        upto = f"{alarm.covered_until:%Y-%m-%d %H:%M} UTC"
        covered = f"missed changes requested up to {upto} so far ({records}), the rest follows"
    else:
        covered = f"missed changes requested: {records}"
    sentence = f"{what} (seen {alarm.since:%Y-%m-%d %H:%M} UTC); {covered}"
    return sentence if alarm.left_off is None else f"{sentence}; not switched on: {alarm.left_off}"


def _keep(connection: Connection, name: str, value: dict[str, Any], now: datetime) -> None:
    text = json.dumps(value, default=datetime.isoformat)
    values = {"value": text, "changed_at": now, "changed_by": "webhook health"}
    statement = insert_into(connection, controls).values(name=name, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[controls.c.name], set_=values)
    )


def _hook(stored: dict[str, Any]) -> KnownHook:
    alarm = stored["alarm"]
    if alarm is not None:
        alarm = Alarm(**{**alarm, "silence": SilenceCause(alarm["silence"])})
    entities = tuple(Entity(name) for name in stored["entities"])
    written_at = tuple(datetime.fromisoformat(text) for text in stored["written_at"])
    return KnownHook(**{**stored, "entities": entities, "alarm": alarm, "written_at": written_at})


def _with_times(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a stored JSON object with its times parsed."""
    return {
        name: datetime.fromisoformat(value) if name in _TIMES and value else value
        for name, value in stored.items()
    }
