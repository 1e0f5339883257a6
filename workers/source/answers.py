"""Reads one answer of the source: pure, so that every odd one can be tried in a table.

The source answers in more ways than its status tells (contract, section 4): throttling is 409,
a missing Id may be 500, faults may be HTTP 200, and any of them may be HTML or a bare string.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from schemas.errors import SourceRefused, SourceThrottled, SourceUnavailable

_THROTTLED = {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_LONGEST_WAIT_S = 3600.0  # a longer Retry-After is not believed


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers by lower-case name, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Missing:
    """The source says there is no such record, or says nothing better: see `certain`."""

    certain: bool


def read_answer(answer: Answer) -> object | Missing:
    """Return the JSON value of a good answer, or `Missing`.

    A 500 is `Missing(certain=False)`: on GET by Id it may mean a deleted record or an outage, and
    only the list can tell (contract, section 4).

    Raises:
        SourceThrottled: 409, 429, or 503 with Retry-After; carries `retry_after_s`.
        SourceUnavailable: any other answer that is no answer: 5xx, HTML, an empty or broken body.
        SourceRefused: understood, and no: 400, 401, 403, a redirect, `WasSuccessful: false`.
    """
    status = answer.status
    wait_s = _retry_after_s(answer)
    if status in _THROTTLED or (status == HTTPStatus.SERVICE_UNAVAILABLE and wait_s is not None):
        raise SourceThrottled(f"the source answered {status}", retry_after_s=wait_s)
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE} and not _is_html(answer):
        return Missing(certain=True)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return Missing(certain=False)
    if status == HTTPStatus.FORBIDDEN and _is_html(answer):
        raise SourceUnavailable("the source's edge refused the connection (403 with a page)")
    if status in _REFUSED:
        raise SourceRefused(f"the source answered {status}: sign-in or rights are missing")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        # Redirects often bring a page along; they are refused all the same.
        raise SourceRefused(f"the source answered {status}, a redirect")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or _is_html(answer):
        raise SourceUnavailable(f"the source answered {status}{' with a page' * _is_html(answer)}")
    if status != HTTPStatus.OK:
        raise SourceRefused(f"the source answered {status}")
    return _json(answer)


def _json(answer: Answer) -> object:
    try:
        value: object = json.loads(answer.body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise SourceUnavailable("the source's answer is not JSON") from None
    if isinstance(value, Mapping) and value.get("WasSuccessful") is False:
        raise SourceRefused("the source answered 200 and says it was not successful")
    return value


def _is_html(answer: Answer) -> bool:
    kind = answer.headers.get("content-type", "").lower()
    return "html" in kind or answer.body[:64].lstrip().lower().startswith((b"<!doctype", b"<html"))


def _retry_after_s(answer: Answer) -> float | None:
    wish = answer.headers.get("retry-after", "").strip()
    if not (wish.isascii() and wish.isdigit()):
        return None
    return min(float(wish[:6]), _LONGEST_WAIT_S)
