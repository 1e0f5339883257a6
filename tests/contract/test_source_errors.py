"""What each answer of the source means: one table, read over real HTTP (contract, section 4)."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from schemas.errors import SourceRefused, SourceThrottled, SourceUnavailable
from tests.contract.raw_rig import saying, talking
from workers.source.answers import AccessDenied, Missing, read_answer
from workers.source.http import Transport

GONE, DOUBTFUL = Missing(certain=True), Missing(certain=False)
LATER, WAIT, NO = SourceUnavailable, SourceThrottled, SourceRefused
RIGHTS = AccessDenied

NOTHING = ("", "")
JSON = "application/json; charset=utf-8"
PAGE = ("text/html; charset=utf-8", "<!DOCTYPE html><html><body>Sorry</body></html>")
NOT_FOUND = (JSON, '"Not found"')
LONE_MESSAGE = (JSON, '{"Message":"An error has occurred."}')
NO_ROUTE = (JSON, '{"Message":"No HTTP resource was found that matches the request URI."}')
FAULT = (
    JSON,
    '{"Status":500,"Message":"Invalid","Value":null,"WasSuccessful":false,"Errors":[{}]}',
)
RECORD = (JSON, '{"Id":7}')
IN = "Wed, 04 Mar 2026 10:00:00 GMT"  # what the source takes for now
AT = "Date: Wed, 04 Mar 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "content", "meaning"),
    [
        (200, (), RECORD, {"Id": 7}),
        (200, (), ("", RECORD[1]), {"Id": 7}),
        (200, (), (JSON, "[]"), []),
        (200, (), NOT_FOUND, "Not found"),  # the reader of the record refuses it
        (200, (), FAULT, NO),
        (200, (), PAGE, LATER),
        (200, (), (JSON, PAGE[1]), LATER),
        (200, (), (PAGE[0], RECORD[1]), LATER),
        (200, (), NOTHING, LATER),
        (200, (), (JSON, '{"Id":7'), LATER),
        (201, (), RECORD, NO),
        (204, (), NOTHING, NO),
        (301, ("Location: /login",), NOTHING, NO),
        (302, ("Location: /login",), PAGE, NO),
        (307, ("Location: /login",), NOTHING, NO),
        (304, (), NOTHING, NO),
        (400, (), FAULT, NO),
        (400, (), (JSON, '{"error":"invalid_grant"}'), NO),
        (400, (), PAGE, LATER),
        (401, (), LONE_MESSAGE, RIGHTS),
        (401, (), NOTHING, RIGHTS),
        (401, (), PAGE, RIGHTS),
        (403, (), LONE_MESSAGE, RIGHTS),
        (403, (), NOTHING, RIGHTS),
        (403, (), PAGE, LATER),  # the edge, not a role
        (404, (), NOT_FOUND, GONE),
        (404, (), NOTHING, DOUBTFUL),  # a route that is not up yet may say so too
        (404, (), PAGE, LATER),  # not gone: the API never answers HTML
        (404, (), NO_ROUTE, DOUBTFUL),  # this speaks of the address, not of the record
        (404, (), ("text/plain", "404 page not found"), DOUBTFUL),
        (410, (), NOTHING, DOUBTFUL),
        (410, (), PAGE, LATER),
        (405, (), LONE_MESSAGE, NO),
        (408, (), NOTHING, LATER),
        (409, ("Retry-After: 1",), NOTHING, (WAIT, 1.0)),
        (409, (), NOTHING, (WAIT, None)),
        (409, ("Retry-After: 0",), NOTHING, (WAIT, 0.0)),
        (409, ("Retry-After: -5",), NOTHING, (WAIT, None)),
        (409, ("Retry-After: soon",), NOTHING, (WAIT, None)),
        (409, ("Retry-After: 999999999999",), NOTHING, (WAIT, 3600.0)),
        (409, (AT, "Retry-After: Wed, 04 Mar 2026 10:00:07 GMT"), NOTHING, (WAIT, 7.0)),
        (409, (AT, "Retry-After: Wednesday, 04-Mar-26 10:00:07 GMT"), NOTHING, (WAIT, 7.0)),
        (409, (AT, "Retry-After: Wed Mar  4 10:00:07 2026"), NOTHING, (WAIT, 7.0)),
        (409, (AT, "Retry-After: Tue, 03 Mar 2026 10:00:00 GMT"), NOTHING, (WAIT, 0.0)),
        (409, (AT, "Retry-After: Wed, 04 Mar 9999 10:00:00 GMT"), NOTHING, (WAIT, 3600.0)),
        (409, (AT, "Retry-After: Wed, 04 Mar 99999 10:00:00 GMT"), NOTHING, (WAIT, None)),
        (409, (AT, "Retry-After: Wed, 32 Mar 2026 10:00:00 GMT"), NOTHING, (WAIT, None)),
        (409, (AT, "Retry-After: Wed, 04 Mar 2026 10:00:00 +99999999"), NOTHING, (WAIT, None)),
        (409, ("Date: soon", "Retry-After: " + IN), NOTHING, (WAIT, None)),
        (409, ("Retry-After: 3",), PAGE, (WAIT, 3.0)),
        (429, ("Retry-After: 2",), NOTHING, (WAIT, 2.0)),
        (429, (), LONE_MESSAGE, (WAIT, None)),
        (500, (), LONE_MESSAGE, DOUBTFUL),  # a dead Id, or an outage: the list tells
        (500, (), PAGE, DOUBTFUL),
        (500, (), NOTHING, DOUBTFUL),
        (502, (), PAGE, LATER),
        (503, (), NOTHING, LATER),
        (503, (), PAGE, LATER),
        (503, ("Retry-After: 30",), PAGE, (WAIT, 30.0)),
        (503, (AT, "Retry-After: Wed, 04 Mar 2026 10:02:00 GMT"), NOTHING, (WAIT, 120.0)),
        (503, ("Retry-After: later",), NOTHING, LATER),
        (504, (), PAGE, LATER),
        (599, (), NOTHING, LATER),
        (103, (), NOTHING, LATER),
    ],
)
def test_each_answer_means_one_thing(
    status: int, headers: tuple[str, ...], content: tuple[str, str], meaning: object
) -> None:
    found = _read(status, headers, content)
    if isinstance(meaning, tuple):
        expected, wait_s = meaning
        assert type(found) is expected
        assert isinstance(found, SourceThrottled)
        assert found.retry_after_s == wait_s
    elif isinstance(meaning, type):
        assert type(found) is meaning
    else:
        assert found == meaning


def test_a_date_to_wait_for_counts_from_now_when_the_answer_has_none() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    found = _read(409, (f"Retry-After: {then}",), NOTHING)
    assert isinstance(found, SourceThrottled)
    assert found.retry_after_s is not None
    assert 0 < found.retry_after_s <= 600


def test_no_error_quotes_the_answer() -> None:
    for status in (200, 201, 302, 400, 401, 403, 409, 418, 503):
        found = _read(status, (), (JSON, '{"WasSuccessful":false,"Message":"4711"}'))
        assert isinstance(found, Exception)
        assert "4711" not in str(found)
        assert str(status) in str(found)


def _read(status: int, headers: tuple[str, ...], content: tuple[str, str]) -> object:
    kind, body = content
    lines = [
        f"HTTP/1.1 {status} Because",
        *headers,
        *([f"Content-Type: {kind}"] if kind else []),
        f"Content-Length: {len(body)}",
    ]
    with talking(saying("\r\n".join([*lines, "", body]).encode())) as server:
        transport = Transport(f"http://127.0.0.1:{server.port}")
        try:
            return read_answer(transport.get("content/courses/7", {}, "token"))
        except (SourceUnavailable, SourceThrottled, SourceRefused) as error:
            return error
        finally:
            transport.close()
