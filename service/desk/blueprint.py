"""The routes of the operators' pages in the web application.

The views are imported with the first page, as receiving deliveries needs none of them.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import InternalServerError

from ledger.clock import Clock
from ledger.engine import Engine
from schemas.errors import ConfigurationError, LedgerUnavailable, frames_of
from schemas.settings import Settings
from service.desk.routes import MOST_FORM_BYTES, ROUTES, PageRoute, is_desk_path

if TYPE_CHECKING:
    from service.desk.answering import Answering

_log = structlog.get_logger("desk")


class DeskRoutes(NamedTuple):
    """The routes, what answers for a page that does not exist, and what to call at the end.

    `unknown` returns None unless a browser asked. `close` must be called before the ledger is
    closed.
    """

    blueprint: Blueprint
    unknown: Callable[[], Response | None]
    close: Callable[[], None]


def desk_routes(
    settings: Settings,
    engine: Engine,
    clock: Clock,
    wake: Callable[[], object],
    locales: Path | None = None,
) -> DeskRoutes:
    """Return the routes.

    `wake` wakes workers after something became due. `locales` has the catalogues of the pages'
    languages, if they are not those of this package.
    """
    routes = Blueprint("desk", __name__)
    views = _Views(settings, engine, clock, wake, locales)

    @routes.before_request
    def limit_form() -> None:
        request.max_content_length = MOST_FORM_BYTES
        request.max_form_parts = 200

    for one in ROUTES:
        name = f"{one.method} {one.path}".replace(".", " ")
        routes.add_url_rule(
            one.path, endpoint=name, view_func=views.view(one), methods=[one.method]
        )

    @routes.errorhandler(ConfigurationError)
    def misconfigured(error: ConfigurationError) -> Response:
        _log.error("desk.misconfigured", error=str(error))
        return views.answering.misconfigured()

    @routes.errorhandler(LedgerUnavailable)
    def unavailable(error: Exception) -> Response:
        _log.error("desk.unavailable", error=str(error))
        return views.answering.unavailable()

    @routes.errorhandler(InternalServerError)
    def broken(error: InternalServerError) -> Response:
        cause = error.original_exception
        _log.error("desk.fault", error="" if cause is None else frames_of(cause))
        return views.answering.broken()

    return DeskRoutes(routes, views.unknown, views.close)


class _Views:
    """Makes the views, and on the first request what answers."""

    def __init__(self, *made_from: object) -> None:
        self._made_from = made_from
        self._lock = threading.Lock()
        self._answering: Answering | None = None

    @property
    def answering(self) -> "Answering":
        """What answers each request."""
        with self._lock:
            if self._answering is None:
                pages = resolve_name("service.desk.operator_pages:OperatorPages")
                make = resolve_name("service.desk.answering:Answering")
                self._answering = cast("Answering", make(pages(*self._made_from)))
            return self._answering

    def unknown(self) -> Response | None:
        """Answer a browser that asked for a page that does not exist; None to a program."""
        accepts = request.headers.get("Accept", "")
        if request.method not in {"GET", "HEAD"} or "text/html" not in accepts:
            return None
        try:
            return self.answering.no_such_page(is_ours=is_desk_path(request.path))
        except LedgerUnavailable as error:
            _log.error("desk.unavailable", error=str(error))
            return self.answering.unavailable()

    def close(self) -> None:
        """Wait for what the pages do in the background."""
        if self._answering is not None:
            self._answering.close()

    def view(self, route: PageRoute) -> Callable[..., Response]:
        """Return the view function of a route."""

        def answer(**given: Any) -> Response:  # noqa: ANN401 - what the path names
            view = resolve_name(f"service.desk.{route.view}")
            return self.answering.answer(route, view, given)

        return answer
