"""The list of what needs a person, for `coursebell status`, `/readyz` and alerts to operators.

It leaves out what passes by itself or was decided on purpose: emails held in observe mode, members
without an address, refused requests that carried no signature or token.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ledger.courses import course_titles
from ledger.engine import Connection
from ledger.heartbeats import heartbeats_ahead
from ledger.hooks import hook_alarms
from ledger.members import name_of_member
from ledger.monitoring import REFUSALS_SHOWN_FOR, refused_since
from ledger.outages import Outage, outages_now
from ledger.pauses import Pause, PauseScope, is_report, open_pauses
from ledger.people import person_of
from ledger.skew import clock_ahead
from ledger.source_state import catalogue_of
from ledger.suppressions import suppressed_people
from ledger.undecided import Undecided, kinds_of_open, undecided
from schemas.actions import ActionState
from schemas.errors import ConfigurationError
from schemas.events import TOLERANCE
from schemas.reasons import EXPLANATIONS, Reason
from schemas.rules import unknown_names
from schemas.settings import Settings
from workers.actions import email, webhook
from workers.actions.registry import noun_of, number_of
from workers.decide.monitoring import Signal
from workers.endpoints import endpoint_needs
from workers.monitoring import MonitoringNow, loss_line, unusual_line
from workers.rules_file import read_rules
from workers.secret_key import known_secret_key

READY = "ok"  # the value of a part of `/readyz` that has no problem
MAIL = "mail"
ALERTS = "alerts"  # that alerts do not arrive, so that nothing else could be said by email
LOOKUPS_FAILED = "lookups-failed"
SET_CLOCKS = "Set the clocks of all machines by NTP; they may differ by 5 minutes at most."
_IN_HOURS_FROM = 120  # minutes
# Held in observe mode: `coursebell mode sending` decides about them and counts those that stay.
HELD_ON_PURPOSE = frozenset({Reason.OBSERVE, Reason.BEFORE_START, Reason.PAUSED, Reason.ON_HOLD})
_CHECKS = {
    "email": "Ask the member or check the mail server's log",
    "webhook": "Look into the receiver's log",
    "note": "Look at the member in Nexudus",
    "task": "Look at the tasks in Nexudus",
}
_CHECK_ALL = "`coursebell show` with an ID says what it is; check where it should have arrived"
_LONG_PAUSE = timedelta(days=1)  # a pause without an end that is older may be forgotten
_PARTS = {
    "ledger": "the ledger",
    "broker": "the broker",
    "nexudus": "Nexudus",
    "check": "polls of Nexudus",
    MAIL: "no email can be sent",
    "web": "no web process",
    "worker": "no worker",
    "clock": "no scheduler",
    "lookups": "overdue lookups",
}


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that needs a person. The field names are those of `status --json`.

    `code` is a fixed word for programs, `label` a few words for a list, and `says` a sentence with
    what to do next. Only `says` may contain error texts of Nexudus or a server. `count` is how many
    there are, `since` when it began, if that is known, and `place` the location that it is about.
    """

    code: str
    label: str
    says: str
    count: int = field(default=1, compare=False)
    since: datetime | None = field(default=None, compare=False)
    place: str | None = field(default=None, compare=False)


def needs_of(
    connection: Connection,
    parts: Mapping[str, str],
    now: datetime,
    monitoring: MonitoringNow | None = None,
    of_addresses: Sequence[Need] = (),
) -> list[Need]:
    """Return what needs a person, the most urgent first.

    `parts` is the result of `service.health.readiness`. `monitoring` adds unusual silence and
    reports that stopped arriving, `of_addresses` what does not arrive at readers of reports and at
    members: see `workers.reports.arrivals` and `bounce_needs`.
    """
    return [
        *(one for one in of_addresses if one.code == ALERTS),
        *_part_needs(connection, parts),
        *_clock_needs(connection, now),
        *_delivery_needs(connection, now),
        *(
            Need("endpoints", "endpoints, notes or tasks", says)
            for says in endpoint_needs(connection, now)
        ),
        *_pause_needs(connection, now),
        *_monitoring_needs(monitoring),
        *_decision_needs(undecided(connection)),
        *(one for one in of_addresses if one.code != ALERTS),
    ]


