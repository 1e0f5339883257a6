"""The source client over real HTTP: every odd answer of the stand-in and of worse servers."""

import gzip
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ledger.engine import Engine
from schemas.entity import PATHS, Entity
from schemas.errors import RecordUnreadable, SourceRefused, SourceThrottled, SourceUnavailable
from schemas.records import CompletedLesson, CourseMember, Lesson
from tests.contract.source_rig import (
    Line,
    Respond,
    answer,
    line_to,
    reads,
    serving,
    sqlite_ledger,
    tell_the_truth,
)
from tests.doubles.open_gate import OpenGate
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from workers.source.client import MOST_MESSAGES, Gone, Source
from workers.source.http import MAX_BYTES, Transport
from workers.source.limits import Patience

MEMBERS = f"/api/{PATHS[Entity.COURSE_MEMBER]}"
LESSONS = f"/api/{PATHS[Entity.LESSON]}"
COMPLETED = f"/api/{PATHS[Entity.COMPLETED_LESSON]}"
MESSAGES = f"/api/{PATHS[Entity.MESSAGE]}"
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = "<!DOCTYPE html><html><body>Sorry</body></html>"
NOON, SECOND = datetime(2026, 3, 3, 12, tzinfo=UTC), timedelta(seconds=1)


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as found:
        yield found


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with sqlite_ledger(tmp_path) as found:
        yield found


@pytest.fixture
def line(sandbox: Running, engine: Engine) -> Iterator[Line]:
    with line_to(sandbox.addresses["api"], engine) as found:
        yield found


@pytest.fixture
def source(line: Line) -> Source:
    return line.source()


@pytest.fixture
def member_id(sandbox: Running) -> int:
    return sandbox.enrol("Joël", "Finance")


def test_a_record_is_read_with_one_request(
    source: Source, sandbox: Running, member_id: int
) -> None:
    found = source.fetch(Entity.COURSE_MEMBER, member_id)
    assert isinstance(found, CourseMember)
    assert reads(sandbox) == {f"{MEMBERS}/{member_id}": 1}


def test_a_missing_id_is_gone_without_a_second_request(source: Source, sandbox: Running) -> None:
    assert source.fetch(Entity.COURSE_MEMBER, 7) == Gone()
    assert reads(sandbox) == {f"{MEMBERS}/7": 1}


def test_a_deleted_id_answered_with_500_is_gone_if_the_list_lacks_it(
    source: Source, sandbox: Running, member_id: int
) -> None:
    sandbox.post("/sandbox/misbehaviours", name="dead-id-500", entity="CourseMember", id=member_id)
    sandbox.post("/sandbox/delete", entity="CourseMember", id=member_id)
    assert source.fetch(Entity.COURSE_MEMBER, member_id) == Gone()
    assert reads(sandbox) == {f"{MEMBERS}/{member_id}": 1, MEMBERS: 1}


def test_500_for_a_record_that_the_list_has_is_an_outage(
    source: Source, sandbox: Running, member_id: int
) -> None:
    answer(sandbox, f"{MEMBERS}/{member_id}", 500, body={"Message": "An error has occurred."})
    with pytest.raises(SourceUnavailable, match="lists"):
        source.fetch(Entity.COURSE_MEMBER, member_id)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, ""), (404, "Not found"), (200, {"Records": [], "HasNextPage": False}), (200, "[]x")],
)
def test_500_is_an_outage_if_the_list_proves_nothing(
    source: Source, sandbox: Running, status: int, body: object
) -> None:
    answer(sandbox, f"{MEMBERS}/7", 500)
    answer(sandbox, MEMBERS, status, body=body)
    with pytest.raises(SourceUnavailable):
        source.fetch(Entity.COURSE_MEMBER, 7)


@pytest.mark.parametrize(
    ("status", "retry_after", "expected"),
    [
        (409, "7", 7.0),
        (409, None, None),
        (409, "soon", None),
        (409, "-5", None),
        (429, "3", 3.0),
        (503, "0", 0.0),
        (409, "999999999999999", 3600.0),
    ],
)
def test_a_request_to_slow_down_has_its_seconds(
    source: Source,
    sandbox: Running,
    status: int,
    retry_after: str | None,
    expected: float | None,
) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    answer(sandbox, MEMBERS, status, body="Too many requests", headers=headers)
    with pytest.raises(SourceThrottled) as caught:
        source.fetch(Entity.COURSE_MEMBER, 7)
    assert caught.value.retry_after_s == expected


