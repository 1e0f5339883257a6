"""One sign-in for all processes, renewed once, and no repeated attempts that lock the user."""

import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ledger.controls import client_id_of
from ledger.engine import Engine, reading, writing
from ledger.source_state import SignIn, sign_in_of, store_sign_in
from schemas.entity import PATHS, Entity
from schemas.errors import CoursebellError, SourceRefused, SourceThrottled, SourceUnavailable
from schemas.records import Course
from tests.contract.ledger_rig import BOTH, at_once, processes_at_once
from tests.contract.source_rig import Line, answer, grants, line_to, reads, tell_the_truth
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from workers.source.auth import Credentials
from workers.source.client import Source

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

CONTENT = "/api/content"
SIGN_IN_PROGRAM = "tests.contract.sign_in_program"
WRONG = Credentials(USERNAME, "battery staple")
LONG_ENOUGH_S = 61.0  # after which a refused token counts as old, not as a missing right


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as found:
        yield found


@pytest.fixture
def line(sandbox: Running, ledger_engine: Engine) -> Iterator[Line]:
    with line_to(sandbox.addresses["api"], ledger_engine) as found:
        yield found


@pytest.fixture
def course_id(sandbox: Running) -> int:
    return sandbox.course("Finance")


def sign_in(line: Line) -> SignIn:
    with reading(line.engine) as connection:
        return sign_in_of(connection)


def read_course(source: Source, course_id: int) -> None:
    assert isinstance(source.fetch(Entity.COURSE, course_id), Course)


def test_one_sign_in_serves_every_request(line: Line, sandbox: Running, course_id: int) -> None:
    source = line.source()
    for _ in range(3):
        read_course(source, course_id)
    read_course(line.source(), course_id)
    assert grants(sandbox) == 1
    assert sign_in(line).version == 1


@pytest.mark.engines(*BOTH)
def test_threads_that_begin_at_once_sign_in_once(
    line: Line, sandbox: Running, course_id: int
) -> None:
    sources = [line.source() for _ in range(6)]
    at_once(6, lambda number: read_course(sources[number], course_id))
    assert grants(sandbox) == 1


@pytest.mark.engines(*BOTH)
def test_processes_that_begin_at_once_sign_in_once(
    line: Line, ledger_url: str, sandbox: Running, course_id: int
) -> None:
    module, address = "tests.contract.source_program", line.base_url
    printed = processes_at_once(3, module, ledger_url, address, str(course_id))
    assert printed == ["Course\n"] * 3
    assert grants(sandbox) == 1


@pytest.mark.engines(*BOTH)
def test_processes_whose_token_expired_at_once_refresh_it_once(
    line: Line, ledger_url: str, sandbox: Running, course_id: int
) -> None:
    read_course(line.source(), course_id)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with writing(line.engine) as connection:
        old = sign_in_of(connection)
        store_sign_in(connection, replace(old, signed_in_at=yesterday, use_until=yesterday))
    # The password would not be taken: what they get they get by the one refresh token.
    wrong = WRONG.password or ""
    printed = processes_at_once(4, SIGN_IN_PROGRAM, ledger_url, line.base_url, wrong)
    assert printed == ["2\n"] * 4
    assert grants(sandbox) == 2


@pytest.mark.engines(*BOTH)
def test_processes_with_a_wrong_password_try_it_once_in_total(
    line: Line, ledger_url: str, sandbox: Running
) -> None:
    wrong = WRONG.password or ""
    printed = processes_at_once(4, SIGN_IN_PROGRAM, ledger_url, line.base_url, wrong)
    # One learned it from the source, and the others from that one.
    assert sorted(printed) == ["InvalidGrant\n", *["SignInRefused\n"] * 3]
    assert grants(sandbox) == 1


def test_a_revoked_token_is_renewed_once_for_all_processes(
    line: Line, sandbox: Running, course_id: int
) -> None:
    sources = [line.source() for _ in range(5)]
    for source in sources:
        read_course(source, course_id)
    line.clock.move(LONG_ENOUGH_S)
    sandbox.post("/sandbox/tokens/expire")
    at_once(5, lambda number: read_course(sources[number], course_id))
    assert grants(sandbox) == 2
    assert sign_in(line).version == 2


def test_a_token_is_renewed_before_its_end_so_that_none_is_refused(
    line: Line, sandbox: Running, course_id: int
) -> None:
    source = line.source()
    read_course(source, course_id)
    line.clock.move(604_799 - 60)
    read_course(source, course_id)
    assert grants(sandbox) == 2
    assert reads(sandbox) == {f"/api/{PATHS[Entity.COURSE]}/{course_id}": 2}


def test_when_another_sign_in_ended_ours_the_password_is_used_again(
    line: Line, sandbox: Running, course_id: int
) -> None:
    source = line.source()
    read_course(source, course_id)
    with reading(line.engine) as connection:
        client_id = client_id_of(connection)
    form = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
    address = line.base_url + "/api/token"
    kicked = sandbox.web.post(address, data={**form, "client_id": str(client_id)}, timeout=10)
    assert kicked.status_code == 200
    line.clock.move(LONG_ENOUGH_S)
    read_course(source, course_id)
    # The stranger's, ours at first, a refresh that is refused, and the password.
    assert grants(sandbox) == 4


