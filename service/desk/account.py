"""The operator's own account: password, language, where they are signed in, signing out."""

import structlog
from flask import Response, request

from ledger.engine import reading, writing
from ledger.operators import end_sessions, replace_hash, sessions_of
from service.desk.languages import LANGUAGE, ui_languages
from service.desk.passwords import hashed, is_right, is_weak
from service.desk.sign_in import weak_words
from service.desk.visit import SESSION, Guest, Visit, local_path

_A_YEAR_S = 365 * 86_400
_log = structlog.get_logger("desk")


def choose_language(guest: Guest) -> Response:
    """Store in the browser which language the pages have there, and go back to the page."""
    response = guest.see_other(local_path(request.form.get("back")))
    code = guest.field("language", 8)
    if code in {one.code for one in ui_languages()}:
        guest.set_cookie(response, LANGUAGE, code, _A_YEAR_S)
    return response


def sign_out(visit: Visit) -> Response:
    """End this session."""
    with writing(visit.pages.engine) as connection:
        end_sessions(
            connection, visit.operator.operator_id, visit.now, only=visit.session.session_id
        )
    response = visit.see_other("/sign-in")
    visit.set_cookie(response, SESSION, "", 0)
    return response


def show(visit: Visit) -> Response:
    """Show name, role and the browsers in which the operator is signed in."""
    return _page(visit)


def change_password(visit: Visit) -> Response:
    """Store another password, and end all other sessions."""
    password, wanted = request.form.get("password", ""), request.form.get("new_password", "")
    if not visit.pages.settings.passwords:
        return _page(visit, 403)
    limit, key = visit.pages.wrong_browsers, f"account {visit.operator.operator_id}"
    if limit.is_reached(key):
        problem = visit.language.say("Too many wrong passwords. Please wait a minute.")
        return _page(visit, 429, problem=problem)
    if not is_right(password, visit.operator.password_hash):
        limit.count(key)
        problem = visit.language.say("Your current password is another. Nothing was changed.")
        return _page(visit, 403, problem=problem)
    if is_weak(wanted, visit.operator.name):
        return _page(visit, 422, problem=weak_words(visit))
    made, before = hashed(wanted), visit.operator.password_hash or ""
    with writing(visit.pages.engine) as connection:
        is_done = replace_hash(connection, visit.operator.operator_id, before, made)
        if is_done:
            end_sessions(
                connection, visit.operator.operator_id, visit.now, keep=visit.session.session_id
            )
    if not is_done:
        problem = visit.language.say("Your password was just changed elsewhere. Nothing was done.")
        return _page(visit, 409, problem=problem)
    _log.info("operator.password_changed", operator_id=visit.operator.operator_id)
    notice = visit.language.say("Password changed. All your other browsers are signed out.")
    return visit.see_other("/account", notice)


def end_session(visit: Visit) -> Response:
    """End one session of the operator, or all but this."""
    only = visit.field("session", 64)
    with writing(visit.pages.engine) as connection:
        end_sessions(
            connection,
            visit.operator.operator_id,
            visit.now,
            only=only or None,
            keep="" if only else visit.session.session_id,
        )
    return visit.see_other("/account", visit.language.say("Signed out there."))


def _page(visit: Visit, status: int = 200, problem: str = "") -> Response:
    with reading(visit.pages.engine) as connection:
        sessions = sessions_of(connection, visit.operator.operator_id, visit.now)
    return visit.page("account.html", status, sessions=sessions, problem=problem)