def test_our_own_limits_are_no_request_of_the_source(line: Line, member_id: int) -> None:
    class Usage(OpenGate):
        def take(self, patience: Patience) -> None:
            super().take(patience)
            raise SourceThrottled("our own limits", retry_after_s=40)

    line.gate = Usage()
    with pytest.raises(SourceThrottled):
        line.source().fetch(Entity.COURSE_MEMBER, member_id)
    assert (line.gate.taken, line.gate.back_offs) == (1, [])


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, PAGE, HTML),
        (200, PAGE, {}),
        (200, "", {}),
        (200, "Service is starting", {}),
        (200, "[" * 100_000, {}),
        (404, PAGE, HTML),
        (403, PAGE, HTML),
        (500, PAGE, HTML),
        (502, "", {}),
        (503, "", {}),
        (504, PAGE, HTML),
    ],
)
def test_an_unusable_answer_is_an_outage_and_never_gone(
    source: Source, sandbox: Running, status: int, body: str, headers: dict[str, str]
) -> None:
    answer(sandbox, MEMBERS, status, body=body, headers=headers)
    with pytest.raises(SourceUnavailable):
        source.fetch(Entity.COURSE_MEMBER, 7)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"Message": "Bad"}),
        (403, {"Message": "No"}),
        (204, ""),
        (200, {"WasSuccessful": False, "Errors": []}),
    ],
)
def test_a_negative_answer_is_a_refusal(
    source: Source, sandbox: Running, status: int, body: object
) -> None:
    answer(sandbox, MEMBERS, status, body=body)
    with pytest.raises(SourceRefused):
        source.fetch(Entity.COURSE_MEMBER, 7)


@pytest.mark.parametrize("body", [[], "7", "null", {"Id": 7}, {"Records": []}])
def test_an_answer_that_is_no_record_is_unreadable(
    source: Source, sandbox: Running, body: object
) -> None:
    answer(sandbox, MEMBERS, 200, body=body)
    with pytest.raises(RecordUnreadable):
        source.fetch(Entity.COURSE_MEMBER, 7)


def test_a_record_other_than_the_requested_one_is_unreadable(
    source: Source, sandbox: Running, member_id: int
) -> None:
    sandbox.sign_in()
    other = sandbox.get(f"{MEMBERS}/{member_id}").json()
    answer(sandbox, f"{MEMBERS}/7", 200, body=other)
    with pytest.raises(RecordUnreadable, match="another record"):
        source.fetch(Entity.COURSE_MEMBER, 7)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(
    source: Source, sandbox: Running, member_id: int, status: int
) -> None:
    there = f"{sandbox.addresses['api']}{MEMBERS}/{member_id}"
    answer(sandbox, f"{MEMBERS}/7", status, headers={"Location": there})
    with pytest.raises(SourceRefused, match="redirect"):
        source.fetch(Entity.COURSE_MEMBER, 7)
    assert reads(sandbox) == {f"{MEMBERS}/7": 1}


def test_a_list_of_more_rows_than_a_page_is_read_to_its_end(
    source: Source, sandbox: Running, member_id: int
) -> None:
    lesson_id = sandbox.get("/sandbox/courses").json()[0]["lessons"][0]["id"]
    lesson = {"course_member_id": member_id, "lesson_id": lesson_id}
    expected = {
        sandbox.post("/sandbox/finish-lesson", **lesson)["completed_lesson_id"]
        for _ in range(1_003)
    }
    found = source.completions_of(member_id)
    assert {one.record_id for one in found} == expected
    assert all(isinstance(one, CompletedLesson) for one in found)
    assert reads(sandbox) == {COMPLETED: 2}


def test_a_list_that_never_ends_is_an_outage(source: Source, sandbox: Running) -> None:
    answer(sandbox, LESSONS, 200, body={"Records": [], "HasNextPage": True})
    with pytest.raises(SourceUnavailable, match="does not end"):
        source.lessons_of(7)


def test_a_row_on_two_pages_is_one_record(source: Source, sandbox: Running) -> None:
    course_id = sandbox.course("Ceramics")
    sandbox.sign_in()
    row = sandbox.get(LESSONS, params={"CourseLesson_Course": course_id}).json()["Records"][0]
    answer(sandbox, LESSONS, 200, body={"Records": [row], "HasNextPage": True}, times=1)
    answer(sandbox, LESSONS, 200, body={"Records": [row], "HasNextPage": False}, times=1)
    assert [one.record_id for one in source.lessons_of(course_id)] == [row["Id"]]