def test_a_wrong_password_is_tried_once_and_then_not_for_a_while(
    line: Line, sandbox: Running, course_id: int
) -> None:
    for _ in range(3):
        with pytest.raises(SourceRefused):
            line.source(WRONG).fetch(Entity.COURSE, course_id)
        line.clock.move(60)
    assert grants(sandbox) == 1
    assert reads(sandbox) == {}
    line.clock.move(121)
    with pytest.raises(SourceRefused):
        line.source(WRONG).fetch(Entity.COURSE, course_id)
    assert grants(sandbox) == 2
    line.clock.move(301)
    read_course(line.source(), course_id)
    assert grants(sandbox) == 3


def test_threads_with_a_wrong_password_try_it_once(
    line: Line, sandbox: Running, course_id: int
) -> None:
    def refused(_: int) -> None:
        with pytest.raises(SourceRefused):
            line.source(WRONG).fetch(Entity.COURSE, course_id)

    at_once(6, refused)
    assert grants(sandbox) == 1


def test_401_right_after_a_sign_in_is_a_missing_right_and_not_a_reason_to_sign_in(
    line: Line, sandbox: Running, course_id: int
) -> None:
    answer(sandbox, CONTENT, 401, body={"Message": "Authorization has been denied."})
    source = line.source()
    for _ in range(3):
        with pytest.raises(SourceRefused):
            source.fetch(Entity.COURSE, course_id)
        line.clock.move(10)
    assert grants(sandbox) == 1


def test_401_on_an_old_token_signs_in_once_and_the_second_401_is_a_refusal(
    line: Line, sandbox: Running, course_id: int
) -> None:
    source = line.source()
    read_course(source, course_id)
    line.clock.move(LONG_ENOUGH_S)
    answer(sandbox, CONTENT, 401, body={"Message": "Authorization has been denied."})
    for _ in range(3):
        with pytest.raises(SourceRefused):
            source.fetch(Entity.COURSE, course_id)
    assert grants(sandbox) == 2


def test_without_credentials_no_request_is_made(line: Line, sandbox: Running) -> None:
    with pytest.raises(SourceRefused, match="COURSEBELL_NEXUDUS_USERNAME"):
        line.source(None).fetch(Entity.COURSE, 7)
    assert (grants(sandbox), reads(sandbox)) == (0, {})


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ((500, ""), SourceUnavailable),
        ((404, "Not found"), SourceUnavailable),
        ((200, {}), SourceUnavailable),
        ((200, {"access_token": ""}), SourceUnavailable),
        ((200, "<html>"), SourceUnavailable),
        ((409, ""), SourceThrottled),
        ((302, ""), SourceRefused),
    ],
)
def test_a_sign_in_that_fails_says_what_to_do_next_and_can_be_tried_again(
    line: Line,
    sandbox: Running,
    course_id: int,
    odd: tuple[int, object],
    expected: type[CoursebellError],
) -> None:
    answer(sandbox, "/api/token", odd[0], body=odd[1])
    with pytest.raises(expected):
        line.source().fetch(Entity.COURSE, course_id)
    tell_the_truth(sandbox)
    line.clock.move(301)
    read_course(line.source(), course_id)


def test_the_generated_client_id_is_kept_and_a_given_one_is_used(
    line: Line, sandbox: Running, course_id: int
) -> None:
    read_course(line.source(Credentials(USERNAME, PASSWORD, "our-own-client")), course_id)
    token = sign_in(line).refresh_token
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "our-own-client"}
    address = line.base_url + "/api/token"
    assert sandbox.web.post(address, data=form, timeout=10).status_code == 200


def test_no_secret_is_in_any_text(line: Line, sandbox: Running, course_id: int) -> None:
    source = line.source()
    read_course(source, course_id)
    known = sign_in(line)
    texts = [repr(one) for one in (line.source(WRONG), known, WRONG, vars(source))]
    line.clock.move(LONG_ENOUGH_S)
    for status, where in ((401, CONTENT), (500, "/api"), (302, "/api"), (200, "/api/token")):
        echo = f"{known.access_token} {known.refresh_token} {PASSWORD} {WRONG.password}"
        answer(sandbox, where, status, body=echo)
        line.clock.move(10**6)
        for credentials in (WRONG, Credentials(USERNAME, PASSWORD)):
            with pytest.raises(CoursebellError) as caught:
                line.source(credentials).fetch(Entity.COURSE, course_id)
            texts += traceback.format_exception(caught.value)
        tell_the_truth(sandbox)
    whole = "\n".join(texts)
    for secret in (known.access_token, known.refresh_token, PASSWORD, WRONG.password):
        assert secret
        assert secret not in whole
