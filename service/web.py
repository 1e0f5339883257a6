"""The web application: the receiver and the health routes, put together by a factory."""

from dataclasses import dataclass

import structlog
from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from ledger.engine import Engine, open_engine
from ledger.writer import GroupWriter
from schemas.errors import CoursebellError, LedgerUnavailable, Rejected, Unreadable
from schemas.notification import MOST_BYTES
from schemas.settings import Settings
from service.health import health_routes
from service.hooks import hook_routes
from workers.bell import Bell
from workers.clocks import Clock, utc_now
from workers.names import LOOKUP_DRAIN

RETRY_AFTER_S = 5

_log = structlog.get_logger("receiver")


@dataclass(frozen=True, slots=True)
class Web:
    """The application, and what must be let go of at its end."""

    app: Flask
    engine: Engine
    writer: GroupWriter
    bell: Bell

    def close(self) -> None:
        """Write what is waiting, and end the threads."""
        self.writer.close()
        self.bell.close()
        self.engine.dispose()


def make_web(settings: Settings, *, clock: Clock = utc_now) -> Web:
    """Return the application for these settings. Nothing is opened before the first request."""
    engine = open_engine(settings.database_url)
    bell = Bell(settings.broker_url)
    writer = GroupWriter(engine, lambda: bell.ring(LOOKUP_DRAIN))
    app = Flask("coursebell", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    app.register_blueprint(hook_routes(settings, writer, clock))
    app.register_blueprint(health_routes(settings, engine, clock))
    app.register_error_handler(CoursebellError, _tell_trouble)
    app.register_error_handler(HTTPException, _tell_http_error)
    app.after_request(_harden)
    return Web(app, engine, writer, bell)


def _tell_trouble(error: CoursebellError) -> tuple[Response, int]:
    """Answer as the error tree says; nothing of what was sent is repeated, only field names."""
    if isinstance(error, LedgerUnavailable):
        _log.error("delivery.refused", error=str(error))
        answer = jsonify(error="the ledger cannot be written now; nothing was kept")
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
        return answer, error.http_status
    if isinstance(error, Unreadable):
        return jsonify(error=str(error), fields=_with_text_keys(error.fields)), error.http_status
    if isinstance(error, Rejected):
        return jsonify(error=str(error)), error.http_status
    raise error


def _with_text_keys(fields: object) -> object:
    if isinstance(fields, dict):
        return {str(key): _with_text_keys(value) for key, value in fields.items()}
    return fields


def _tell_http_error(error: HTTPException) -> tuple[Response, int]:
    answer = jsonify(error=error.name.lower())
    for name, value in error.get_headers():
        if name.lower() in {"allow", "retry-after"}:
            answer.headers[name] = value
    return answer, error.code or 500


def _harden(answer: Response) -> Response:
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Cache-Control", "no-store")
    answer.headers.setdefault("Content-Security-Policy", "default-src 'none'")
    return answer
