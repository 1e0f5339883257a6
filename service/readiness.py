"""The condition of each part of an installation, for `/readyz` and `coursebell status`."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from ledger.controls import sending_of
from ledger.engine import Engine, check_writable, reading
from ledger.heartbeats import NO_BROKER, SILENT_AFTER_S, heartbeats_ahead, last_heartbeats
from ledger.lookups import next_lookup_at
from ledger.outages import Outage, SourceOutage, outages_now, source_outages
from ledger.outbox import next_action_at
from ledger.revision import check_revision
from ledger.source_state import SignIn, sign_in_of
from schemas.actions import Mode
from schemas.errors import ConfigurationError, LedgerUnavailable
from schemas.reasons import EXPLANATIONS, Reason
from schemas.settings import Settings
from workers.actions import email
from workers.attention import READY
from workers.broker import broker_answers, broker_url_now
from workers.local.supervisor import FailingProgram, failing_programs
from workers.monitoring import check_part

LATE_AFTER = timedelta(minutes=15)  # work overdue for longer means that no worker processes it
_PARTS = {"serve": "web"}  # programs of `coursebell up` whose part has another name
_COMMANDS = {"clock": "scheduler"}  # processes whose command has another name
_TRY_MAIL = "`coursebell doctor --mail ADDRESS` tries each step"
_UNWRITABLE = "cannot be read or written now; the log has the reason"

# A problem with a single record is reported by `status`, not here.
_NO_ANSWER = {
    Reason.NEXUDUS_DOWN: "does not answer",
    Reason.NEXUDUS_BUSY: "makes us wait, or COURSEBELL_NEXUDUS_LIMITS are used up,",
}


def _ignore(_: LedgerUnavailable) -> None:
    """Do nothing about an error that the result shows."""


def web_readiness(
    engine: Engine, *, on_unreadable: Callable[[LedgerUnavailable], None] = _ignore
) -> dict[str, str]:
    """Return whether a delivery could be stored now: "ok", or one fixed sentence.

    The route is public, so `on_unreadable` alone gets the database's own error.
    """
    try:
        return {"ledger": _store(engine)}
    except LedgerUnavailable as error:
        on_unreadable(error)
        return {"ledger": _UNWRITABLE}


def readiness(  # noqa: PLR0913 - what differs for strangers is named
    settings: Settings,
    engine: Engine,
    now: datetime,
    *,
    with_errors: bool = True,
    started_at: datetime | None = None,
    on_unreadable: Callable[[LedgerUnavailable], None] = _ignore,
) -> dict[str, str]:
    """Return the condition of each part: "ok", or one sentence on what is wrong and what to do.

    `with_errors` adds error texts of Nexudus and the database, which must not reach strangers;
    without it, `on_unreadable` gets the database's own error.
    `started_at` is when this process started, if the others may be starting with it. Read-only.
    """
    broker_url = broker_url_now(settings)
    parts = {"broker": _broker(broker_url)}
    try:
        parts |= _ledger_parts(settings, engine, now, started_at, with_errors=with_errors)
        if broker_url is None and _runs_without_broker(engine, now):
            del parts["broker"]
    except LedgerUnavailable as error:
        if with_errors:
            parts["ledger"] = f"{error}. {error.next_step}"
        else:
            on_unreadable(error)
            parts["ledger"] = _UNWRITABLE
    for name, failing in failing_programs(Path(settings.data_dir)).items():
        if name != "broker" or parts.get("broker", "ok") != "ok":
            parts[_PARTS.get(name, name)] = _failing(failing, with_errors=with_errors)
    return parts


def _failing(failing: FailingProgram, *, with_errors: bool) -> str:
    why = f" {failing.why}" if with_errors else ""
    return (
        f"has kept failing since {failing.since:%Y-%m-%d %H:%M} UTC; `coursebell up` restarts it,"
        f" and its output has the reason.{why}"
    )


def _runs_without_broker(engine: Engine, now: datetime) -> bool:
    """Return whether a process that is worker and scheduler in one, without broker, is alive."""
    with reading(engine) as connection:
        beat_at = last_heartbeats(connection, now).get(NO_BROKER)
    return beat_at is not None and (now - beat_at).total_seconds() <= SILENT_AFTER_S


def _broker(broker_url: str | None) -> str:
    if broker_url is None:
        return (
            "COURSEBELL_BROKER_URL is not set, and workers need a broker; set it, or use"
            " `coursebell up`, which starts one"
        )
    if broker_answers(broker_url):
        return "ok"
    if broker_url.startswith("rediss://"):
        return (
            "does not answer, or its certificate is not trusted; if it is self-signed, as on"
            " Heroku, set COURSEBELL_BROKER_URL to the same address with ?ssl_cert_reqs=none"
        )
    return "does not answer; nothing is lost, and work continues when it is back"


def _nexudus(
    sign_in: SignIn,
    username: str | None,
    outages: list[SourceOutage],
    now: datetime,
    *,
    with_errors: bool,
) -> str:
    for outage in outages:
        error = f": {outage.last_error}" if with_errors else ""
        since = f"since {outage.since:%Y-%m-%d %H:%M} UTC, {outage.unread}"
        if outage.reason is Reason.NEXUDUS_REFUSED:
            return (
                f"refuses our sign-in or rights {since}{error}; `coursebell doctor` says what to "
                "fix; then restart the worker"
            )
        if now - outage.since > LATE_AFTER and outage.reason in _NO_ANSWER:
            return f"{_NO_ANSWER[outage.reason]} {since}{error}"
    return _sign_in(sign_in, username, now)


def _sign_in(sign_in: SignIn, username: str | None, now: datetime) -> str:
    """Return whether we ever signed in at Nexudus, and whether it refuses us now.

    An outage is not reported here: records that stay unread report it once it lasts; see
    `_nexudus`.
    """
    if sign_in.use_until is not None and sign_in.use_until > now:
        return READY
    if sign_in.refused_until is not None:
        return "refuses our sign-in; `coursebell doctor` says what to fix; then restart the worker"
    if sign_in.version > 0:
        return READY
    if username is None:
        return (
            "was never reached: set COURSEBELL_NEXUDUS_USERNAME and COURSEBELL_NEXUDUS_PASSWORD,"
            " then restart Coursebell"
        )
    return (
        "was not reached yet; workers sign in when they start. If this does not change, `coursebell"
        " doctor` says why"
    )


def _mail(mode: Mode, outage: Outage | None) -> str:
    """Return whether email can be sent, in fixed sentences; `status` has the server's answer.

    It depends only on what workers recorded, since this process may have other settings.
    """
    if mode is not Mode.SENDING or outage is None:
        return "ok"
    since = f"since {outage.since:%Y-%m-%d %H:%M} UTC"
    return f"no email can be sent {since}: {EXPLANATIONS[outage.reason].sentence}; {_TRY_MAIL}"


def _store(engine: Engine) -> str:
    try:
        check_revision(engine)
    except ConfigurationError as error:
        return str(error)
    check_writable(engine)
    return "ok"


def _liveness(
    kind: str,
    beat_at: datetime | None,
    now: datetime,
    started_at: datetime | None,
    *,
    is_ahead: bool,
) -> str:
    """Return whether a kind of process is alive. It may still be starting if this one just did."""
    silent_s = None if beat_at is None else (now - beat_at).total_seconds()
    if silent_s is not None and silent_s <= SILENT_AFTER_S:
        return READY
    if started_at is not None and (now - started_at).total_seconds() <= SILENT_AFTER_S:
        return "starting: no heartbeat since this web process started"
    start = f"start it with `coursebell {_COMMANDS.get(kind, kind)}` or `coursebell up`"
    if is_ahead:
        return (
            "its last heartbeat is dated in the future; set the clock of its machine or of this"
            f" one right, and if it does not run, {start}"
        )
    if silent_s is None:
        return f"no heartbeat yet; unless it is starting now, {start}"
    return f"no heartbeat for {silent_s:.0f} s; {start}"


def _ledger_parts(
    settings: Settings,
    engine: Engine,
    now: datetime,
    started_at: datetime | None,
    *,
    with_errors: bool,
) -> dict[str, str]:
    ledger = _store(engine)
    if ledger != "ok":
        return {"ledger": ledger}
    with reading(engine) as connection:
        unread = source_outages(connection)
        heartbeats = last_heartbeats(connection, now)
        ahead = {heartbeat.kind for heartbeat in heartbeats_ahead(connection, now)}
        lookup_at = next_lookup_at(connection, now, lease_s=settings.lease_s)
        outages = outages_now(connection)
        # During an outage only one action of the kind is tried from time to time.
        resting = {kind for kind, one in outages.items() if now - one.until <= LATE_AFTER}
        action_at = next_action_at(connection, now, lease_s=settings.lease_s, resting=resting)
        check = check_part(connection, settings, now, with_errors=with_errors)
        mode = sending_of(connection).mode
        sign_in = sign_in_of(connection)
    username = settings.nexudus_username
    parts = {
        "ledger": ledger,
        "nexudus": _nexudus(sign_in, username, unread, now, with_errors=with_errors),
        "check": check,
        "mail": _mail(mode, outages.get(email.KIND)),
    }
    for kind in ("worker", "clock"):
        is_ahead = kind in ahead
        parts[kind] = _liveness(kind, heartbeats.get(kind), now, started_at, is_ahead=is_ahead)
    for name, due_at in (("lookups", lookup_at), ("actions", action_at)):
        late = due_at is not None and now - due_at > LATE_AFTER
        parts[name] = f"the oldest was due at {due_at:%Y-%m-%d %H:%M} UTC" if late else "ok"
    return parts
