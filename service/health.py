"""The health routes: `/healthz`, `/readyz` and `/readyz?for=web`.

`/healthz` shows that this process answers. `/readyz` is for monitoring and covers the whole
installation: the ledger, the broker, the other processes, and overdue work. `/readyz?for=web` is
for load balancers and covers only what is needed to receive and store a delivery, so an outage of
Nexudus, the broker or the mail server does not take the web process out of service.
"""

from collections.abc import Mapping
from datetime import datetime

import structlog
from flask import Blueprint, Response, jsonify, request

from ledger.clock import Clock
from ledger.engine import Engine, reading
from ledger.monitoring import REFUSALS_SHOWN_FOR, refused_since
from schemas.errors import LedgerUnavailable
from schemas.settings import Settings
from service.readiness import readiness, web_readiness
from workers.attention import READY, needs_of
from workers.reports.arrivals import reader_needs

_log = structlog.get_logger("health")


def health_routes(settings: Settings, engine: Engine, clock: Clock) -> Blueprint:
    """Return the health routes. Call it when the web process starts: it notes the time."""
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
                parts = readiness(
                    settings,
                    engine,
                    now,
                    with_errors=False,
                    started_at=started_at,
                    on_unreadable=_log_error,
                )
                is_readable = parts.get("ledger") == READY
                more = _for_operators(settings, engine, parts, now) if is_readable else {}
            case ["web"]:
                parts, more = web_readiness(engine, on_unreadable=_log_error), {}
            case _:
                return jsonify(error="expected for=web, or no parameter"), 400
        ready = all(part == READY for part in parts.values())
        return jsonify(ready=ready, parts=parts, **more), 200 if ready else 503

    return routes


def _log_error(error: LedgerUnavailable) -> None:
    _log.error("web.unready", error=str(error))


def _for_operators(
    settings: Settings, engine: Engine, parts: Mapping[str, str], now: datetime
) -> dict[str, object]:
    """Return the deliveries refused within a day by reason, and the codes of what needs a person.

    Neither makes the service unready: otherwise a stranger could take it out of service, and an
    email that waits for a person is no fault of the service.
    """
    try:
        with reading(engine) as connection:
            refused = refused_since(connection, now - REFUSALS_SHOWN_FOR)
            # Without the rules file, which is too long to be read for each request.
            arrivals = reader_needs(connection, settings, None, now)
            needs = needs_of(connection, parts, now, of_addresses=arrivals)
    except LedgerUnavailable:
        return {}
    return {
        "refused": {one.reason: one.count for one in refused},
        "attention": list(dict.fromkeys(need.code for need in needs)),
    }
