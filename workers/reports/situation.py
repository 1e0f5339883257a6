"""What operators should know now, from the ledger: the causes of the two kinds of alert."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from ledger.controls import sending_of
from ledger.engine import Connection
from ledger.outages import LASTING, PastOutage, outages_now, past_outages, source_outages
from schemas.actions import Mode
from schemas.events import is_ahead
from schemas.reasons import Reason
from schemas.settings import Settings
from workers.actions.email import KIND
from workers.attention import MAIL, Need, needs_of
from workers.monitoring import MonitoringNow, PollView, monitoring_now
from workers.reports.alerts import Cause

ATTENTION, TROUBLE, SUMMARY = "attention", "trouble", "summary"
ALERTS = (ATTENTION, TROUBLE)
FOR_OPERATORS = (*ALERTS, SUMMARY)
MODE, NEXUDUS, HELD = "mode", "nexudus", "held"

# The needs that are alerts, each with the alert that it belongs to.
_ALERT_OF: Mapping[str, str] = {
    **dict.fromkeys(("held", "restored", "unknown", "failed", "lookups-failed"), ATTENTION),
    **dict.fromkeys(
        ("paused", MAIL, "clocks", "refused", "hooks", "endpoints", "silence", "lost"), TROUBLE
    ),
}
_URGENT = frozenset({MAIL, NEXUDUS, "hooks"})
_AWAY = (Reason.NEXUDUS_DOWN, Reason.NEXUDUS_REFUSED)


def situation(
    connection: Connection, settings: Settings, now: datetime
) -> dict[str, tuple[Cause, ...]]:
    """Return the causes of each kind of alert, each cause once, the most urgent first."""
    monitoring = monitoring_now(connection, settings, now)
    parts = {MAIL: "down"} if KIND in outages_now(connection) else {}
    found: dict[str, dict[tuple[str, str | None], Cause]] = {name: {} for name in ALERTS}
    for alert, cause in (
        *_stopped(connection),
        *_nexudus(connection, monitoring, now),
        *_needs(needs_of(connection, parts, now, monitoring), now),
    ):
        same = found[alert].get((cause.code, cause.place))
        found[alert][cause.code, cause.place] = cause if same is None else _both(same, cause)
    return {name: tuple(causes.values()) for name, causes in found.items()}


def mail_was_away(connection: Connection, since: datetime, now: datetime) -> list[PastOutage]:
    """Return when no email could be sent for an hour or more: what ended since, or still lasts."""
    ended = past_outages(connection, KIND)
    found = [one for one in ended if one.end > since and not is_ahead(one.end, now)]
    current = outages_now(connection).get(KIND)
    if current is not None and _is_lasting(current.since, now):
        found.append(PastOutage(current.since, now))
    return found


def _both(one: Cause, other: Cause) -> Cause:
    begun = [at for at in (one.since, other.since) if at is not None]
    count = one.count + other.count
    return Cause(one.code, count, min(begun, default=None), one.is_urgent, one.place)


def _needs(needs: list[Need], now: datetime) -> Iterator[tuple[str, Cause]]:
    for need in needs:
        is_short = need.code == MAIL and not _is_lasting(need.since, now)
        if need.code in _ALERT_OF and not is_short:
            urgent = need.code in _URGENT
            cause = Cause(need.code, need.count, need.since, urgent, need.place)
            yield _ALERT_OF[need.code], cause


def _stopped(connection: Connection) -> Iterator[tuple[str, Cause]]:
    """Yield that sending was switched off after it had been on."""
    sending = sending_of(connection)
    if sending.mode is not Mode.SENDING and sending.started_at is not None:
        yield TROUBLE, Cause(MODE, since=sending.changed_at)


def _nexudus(
    connection: Connection, monitoring: MonitoringNow, now: datetime
) -> Iterator[tuple[str, Cause]]:
    """Yield that records or lists could not be read for an hour."""
    begun = [one.since for one in source_outages(connection) if one.reason in _AWAY]
    begun += [at for poll in monitoring.polls if (at := _failing_since(poll)) is not None]
    since = min(begun, default=None)
    if _is_lasting(since, now):
        yield TROUBLE, Cause(NEXUDUS, since=since, is_urgent=True)


def _failing_since(poll: PollView) -> datetime | None:
    """Return since when polls of one kind fail for a reason, if they do."""
    if poll.trouble is None or poll.under_way is None or poll.under_way.reason is None:
        return None
    return poll.under_way.begun_at if poll.last is None else poll.last.ended_at


def _is_lasting(since: datetime | None, now: datetime) -> bool:
    return since is not None and now - since >= LASTING
