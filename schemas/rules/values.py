"""The parsers of values in the rules file.

Each takes one text and raises `ValidationError` with what was expected.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

from marshmallow import ValidationError, fields

from schemas.actions import ENDPOINT, HOST, MEMBER, TEXT_PLACES, places_of_text
from schemas.entity import CompletionType, CoworkerKind, Visibility
from schemas.fields import MAX_ID
from schemas.rules.model import Flood, QuietHours, SendWindow
from schemas.settings.mail import mail_address
from schemas.text import Text, one_of

Parsed = TypeVar("Parsed")
Word = TypeVar("Word", bound=Enum)

NOTHING = "none"  # switches off a limit
_AT_ONCE = "0d"
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST_S = 366 * 86_400
_LONGEST_QUIET_MIN = 20 * 60  # so at least four hours a day remain to send in
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_WINDOW = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PERCENT = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")
_ALL = 100  # percent
_BRAKE = re.compile(r"([1-9][0-9]{0,2}(?:\.[0-9])?)x")
_MOST_TIMES = 100
_COUNT = re.compile(r"[1-9][0-9]{0,5}")
_NAME = re.compile(r"[a-z0-9-]{1,60}")
_LONGEST_TEXT = 500  # characters of a note or task
_DIGEST_NAME = re.compile(r"[a-z0-9-]{1,40}")
OWN_REPORTS = ("attention", "summary", "trouble")  # to operators

COMPLETION_TYPES = {member.name.lower(): member for member in CompletionType}
COWORKER_TYPES = {member.name.lower(): member for member in CoworkerKind}
VISIBILITIES = {member.name.lower(): member for member in Visibility}


def parse_duration_s(text: str) -> int:
    """Return the seconds of `30s`, `30m`, `3h` or `7d`."""
    written = _DURATION.fullmatch(text)
    seconds = int(written[1]) * _UNITS_S[written[2]] if written else 0
    if not 0 < seconds <= _LONGEST_S:
        raise ValidationError("expected a duration such as 30s, 30m, 3h or 7d, at most 366d")
    return seconds


def parse_step_s(text: str) -> int:
    """Return the seconds of a duration, or of `0d`: at once."""
    return 0 if text == _AT_ONCE else parse_duration_s(text)


def parse_quiet_hours(text: str) -> QuietHours:
    """Return the hours of `20:00-08:00`; they may cross midnight."""
    written = _HOURS.fullmatch(text)
    if not written:
        raise ValidationError("expected hours such as 20:00-08:00, or none")
    start = time(int(written[1]), int(written[2]))
    end = time(int(written[3]), int(written[4]))
    minutes = (end.hour * 60 + end.minute - start.hour * 60 - start.minute) % (24 * 60)
    if not 0 < minutes <= _LONGEST_QUIET_MIN:
        raise ValidationError("expected more than 0 and at most 20 hours, or none")
    return QuietHours(start, end)


def parse_flood(text: str) -> Flood:
    """Return the count and the window of `25/10m`."""
    count, _, window = text.partition("/")
    try:
        return Flood(parse_cap(count), parse_duration_s(window))
    except ValidationError:
        raise ValidationError("expected a number per duration such as 25/10m, or none") from None


def parse_send(text: str) -> SendWindow:
    """Return the window of `09:00-18:00 mon-fri` or `09:00-18:00`."""
    hours, _, days = text.partition(" ")
    written = _WINDOW.fullmatch(hours)
    start, end = (written[1], written[2]) if written else ("0", "0")
    if not written or (end != "24:00" and start >= end):
        raise ValidationError("expected hours of one day such as 09:00-18:00 mon-fri, or none")
    return SendWindow(_clock(start), _clock(end), _parse_days(days.strip() or "mon-sun"))


def _clock(text: str) -> time:
    hour, minute = text.split(":")
    return time(int(hour) % 24, int(minute))


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ValidationError(
                f"expected days such as mon-fri or mon,wed, of {', '.join(_DAYS)}"
            )
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        days |= {(begin + more) % 7 for more in range((end - begin) % 7 + 1)}
    return frozenset(days)


def parse_date(text: str) -> date:
    """Return the day of `2026-12-25`."""
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "")
    except ValueError:
        raise ValidationError("expected a date such as 2026-12-25") from None


def parse_percent(text: str) -> tuple[int, int]:
    """Return the range of `50-99`, or of `100`: percent of the lessons that count."""
    written = _PERCENT.fullmatch(text)
    least, most = (int(written[1]), int(written[2] or written[1])) if written else (1, 0)
    if not 0 <= least <= most <= _ALL:
        raise ValidationError("expected percent such as 100 or 50-99")
    return least, most


def parse_cap(text: str) -> int:
    """Return a whole number of emails, at least 1."""
    if not _COUNT.fullmatch(text):
        raise ValidationError("expected a whole number from 1 to 999999, or none")
    return int(text)


def parse_brake(text: str) -> Decimal:
    """Return the number of `2x` or `1.5x`."""
    written = _BRAKE.fullmatch(text)
    times = Decimal(written[1]) if written else Decimal()
    if not 1 <= times <= _MOST_TIMES:
        raise ValidationError("expected a number from 1x to 100x, such as 2x or 1.5x, or none")
    return times


def parse_name(text: str) -> str:
    """Return the name of a rule."""
    if not _NAME.fullmatch(text):
        raise ValidationError("expected 1 to 60 of a-z, 0-9 and -")
    return text


def parse_digest_name(text: str) -> str:
    """Return the name of a digest, which is none of those that Coursebell's own reports have."""
    if not _DIGEST_NAME.fullmatch(text) or text in OWN_REPORTS:
        raise ValidationError(f"expected 1 to 40 of a-z, 0-9 and -, and not {one_of(OWN_REPORTS)}")
    return text


