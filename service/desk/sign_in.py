"""Signing in with a password, and choosing one with a one-time link.

Wrong passwords are counted for each address and each name, and both are limited for a minute. A
name that does not exist is answered as a wrong password is, and takes as long.
"""

import re
from dataclasses import replace

import structlog
from flask import Response, request

from ledger.engine import reading, writing
from ledger.interventions import AUTOMATIC
from ledger.operators import (
    LONGEST,
    Operator,
    begin_session,
    browser_owner,
    digest_of,
    end_sessions,
    has_operators,
    name_key,
    operator_named,
    operator_of_link,
    replace_hash,
    signed_in,
    use_link,
)
from ledger.retention import SIGN_INS
from schemas.identity import Identity
from schemas.text import is_one_line
from service.desk.passwords import hashed, is_right, is_weak, needs_renewal
from service.desk.visit import SESSION, Guest, Visit, local_path
from service.limits import AddressLimit

_TOKEN_BYTES = 32
BROWSER = "coursebell_browser"  # the digest of the session's token, which opens nothing
_log = structlog.get_logger("desk")


def show(guest: Guest) -> Response:
    """Show the page to sign in with."""
    with reading(guest.pages.engine) as connection:
        is_first = not has_operators(connection)
    is_first = is_first and guest.pages.sign_ins.provider is None
    return guest.page("first_account.html") if is_first else guest.sign_in_page()


def sign_in(guest: Guest) -> Response:
    """Sign an operator in, or say that name or password is wrong."""
    name, password = guest.field("name", 64), request.form.get("password", "")
    if not guest.is_private or not guest.pages.settings.passwords:
        return guest.sign_in_page(403, name=name)
    with reading(guest.pages.engine) as connection:
        operator = operator_named(connection, name)
        browser = request.cookies.get(BROWSER, "")
        owner = browser_owner(connection, browser)
    is_theirs = operator is not None and owner == operator.operator_id
    limits = _limits(guest, name, browser if is_theirs else None)
    if any(limit.is_reached(key) for limit, key in limits):
        problem = guest.language.say("Too many wrong passwords. Please wait a minute.")
        return guest.sign_in_page(429, name=name, problem=problem)
    known = operator.password_hash if operator and operator.has_password else None
    if not is_right(password, known) or operator is None or known is None:
        return _refused(guest, name, limits)
    if needs_renewal(known):
        operator = _renewed(guest, operator, known, password)
    return begin_session_of(guest, operator, local_path(request.form.get("next")))


def _limits(guest: Guest, name: str, browser: str | None) -> list[tuple[AddressLimit, str]]:
    """Return which wrong passwords are counted together with this one.

    A browser in which the operator signed in before is counted by itself, so that a stranger who
    tries passwords cannot lock the operator out.
    """
    pages = guest.pages
    if browser is not None:
        return [(pages.wrong_browsers, browser)]
    address = request.remote_addr or ""
    return [(pages.wrong_addresses, address), (pages.wrong_names, name_key(name))]


def _refused(guest: Guest, name: str, limits: list[tuple[AddressLimit, str]]) -> Response:
    for limit, key in limits:
        limit.count(key)
    _log.warning("operator.refused")
    problem = guest.language.say("Name or password is wrong.")
    return guest.sign_in_page(403, name=name, problem=problem)


def _renewed(guest: Guest, operator: Operator, known: str, password: str) -> Operator:
    """Hash the same password with newer parameters; return the account as it is then."""
    made = hashed(password)
    with writing(guest.pages.engine) as connection:
        is_renewed = replace_hash(connection, operator.operator_id, known, made)
    return replace(operator, password_hash=made) if is_renewed else operator


def show_welcome(guest: Guest, token: str) -> Response:
    """Show the page on which the owner of a one-time link chooses a password."""
    with reading(guest.pages.engine) as connection:
        operator = operator_of_link(connection, token, guest.now)
    if operator is None:
        return guest.page("used_link.html", 404)
    return _welcome(guest, operator, token, operator.name)