def test_a_filter_that_is_ignored_is_refused(source: Source, sandbox: Running) -> None:
    sandbox.sign_in()
    whole_table = sandbox.get(LESSONS, params={"size": 1000}).json()
    assert len({row["CourseId"] for row in whole_table["Records"]}) > 1
    answer(sandbox, LESSONS, 200, body=whole_table)
    with pytest.raises(SourceRefused, match="ignored the filter"):
        source.lessons_of(sandbox.course("Finance"))
    with pytest.raises(SourceRefused, match="ignored the filter"):
        source.lessons_of(4_242)


def test_a_row_without_the_filtered_field_proves_nothing_and_is_refused(
    source: Source, sandbox: Running
) -> None:
    answer(sandbox, LESSONS, 200, body={"Records": [{"Id": 7}], "HasNextPage": False})
    with pytest.raises(SourceRefused, match="ignored the filter"):
        source.lessons_of(9)


@pytest.mark.parametrize(
    "body", [[], "x", {}, {"Records": [7], "HasNextPage": False}, {"Records": []}]
)
def test_an_answer_that_is_no_page_of_a_list_is_unusable(
    source: Source, sandbox: Running, body: object
) -> None:
    answer(sandbox, LESSONS, 200, body=body)
    with pytest.raises((RecordUnreadable, SourceUnavailable)):
        source.lessons_of(9)


@pytest.mark.parametrize("status", [404, 500])
def test_a_list_that_is_missing_is_an_outage_and_not_empty(
    source: Source, sandbox: Running, status: int
) -> None:
    answer(sandbox, LESSONS, status, body="Not found")
    with pytest.raises(SourceUnavailable):
        source.lessons_of(9)


def test_a_partial_row_is_read_by_its_id_and_left_out_when_it_is_gone(
    source: Source, sandbox: Running
) -> None:
    course_id = sandbox.course("Ceramics")
    lesson_id = next(
        one["lessons"][0]["id"]
        for one in sandbox.get("/sandbox/courses").json()
        if one["id"] == course_id
    )
    partial = [{"Id": 7, "CourseId": course_id}, {"Id": lesson_id, "CourseId": course_id}]
    page: dict[str, Any] = {"Records": partial, "HasNextPage": False}
    answer(sandbox, LESSONS, 200, body=page, times=1)
    [found] = source.lessons_of(course_id)
    assert isinstance(found, Lesson)
    assert found.record_id == lesson_id
    assert reads(sandbox) == {LESSONS: 1, f"{LESSONS}/7": 1, f"{LESSONS}/{lesson_id}": 1}


@pytest.fixture
def joel(sandbox: Running) -> int:
    return sandbox.person("Joël")


def test_messages_cost_one_request_however_many_there_are_and_whatever_rows_omit(
    source: Source, sandbox: Running, joel: int
) -> None:
    written = [
        sandbox.post("/sandbox/message", coworker_id=joel, at=(NOON + n * SECOND).isoformat())
        for n in range(MOST_MESSAGES + 3)
    ]
    sandbox.post(
        "/sandbox/misbehaviours",
        name="partial-rows",
        entity="CoworkerMessage",
        fields="Incoming,ReminderUniqueId,Subject,Body",
    )
    found = source.messages_to(joel, NOON - SECOND)
    newest = [one["message_id"] for one in reversed(written)][:MOST_MESSAGES]
    assert [one.record_id for one in found] == newest
    assert reads(sandbox) == {MESSAGES: 1}


def test_messages_of_others_are_refused_after_one_request(
    source: Source, sandbox: Running, joel: int
) -> None:
    for name in ("Joël", "Zoë"):
        sandbox.post("/sandbox/message", coworker_id=sandbox.person(name))
    sandbox.post("/sandbox/misbehaviours", name="ignore-filters", entity="CoworkerMessage")
    sandbox.post("/sandbox/misbehaviours", name="never-ending-list", entity="CoworkerMessage")
    with pytest.raises(SourceRefused, match="ignored the filter Coworker"):
        source.messages_to(joel, NOON)
    assert reads(sandbox) == {MESSAGES: 1}


