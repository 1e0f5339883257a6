"""Whether we can sign in with something, whether the source answers, and whether it lets us in.

The first question is asked without a sign-in, so that an address nobody listens at is told from a
password that is not taken.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from ledger.clock import Clock
from ledger.engine import Engine, reading
from ledger.sign_ins import SignIn, sign_in_of
from schemas.entity import PATHS, Entity
from schemas.errors import CoursebellError, SourceRefused, SourceThrottled, SourceUnavailable
from schemas.settings import API_URL, is_loopback
from workers.source.answers import Answer, read_answer
from workers.source.budget import Budgeting
from workers.source.checkup.clock import clock_check
from workers.source.checkup.questions import CALM_S, patience
from workers.source.checkup.values import AGAIN, Check, Topic, Verdict, at_nexudus, lasting, when
from workers.source.client import Source
from workers.source.http import Transport
from workers.source.sign_in import REFRESH_LIFE, Credentials, InvalidGrant

_PATH = "utils/enums"
_ADDRESS = "Look at COURSEBELL_NEXUDUS_URL, and at the network, DNS and firewall of this machine."
_DOWN = (
    f"{AGAIN} If it stays, look at COURSEBELL_NEXUDUS_URL. If that is right, Nexudus is down, or"
    " its edge keeps this machine out: ask Nexudus."
)


@dataclass(frozen=True, slots=True)
class Reached:
    """What was found on the way. `in_touch` says whether asking on makes sense."""

    checks: tuple[Check, ...]
    in_touch: bool


def credentials_check(user: Credentials, engine: Engine | None) -> Check:
    """Say whether there is anything to sign in with."""
    name = "credentials"
    if user.has_password:
        code = "" if user.totp_key is None else ", and the key of an authenticator app"
        return _ok(name, f"a user name and a password are set{code}")
    kept = None if engine is None else _kept(engine)
    if kept is not None and kept.version > 0:
        return _ok(name, "no password is set; the sign-in that `coursebell login` made is used")
    lacking = "COURSEBELL_NEXUDUS_PASSWORD" if user.username else "COURSEBELL_NEXUDUS_USERNAME"
    return _problem(
        name,
        f"{lacking} is not set, and nobody has signed in with `coursebell login`",
        "Set COURSEBELL_NEXUDUS_USERNAME and COURSEBELL_NEXUDUS_PASSWORD; or only the first, and"
        " run `coursebell login`.",
    )


def address_notes(base_url: str) -> list[Check]:
    """Point out an address that is not the API's own: a space's website has its own domain too."""
    host = urlsplit(base_url).hostname or ""
    if host == urlsplit(API_URL).hostname or is_loopback(host):
        return []
    return [
        _note(
            "address of the API",
            f"COURSEBELL_NEXUDUS_URL is not {API_URL}",
            f"Set it to {API_URL}, unless it is a proxy of yours that leads there. The website of a"
            " space is not the API, under whatever domain.",
        )
    ]


def reach(base_url: str, budget: Budgeting, clock: Clock) -> Reached:
    """Say whether the source answers at all, and whether its clock and ours agree."""
    name = "address"
    try:
        budget.take(patience())
        with closing(Transport(base_url)) as transport:
            asked_at = clock.now()
            answer = transport.get(_PATH, {}, "")
            answered_at = clock.now()
    except SourceRefused as error:
        # A redirect is an answer; whether it is one to the sign-in too is seen next.
        return Reached((_ok(name, f"it is reached: {at_nexudus(error)}"),), in_touch=True)
    except SourceThrottled as error:
        wait = Check(Topic.SIGN_IN, name, Verdict.NOTE, at_nexudus(error), AGAIN)
        return Reached((wait,), in_touch=False)
    except SourceUnavailable as error:
        return Reached((_problem(name, at_nexudus(error), _ADDRESS),), in_touch=False)
    between = asked_at + (answered_at - asked_at) / 2
    return Reached((_answers(name, answer, budget), clock_check(answer, between)), in_touch=True)


def sign_in(
    source: Source,
    engine: Engine,
    budget: Budgeting,
    user: Credentials,
    clock: Clock,
) -> Reached:
    """Say whether the source lets us in, by a question that a kept sign-in does not answer."""
    name = "sign-in"
    source.asking.patience = patience()
    try:
        _let_in(source, budget)
    except InvalidGrant:
        check = _problem(
            name,
            "Nexudus does not take this user, password or code",
            _fix(user),
        )
    except SourceRefused as error:
        # What the error says after its colon stands in the fix.
        found = at_nexudus(error).partition(": ")[0]
        check = _problem(name, found, _when_refused(engine, user, clock.now()))
    except SourceThrottled as error:
        wait_s = error.retry_after_s or 60.0
        found = f"not found out now, and the password may be right: {at_nexudus(error)}"
        then = f"Wait {lasting(max(1.0, wait_s))}, and run `coursebell doctor` again."
        check = _problem(name, found, then)
    except CoursebellError as error:
        found = f"not found out now, and the password may be right: {at_nexudus(error)}"
        check = _problem(name, found, _DOWN)
    else:
        return Reached((_ok(name, _lasts(_kept(engine))),), in_touch=True)
    return Reached((check,), in_touch=False)


def _let_in(source: Source, budget: Budgeting) -> None:
    """Ask something that needs a sign-in.

    Raises:
        InvalidGrant, SourceRefused: the sign-in is not taken.
        SourceThrottled, SourceUnavailable: that was not found out.
    """
    question = (PATHS[Entity.COURSE_MEMBER], {"page": "1", "size": "1"})
    answer = source.asking.answer(*question)
    try:
        read_answer(answer)
    except SourceRefused:
        return  # a role is missing; which one is found out next
    except SourceThrottled as error:
        _calm(budget, error)
        source.asking.answer(*question)


def _calm(budget: Budgeting, error: SourceThrottled) -> None:
    budget.calm(max(CALM_S, error.retry_after_s or 0.0))


def _answers(name: str, answer: Answer, budget: Budgeting) -> Check:
    try:
        read_answer(answer)
    except SourceThrottled as error:
        _calm(budget, error)
        return _ok(name, "it is reached, and asks us to wait")
    except CoursebellError:
        pass  # whoever has not signed in may be told anything
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _note(
            name,
            f"it is reached, and answers {answer.status} before any sign-in",
            "If more of the lines below fail, Nexudus is down or in maintenance: wait.",
        )
    return _ok(name, "it is reached, and answers")


def _when_refused(engine: Engine, user: Credentials, now: datetime) -> str:
    until = _kept(engine).refused_until
    if until is None or until <= now:
        return _fix(user)
    return (
        f"{_fix(user)} Without that it is asked again at {until:%H:%M} UTC, and not before, so"
        " that Nexudus does not lock the user."
    )


def _lasts(kept: SignIn) -> str:
    until = "" if kept.use_until is None else f"; the sign-in is good until {when(kept.use_until)}"
    if kept.refresh_token is None or kept.signed_in_at is None:
        return f"Nexudus lets us in{until}, and cannot be renewed without a password"
    renewed_until = when(kept.signed_in_at + REFRESH_LIFE)
    return f"Nexudus lets us in{until}, and can be renewed until {renewed_until}"


def _kept(engine: Engine) -> SignIn:
    with reading(engine) as connection:
        return sign_in_of(connection)


def _fix(user: Credentials) -> str:
    words = user.fix()
    sentence = f"{words[:1].upper()}{words[1:]}."
    return f"{sentence} Then try it at once: `coursebell login`." if user.has_password else sentence


def _ok(name: str, found: str) -> Check:
    return Check(Topic.SIGN_IN, name, Verdict.OK, found)


def _note(name: str, found: str, fix: str | None = None) -> Check:
    return Check(Topic.SIGN_IN, name, Verdict.NOTE, found, fix)


def _problem(name: str, found: str, fix: str) -> Check:
    return Check(Topic.SIGN_IN, name, Verdict.PROBLEM, found, fix)