def bounce_needs(connection: Connection, settings: Settings) -> Iterator[Need]:
    """Yield that nothing is sent to people because their address bounced."""
    key = known_secret_key(settings)
    found = [] if key is None else suppressed_people(connection, key)
    number = len({one.coworker_id for one in found if one.coworker_id is not None})
    if number:
        what = "1 address" if number == 1 else f"{number} addresses"
        says = (
            f"{what} in Nexudus bounced, so nothing is sent there: `coursebell bounces list`"
            " says whose; correct them in Nexudus, or allow those that work again with"
            " `coursebell bounces lift`"
        )
        yield Need("bounced", f"{what} bounced", says)


def clock_warnings(connection: Connection, now: datetime) -> Iterator[str]:
    """Yield a sentence for each clock that differs too much from this machine's.

    A future heartbeat of a process on this machine is ignored: it is a leftover from before this
    clock was set back.
    """
    ahead = clock_ahead(connection, now)
    if ahead is not None and abs(ahead) > TOLERANCE:
        way = "ahead of" if ahead > timedelta() else "behind"
        yield f"the clock of this machine is {_length(abs(ahead))} {way} the database server's"
    for heartbeat in heartbeats_ahead(connection, now):
        if not heartbeat.process.startswith(f"{socket.gethostname()}:"):
            yield (
                f"{heartbeat.kind} {heartbeat.process} was last alive at"
                f" {heartbeat.at:%Y-%m-%d %H:%M} UTC by its own clock,"
                f" {_length(heartbeat.at - now)} ahead of this machine's"
            )


def _length(length: timedelta) -> str:
    minutes = round(length / timedelta(minutes=1))
    return f"{minutes} min" if minutes < _IN_HOURS_FROM else f"{round(minutes / 60)} h"


def rule_warnings(connection: Connection, settings: Settings) -> list[str]:
    """Return what may be wrong with the rules: names that match nothing at Nexudus.

    A file that cannot be loaded is a warning too: running processes keep the rules they loaded.
    """
    try:
        rules = read_rules(settings)
    except ConfigurationError as error:
        return [f"{mistake}; correct it before the next start" for mistake in error.mistakes]
    return list(unknown_names(rules, catalogue_of(connection)))


def outage_line(outage: Outage) -> str:
    """Return why actions of a kind cannot be performed, with the server's answer."""
    answer = f" ({outage.answer})" if outage.answer else ""
    kind, _, endpoint = outage.kind.partition(":")
    what = f"{noun_of([kind])}{f' to {endpoint}' if endpoint else ''}"
    done = "sent" if kind in {email.KIND, webhook.KIND} else "written"
    return (
        f"no {what} can be {done} since {outage.since:%Y-%m-%d %H:%M} UTC, {outage.reason}: "
        f"{EXPLANATIONS[outage.reason].sentence}{answer}; next try {outage.until:%H:%M} UTC"
    )


def pause_line(connection: Connection, one: Pause) -> str:
    """Return in words what a pause holds, by whom, since when, until when and why."""
    ends = "until it is resumed" if one.until is None else f"until {one.until:%Y-%m-%d %H:%M} UTC"
    note = f" ({one.note})" if one.note else ""
    label = pause_label(connection, one.scope, one.target)
    return f"{label} paused by {one.made_by} since {one.made_at:%Y-%m-%d %H:%M} UTC, {ends}{note}"


def pause_label(connection: Connection, scope: PauseScope, target: str | None) -> str:
    """Return in words what such a pause holds, such as `emails to Ana Ribeiro`."""
    match scope:
        case PauseScope.RULE if is_report(connection, target):
            return f"the report {target}"
        case PauseScope.RULE:
            return f"emails of the rule {target}"
        case PauseScope.COURSE:
            title = course_titles(connection).get(int(target or 0))
            return f"emails about {title or f'course {target}'}"
        case PauseScope.PERSON:
            person = person_of(connection, int(target or 0))
            name = person.full_name if person else name_of_member(connection, int(target or 0))
            return f"emails to {name or f'coworker {target}'}"
    return "all emails"


def _pause_needs(connection: Connection, now: datetime) -> Iterator[Need]:
    for one in open_pauses(connection):
        if one.until is None and one.made_at < now - _LONG_PAUSE:
            says = f"{pause_line(connection, one)}: `coursebell resume {one.pause_id}` ends it"
            yield Need("paused", "a pause that lasts", says, since=one.made_at)


