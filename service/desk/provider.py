"""Signing in with a provider (OpenID Connect): leaving for it, and what it answered.

Leaving is a link and not a form: browsers apply the rule that forms are sent to this service only
to where its answer leads, too. Coming back works, as the cookies of these pages are sent when
another site leads here.
"""

from hmac import compare_digest
from typing import TYPE_CHECKING

import structlog
from flask import Response, request

from ledger.engine import reading, writing
from ledger.identities import connect_by_link, connect_invited, operator_at_provider
from ledger.operators import Operator, browser_owner, operator_of_link
from schemas.identity import Claimed, SignInFailed, SignInFault
from service.desk.sign_in import BROWSER, begin_session_of
from service.desk.sign_in_flow import ANSWER, LASTS, Flow, provider_name
from service.desk.visit import Guest, local_path
from service.desk.wording import words

if TYPE_CHECKING:
    from workers.openid import Challenge, OpenidProvider

_FLOW = "coursebell_flow"
_OURS = "same-origin"  # a link that connects an account is followed on our page only
_log = structlog.get_logger("desk")

_SENTENCES = {
    SignInFault.NOT_BEGUN: words(
        "This sign-in was not begun in this browser, took longer than ten minutes, or is done"
        " already. Please begin again."
    ),
    SignInFault.DENIED: words(
        "{provider} did not sign you in: you cancelled there, or you may not use this service."
    ),
    SignInFault.UNREACHABLE: words(
        "{provider} does not answer as it should at the moment. Please try again in a minute."
    ),
    SignInFault.SETTINGS: words(
        "Signing in with {provider} is not set up correctly. Please tell the person who runs this"
        " service."
    ),
    SignInFault.CODE: words(
        "{provider} says that this sign-in took too long or is done already. Please begin again."
    ),
    SignInFault.CLOCK: words(
        "The clock of this service and that of {provider} differ too much. Please tell the person"
        " who runs this service."
    ),
    SignInFault.AUDIENCE: words(
        "{provider} signed you in to another service, not to this one. Please tell the person who"
        " runs this service."
    ),
    SignInFault.TOKEN: words(
        "The answer of {provider} cannot be trusted, so you were not signed in. Please begin again."
    ),
    SignInFault.NOT_VERIFIED: words(
        "You have no account here yet, and {provider} does not say that your email address was"
        " verified. Ask the person who runs this service for a link."
    ),
    SignInFault.UNKNOWN: words(
        "You have no account here. Ask the person who runs this service to add you."
    ),
    SignInFault.TAKEN: words(
        "Another account here is connected with you at {provider} already. Sign in with that one,"
        " or ask the person who runs this service."
    ),
}
_STATUS = {
    SignInFault.NOT_BEGUN: 400,
    SignInFault.UNREACHABLE: 503,
    SignInFault.SETTINGS: 503,
    SignInFault.CLOCK: 503,
}


def begin(guest: Guest) -> Response:
    """Lead to the provider, and note in this browser that its owner left for it."""
    provider, link = guest.pages.sign_ins.provider, request.args.get("link", "")
    if provider is None or not guest.is_private:
        return guest.sign_in_page()
    if link and request.headers.get("Sec-Fetch-Site", _OURS) != _OURS:
        return guest.see_other(f"/welcome/{link}" if link.isalnum() else "/sign-in")
    # Where the browser has this service: here, or at its public address.
    here = f"http://{request.host}"
    base = here if guest.is_on_this_machine else guest.pages.settings.public_url
    flow = guest.pages.sign_ins.flows.begun(
        f"{base}{ANSWER}",
        local_path(request.args.get("next")),
        link,
        is_beside="beside" in request.args,
    )
    try:
        address = provider.address(guest.pages.sign_ins.flows.challenge(flow))
    except SignInFailed as error:
        return _failed(guest, error)
    response = guest.see_other(address)
    guest.set_cookie(
        response, _FLOW, guest.pages.sign_ins.flows.signed(flow), LASTS.total_seconds()
    )
    return response


