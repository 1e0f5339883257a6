"""The web application: the receiver and the health routes, put together by a factory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.engine import Engine, open_engine
from ledger.writer import GroupWriter
from schemas.errors import CoursebellError, LedgerUnavailable, Rejected
from schemas.notification import MOST_BYTES
from schemas.refusals import Refusal
from schemas.settings import Settings
from service.health import health_routes
from service.hooks import HOOKS, hook_routes
from service.refusals import RETRY_AFTER_S, Refusals
from workers.bell import Bell
from workers.broker.address import broker_url_now
from workers.names import LOOKUP_DRAIN

# Of every answer, also those that the front gives without the application.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
}

_log = structlog.get_logger("receiver")


@dataclass(frozen=True, slots=True)
class Web:
    """The application and what it works with."""

    app: Flask
    settings: Settings
    engine: Engine
    writer: GroupWriter
    bell: Bell
    refusals: Refusals

    def close(self) -> None:
        """Write what is waiting, and end the threads."""
        self.writer.close()
        self.bell.close()
        self.refusals.close()
        self.engine.dispose()


def make_web(settings: Settings, *, clock: Clock = SYSTEM_CLOCK) -> Web:
    """Return the application for these settings. Nothing is opened before the first request."""
    engine = open_engine(settings.database_url)
    find_broker = partial(broker_url_now, settings)
    bell = Bell(find_broker(), clock, look_up=find_broker)
    writer = GroupWriter(engine, lambda: bell.ring(LOOKUP_DRAIN), clock)
    refusals = Refusals(engine, clock)
    app = Flask("coursebell", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    app.register_blueprint(hook_routes(settings, writer, clock))
    app.register_blueprint(health_routes(settings, engine, clock))
    app.register_error_handler(CoursebellError, _answer_error(refusals))
    app.register_error_handler(HTTPException, _answer_http_error)
    app.after_request(_harden)
    return Web(app, settings, engine, writer, bell, refusals)


def _answer_error(
    refusals: Refusals,
) -> Callable[[CoursebellError], tuple[Response, int]]:
    """Return what answers as the error tree says; nothing of what was sent is repeated."""

    def answer_error(error: CoursebellError) -> tuple[Response, int]:
        if isinstance(error, LedgerUnavailable):
            _log.error("delivery.refused", error=str(error))
            if request.path.startswith(HOOKS):
                refusals.count(Refusal.NOT_STORED)
            answer = jsonify(error="the ledger cannot be written now; nothing was kept")
            answer.headers["Retry-After"] = str(RETRY_AFTER_S)
            return answer, error.http_status
        if isinstance(error, Rejected):
            refused = refusals.answer(error, request.remote_addr or "")
            answer = jsonify(error=refused.sentence)
            if refused.retry_after_s is not None:
                answer.headers["Retry-After"] = str(refused.retry_after_s)
            return answer, refused.status
        raise error

    return answer_error


def _answer_http_error(error: HTTPException) -> tuple[Response, int]:
    answer = jsonify(error=error.name.lower())
    for name, value in error.get_headers():
        if name.lower() in {"allow", "retry-after"}:
            answer.headers[name] = value
    return answer, error.code or 500


def _harden(answer: Response) -> Response:
    for name, value in SECURITY_HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer
