"""Requests to the source's sign-in, their times, and how answers are handled."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with, client_id_of
from ledger.engine import Connection, Engine, reading, writing
from ledger.heartbeats import take_lease
from ledger.source_state import SignIn, sign_in_of, store_sign_in
from schemas.actions import Mode
from schemas.errors import SourceRefused, SourceUnavailable
from tests.contract.ledger_rig import BOTH, NOW, at_once
from tests.contract.source_rig import HandClock
from tests.contract.token_rig import INVALID, SigningIn, signing_in
from workers.source.auth import Credentials, InvalidGrant, Tokens
from workers.source.http import Transport

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

USER = Credentials("api@example.org", "correct horse")
KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # of RFC 6238, appendix B
WITH_KEY = replace(USER, totp_key=KEY)
NOBODY = Credentials(None, None)
A_DAY_S = 86_400.0

Make = Callable[[Credentials | None], Tokens]


@pytest.fixture
def server() -> Iterator[SigningIn]:
    with signing_in() as found:
        yield found


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def engine(ledger_engine: Engine) -> Engine:
    with writing(ledger_engine) as connection:
        begin_with(connection, Mode.OBSERVE, NOW, SYSTEM_CLOCK.new_id())
    return ledger_engine


@pytest.fixture
def tokens(server: SigningIn, engine: Engine, clock: HandClock) -> Iterator[Make]:
    """Give what makes one process's way to the tokens."""
    with closing(Transport(server.url)) as transport:
        yield lambda user: Tokens(engine, lambda: transport, user, clock)


def kept(engine: Engine) -> SignIn:
    with reading(engine) as connection:
        return sign_in_of(connection)


def keep(engine: Engine, sign_in: SignIn) -> None:
    with writing(engine) as connection:
        store_sign_in(connection, sign_in)


def test_a_password_grant_is_a_form_with_the_client_id_twice(
    tokens: Make, server: SigningIn, engine: Engine
) -> None:
    assert tokens(USER).current().access_token == "access-1"
    with reading(engine) as connection:
        client_id = client_id_of(connection)
    [asked] = server.asked
    assert asked.content_type == "application/x-www-form-urlencoded"
    assert asked.client_id == client_id
    assert asked.form == {
        "grant_type": "password",
        "username": "api@example.org",
        "password": "correct horse",
        "client_id": client_id,
    }


def test_a_token_is_renewed_before_its_end_with_the_same_client_id(
    tokens: Make, server: SigningIn, clock: HandClock
) -> None:
    ours = tokens(replace(USER, client_id="our-own"))
    ours.current()
    clock.move(604_799 - 61)
    assert ours.current().access_token == "access-1"
    clock.move(1)
    assert ours.current().access_token == "access-2"
    assert server.kinds() == ["password", "refresh_token"]
    assert server.asked[1].form == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh-1",
        "client_id": "our-own",
    }
    assert {one.client_id for one in server.asked} == {"our-own"}


@pytest.mark.parametrize(
    ("life", "used_s"),
    [
        ({}, 840),
        ({"expires_in": None}, 840),
        ({"expires_in": "soon"}, 840),
        ({"expires_in": 604_799}, 604_739),
        ({"expires_in": 20_159}, 20_099),
        ({"expires_in": "20159"}, 20_099),
        ({"expires_in": 120}, 60),
        ({"expires_in": 5}, 2.5),
        ({"expires_in": 0}, 2.5),
        ({"expires_in": -1}, 2.5),
        # Renewed while its refresh token still lives.
        ({"expires_in": 10**12}, 14 * A_DAY_S - 60),
        ({"expires_in": 10**300}, 14 * A_DAY_S - 60),
    ],
)
def test_a_token_is_used_as_long_as_it_says_but_for_its_last_minute(
    tokens: Make, server: SigningIn, clock: HandClock, life: dict[str, object], used_s: float
) -> None:
    server.life = life
    ours = tokens(USER)
    ours.current()
    clock.move(used_s - 0.001)
    ours.current()
    assert server.kinds() == ["password"]
    clock.move(0.001)
    ours.current()
    assert server.kinds() == ["password", "refresh_token"]


def test_a_refresh_token_past_its_fifteen_days_is_not_even_tried(
    tokens: Make, server: SigningIn, clock: HandClock
) -> None:
    ours = tokens(USER)
    ours.current()
    clock.move(15 * A_DAY_S - 1)
    ours.current()
    clock.move(15 * A_DAY_S)
    ours.current()
    assert server.kinds() == ["password", "refresh_token", "password"]


