"""The routes of the operators' pages: which view answers, and which role it takes.

A GET changes nothing. A POST changes something only if it comes from a form of the same session:
browsers say from which site a request comes, and the form has a token that belongs to the session.
The views are imported with the first page, as receiving deliveries needs none of them.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import InternalServerError

from ledger.clock import Clock
from ledger.engine import Engine
from schemas.errors import ConfigurationError, LedgerUnavailable, frames_of
from schemas.roles import Role
from schemas.settings import Settings

if TYPE_CHECKING:
    from service.desk.visit import OperatorPages

MOST_FORM_BYTES = 64 * 1024
SIGN_IN_PATHS = ("/sign-in", "/welcome/")
PROVIDER_PATHS = ("/sign-in/provider", "/sign-in/answer")  # the sign-in provider is asked there
_log = structlog.get_logger("desk")


class PageRoute(NamedTuple):
    """One route. `view` is a module of this package and a function; `role` None: open to all.

    `is_asked_by_script`: it is no use of the session, and an ended session is answered 401.
    """

    method: str
    path: str
    view: str
    role: Role | None
    is_asked_by_script: bool = False


ROUTES = (
    PageRoute("GET", "/desk.css", "frame:style", None),
    PageRoute("GET", "/desk.js", "frame:script", None),
    PageRoute("GET", "/sign-in", "sign_in:show", None),
    PageRoute("POST", "/sign-in", "sign_in:sign_in", None),
    PageRoute("GET", "/sign-in/provider", "provider:begin", None),
    PageRoute("GET", "/sign-in/answer", "provider:answer", None),
    PageRoute("GET", "/welcome/<token>", "sign_in:show_welcome", None),
    PageRoute("POST", "/welcome/<token>", "sign_in:welcome", None),
    PageRoute("POST", "/language", "account:choose_language", None),
    PageRoute("POST", "/sign-out", "account:sign_out", Role.LOOK),
    PageRoute("GET", "/account", "account:show", Role.LOOK),
    PageRoute("POST", "/account/password", "account:change_password", Role.LOOK),
    PageRoute("POST", "/account/end", "account:end_session", Role.LOOK),
    PageRoute("GET", "/start", "start:show", Role.LOOK),
    PageRoute("GET", "/start/sending", "start:ask_to_send", Role.OPERATE),
    PageRoute("POST", "/start/sending", "start:begin_sending", Role.OPERATE),
    PageRoute("POST", "/start/observing", "start:go_back", Role.OPERATE),
    PageRoute("GET", "/emails", "emails:show", Role.LOOK),
    PageRoute("GET", "/emails/<name>", "preview:show", Role.LOOK),
    PageRoute("GET", "/emails/<name>/body", "preview:body", Role.LOOK),
    PageRoute("POST", "/emails/<name>/test", "trial:send_test", Role.OPERATE),
    PageRoute("GET", "/reports/<name>", "reports:show", Role.LOOK),
    PageRoute("GET", "/reports/<name>/body", "reports:body", Role.LOOK),
    PageRoute("GET", "/", "today:show", Role.LOOK),
    PageRoute("GET", "/newer", "today:count_newer", Role.LOOK, is_asked_by_script=True),
    PageRoute("GET", "/people", "people:show", Role.LOOK),
    PageRoute("GET", "/people/<int:coworker_id>", "person:show", Role.LOOK),
    PageRoute("POST", "/people/<int:coworker_id>/ask", "asked:ask", Role.OPERATE),
    PageRoute("GET", "/people/<int:coworker_id>/asked", "asked:show", Role.LOOK),
    PageRoute("POST", "/people/<int:coworker_id>/bring", "asked:bring", Role.OPERATE),
    PageRoute("GET", "/messages/<int:action_id>", "message:show", Role.LOOK),
    PageRoute("GET", "/messages/<int:action_id>/body", "message:body", Role.LOOK),
    PageRoute("POST", "/messages/<int:action_id>/release", "message:release", Role.OPERATE),
    PageRoute("POST", "/messages/<int:action_id>/skip", "message:skip", Role.OPERATE),
    PageRoute("GET", "/messages/<int:action_id>/again", "message:ask_to_repeat", Role.OPERATE),
    PageRoute("POST", "/messages/<int:action_id>/again", "message:repeat", Role.OPERATE),
    PageRoute("GET", "/upcoming", "upcoming:show", Role.LOOK),
    PageRoute("GET", "/upcoming/<int:action_id>/skip", "upcoming:ask_to_skip", Role.OPERATE),
    PageRoute("POST", "/upcoming/<int:action_id>/skip", "upcoming:skip", Role.OPERATE),
    PageRoute("GET", "/held", "held:show", Role.LOOK),
    PageRoute("GET", "/held/<reason>", "held:show_group", Role.LOOK),
    PageRoute("POST", "/held/<reason>", "held:ask", Role.OPERATE),
    PageRoute("POST", "/held/<reason>/decide", "held:decide", Role.OPERATE),
    PageRoute("GET", "/resume/<int:pause_id>", "resume:show", Role.OPERATE),
    PageRoute("POST", "/resume/<int:pause_id>", "resume:resume", Role.OPERATE),
    PageRoute("GET", "/pause", "pause:show", Role.OPERATE),
    PageRoute("POST", "/pause", "pause:pause", Role.OPERATE),
    PageRoute("GET", "/events/<int:event_id>", "event:show", Role.ENGINEER),
    PageRoute("GET", "/certificate", "certificate:show", Role.LOOK),
    PageRoute("GET", "/health", "health:show", Role.LOOK),
    PageRoute("GET", "/settings", "settings:show", Role.LOOK),
    PageRoute("GET", "/settings/try", "what_if:show", Role.OPERATE),
    PageRoute("POST", "/settings/try", "what_if:play", Role.OPERATE),
    PageRoute("GET", "/numbers", "numbers:show", Role.LOOK),
    PageRoute("GET", "/numbers/<int:course_id>", "numbers:show_course", Role.LOOK),
    PageRoute("GET", "/numbers/pictures/<name>", "numbers:picture", Role.LOOK),
)
# The first parts of their paths, by which the web server knows them.
PARTS = frozenset(one.path.split("/")[1] for one in ROUTES)


def is_desk_path(path: str) -> bool:
    """Return whether a path belongs to these pages."""
    return path.partition("/")[2].partition("/")[0] in PARTS


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
        return views.pages.misconfigured()

    @routes.errorhandler(LedgerUnavailable)
    def unavailable(error: Exception) -> Response:
        _log.error("desk.unavailable", error=str(error))
        return views.pages.unavailable()

    @routes.errorhandler(InternalServerError)
    def broken(error: InternalServerError) -> Response:
        cause = error.original_exception
        _log.error("desk.fault", error="" if cause is None else frames_of(cause))
        return views.pages.broken()

    return DeskRoutes(routes, views.unknown, views.close)


def is_same_site(settings: Settings) -> bool:
    """Return whether this request comes from a page of this service, as its browser says.

    Programs other than browsers say nothing, and hold no cookie that could be abused.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    ours = {request.host}
    if settings.public_url is not None:
        ours.add(urlsplit(settings.public_url).netloc)
    return urlsplit(origin).netloc in ours


