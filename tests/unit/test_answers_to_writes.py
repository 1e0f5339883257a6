"""What the answer to a write means: only an envelope that says so is a success."""

import json

import pytest

from schemas.errors import SourceRefused, SourceThrottled, SourceUnavailable
from workers.source.answers import Answer, WriteDenied, read_written

DONE = {"Status": 200, "Value": {"Id": 7}, "Errors": None, "WasSuccessful": True}


def said(status: int, body: object, **headers: str) -> Answer:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, text)


@pytest.mark.parametrize("status", [200, 201])
def test_an_envelope_that_says_it_was_done_gives_its_value(status: int) -> None:
    assert read_written(said(status, DONE)) == {"Id": 7}
    assert read_written(said(status, b"\xef\xbb\xbf" + json.dumps(DONE).encode())) == {"Id": 7}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {**DONE, "WasSuccessful": False}, SourceRefused),
        (200, {**DONE, "WasSuccessful": None}, SourceRefused),
        (200, {**DONE, "WasSuccessful": "true"}, SourceRefused),
        (400, {**DONE, "WasSuccessful": False}, SourceRefused),
        (500, {**DONE, "WasSuccessful": False}, SourceRefused),
        (200, {"Id": 7}, SourceRefused),
        (200, [], SourceRefused),
        (200, "done", SourceRefused),
        (400, {"Message": "no"}, SourceRefused),
        (404, "Not found", SourceRefused),
        (302, b"", SourceRefused),
        (401, {}, WriteDenied),
        (403, {}, WriteDenied),
        (403, b"<html>", SourceUnavailable),
        (200, b"", SourceUnavailable),
        (200, b"<html>", SourceUnavailable),
        (500, {"Message": "An error has occurred."}, SourceUnavailable),
        (500, DONE, SourceUnavailable),
        (404, b"", SourceUnavailable),
        (503, b"", SourceUnavailable),
        (409, b"", SourceThrottled),
    ],
)
def test_nothing_else_is_a_success(status: int, body: object, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        read_written(said(status, body))
    assert type(caught.value) is error


def test_the_wait_of_a_throttled_write_is_read() -> None:
    with pytest.raises(SourceThrottled) as caught:
        read_written(said(409, b"", retry_after="7"))
    assert caught.value.retry_after_s == 7.0


def test_the_reason_of_a_refused_write_omits_the_values_sent() -> None:
    attempted = "hush-value"
    errors = [
        {"AttemptedValue": attempted, "Message": f"'{attempted}' is too long", "PropertyName": "A"},
        {"AttemptedValue": 7, "Message": "Ask me@example.org", "PropertyName": "B"},
        {
            "AttemptedValue": None,
            "Message": "https://x.org/a?key=hush is bad",
            "PropertyName": None,
        },
        *[{"Message": "more", "PropertyName": f"P{number}"} for number in range(9)],
        "no object",
    ]
    body = {"WasSuccessful": False, "Message": "all of it", "Errors": errors}
    with pytest.raises(SourceRefused) as caught:
        read_written(said(400, body))
    sentence = str(caught.value)
    assert "A: '…' is too long" in sentence
    assert "https://x.org is bad" in sentence
    assert "P1: more" in sentence
    assert not any(word in sentence for word in ("hush", "me@", "P2", "all of it"))


@pytest.mark.parametrize("errors", [None, [], "x", [7]])
def test_without_errors_the_message_is_the_reason(errors: object) -> None:
    body = {"WasSuccessful": False, "Message": "Not today", "Errors": errors}
    with pytest.raises(SourceRefused, match="Not today"):
        read_written(said(200, body))
    with pytest.raises(SourceRefused, match="without a reason"):
        read_written(said(200, {"WasSuccessful": False, "Errors": errors}))
