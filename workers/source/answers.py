"""Interprets one answer of the source to a read or a write. Pure.

The status alone does not tell what an answer means (contract, section 4): throttling is 409, a
missing Id may be 500, faults may be HTTP 200, and any of them may be HTML or a bare string.

Text from outside may contain keys or addresses: `short` removes them, and `origin` keeps only
scheme, host and port of an address.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from schemas.errors import SourceRefused, SourceThrottled, SourceUnavailable

_LONGEST = 80
_CUT = " …"
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_HIDDEN = re.compile(r"\S*[?&=@]\S*|(?<!\S)/\S+")
_LOOKED_AT = 1000  # characters of foreign text


def origin(address: str | None) -> str | None:
    """Return scheme, host and port of an address; None if it has none."""
    try:
        parts = urlsplit((address or "").strip())
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port == _PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def short(text: str | None, longest: int = _LONGEST) -> str:
    """Return foreign text without possible keys and addresses, at most `longest` characters.

    A longer text is cut after a whole word and ends with an ellipsis, but never inside a command
    in backticks, which would become another command.
    """
    shown = _URL.sub(lambda found: origin(found[0]) or "…", (text or "")[:_LOOKED_AT])
    shown = _HIDDEN.sub("…", shown)
    shown = "".join(letter for letter in shown if letter.isprintable()).strip()
    if len(shown) <= longest:
        return shown
    room = longest - len(_CUT)
    kept = shown[: room + 1].rpartition(" ")[0] or shown[:room]
    if kept.count("`") % 2:
        kept = kept.rpartition("`")[0]
    return f"{kept.rstrip(' ,;:')}{_CUT}"


_LONGEST_WAIT_S = 3600.0  # longer Retry-After values are capped
_MOST_ERRORS = 5  # shown of a refused write
# Only charsets that .NET can write are accepted.
_CHARSET = re.compile(
    r"charset=[\"']?(iso-8859-\d{1,2}|windows-125\d|utf-16(?:le|be)?)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer: status, headers by lower-case name, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Missing:
    """The source states that there is no such record, or that may be the case: see `certain`."""

    certain: bool
    status: int = field(default=0, compare=False)


class AccessDenied(SourceRefused):
    """The source answered 401 or 403: the sign-in or a role is missing."""


class WriteDenied(SourceRefused):
    """Our user may not write this: a role is missing."""


class _Kind(Enum):
    """The kind of body, as far as it matters before parsing."""

    PAGE = auto()  # HTML: from an edge server, a proxy or a sign-in page, not from the API
    WORD = auto()  # a JSON string
    NOTHING = auto()
    OTHER = auto()


class _Meaning(Enum):
    """What an answer means for us."""

    READ = auto()  # a value
    GONE = auto()  # no such record
    DOUBTFUL = auto()  # perhaps no such record: only the list can tell
    WAIT = auto()  # slow down
    WAIT_IF_STATED = auto()  # slow down if it has a Retry-After, else as LATER
    LATER = auto()  # no answer
    NO = auto()  # a refusal that a retry does not change


_ANY: Final = frozenset(_Kind)
_PAGE: Final = frozenset({_Kind.PAGE})
_WORD: Final = frozenset({_Kind.WORD})
_NO_PAGE: Final = _ANY - _PAGE

# Status, kind of body, meaning, and an addition to the error. The first row that fits counts.
_TABLE: tuple[tuple[Container[int], frozenset[_Kind], _Meaning, str], ...] = (
    ({409, 429}, _ANY, _Meaning.WAIT, ""),
    ({503}, _ANY, _Meaning.WAIT_IF_STATED, ""),
    ({404, 410}, _WORD, _Meaning.GONE, ""),
    # Any other body with a 404 may be about the URL rather than the record.
    ({404, 410}, _NO_PAGE, _Meaning.DOUBTFUL, ""),
    ({500}, _ANY, _Meaning.DOUBTFUL, ""),
    ({403}, _PAGE, _Meaning.LATER, " with a page: its edge refused the connection"),
    ({401, 403}, _ANY, _Meaning.NO, ": sign-in or rights are missing"),
    (range(300, 400), _ANY, _Meaning.NO, ", a redirect"),  # often with a page
    (range(200), _ANY, _Meaning.LATER, ", which is no answer yet"),
    (range(500, 1000), _ANY, _Meaning.LATER, ""),
    ({408}, _ANY, _Meaning.LATER, ""),
    (range(1000), _PAGE, _Meaning.LATER, " with a page"),
    ({200}, _NO_PAGE, _Meaning.READ, ""),
    (range(1000), _NO_PAGE, _Meaning.NO, ""),  # 201 and 204, which a GET never gets, and 400
)


def read_answer(answer: Answer) -> object | Missing:
    """Return the JSON value of a good answer, or `Missing`.

    `Missing(certain=False)`: on GET by Id a 500 may mean a deleted record or an outage, and only
    the list can tell (contract, section 4).

    Raises:
        SourceThrottled: 409, 429, or 503 with Retry-After; carries `retry_after_s` if it is known.
        SourceUnavailable: no usable answer: 5xx, HTML, an empty or broken body.
        SourceRefused: understood and refused: 400, 401, 403, a redirect, `WasSuccessful: false`.
    """
    meaning, aside = _meaning(answer)
    sentence = f"the source answered {answer.status}{aside}"
    match meaning:
        case _Meaning.READ:
            return _json(answer)
        case _Meaning.GONE | _Meaning.DOUBTFUL:
            return Missing(certain=meaning is _Meaning.GONE, status=answer.status)
        case _Meaning.WAIT:
            raise SourceThrottled(sentence, retry_after_s=retry_after_s(answer.headers))
        case _Meaning.NO if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise AccessDenied(sentence)
        case _Meaning.NO:
            raise SourceRefused(sentence)
        case _:
            raise SourceUnavailable(sentence)


def read_written(answer: Answer) -> object:
    """Return `Value` of a successful write; only an envelope with WasSuccessful proves success.

    A refusal may be HTTP 200 or 400 with error sentences (contract, section 4); values we sent are
    removed from them.

    Raises:
        WriteDenied: not done, because a role is missing.
        SourceRefused: not done: WasSuccessful is false, there is no such record, or a 200 does not
            state the result.
        SourceThrottled: not processed; carries `retry_after_s`.
        SourceUnavailable: it is unknown whether it was done.
    """
    envelope = _envelope(answer)
    if envelope is not None and envelope["WasSuccessful"] is not True:
        why = "; ".join(_sentences(envelope)) or "without a reason"
        raise SourceRefused(f"the source refused the write: {why}")
    if envelope is not None and HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return envelope.get("Value")
    try:
        found = read_answer(answer)
    except AccessDenied as error:
        raise WriteDenied(str(error)) from None
    if isinstance(found, Missing):
        if found.certain:
            raise SourceRefused("the source has no such record to write to")
        raise SourceUnavailable(f"the source answered {answer.status} to a write")
    raise SourceRefused("the source answered 200 without stating whether the write was done")


def _envelope(answer: Answer) -> Mapping[str, object] | None:
    """Return the envelope that answers a write, whatever the status; None for anything else."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and "WasSuccessful" in value else None