def _part_needs(connection: Connection, parts: Mapping[str, str]) -> Iterator[Need]:
    for name, condition in parts.items():
        if condition == READY:
            continue
        if name != MAIL:
            label = _PARTS.get(name, name)
            if name == "actions":
                label = f"overdue {noun_of(kinds_of_open(connection))}s"
            yield Need(name, label, f"{name}: {condition}")
            continue
        for outage in outages_now(connection).values():
            if outage.kind == email.KIND:
                yield Need(MAIL, _PARTS[MAIL], outage_line(outage), since=outage.since)


def _clock_needs(connection: Connection, now: datetime) -> Iterator[Need]:
    for warning in clock_warnings(connection, now):
        yield Need("clocks", "clocks that differ", f"{warning}. {SET_CLOCKS}")


def _delivery_needs(connection: Connection, now: datetime) -> Iterator[Need]:
    for refused in refused_since(connection, now - REFUSALS_SHOWN_FOR):
        if refused.needs_person:
            yield Need("refused", "refused deliveries", refused.sentence)
    for alarm in hook_alarms(connection):
        yield Need("hooks", "webhooks", alarm)


def _monitoring_needs(monitoring: MonitoringNow | None) -> Iterator[Need]:
    if monitoring is None:
        return
    if monitoring.silence.signal is Signal.STALE:
        silence = monitoring.silence
        yield Need("silence", "an unusual silence", unusual_line(silence), since=silence.last_at)
    for loss in monitoring.losses:
        label = "hooks or relay calls that stopped arriving"
        yield Need("lost", label, loss_line(loss), place=loss.counts.location)


def _decision_needs(found: Undecided) -> Iterator[Need]:
    """Yield what a person has to decide or check: held, unknown and failed work."""
    kinds_held = found.kinds.get(ActionState.HELD, ())
    held = {
        reason: number
        for reason, number in found.actions.get(ActionState.HELD, {}).items()
        if reason not in HELD_ON_PURPOSE
    }
    restored = held.pop(Reason.RESTORED, 0)
    if restored:
        emails = number_of(restored, kinds_held)
        says = (
            f"{emails} may have been sent before the ledger was restored: check, then"
            " `coursebell release --reason restored` or `coursebell skip --reason restored`"
        )
        yield Need("restored", f"{emails} held after a restore", says, restored)
    if held:
        emails = number_of(sum(held.values()), kinds_held)
        says = f"{emails} held ({_reasons(held)}): `coursebell held` lists them"
        yield Need("held", f"{emails} held", says, sum(held.values()))
    yield from _unknown_needs(found)
    failed = found.actions.get(ActionState.FAILED, {})
    if failed:
        emails = number_of(sum(failed.values()), found.kinds.get(ActionState.FAILED, ()))
        [code] = failed if len(failed) == 1 else ["CODE"]
        says = (
            f"{emails} failed ({_reasons(failed)}): "
            f"`coursebell resend --failed {code} --since 365d --dry-run` lists them, and "
            "`coursebell show` with an ID says why"
        )
        yield Need("failed", f"{emails} failed", says, sum(failed.values()))
    if found.lookups:
        number = sum(found.lookups.values())
        what = "1 lookup" if number == 1 else f"{number} lookups"
        says = f"{what} failed ({_reasons(found.lookups)}): a new notification tries again"
        yield Need(LOOKUPS_FAILED, f"{what} failed", says, number)


def _unknown_needs(found: Undecided) -> Iterator[Need]:
    unknown = sum(found.actions.get(ActionState.UNKNOWN, {}).values())
    if unknown:
        kinds = found.kinds.get(ActionState.UNKNOWN, ())
        what, one = number_of(unknown, kinds), noun_of(kinds)
        says = (
            f"{what} may have been sent or not. To list them: "
            "`coursebell resend --failed handover-unknown --i-checked --since 365d --dry-run`. "
            f"{_CHECKS.get(one, _CHECK_ALL)}. If {'an' if one[0] in 'ae' else 'a'} {one} did not "
            "arrive: `coursebell resend --i-checked` with its ID"
        )
        yield Need("unknown", f"{what} unknown", says, unknown)


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason or 'no reason'}" for reason, count in sorted(counts.items()))
