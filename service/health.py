"""The health routes: `/healthz`, `/readyz` and `/readyz?for=web`.

`/healthz` says that this process answers. `/readyz` is for monitoring and covers the whole
installation: the ledger, the broker, the other processes, and overdue work. `/readyz?for=web` is
for load balancers and covers only what a delivery needs to be received and stored, so an outage of
Nexudus, the broker or the mail server does not take the web process out of service.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from flask import Blueprint, Response, jsonify, request

from ledger.clock import Clock
from ledger.controls import sending_of
from ledger.credentials import SignIn, sign_in_of
from ledger.engine import Engine, check_writable, reading
from ledger.heartbeats import heartbeats_ahead, last_heartbeats
from ledger.lookups import next_lookup_at
from ledger.migrate import check_revision
from ledger.monitoring import REFUSALS_SHOWN_FOR, refused_since
from ledger.outages import Outage, SourceOutage, outages_now, source_outages
from ledger.outbox import next_action_at
from schemas.actions import Mode
from schemas.errors import ConfigurationError, LedgerUnavailable
from schemas.reasons import EXPLANATIONS, Reason
from schemas.settings import Settings
from service.attention import READY, needs_of
from service.monitoring import check_part
from workers.actions.email.action import EmailAction
from workers.broker import broker_url_now
from workers.heartbeat import NO_BROKER, SILENT_AFTER_S
from workers.local.supervisor import Failing, failing_programs
from workers.wakeup import broker_answers

LATE_AFTER = timedelta(minutes=15)  # due work that old means that nobody is working it off
_PARTS = {"serve": "web"}  # programs of `coursebell up` whose part has another name
_TRY_MAIL = "`coursebell doctor --mail ADDRESS` tries each step"
_UNWRITABLE = "cannot be read and written now; the log has the reason"

_log = structlog.get_logger("health")

# Trouble with a single record is for `status`, not for whoever watches whether all works.
_NO_ANSWER = {
    Reason.NEXUDUS_DOWN: "does not answer us",
    Reason.NEXUDUS_BUSY: "has us wait, or COURSEBELL_NEXUDUS_LIMITS are used up,",
}


def health_routes(settings: Settings, engine: Engine, clock: Clock) -> Blueprint:
    """Return the health routes of a web process that starts now."""
    routes = Blueprint("health", __name__)
    started_at = clock.now()

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify(alive=True)

    @routes.get("/readyz")
    def readyz() -> tuple[Response, int]:
        match request.args.getlist("for"):
            case []:
                now = clock.now()
                parts = readiness(settings, engine, now, with_errors=False, started_at=started_at)
                more = _more(engine, parts, now) if parts.get("ledger") == READY else {}
            case ["web"]:
                parts, more = web_readiness(engine), {}
            case _:
                return jsonify(error="expected for=web, or no parameter"), 400
        ready = all(part == READY for part in parts.values())
        return jsonify(ready=ready, parts=parts, **more), 200 if ready else 503

    return routes


def web_readiness(engine: Engine) -> dict[str, str]:
    """Return whether a delivery could be stored now: "ok", or one fixed sentence.

    Anybody may ask, so the database's own error goes to the log only.
    """
    try:
        return {"ledger": _store(engine)}
    except LedgerUnavailable as error:
        _log.error("web.unready", error=str(error))
        return {"ledger": _UNWRITABLE}


def _more(engine: Engine, parts: Mapping[str, str], now: datetime) -> dict[str, object]:
    """Return the deliveries refused within a day by reason, and what needs a person, as words.

    Neither makes the service unready: a stranger could take it out of service, and an email that
    waits for a person is no fault of the service.
    """
    try:
        with reading(engine) as connection:
            refused = refused_since(connection, now - REFUSALS_SHOWN_FOR)
            needs = needs_of(connection, parts, now)
    except LedgerUnavailable:
        return {}
    return {
        "refused": {one.reason: one.count for one in refused},
        "attention": list(dict.fromkeys(need.code for need in needs)),
    }


def readiness(
    settings: Settings,
    engine: Engine,
    now: datetime,
    *,
    with_errors: bool = True,
    started_at: datetime | None = None,
) -> dict[str, str]:
    """Return what each part says: "ok", or one sentence about what is wrong and what to do.

    `with_errors` adds the error texts of others, which are not for strangers. `started_at` is when
    this process started, if the others may be starting with it. Nothing is written.
    """
    broker_url = broker_url_now(settings)
    parts = {"broker": _broker(broker_url)}
    try:
        parts |= _ledger_parts(settings, engine, now, started_at, with_errors=with_errors)
        if broker_url is None and _works_without_broker(engine, now):
            del parts["broker"]
    except LedgerUnavailable as error:
        if with_errors:
            parts["ledger"] = f"{error}. {error.next_step}"
        else:
            _log.error("web.unready", error=str(error))
            parts["ledger"] = _UNWRITABLE
    for name, failing in failing_programs(Path(settings.data_dir)).items():
        if name != "broker" or parts.get("broker", "ok") != "ok":
            parts[_PARTS.get(name, name)] = _failing(failing, with_errors=with_errors)
    return parts


def _failing(failing: Failing, *, with_errors: bool) -> str:
    why = f" {failing.why}" if with_errors else ""
    return (
        f"keeps failing since {failing.since:%Y-%m-%d %H:%M} UTC; `coursebell up` starts it again,"
        f" and its output has the reason.{why}"
    )


def _works_without_broker(engine: Engine, now: datetime) -> bool:
    """Return whether a process that is workers and clock in one is alive: it needs no broker."""
    with reading(engine) as connection:
        beat_at = last_heartbeats(connection, now).get(NO_BROKER)
    return beat_at is not None and (now - beat_at).total_seconds() <= SILENT_AFTER_S


def _broker(broker_url: str | None) -> str:
    if broker_url is None:
        return (
            "COURSEBELL_BROKER_URL is not set, and no worker runs without a broker;"
            " `coursebell up` starts what is needed"
        )
    if broker_answers(broker_url):
        return "ok"
    if broker_url.startswith("rediss://"):
        return (
            "does not answer, or its certificate is not trusted; if it is self-signed, as on"
            " Heroku, set COURSEBELL_BROKER_URL to the same address with ?ssl_cert_reqs=none"
        )
    return "does not answer; nothing is lost, and work goes on when it is back"


def _nexudus(
    sign_in: SignIn,
    username: str | None,
    troubles: list[SourceOutage],
    now: datetime,
    *,
    with_errors: bool,
) -> str:
    for trouble in troubles:
        error = f": {trouble.last_error}" if with_errors else ""
        since = f"since {trouble.since:%Y-%m-%d %H:%M} UTC, {trouble.count} records unread"
        if trouble.reason is Reason.NEXUDUS_REFUSED:
            return (
                f"refuses us {since}{error}; `coursebell doctor` says what to "
                "fix; then start the worker again"
            )
        if now - trouble.since > LATE_AFTER and trouble.reason in _NO_ANSWER:
            return f"{_NO_ANSWER[trouble.reason]} {since}{error}"
    return _sign_in(sign_in, username, now)


def _sign_in(sign_in: SignIn, username: str | None, now: datetime) -> str:
    """Say whether Nexudus ever let us in, and whether it refuses to now.

    Without an answer, what could not be read says so once it lasts; see `_nexudus`.
    """
    if sign_in.use_until is not None and sign_in.use_until > now:
        return READY
    if sign_in.refused_until is not None:
        return (
            "refuses our sign-in; `coursebell doctor` says what to fix; then start the worker again"
        )
    if sign_in.version > 0:
        return READY
    if username is None:
        return (
            "was never reached: set COURSEBELL_NEXUDUS_USERNAME and COURSEBELL_NEXUDUS_PASSWORD,"
            " then start again"
        )
    return (
        "was not reached yet; the workers sign in when they start. If this stays, `coursebell"
        " doctor` says why"
    )


def _mail(mode: Mode, outage: Outage | None) -> str:
    """Say whether email can leave, in fixed sentences: what a server answered is for `status`.

    Only what workers met counts: this process may have other settings.
    """
    if mode is not Mode.SENDING or outage is None:
        return "ok"
    since = f"since {outage.since:%Y-%m-%d %H:%M} UTC"
    return f"no email leaves {since}: {EXPLANATIONS[outage.reason].sentence}; {_TRY_MAIL}"


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
    """Say whether a kind of process is alive. Others may start with this one, somewhat later."""
    silent_s = None if beat_at is None else (now - beat_at).total_seconds()
    if silent_s is not None and silent_s <= SILENT_AFTER_S:
        return READY
    if started_at is not None and (now - started_at).total_seconds() <= SILENT_AFTER_S:
        return "starting: no heartbeat since this web process started"
    start = f"start it with `coursebell {kind}` or `coursebell up`"
    if is_ahead:
        return (
            "its last heartbeat is dated in the future; correct the clock of its machine or of this"
            f" one, and if it does not run, {start}"
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
        troubles = source_outages(connection)
        beats = last_heartbeats(connection, now)
        ahead = {beat.kind for beat in heartbeats_ahead(connection, now)}
        lookup_at = next_lookup_at(connection, now, lease_s=settings.lease_s)
        action_at = next_action_at(connection, now, lease_s=settings.lease_s)
        check = check_part(connection, settings, now, with_errors=with_errors)
        mode = sending_of(connection).mode
        outage = outages_now(connection).get(EmailAction.kind)
        sign_in = sign_in_of(connection)
    username = settings.nexudus_username
    parts = {
        "ledger": ledger,
        "nexudus": _nexudus(sign_in, username, troubles, now, with_errors=with_errors),
        "check": check,
        "mail": _mail(mode, outage),
    }
    for kind in ("worker", "clock"):
        is_ahead = kind in ahead
        parts[kind] = _liveness(kind, beats.get(kind), now, started_at, is_ahead=is_ahead)
    for name, due_at in (("lookups", lookup_at), ("actions", action_at)):
        late = due_at is not None and now - due_at > LATE_AFTER
        parts[name] = f"the oldest is due since {due_at:%Y-%m-%d %H:%M} UTC" if late else "ok"
    return parts