def parse_reader(text: str) -> str:
    """Return `host`, or an address whose domain is in ASCII."""
    if text == MEMBER:
        raise ValidationError("expected host or an address such as desk@example.org")
    return parse_recipient(text)


def parse_recipient(text: str) -> str:
    """Return `member`, `host`, or an address whose domain is in ASCII."""
    if text in {MEMBER, HOST}:
        return text
    try:
        found = mail_address(text)
    except ValidationError:
        found = None
    if found is None or "<" in text:
        raise ValidationError("expected member, host or an address such as desk@example.org")
    return found.address


def parse_endpoint(text: str) -> str:
    """Return the name of an endpoint as whom a rule is to."""
    if not _NAME.fullmatch(text):
        raise ValidationError("expected the name of an endpoint in COURSEBELL_ENDPOINTS")
    return f"{ENDPOINT}{text}"


def parse_text(text: str) -> str:
    """Return a text for the staff, in which `{member}`, `{course}` and `{lesson}` are places."""
    words = parse_words(text)
    if len(words) > _LONGEST_TEXT:
        raise ValidationError(f"expected at most {_LONGEST_TEXT} characters")
    expected = one_of("{" + one + "}" for one in TEXT_PLACES)
    for place in places_of_text(words):
        if place not in TEXT_PLACES:
            raise ValidationError(f"there is no {{{place[:40]}}}; expected {expected}")
        words = words.replace(f"{{{place}}}", "")
    if "{" in words or "}" in words:
        raise ValidationError("expected a } for every {")
    return text.strip()


def parse_record_id(text: str) -> int:
    """Return the Id of a record at Nexudus."""
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= MAX_ID:
        raise ValidationError("expected the Id of a user at Nexudus, which is a number")
    return int(text)


def parse_words(text: str) -> str:
    """Return any text that is not empty."""
    if not text.strip():
        raise ValidationError("expected a value; remove the line if there is none")
    return text.strip()


def choice(choices: Mapping[str, Parsed]) -> Callable[[str], Parsed]:
    """Return a parser for one of these words."""
    expected = f"expected {one_of(choices)}"

    def parse(text: str) -> Parsed:
        if text not in choices:
            raise ValidationError(expected)
        return choices[text]

    return parse


def member_of(kind: type[Word]) -> Callable[[str], Word]:
    """Return a parser for the values of an enumeration; it returns the member."""
    return choice({str(member.value): member for member in kind})


def or_none(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed | None]:
    """Return a parser that also takes the word `none`."""
    return lambda text: None if text == NOTHING else parse(text)


class OneOrMany(fields.Field[tuple[Any, ...]]):
    """One value or a list of values, each parsed by `parse`. Loads into a tuple.

    Without repeats, unless `repeats`.
    """

    def __init__(
        self,
        parse: Callable[[str], Any],
        *,
        repeats: bool = False,
        **options: Any,  # noqa: ANN401 - marshmallow's own options
    ) -> None:
        super().__init__(**options)
        self.item = Text(parse)
        self.repeats = repeats

    def _deserialize(
        self,
        value: Any,  # noqa: ANN401 - marshmallow's own signature
        attr: str | None,  # noqa: ARG002 - same
        data: Mapping[str, Any] | None,  # noqa: ARG002 - same
        **_: Any,  # noqa: ANN401 - same
    ) -> tuple[Any, ...]:
        if isinstance(value, str):
            return (self.item.deserialize(value),)
        if not isinstance(value, list) or not value:
            raise ValidationError("expected one value or a list of values")
        found = self._each(value)
        return tuple(found if self.repeats else dict.fromkeys(found))

    def _each(self, values: Iterable[Any]) -> list[Any]:
        loaded: list[Any] = []
        errors: dict[int, Any] = {}
        for index, value in enumerate(values):
            try:
                loaded.append(self.item.deserialize(value))
            except ValidationError as error:
                errors[index] = error.messages
        if errors:
            # Nested errors are keyed by index, as in marshmallow's own List.
            raise ValidationError(errors)
        return loaded
