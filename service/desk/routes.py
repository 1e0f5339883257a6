"""The table of the operators' pages: which view answers a path, and which role it takes.

A GET changes nothing. A POST changes something only if it comes from a form of the same session:
browsers say from which site a request comes, and the form has a token that belongs to the session.
"""

from typing import NamedTuple

from schemas.roles import Role

MOST_FORM_BYTES = 64 * 1024
SIGN_IN_PATHS = ("/sign-in", "/welcome/")
PROVIDER_PATHS = ("/sign-in/provider", "/sign-in/answer")  # the sign-in provider is asked there


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
    PageRoute("GET", "/desk.css", "assets:style", None),
    PageRoute("GET", "/desk.js", "assets:script", None),
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
