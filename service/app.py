"""The Flask application: routes, error answers, and limits on refused requests.

Refused deliveries are counted in memory and written at most every few seconds, as one row for each
hour and reason and one log line, so that unauthenticated senders cannot make the ledger or the log
grow at will.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from flask import Flask, Request, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, MapAdapter, Rule

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.engine import Engine, open_engine, writing
from ledger.group_writer import GroupWriter
from ledger.monitoring import count_refusals
from schemas.errors import CoursebellError, LedgerUnavailable, Rejected, frames_of
from schemas.notification import MAX_BYTES
from schemas.reasons import UNAUTHENTICATED, Refusal
from schemas.settings import Settings
from service.desk.blueprint import desk_routes
from service.desk.sign_in_flow import check_libraries
from service.health import health_routes
from service.hooks import HOOKS, hook_routes
from service.limits import MINUTE_S, AddressLimit
from service.mail_hooks import SnsClient, mail_routes
from service.pages.certificates import certificate_routes
from service.pages.preferences import preference_routes
from workers.broker import broker_url_now
from workers.queues import LOOKUP_DRAIN, OUTBOX_SWEEP
from workers.sns import SnsRequests
from workers.wakeup import Wakeup

PAUSE_S = 10.0  # between two writes of the counts, and between two log lines
RETRY_AFTER_S = 5  # sent when the server or the ledger is busy

_Match = tuple[Rule, dict[str, Any]]

_log = structlog.get_logger("receiver")


@dataclass(frozen=True, slots=True)
class RefusedAnswer:
    """The answer to a refused request."""

    status: int
    sentence: str
    retry_after_s: int | None = None

    @property
    def closes_at_once(self) -> bool:
        """Return whether the connection is closed without reading the rest of the body."""
        return self.status in {408, 429, 503}


class Refusals:
    """Counts refusals, and writes the counts from its own thread."""

    def __init__(self, engine: Engine, clock: Clock, *, pause_s: float = PAUSE_S) -> None:
        self._engine = engine
        self._clock = clock
        self._pause_s = pause_s
        self._addresses = AddressLimit(clock)
        self._counts: Counter[Refusal] = Counter()
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
        self._thread.start()

    def count(self, refusal: Refusal) -> None:
        """Count a refused delivery. Never waits."""
        with self._changed:
            self._counts[refusal] += 1
            self._changed.notify()

    def answer(self, error: Rejected, address: str) -> RefusedAnswer:
        """Count a refused delivery and return its answer: 429 if its address is over the limit."""
        if error.refusal is not None:
            self.count(error.refusal)
        if error.refusal in UNAUTHENTICATED and self._addresses.count(address):
            sentence = f"{error}; too many refused requests from this address"
            return RefusedAnswer(429, sentence, MINUTE_S)
        is_busy = error.http_status == HTTPStatus.SERVICE_UNAVAILABLE
        retry_after_s = RETRY_AFTER_S if is_busy else None
        return RefusedAnswer(error.http_status, str(error), retry_after_s)

    def answer_not_stored(self, error: LedgerUnavailable, *, is_delivery: bool) -> RefusedAnswer:
        """Log that the ledger cannot be used, count a delivery, and return the answer."""
        _log.error("delivery.refused", error=str(error))
        if is_delivery:
            self.count(Refusal.NOT_STORED)
        sentence = "the ledger cannot be written now, nothing was stored; send it again later"
        return RefusedAnswer(error.http_status, sentence, RETRY_AFTER_S)

    def close(self) -> None:
        """Write the remaining counts and end the thread."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        unwritten: Counter[Refusal] = Counter()
        while not self._ending:
            with self._changed:
                self._changed.wait_for(self._has_work, None if not unwritten else self._pause_s)
            unwritten = self._write(unwritten)
            with self._changed:
                self._changed.wait_for(lambda: self._ending, self._pause_s)
        self._write(unwritten)

    def _has_work(self) -> bool:
        return self._ending or bool(self._counts)

    def _write(self, unwritten: Counter[Refusal]) -> Counter[Refusal]:
        """Log and write the counts since the last call; return those that could not be written."""
        with self._changed:
            counts, self._counts = self._counts, Counter()
        if counts:
            _log.warning("deliveries.refused", **{name: counts[name] for name in sorted(counts)})
        counts.update(unwritten)
        if not counts:
            return counts
        try:
            with writing(self._engine) as connection:
                count_refusals(connection, counts, self._clock.now())
        except LedgerUnavailable:
            return counts
        except Exception as error:  # noqa: BLE001 - the thread must outlive any fault
            _log.error("refusals.fault", error=frames_of(error))
        return Counter()


# On every answer, including those that `service.front` gives without the application.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
}