def test_a_refresh_that_gives_no_new_refresh_token_leaves_the_old_one(
    tokens: Make, server: SigningIn, clock: HandClock, engine: Engine
) -> None:
    ours = tokens(USER)
    ours.current()
    server.life = {"expires_in": 900, "refresh_token": None}
    clock.move(8 * A_DAY_S)
    ours.current()
    assert kept(engine).refresh_token == "refresh-1"


@pytest.mark.parametrize("status", [400, 401])
def test_after_an_invalid_refresh_the_password_is_used_at_once(
    tokens: Make, server: SigningIn, clock: HandClock, status: int
) -> None:
    ours = tokens(USER)
    ours.current()
    clock.move(8 * A_DAY_S)
    server.answers = [(status, INVALID)]
    assert ours.current().access_token == "access-3"
    assert server.kinds() == ["password", "refresh_token", "password"]


@pytest.mark.parametrize("status", [400, 401])
def test_a_refused_password_names_what_to_fix_and_is_tried_once(
    tokens: Make, server: SigningIn, clock: HandClock, status: int
) -> None:
    server.answers = [(status, INVALID)]
    with capture_logs() as logs, pytest.raises(InvalidGrant) as caught:
        tokens(USER).current()
    for name in ("COURSEBELL_NEXUDUS_USERNAME", "COURSEBELL_NEXUDUS_PASSWORD", "coursebell login"):
        assert name in str(caught.value)
    assert [one["event"] for one in logs] == ["sign-in.refused"]
    clock.move(299)
    with pytest.raises(SourceRefused, match="a moment ago: fix COURSEBELL_NEXUDUS_USERNAME"):
        tokens(USER).current()
    assert len(server.asked) == 1
    clock.move(1)
    assert tokens(USER).current().access_token == "access-2"


def test_a_refresh_token_that_was_refused_is_not_tried_again(
    tokens: Make, server: SigningIn, clock: HandClock
) -> None:
    ours = tokens(USER)
    ours.current()
    clock.move(8 * A_DAY_S)
    server.answers = [(400, INVALID), (400, INVALID), (400, INVALID)]
    for _ in range(2):
        with pytest.raises(InvalidGrant):
            ours.current()
        clock.move(300)
    assert server.kinds() == ["password", "refresh_token", "password", "password"]


def test_while_the_source_is_unreachable_the_stored_tokens_stay(
    tokens: Make, server: SigningIn, clock: HandClock, engine: Engine
) -> None:
    for user in (USER, NOBODY):
        tokens(USER).current()
        clock.move(8 * A_DAY_S)
        for status in (500, 503, 409):
            server.answers = [(status, "later")]
            with pytest.raises(Exception, match=f"{status}|did not answer"):
                tokens(user).current()
            assert (kept(engine).refresh_token or "").startswith("refresh-")
            assert kept(engine).refused_until is None


def test_without_a_password_a_stored_sign_in_continues_by_refreshing(
    tokens: Make, server: SigningIn, clock: HandClock
) -> None:
    tokens(USER).sign_in_with("typed", "123456")
    for user in (None, NOBODY, Credentials("api@example.org", None)):
        clock.move(8 * A_DAY_S)
        tokens(user).current()
    assert server.kinds() == ["password", *["refresh_token"] * 3]


def test_with_neither_password_nor_sign_in_no_request_is_made(
    tokens: Make, server: SigningIn, engine: Engine
) -> None:
    for user in (None, NOBODY, Credentials("api@example.org", None), Credentials(None, "secret")):
        with pytest.raises(SourceRefused, match="no sign-in for the source: set COURSEBELL_NEXUD"):
            tokens(user).current()
    assert server.asked == []
    assert kept(engine).refused_until is None


def test_without_a_password_an_expired_sign_in_needs_a_person(
    tokens: Make, server: SigningIn, clock: HandClock
) -> None:
    tokens(USER).sign_in_with("typed", "123456")
    clock.move(8 * A_DAY_S)
    server.answers = [(400, INVALID)]
    for _ in range(3):
        with pytest.raises(SourceRefused, match="run `coursebell login`"):
            tokens(NOBODY).current()
    assert server.kinds() == ["password", "refresh_token"]
    tokens(USER).sign_in_with("typed", "654321")
    assert tokens(NOBODY).current().access_token == "access-3"
    clock.move(15 * A_DAY_S)
    with pytest.raises(SourceRefused, match="has ended: run `coursebell login`"):
        tokens(NOBODY).current()
    assert len(server.asked) == 3


def test_another_kind_of_refusal_keeps_the_stored_sign_in(
    tokens: Make, server: SigningIn, clock: HandClock, engine: Engine
) -> None:
    tokens(USER).sign_in_with("typed", "123456")
    clock.move(8 * A_DAY_S)
    server.answers = [(403, {"Message": "for a while"})]
    for _ in range(2):
        with pytest.raises(SourceRefused):
            tokens(NOBODY).current()
    assert kept(engine).refresh_token == "refresh-1"
    clock.move(300)
    assert tokens(NOBODY).current().access_token == "access-3"
    assert server.kinds() == ["password", "refresh_token", "refresh_token"]


def test_a_fresh_code_goes_with_each_password_grant_and_with_no_refresh(
    tokens: Make, server: SigningIn, clock: HandClock
) -> None:
    ours = tokens(WITH_KEY)
    ours.current()
    first = pyotp.TOTP(KEY).at(clock.now())
    clock.move(8 * A_DAY_S)
    server.answers = [(400, INVALID)]
    ours.current()
    second = pyotp.TOTP(KEY).at(clock.now())
    assert first != second
    assert [one.form.get("totp") for one in server.asked] == [first, None, second]


@pytest.mark.parametrize(
    "shown",
    [(KEY, 59, "287082"), (KEY, 1_111_111_109, "081804"), ("JBSWY3DPEHPK3PXP", 0, "282760")],
)
def test_a_code_is_the_one_that_the_app_shows(
    tokens: Make, server: SigningIn, clock: HandClock, shown: tuple[str, int, str]
) -> None:
    key, at_s, code = shown
    clock.time = datetime.fromtimestamp(at_s, UTC)
    tokens(replace(USER, totp_key=key)).current()
    assert server.asked[0].form["totp"] == code


def test_a_code_is_sent_once_in_its_half_minute_by_all_together(
    tokens: Make, server: SigningIn, clock: HandClock
) -> None:
    server.answers = [(500, "lost"), (500, "lost")]
    with pytest.raises(SourceUnavailable, match="did not answer"):
        tokens(WITH_KEY).current()
    left_s = 30 - clock.now().timestamp() % 30
    with pytest.raises(SourceUnavailable, match="sent already") as caught:
        tokens(WITH_KEY).current()
    assert caught.value.retry_after_s == pytest.approx(left_s)
    assert len(server.asked) == 1
    clock.move(left_s)
    with pytest.raises(SourceUnavailable, match="did not answer"):
        tokens(WITH_KEY).current()
    codes = [one.form["totp"] for one in server.asked]
    assert len(set(codes)) == 2


def test_a_code_that_is_refused_is_no_reason_to_try_again(
    tokens: Make, server: SigningIn, clock: HandClock
) -> None:
    server.answers = [(400, INVALID)]
    with pytest.raises(SourceRefused, match="COURSEBELL_NEXUDUS_TOTP and this machine's clock"):
        tokens(WITH_KEY).current()
    clock.move(60)
    with pytest.raises(SourceRefused, match="a moment ago"):
        tokens(WITH_KEY).current()
    assert len(server.asked) == 1


def test_typed_credentials_are_sent_instead_of_the_settings(
    tokens: Make, server: SigningIn
) -> None:
    tokens(WITH_KEY).sign_in_with("typed", "123456")
    [asked] = server.asked
    assert (asked.form["password"], asked.form["totp"]) == ("typed", "123456")


def test_a_person_may_sign_in_while_workers_wait_after_a_refusal(
    tokens: Make, server: SigningIn, engine: Engine
) -> None:
    server.answers = [(400, INVALID)]
    with pytest.raises(InvalidGrant):
        tokens(USER).current()
    tokens(USER).sign_in_with("typed", None)
    assert "totp" not in server.asked[1].form
    assert kept(engine).refused_until is None
    assert tokens(USER).current().access_token == "access-2"


def test_a_mistyped_password_keeps_the_stored_sign_in(
    tokens: Make, server: SigningIn, engine: Engine
) -> None:
    tokens(USER).current()
    before = kept(engine)
    server.answers = [(400, INVALID)]
    with pytest.raises(InvalidGrant):
        tokens(USER).sign_in_with("typed", "123456")
    assert kept(engine) == before
    assert tokens(USER).current() == before
    assert len(server.asked) == 2


def test_a_process_with_an_older_token_uses_the_one_a_person_just_got(
    tokens: Make, server: SigningIn
) -> None:
    ours = tokens(USER)
    refused = ours.current()
    tokens(USER).sign_in_with("typed", "123456")
    # Ours was ended by that, a moment after we got it.
    assert ours.current(refused_version=refused.version).access_token == "access-2"
    assert len(server.asked) == 2


@pytest.mark.engines(*BOTH)
def test_people_and_workers_who_sign_in_at_once_do_so_one_after_the_other(
    tokens: Make, server: SigningIn, engine: Engine
) -> None:
    def one(number: int) -> int:
        ours = tokens(USER)
        return (ours.sign_in_with("typed", "1") if number % 2 else ours.current()).version

    versions = at_once(6, one)
    assert max(versions) == kept(engine).version == len(server.asked)


def test_no_password_code_key_or_token_is_in_any_text_or_log(
    tokens: Make, server: SigningIn, clock: HandClock
) -> None:
    with capture_logs() as logs:
        texts = [repr(WITH_KEY), repr(tokens(WITH_KEY)), repr(tokens(WITH_KEY).current())]
        clock.move(8 * A_DAY_S)
        server.answers = [(400, INVALID), (401, INVALID), (400, INVALID)]
        with pytest.raises(SourceRefused) as caught:
            tokens(WITH_KEY).current()
        texts += traceback.format_exception(caught.value)
        with pytest.raises(SourceRefused) as caught:
            tokens(WITH_KEY).sign_in_with("typed word", "918273")
        texts += traceback.format_exception(caught.value)
    sent = {
        value
        for one in server.asked
        for name, value in one.form.items()
        if name in {"password", "totp", "refresh_token"}
    }
    whole = "\n".join([*texts, repr(logs)])
    secrets = sent | {KEY, "access-1", "refresh-1", "typed word"}
    assert len(secrets) >= 7
    # It is this page's own line that a traceback quotes.
    quoted = {line for line in whole.splitlines() if "sign_in_with(" in line and "typed" in line}
    for line in quoted:
        whole = whole.replace(line, "")
    assert [one for one in secrets if one in whole] == []


def test_an_old_sign_in_without_a_time_is_not_used(
    tokens: Make, server: SigningIn, engine: Engine
) -> None:
    keep(engine, SignIn(3, "access", "refresh", None, NOW + timedelta(days=1)))
    assert tokens(USER).current().version == 4
    assert server.kinds() == ["password"]


def test_a_process_that_waits_for_the_sign_in_of_another_only_reads(
    tokens: Make, server: SigningIn, engine: Engine, clock: HandClock
) -> None:
    with writing(engine) as connection:
        assert take_lease(connection, "sign-in", "another process", clock.now(), lease_s=120)
    written: list[bool] = []
    looks: list[int] = []

    def note(connection: Connection) -> None:
        written.append(bool(connection.get_execution_options().get("coursebell_writes")))

    def after_three_looks() -> None:
        looks.append(sum(written))
        if len(looks) == 3:
            event.remove(engine, "begin", note)
            signed_in = SignIn(1, "theirs", None, clock.now(), clock.now() + timedelta(hours=1))
            keep(engine, signed_in)

    event.listen(engine, "begin", note)
    assert tokens(USER).current(keep=after_three_looks).access_token == "theirs"
    assert (looks, server.asked) == ([0, 0, 0], [])


def test_a_sign_in_by_hand_only_reads_while_another_process_signs_in(
    tokens: Make, engine: Engine, clock: HandClock
) -> None:
    with writing(engine) as connection:
        assert take_lease(connection, "sign-in", "another process", clock.now(), lease_s=120)
    begun: list[bool] = []

    def note(connection: Connection) -> None:
        begun.append(bool(connection.get_execution_options().get("coursebell_writes")))
        if len(begun) == 3:
            clock.move(121)  # the lease ends meanwhile

    event.listen(engine, "begin", note)
    assert tokens(NOBODY).sign_in_with("correct horse", None).access_token == "access-1"
    event.remove(engine, "begin", note)
    assert begun[:4] == [False, False, False, True]