class _Views:
    """Makes the views, and on the first request what they share."""

    def __init__(self, *made_from: object) -> None:
        self._made_from = made_from
        self._lock = threading.Lock()
        self._pages: OperatorPages | None = None

    @property
    def pages(self) -> "OperatorPages":
        """What the views share."""
        with self._lock:
            if self._pages is None:
                make = resolve_name("service.desk.visit:OperatorPages")
                self._pages = cast("OperatorPages", make(*self._made_from))
            return self._pages

    def unknown(self) -> Response | None:
        """Answer a browser that asked for a page that does not exist; None to a program."""
        accepts = request.headers.get("Accept", "")
        if request.method not in {"GET", "HEAD"} or "text/html" not in accepts:
            return None
        try:
            return self.pages.no_such_page(is_ours=is_desk_path(request.path))
        except LedgerUnavailable as error:
            _log.error("desk.unavailable", error=str(error))
            return self.pages.unavailable()

    def close(self) -> None:
        """Wait for what the pages do in the background."""
        if self._pages is not None:
            self._pages.watch.close()
            self._pages.past.close()
            self._pages.numbers.close()

    def view(self, route: PageRoute) -> Callable[..., Response]:
        """Return the view function of a route."""

        def answer(**given: Any) -> Response:  # noqa: ANN401 - what the path names
            view = resolve_name(f"service.desk.{route.view}")
            return self.pages.answer(route, view, given)

        return answer