@dataclass(frozen=True, slots=True)
class Web:
    """The Flask application, with the objects it uses and must close."""

    app: Flask
    settings: Settings
    engine: Engine
    writer: GroupWriter
    wakeup: Wakeup
    refusals: Refusals
    close_desk: Callable[[], None]

    def close(self) -> None:
        """Write what is pending, and end the threads."""
        self.writer.close()
        self.wakeup.close()
        self.refusals.close()
        self.close_desk()  # late, as it may wait for a page's work
        self.engine.dispose()


class _Adapter(MapAdapter):
    """Remembers which rule without arguments belongs to a method and path."""

    def __init__(self, routes: Map, request: Request, known: dict[tuple[str, str], _Match]) -> None:
        super().__init__(routes, "", "/", "", "http", request.path, request.method)
        self._known = known

    def match(self, *words: Any, **options: Any) -> Any:  # noqa: ANN401 - as werkzeug declares it
        """Return the rule and its arguments, as Flask asks for them."""
        key = self.default_method, self.path_info
        found = self._known.get(key)
        if found is None:
            found = super().match(*words, **options)
            if not found[1]:
                self._known[key] = found
        return found


class _Application(Flask):
    """Flask without what a delivery does not need: hosts, sessions, asynchronous views.

    So functions for `after_request` are not called, and the session is not saved.
    """

    def __init__(self) -> None:
        super().__init__("coursebell", static_folder=None)
        self.url_map.merge_slashes = False  # it would lead to an address that lacks its host
        self._known: dict[tuple[str, str], _Match] = {}

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what finds the request's rule, by method and path alone."""
        return None if request is None else _Adapter(self.url_map, request, self._known)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the view itself."""
        return func

    def process_response(self, response: Response) -> Response:
        """Add the headers that every answer has."""
        given = set(response.headers.keys())
        for name, value in SECURITY_HEADERS.items():
            if name not in given:
                response.headers.add(name, value)
        return response


def make_web(
    settings: Settings,
    *,
    clock: Clock = SYSTEM_CLOCK,
    make_writer: Callable[[Engine, Callable[[], None], Clock], GroupWriter] = GroupWriter,
    sns: SnsClient | None = None,
    locales: Path | None = None,
) -> Web:
    """Build the application. It opens no connection before the first request.

    `locales` has the catalogues of the operators' pages, if they are not those of the package.
    """
    check_libraries(settings)
    engine = open_engine(settings.database_url)
    find_broker = partial(broker_url_now, settings)
    wakeup = Wakeup(find_broker(), clock, find_broker=find_broker)
    writer = make_writer(engine, lambda: wakeup.wake(LOOKUP_DRAIN), clock)
    refusals = Refusals(engine, clock)
    app = _Application()
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    app.register_blueprint(hook_routes(settings, writer, clock))
    app.register_blueprint(
        mail_routes(
            settings,
            engine,
            clock,
            sns or SnsRequests(clock),
            lambda: wakeup.wake(OUTBOX_SWEEP),
        )
    )
    app.register_blueprint(health_routes(settings, engine, clock))
    app.register_blueprint(preference_routes(settings, engine, clock))
    wrong_codes = AddressLimit(clock)
    app.register_blueprint(certificate_routes(settings, engine, wrong_codes.count))
    wake = partial(wakeup.wake, OUTBOX_SWEEP)
    desk = desk_routes(settings, engine, clock, wake, locales)
    app.register_blueprint(desk.blueprint)
    app.register_error_handler(CoursebellError, _answer_error(refusals))
    app.register_error_handler(HTTPException, partial(_answer_http_error, desk.unknown))
    return Web(app, settings, engine, writer, wakeup, refusals, desk.close)


def _answer_error(
    refusals: Refusals,
) -> Callable[[CoursebellError], tuple[Response, int]]:
    """Return the error handler for our own errors. Answers never repeat what was sent."""

    def answer_error(error: CoursebellError) -> tuple[Response, int]:
        if isinstance(error, LedgerUnavailable):
            is_delivery = request.path.startswith(HOOKS)
            refused = refusals.answer_not_stored(error, is_delivery=is_delivery)
        elif isinstance(error, Rejected):
            refused = refusals.answer(error, request.remote_addr or "")
        else:
            raise error
        answer = jsonify(error=refused.sentence)
        if refused.retry_after_s is not None:
            answer.headers["Retry-After"] = str(refused.retry_after_s)
        return answer, refused.status

    return answer_error


def _answer_http_error(
    unknown_page: Callable[[], Response | None], error: HTTPException
) -> tuple[Response, int] | Response:
    """Answer a program in JSON, and a browser that asked for an unknown page with a page."""
    is_unknown = isinstance(error, NotFound | MethodNotAllowed)
    page = unknown_page() if is_unknown and not request.path.startswith(HOOKS) else None
    if page is not None:
        return page
    answer = jsonify(error=error.name.lower())
    for name, value in error.get_headers():
        if name.lower() in {"allow", "retry-after"}:
            answer.headers[name] = value
    return answer, error.code or 500
