"""Every odd answer of the source, as a table of status, headers and body to what it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SourceRefused, SourceThrottled, SourceUnavailable
from workers.source.answers import Answer, Missing, read_answer

PAGE = b"<!DOCTYPE html><html><body>We are back soon</body></html>"
HTML = {"content-type": "text/html; charset=utf-8"}
JSON = {"content-type": "application/json; charset=utf-8"}
GONE, DOUBTFUL = Missing(certain=True), Missing(certain=False)


def answer(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    return Answer(status, JSON if headers is None else headers, body)


@pytest.mark.parametrize(
    ("given_answer", "value"),
    [
        (answer(200, body=b'{"Id": 7}'), {"Id": 7}),
        (answer(200, {}, b'{"Id": 7}'), {"Id": 7}),
        (answer(200, body=b'\xef\xbb\xbf{"Id": 7}'), {"Id": 7}),
        (answer(200, body=b"[]"), []),
        (answer(200, body=b"null"), None),
        (answer(200, body=b'"Not found"'), "Not found"),
        (answer(200, body='{"Name": "Zoë"}'.encode()), {"Name": "Zoë"}),
        (answer(200, body=b'{"WasSuccessful": true}'), {"WasSuccessful": True}),
        (answer(200, body=b'{"WasSuccessful": null}'), {"WasSuccessful": None}),
        (answer(200, body=b'[{"WasSuccessful": false}]'), [{"WasSuccessful": False}]),
        (answer(200, body=b'"<html> is how it begins"'), "<html> is how it begins"),
        (answer(404, body=b'"Not found"'), GONE),
        (answer(404), DOUBTFUL),
        (answer(404, body=b'\xef\xbb\xbf "Not found"'), GONE),
        (answer(404, body=b" \r\n"), DOUBTFUL),
        (answer(410, body=b'"Gone"'), GONE),
        (answer(404, body=b'{"Message":"No HTTP resource was found"}'), DOUBTFUL),
        (answer(404, {"content-type": "text/plain"}, b"404 page not found"), DOUBTFUL),
        (answer(404, {}), DOUBTFUL),
        (answer(410), DOUBTFUL),
        (answer(500), DOUBTFUL),
        (answer(500, body=b'{"Message":"An error has occurred."}'), DOUBTFUL),
        (answer(500, HTML, PAGE), DOUBTFUL),
        (answer(500, {"retry-after": "5"}), DOUBTFUL),
    ],
)
def test_a_good_answer_has_a_value_and_a_missing_record_is_no_error(
    given_answer: Answer, value: object
) -> None:
    assert read_answer(given_answer) == value


@pytest.mark.parametrize("status", [409, 429])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1", 1.0),
        ("0", 0.0),
        (" 30 ", 30.0),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("1000000", 3600.0),
        ("9" * 5000, 3600.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0661", None),  # an Arabic one
        ("\u00b2", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_throttling_has_the_wait_that_the_source_asks_for(
    status: int, header: str, seconds: float | None
) -> None:
    for headers in ({"retry-after": header}, {"retry-after": header, **HTML}):
        with pytest.raises(SourceThrottled, match=str(status)) as caught:
            read_answer(answer(status, headers))
        assert caught.value.retry_after_s == seconds


def test_throttling_may_come_without_a_wait() -> None:
    with pytest.raises(SourceThrottled) as caught:
        read_answer(answer(409))
    assert caught.value.retry_after_s is None


def test_a_503_is_throttling_only_with_retry_after() -> None:
    with pytest.raises(SourceThrottled) as caught:
        read_answer(answer(503, {"retry-after": "7"}))
    assert caught.value.retry_after_s == 7.0
    for headers in (JSON, HTML, {"retry-after": "later"}):
        with pytest.raises(SourceUnavailable):
            read_answer(answer(503, headers))


@pytest.mark.parametrize(
    "given_answer",
    [
        answer(501),
        answer(502, HTML, PAGE),
        answer(504),
        answer(599),
        answer(200, HTML, PAGE),
        answer(200, HTML, b'{"Id": 7}'),
        answer(200, {}, PAGE),
        answer(200, JSON, PAGE),  # it lies about itself
        answer(200, {}, b" \r\n <HTML>"),
        answer(404, {}, b"\xef\xbb\xbf<html>"),
        answer(200, {"content-type": "application/xhtml+xml"}, b"<x/>"),
        answer(404, HTML, PAGE),
        answer(404, {}, b"<html></html>"),
        answer(410, HTML, PAGE),
        answer(403, HTML, PAGE),
        answer(400, HTML, PAGE),
        answer(200),
        answer(200, body=b"   "),
        answer(200, body=b"Not found"),
        answer(200, body=b'{"Id": 7'),
        answer(200, body=b'{"Name": "\xe9"}'),
        answer(200, body=b"9" * 5000),
        answer(200, body=b"[" * 100_000),
        answer(200, body=b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    ],
)
def test_an_unusable_answer_is_an_outage(given_answer: Answer) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        read_answer(given_answer)
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize(
    "given_answer",
    [
        answer(400, body=b'{"Status": 500, "WasSuccessful": false, "Errors": []}'),
        answer(400, body=b'{"error": "invalid_grant"}'),
        answer(401),
        answer(401, HTML, PAGE),
        answer(403),
        answer(403, body=b'{"Message": "no"}'),
        answer(301),
        answer(302, {"location": "https://elsewhere.example/"}),
        answer(302, {"location": "/login", **HTML}, b"<html>Object moved</html>"),
        answer(304),
        answer(405),
        answer(415),
        answer(201, body=b'{"Id": 7}'),
        answer(204),
        answer(200, body=b'{"WasSuccessful": false, "Message": "secret"}'),
    ],
)
def test_a_refusal_is_a_refusal(given_answer: Answer) -> None:
    with pytest.raises(SourceRefused) as caught:
        read_answer(given_answer)
    assert "secret" not in str(caught.value)


def test_an_answers_body_is_never_shown() -> None:
    assert "4711" not in repr(answer(200, body=b'{"AccessPincode": "4711"}'))


def declared(charset: str) -> dict[str, str]:
    return {"content-type": f"application/json; charset={charset}"}


@pytest.mark.parametrize(
    ("charset", "encoded", "name"),
    [
        ("iso-8859-1", "utf-8", "Zoë"),
        ("ISO-8859-1", "iso-8859-1", "Zoë"),
        ('"iso-8859-15"', "iso-8859-15", "Zoë €"),
        ("windows-1252", "windows-1252", "Zoë “€”"),
        ("utf-16", "utf-16", "Zoë 🔔"),
        ("utf-16le; q=1", "utf-16-le", "Zoë"),
        ("utf-8", "utf-8-sig", "Zoë"),
        ("x-unknown", "utf-8", "Zoë"),
        ("", "utf-8", "Zoë"),
    ],
)
def test_utf_8_is_tried_first_and_then_what_is_declared(
    charset: str, encoded: str, name: str
) -> None:
    body = f'{{"FullName": "{name}"}}'.encode(encoded)
    assert read_answer(answer(200, declared(charset), body)) == {"FullName": name}


@pytest.mark.parametrize(
    "charset",
    [
        *("utf-8", "us-ascii", "iso-8859-99", "iso-8859-12", "windows-1259", "utf-16", "x"),
        *("unicode_escape", "utf-7", "rot13", "idna", "zlib", "../x"),
    ],
)
def test_text_that_fits_no_declared_charset_is_unusable(charset: str) -> None:
    with pytest.raises(SourceUnavailable, match="not JSON"):
        read_answer(answer(200, declared(charset), b'{"FullName": "Zo\xeb"}x'))
    with pytest.raises(SourceUnavailable, match="not JSON"):
        read_answer(answer(200, declared(charset), b'{"FullName": "\xff\xfe\xeb"'))


@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["content-type", "retry-after", "date", "x"]), st.text()),
    st.binary(),
)
def test_any_answer_has_a_meaning(status: int, headers: dict[str, str], body: bytes) -> None:
    try:
        read_answer(Answer(status, headers, body))
    except (SourceRefused, SourceThrottled, SourceUnavailable):
        return
    assert status in {200, 404, 410, 500}
