"""The switches about answers, each over real HTTP, on and off again."""

import gzip
import json
from typing import Any

import pytest

from tests.sandbox.sandbox_rig import Running
from tests.sandbox.switch_rig import COURSES, LESSONS, MEMBERS, raw_answer, switched


@pytest.fixture(autouse=True)
def _it_is_good_before_and_after(shared: Running) -> Any:  # noqa: ANN401 - a generator of nothing
    assert shared.get(COURSES).json()["TotalItems"] == 3
    yield
    assert shared.get(COURSES).json()["TotalItems"] == 3


@pytest.mark.parametrize("status", [409, 429, 503])
def test_throttling_is_a_status_and_a_header(shared: Running, status: int) -> None:
    with switched(shared, "throttle", status=status), raw_answer(shared, COURSES) as answer:
        assert (answer.status, answer.read()) == (status, b"")
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Content-Length"] == "0"
        assert answer.headers["Content-Type"] is None
        if status == 409:
            assert answer.reason == "You must wait before accessing this url again."


def test_throttling_can_lack_retry_after(shared: Running) -> None:
    with switched(shared, "throttle", retry_after=None):
        assert "Retry-After" not in shared.get(COURSES).headers
    with switched(shared, "throttle", retry_after="Wed, 21 Oct 2026 07:28:00 GMT"):
        assert shared.get(COURSES).headers["Retry-After"].startswith("Wed")


def test_an_outage_is_a_lone_message(shared: Running) -> None:
    with switched(shared, "outage-500"):
        answer = shared.get(COURSES)
    assert (answer.status_code, answer.json()) == (500, {"Message": "An error has occurred."})


def test_a_missing_id_is_a_json_text_or_looks_like_an_outage(shared: Running) -> None:
    missing = f"{MEMBERS}/7"
    assert (shared.get(missing).status_code, shared.get(missing).json()) == (404, "Not found")
    with switched(shared, "dead-id-500", entity="CourseMember"):
        assert shared.get(missing).status_code == 500
        assert shared.get(f"{LESSONS}/7").status_code == 404
    with switched(shared, "dead-id-500", id=8):
        assert shared.get(missing).status_code == 404
        assert shared.get(f"{MEMBERS}/8").status_code == 500
    assert shared.get(missing).status_code == 404


@pytest.mark.parametrize("status", [200, 403, 502])
def test_an_answer_can_be_a_web_page(shared: Running, status: int) -> None:
    with switched(shared, "html-errors", status=status):
        answer = shared.get(COURSES)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_the_edge_can_block_a_user_agent(shared: Running) -> None:
    with switched(shared, "edge-block", user_agent="python-requests"):
        answer = shared.get(COURSES)
        assert (answer.status_code, "<html>" in answer.text) == (403, True)
        assert shared.get(COURSES, headers={"User-Agent": "curl/8"}).status_code == 200
    with switched(shared, "edge-block"):
        assert shared.get(COURSES, headers={"User-Agent": "curl/8"}).status_code == 403


def test_an_answer_can_be_empty(shared: Running) -> None:
    with switched(shared, "empty-200"):
        answer = shared.get(COURSES)
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_status_can_contradict_the_body(shared: Running) -> None:
    with switched(shared, "not-successful-200"):
        answer = shared.get(COURSES)
        assert (answer.status_code, answer.json()["WasSuccessful"]) == (200, False)
    with switched(shared, "bad-request-says-500"):
        answer = shared.get(COURSES)
        assert (answer.status_code, answer.json()["Status"]) == (400, 500)


def test_a_request_can_be_redirected(shared: Running) -> None:
    with (
        switched(shared, "redirect", status=307, to="/sandbox/people"),
        raw_answer(shared, COURSES) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (307, "/sandbox/people")


def test_json_can_be_invalid(shared: Running) -> None:
    with switched(shared, "not-json"):
        answer = shared.get(COURSES)
    assert answer.headers["Content-Type"].startswith("application/json")
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(answer.text)


def test_the_charset_can_differ_from_the_header(shared: Running) -> None:
    true = shared.get(COURSES).content
    with switched(shared, "wrong-charset", charset="utf-16"):
        answer = shared.get(COURSES)
    assert "utf-8" in answer.headers["Content-Type"]
    assert answer.content.decode("utf-16") == true.decode()


def test_gzip_can_be_declared_and_absent(shared: Running) -> None:
    with switched(shared, "bad-gzip"), raw_answer(shared, COURSES) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        with pytest.raises(gzip.BadGzipFile):
            gzip.decompress(answer.read())


def test_an_answer_can_be_very_large(shared: Running) -> None:
    with switched(shared, "too-large", mebibytes=6):
        answer = shared.get(COURSES)
    assert len(answer.content) > 6 * 2**20
    assert answer.json()["TotalItems"] == 3