def welcome(guest: Guest, token: str) -> Response:
    """Store the chosen password and sign its owner in. The link works no more.

    An operator who has never signed in may also change the name they were given.
    """
    password, pages = request.form.get("new_password", ""), guest.pages
    with reading(pages.engine) as connection:
        operator = operator_of_link(connection, token, guest.now)
        if operator is None:
            return guest.page("used_link.html", 404)
        is_new = operator.password_hash is None
        name = (guest.field("name", 64) if is_new else "") or operator.name
        other = operator_named(connection, name)
    is_taken = other is not None and other.operator_id != operator.operator_id
    problem = _why_not(guest, password, name, is_taken=is_taken)
    if problem or not guest.is_private or not pages.settings.passwords:
        return _welcome(guest, operator, token, name, problem)
    made = hashed(password)
    with writing(pages.engine) as connection:
        operator_id = use_link(connection, token, made, guest.now, name)
    if operator_id is None:
        return guest.page("used_link.html", 404)
    return begin_session_of(guest, replace(operator, password_hash=made), "/")


def _why_not(guest: Guest, password: str, name: str, *, is_taken: bool) -> str:
    """Return why name or password cannot be stored; empty if they can."""
    if not is_one_line(name):
        return guest.language.say("The name has characters that cannot be shown.")
    if is_taken or name_key(name) == AUTOMATIC:
        return guest.language.say("Another person here has this name. Please add a word to it.")
    return weak_words(guest) if is_weak(password, name) else ""


def _welcome(
    guest: Guest, operator: Operator, token: str, name: str, problem: str = ""
) -> Response:
    return guest.page(
        "welcome.html",
        422 if problem else 200,
        name=name,
        link=token,
        is_new=operator.password_hash is None,
        problem=problem,
        is_private=guest.is_private,
    )


def weak_words(guest: Guest) -> str:
    """Return what is wrong with a password that is too easy to guess."""
    return guest.language.say(
        "Use at least 12 characters, such as four or five words: not your name, and not the same"
        " few again and again."
    )


def begin_session_of(
    guest: Guest,
    operator: Operator,
    path: str,
    *,
    identity: Identity | None = None,
    notice: str = "",
) -> Response:
    """Begin a session and lead to a page, or to the form that was sent before.

    `identity` is who the operator is at the provider, if they signed in there.
    """
    pages, token = guest.pages, guest.pages.clock.random_bytes(_TOKEN_BYTES).hex()
    with writing(pages.engine) as connection:
        client, now = _client(), guest.now
        if not begin_session(connection, operator, token, client, now, identity=identity):
            return guest.see_other("/sign-in")
        before = signed_in(connection, request.cookies.get(SESSION, ""), guest.now)
        if before is not None:  # this browser forgets it, so nobody could end it from here
            whose, session = before
            end_sessions(connection, whose.operator_id, guest.now, only=session.session_id)
        found = signed_in(connection, token, guest.now)
    way = "password" if identity is None else "provider"
    _log.info("operator.signed_in", operator_id=operator.operator_id, way=way)
    response = guest.see_other(path, notice)
    if found is not None:
        visit = Visit(pages, *found, token)
        kept = visit.asked_before_sign_in()
        response = response if kept is None else visit.ask_again(*kept)
    guest.set_cookie(response, SESSION, token, LONGEST.total_seconds())
    guest.set_cookie(response, BROWSER, digest_of(token), SIGN_INS.total_seconds())
    return response


_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"))
_SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows")),
    *(("Mac OS X", "Mac"), ("CrOS", "Chromebook"), ("Linux", "Linux")),
)


def _client() -> str:
    """Return the browser in two words, so that its owner recognises it in a list."""
    agent = request.headers.get("User-Agent", "")[:400]
    words = [
        next((word for sign, word in table if sign in agent), "") for table in (_BROWSERS, _SYSTEMS)
    ]
    if not words[0] and re.search(r"Version/[\d.]+.* Safari/", agent):
        words[0] = "Safari"
    return ", ".join(filter(None, words)) or "?"