def _sentences(envelope: Mapping[str, object]) -> Iterator[str]:
    errors = envelope.get("Errors")
    found = [one for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    for error in found[:_MOST_ERRORS]:
        attempted = str(error.get("AttemptedValue") or "")
        parts = [
            short(part.replace(attempted, "…") if attempted else part)
            for part in (error.get("PropertyName"), error.get("Message"))
            if isinstance(part, str) and part
        ]
        if parts:
            yield ": ".join(parts)
    if not found and isinstance(envelope.get("Message"), str):
        yield short(str(envelope["Message"]))


def _meaning(answer: Answer) -> tuple[_Meaning, str]:
    kind = _kind(answer)
    for statuses, kinds, meaning, aside in _TABLE:
        if answer.status in statuses and kind in kinds:
            if meaning is _Meaning.WAIT_IF_STATED:
                is_stated = retry_after_s(answer.headers) is not None
                return _Meaning.WAIT if is_stated else _Meaning.LATER, aside
            return meaning, aside
    return _Meaning.LATER, ""


def _kind(answer: Answer) -> _Kind:
    start = answer.body[:64].removeprefix(BOM_UTF8).lstrip().lower()
    declared = answer.headers.get("content-type", "").lower()
    if "html" in declared or start.startswith((b"<!doctype", b"<html")):
        return _Kind.PAGE
    if not answer.body.strip():
        return _Kind.NOTHING
    if start.startswith(b'"'):
        return _Kind.WORD
    return _Kind.OTHER


def _json(answer: Answer) -> object:
    for charset in _charsets(answer.headers.get("content-type", "")):
        try:
            value: object = json.loads(answer.body.decode(charset))
        except (ValueError, LookupError, RecursionError):
            continue
        if isinstance(value, Mapping) and value.get("WasSuccessful") is False:
            raise SourceRefused("the source answered 200 with WasSuccessful: false")
        return value
    raise SourceUnavailable("the source's answer is not JSON")


def _charsets(content_type: str) -> Iterator[str]:
    """Yield the charsets to try: UTF-8 as JSON requires, then the declared one."""
    yield "utf-8-sig"
    declared = _CHARSET.search(content_type)
    if declared:
        yield declared[1]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return Retry-After in seconds; it may be a date (RFC 9110, section 10.2.3)."""
    stated = headers.get("retry-after", "").strip()
    if stated.isascii() and stated.isdigit():
        return min(float(stated[:6]), _LONGEST_WAIT_S)
    then, now = _moment(stated), _moment(headers.get("date", ""))
    if then is None or now is None:
        return None
    return min(max((then - now).total_seconds(), 0.0), _LONGEST_WAIT_S)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