def answer(guest: Guest) -> Response:
    """Sign in whom the provider names, if an account here is theirs."""
    try:
        response = _limited(guest, *_begun(guest))
    except SignInFailed as error:
        response = _failed(guest, error)
    guest.set_cookie(response, _FLOW, "", 0)
    return response


def _begun(guest: Guest) -> "tuple[OpenidProvider, Flow, Challenge]":
    """Return the sign-in that this answers. Raises `SignInFailed` if none was begun here."""
    provider, flows = guest.pages.sign_ins.provider, guest.pages.sign_ins.flows
    if provider is None:
        raise SignInFailed(SignInFault.NOT_BEGUN, "there is no provider")
    flow = flows.opened(request.cookies.get(_FLOW, ""), guest.now)
    if flow is None:
        raise SignInFailed(SignInFault.NOT_BEGUN, "no sign-in was begun in this browser")
    challenge = flows.challenge(flow)
    if not compare_digest(request.args.get("state", "").encode(), challenge.state.encode()):
        raise SignInFailed(SignInFault.NOT_BEGUN, "the answer belongs to another sign-in")
    return provider, flow, challenge


def _limited(
    guest: Guest, provider: "OpenidProvider", flow: Flow, challenge: "Challenge"
) -> Response:
    """Sign in whom the provider names; only answers for which it is asked are counted.

    A browser in which an operator signed in before is counted by itself, so that a stranger
    cannot lock the operator out, whose address behind a proxy is the same.
    """
    limit, browser = guest.pages.sign_ins.wrong_answers, request.cookies.get(BROWSER, "")
    with reading(guest.pages.engine) as connection:
        is_known = browser_owner(connection, browser) is not None
    key = browser if is_known else request.remote_addr or ""
    if limit.is_reached(key):
        return guest.page("provider_problem.html", 429, why="")
    try:
        return _signed_in(guest, flow, provider.identify(request.args, challenge))
    except SignInFailed:
        limit.count(key)
        raise


def _signed_in(guest: Guest, flow: Flow, claimed: Claimed) -> Response:
    operator = _operator(guest, flow, claimed)
    if operator is None:
        return guest.page("used_link.html", 404)
    waits = guest.language.say("You are signed in. Go back to the other tab and continue there.")
    return begin_session_of(
        guest,
        operator,
        flow.path,
        identity=claimed.identity,
        notice=waits if flow.is_beside else "",
    )


def _operator(guest: Guest, flow: Flow, claimed: Claimed) -> Operator | None:
    """Return whose account it is, connected now if it was not; None if the link is used up.

    Raises `SignInFailed` if no account is theirs.
    """
    with writing(guest.pages.engine) as connection:
        known = operator_at_provider(connection, claimed.identity)
        if flow.link:
            wanted = operator_of_link(connection, flow.link, guest.now)
            if wanted is None:
                return None
            if known is not None and known.operator_id != wanted.operator_id:
                raise SignInFailed(SignInFault.TAKEN, "another account is connected with them")
            return connect_by_link(connection, flow.link, claimed.identity, guest.now)
        if known is None and claimed.email is not None:
            known = connect_invited(connection, claimed.email, claimed.identity, guest.now)
    if known is not None:
        return known
    if claimed.email is None:
        raise SignInFailed(SignInFault.NOT_VERIFIED, "the provider verified no address")
    raise SignInFailed(SignInFault.UNKNOWN, "no account is theirs")


def _failed(guest: Guest, error: SignInFailed) -> Response:
    _log.warning("operator.refused", reason=error.fault, error=str(error))
    sentence = guest.language.say(_SENTENCES[error.fault])
    why = sentence.format(provider=provider_name(guest.pages.settings))
    return guest.page("provider_problem.html", _STATUS.get(error.fault, 403), why=why)