def test_after_an_error_the_same_client_works_again(
    source: Source, sandbox: Running, member_id: int
) -> None:
    answer(sandbox, "/api", 503)
    with pytest.raises(SourceUnavailable):
        source.fetch(Entity.COURSE_MEMBER, member_id)
    tell_the_truth(sandbox)
    assert isinstance(source.fetch(Entity.COURSE_MEMBER, member_id), CourseMember)


def test_a_closed_client_reconnects(source: Source, member_id: int) -> None:
    source.close()
    assert isinstance(source.fetch(Entity.COURSE_MEMBER, member_id), CourseMember)
    source.close()


def test_proxies_and_netrc_of_the_machine_have_no_effect(
    source: Source,
    sandbox: Running,
    member_id: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login stranger password stranger\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(source.fetch(Entity.COURSE_MEMBER, member_id), CourseMember)
    assert reads(sandbox) == {f"{MEMBERS}/{member_id}": 1}


def _send(handler: BaseHTTPRequestHandler, body: bytes, **headers: str) -> None:
    handler.send_response(200)
    for name, value in {"Content-Type": "application/json", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def _huge(handler: BaseHTTPRequestHandler) -> None:
    _send(handler, b" " * (MAX_BYTES + 1), Content_Length=str(MAX_BYTES + 1))


def _endless(handler: BaseHTTPRequestHandler) -> None:
    _send(handler, b"")
    while True:
        handler.wfile.write(b" " * 65_536)


def _bomb(handler: BaseHTTPRequestHandler) -> None:
    packed = gzip.compress(b" " * (4 * MAX_BYTES))
    _send(handler, packed, Content_Length=str(len(packed)), Content_Encoding="gzip")


@pytest.mark.parametrize("respond", [_huge, _endless, _bomb])
def test_an_answer_over_the_size_cap_is_refused(respond: Respond) -> None:
    with serving(respond) as small:
        transport = Transport(small.url)
        with pytest.raises(SourceRefused, match="over"):
            transport.get("content/courses/7", {}, "token")
        transport.close()


def test_an_answer_of_just_the_size_cap_is_read() -> None:
    body = b" " * MAX_BYTES
    with serving(lambda handler: _send(handler, body, Content_Length=str(len(body)))) as small:
        transport = Transport(small.url)
        assert len(transport.get("content/courses/7", {}, "token").body) == MAX_BYTES
        transport.close()


def test_a_slow_answer_is_abandoned_at_the_deadline() -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        _send(handler, b"", Content_Length="1000000")
        while not small.left.wait(0.01):
            handler.wfile.write(b" ")

    with serving(drip) as small:
        transport = Transport(small.url, whole_s=0.3)
        with pytest.raises(SourceUnavailable, match="in time"):
            transport.get("content/courses/7", {}, "token")
        transport.close()
        # The client disconnected: nothing reads the rest.
        assert small.left.wait(30)


def test_a_silent_server_is_abandoned_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = Transport(f"http://127.0.0.1:{silent.getsockname()[1]}", whole_s=0.3)
        with pytest.raises(SourceUnavailable):
            transport.get("content/courses/7", {}, "token")
        transport.close()


def test_an_incomplete_answer_is_an_outage() -> None:
    with serving(lambda handler: _send(handler, b'{"Id": 7', Content_Length="100")) as small:
        transport = Transport(small.url)
        with pytest.raises(SourceUnavailable):
            transport.get("content/courses/7", {}, "token")
        transport.close()
    assert small.asked == ["/api/content/courses/7"], "nothing is repeated here"


def test_a_closed_port_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    transport = Transport(f"http://127.0.0.1:{port}/")
    with pytest.raises(SourceUnavailable) as caught:
        transport.get("content/courses", {"Coworker_Email": "ana@people.example"}, "secret-token")
    transport.close()
    assert "ana" not in str(caught.value)
    assert "secret-token" not in str(caught.value)


def test_requests_go_below_api_with_the_token_and_encoded_brackets() -> None:
    seen: list[str] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        seen.extend((handler.headers["Authorization"], handler.headers["User-Agent"]))
        _send(handler, b"[]", Content_Length="2")

    with serving(respond) as small:
        transport = Transport(small.url + "/")
        answered = transport.get("content/courses/", {"id": "[7]"}, "a-token")
        transport.close()
    assert small.asked == ["/api/content/courses/?id=%5B7%5D"]
    assert seen == ["Bearer a-token", "coursebell"]
    assert (answered.status, answered.body) == (200, b"[]")
