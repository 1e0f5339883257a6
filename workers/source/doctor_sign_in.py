"""The doctor's checks of the connection: credentials, address, clock and sign-in.

The address is tried without a sign-in first, to distinguish a wrong address from a wrong password.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from ledger.clock import Clock
from ledger.engine import Engine, reading
from ledger.source_state import SignIn, sign_in_of
from schemas.checkup import AGAIN, Check, Topic, at_nexudus, duration, to_the_minute
from schemas.entity import PATHS, Entity
from schemas.errors import CoursebellError, SourceRefused, SourceThrottled, SourceUnavailable
from schemas.settings import API_URL, is_loopback
from workers.source.answers import Answer, read_answer
from workers.source.auth import REFRESH_LIFE, Credentials, InvalidGrant
from workers.source.client import Source
from workers.source.doctor_rights import patience
from workers.source.http import Transport
from workers.source.limits import Budgeting

_PATH = "utils/enums"
_SHORTEST_BACK_OFF_S = 1.0  # at least, when Nexudus asks us to wait
_NOTED_S = 60.0  # difference of clocks
_WRONG_S = 300.0
_ADDRESS = "Check COURSEBELL_NEXUDUS_URL, and the network, DNS and firewall of this machine."
_DOWN = (
    f"{AGAIN} If it persists, check COURSEBELL_NEXUDUS_URL. If that is right, Nexudus is down, or"
    " its edge blocks this machine: ask Nexudus."
)
_CLOCK = (
    "Set this machine's clock by NTP. Quiet hours, the expiry of a sign-in and the codes of a "
    "second factor depend on it."
)


@dataclass(frozen=True, slots=True)
class Step:
    """The checks of one step, and whether to continue with the next."""

    checks: tuple[Check, ...]
    may_continue: bool


def credentials_check(user: Credentials, engine: Engine | None) -> Check:
    """Check whether there are credentials to sign in with."""
    name = "credentials"
    if user.has_password:
        code = "" if user.totp_key is None else ", and the key of an authenticator app"
        return Topic.SIGN_IN.ok(name, f"a user name and a password are set{code}")
    if engine is not None and _kept(engine).version > 0:
        found = "no password is set; the sign-in that `coursebell login` made is used"
        return Topic.SIGN_IN.ok(name, found)
    lacking = "COURSEBELL_NEXUDUS_PASSWORD" if user.username else "COURSEBELL_NEXUDUS_USERNAME"
    return Topic.SIGN_IN.problem(
        name,
        f"{lacking} is not set, and there is no sign-in by `coursebell login`",
        "Set COURSEBELL_NEXUDUS_USERNAME and COURSEBELL_NEXUDUS_PASSWORD; or only the first, and"
        " run `coursebell login`.",
    )


def address_notes(base_url: str) -> list[Check]:
    """Note an address other than the API's own, such as that of a space's website."""
    host = urlsplit(base_url).hostname or ""
    if host == urlsplit(API_URL).hostname or is_loopback(host):
        return []
    fix = (
        f"Set it to {API_URL}, unless it is the address of your own proxy. The website of a space "
        "is not the API, whatever its domain."
    )
    found = f"COURSEBELL_NEXUDUS_URL is not {API_URL}"
    return [Topic.SIGN_IN.note("address of the API", found, fix)]


def reach(base_url: str, budget: Budgeting, clock: Clock) -> Step:
    """Check whether Nexudus answers at all, and whether its clock and ours agree."""
    name, topic = "address", Topic.SIGN_IN
    try:
        budget.take(patience(clock))
        with closing(Transport(base_url)) as transport:
            asked_at = clock.now()
            answer = transport.get(_PATH, {}, "")
            answered_at = clock.now()
    except SourceRefused as error:
        # A redirect is an answer. Whether the sign-in is redirected too is checked next.
        return Step((topic.ok(name, f"reached: {at_nexudus(error)}"),), may_continue=True)
    except SourceThrottled as error:
        return Step((topic.note(name, at_nexudus(error), AGAIN),), may_continue=False)
    except SourceUnavailable as error:
        return Step((topic.problem(name, at_nexudus(error), _ADDRESS),), may_continue=False)
    between = asked_at + (answered_at - asked_at) / 2
    return Step((_answers(name, answer, budget), clock_check(answer, between)), may_continue=True)


def clock_check(answer: Answer, now: datetime) -> Check:
    """Compare our clock with the Date header of an answer."""
    name, topic = "clock", Topic.SIGN_IN
    theirs = _their_time(answer)
    if theirs is None:
        return topic.note(name, "Nexudus did not send its time, so the clocks were not compared")
    ahead_s = (now - theirs).total_seconds()
    if abs(ahead_s) <= _NOTED_S:
        return topic.ok(name, "this machine's clock agrees with that of Nexudus to the minute")
    way = "ahead of" if ahead_s > 0 else "behind"
    found = f"this machine's clock is {duration(abs(ahead_s))} {way} that of Nexudus"
    if abs(ahead_s) <= _WRONG_S:
        return topic.note(name, found, _CLOCK)
    return topic.problem(name, found, _CLOCK)


def sign_in(
    source: Source, engine: Engine, budget: Budgeting, user: Credentials, clock: Clock
) -> Step:
    """Check whether Nexudus accepts our sign-in, by a request that needs one."""
    name, topic = "sign-in", Topic.SIGN_IN
    source.session.patience = patience(clock)
    try:
        _ask_signed_in(source, budget)
    except InvalidGrant:
        found = "Nexudus does not accept this user, password or code"
        check = topic.problem(name, found, _fix(user))
    except SourceRefused as error:
        # The part of the error after the colon is in the fix.
        found = at_nexudus(error).partition(": ")[0]
        check = topic.problem(name, found, _fix_when_refused(engine, user, clock.now()))
    except SourceThrottled as error:
        found = f"not checked now, and the password may be right: {at_nexudus(error)}"
        wait = duration(max(1.0, error.retry_after_s or 60.0))
        check = topic.problem(name, found, f"Wait {wait}, and run `coursebell doctor` again.")
    except CoursebellError as error:
        found = f"not checked now, and the password may be right: {at_nexudus(error)}"
        check = topic.problem(name, found, _DOWN)
    else:
        return Step((topic.ok(name, _validity(_kept(engine))),), may_continue=True)
    return Step((check,), may_continue=False)


def _ask_signed_in(source: Source, budget: Budgeting) -> None:
    """Make a request that needs a sign-in.

    Raises:
        InvalidGrant, SourceRefused: the sign-in is not accepted.
        SourceThrottled, SourceUnavailable: the result is unknown.
    """
    question = (PATHS[Entity.COURSE_MEMBER], {"page": "1", "size": "1"})
    answer = source.session.get_answer(*question)
    try:
        read_answer(answer)
    except SourceRefused:
        return  # a role is missing; which one is checked next
    except SourceThrottled as error:
        budget.back_off(max(_SHORTEST_BACK_OFF_S, error.retry_after_s or 0.0))
        source.session.get_answer(*question)


def _answers(name: str, answer: Answer, budget: Budgeting) -> Check:
    try:
        read_answer(answer)
    except SourceThrottled as error:
        budget.back_off(max(_SHORTEST_BACK_OFF_S, error.retry_after_s or 0.0))
        return Topic.SIGN_IN.ok(name, "reached; it asks us to wait")
    except CoursebellError:
        pass  # without a sign-in any status is possible
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        found = f"reached; it answers {answer.status} before any sign-in"
        fix = "If the checks below fail too, Nexudus is down or in maintenance: wait."
        return Topic.SIGN_IN.note(name, found, fix)
    return Topic.SIGN_IN.ok(name, "reached; it answers")


def _their_time(answer: Answer) -> datetime | None:
    """Return the server's time of the answer, corrected by the age of a cached one."""
    try:
        date = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    age = answer.headers.get("age", "").strip()
    age_s = int(age[:9]) if age.isascii() and age.isdigit() else 0
    return (date if date.tzinfo else date.replace(tzinfo=UTC)) + timedelta(seconds=age_s)


def _validity(kept: SignIn) -> str:
    until = ""
    if kept.use_until is not None:
        until = f"; the sign-in is valid until {to_the_minute(kept.use_until)}"
    if kept.refresh_token is None or kept.signed_in_at is None:
        return f"Nexudus accepts it{until}; it cannot be renewed without a password"
    renewed_until = to_the_minute(kept.signed_in_at + REFRESH_LIFE)
    return f"Nexudus accepts it{until}; it can be renewed until {renewed_until}"


def _kept(engine: Engine) -> SignIn:
    with reading(engine) as connection:
        return sign_in_of(connection)


def _fix(user: Credentials) -> str:
    words = user.fix()
    sentence = f"{words[:1].upper()}{words[1:]}."
    return f"{sentence} To try it at once: `coursebell login`." if user.has_password else sentence


def _fix_when_refused(engine: Engine, user: Credentials, now: datetime) -> str:
    until = _kept(engine).refused_until
    if until is None or until <= now:
        return _fix(user)
    return (
        f"{_fix(user)} Otherwise Coursebell tries again at {until:%H:%M} UTC, not earlier, so that"
        " Nexudus does not lock the user."
    )
