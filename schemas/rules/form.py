"""The schemas of the rules file: its keys, and the parsers of their values.

Each parser takes one text and raises `ValidationError` with what was expected. Checks between the
keys of one rule are here too; checks between rules are in `loading`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, time
from enum import Enum
from typing import Any, ClassVar, TypeVar

from marshmallow import ValidationError, fields, validates_schema

from schemas.entity import CompletionType, CoworkerKind, Visibility
from schemas.events import ABOUT_GONE, EventKind
from schemas.fields import InternalSchema
from schemas.rules.model import Flood, QuietHours, SendWindow, Stream, Timing, Where
from schemas.text import Text, one_of

Parsed = TypeVar("Parsed")
Word = TypeVar("Word", bound=Enum)

NOTHING = "none"  # switches off a limit
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST_S = 366 * 86_400
_LONGEST_QUIET_MIN = 20 * 60  # so at least four hours a day remain to send in
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_WINDOW = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")
_NAME = re.compile(r"[a-z0-9-]{1,60}")

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


def parse_cap(text: str) -> int:
    """Return a whole number of emails, at least 1."""
    if not _COUNT.fullmatch(text):
        raise ValidationError("expected a whole number from 1 to 999999, or none")
    return int(text)


def parse_name(text: str) -> str:
    """Return the name of a rule."""
    if not _NAME.fullmatch(text):
        raise ValidationError("expected 1 to 60 of a-z, 0-9 and -")
    return text


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
    """One value or a list of values, each parsed by `parse`. Loads into a tuple without repeats."""

    def __init__(self, parse: Callable[[str], Any], **options: Any) -> None:  # noqa: ANN401 - marshmallow's own options
        super().__init__(**options)
        self.item = Text(parse)

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
        return tuple(dict.fromkeys(self._each(value)))

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


_A_MAPPING = "expected keys with values; remove the line if there are none"
_REQUIRED = {"required": "this key is missing"}
# The kinds of action by name, each with its templates and the events they can be about.
Kinds = Mapping[str, Mapping[str, Collection[EventKind]]]
_EVENTS = {kind.value: kind for kind in EventKind if kind not in ABOUT_GONE}
_COUNTABLE = {
    word: kind
    for word, kind in COMPLETION_TYPES.items()
    # A lesson without tracking is never completed, so a course that needs it never would be.
    if kind is not CompletionType.NONE
}


class FormSchema(InternalSchema):
    """A mapping in the rules file. Loads into a dict unless a subclass says otherwise."""

    record_class: ClassVar[type[Any]] = dict
    error_messages = {"type": _A_MAPPING}  # noqa: RUF012 - marshmallow declares it without ClassVar


class TimingSchema(FormSchema):
    """The keys about when and how many. A rule may override each."""

    record_class: ClassVar[type[Any]] = Timing

    quiet_hours = Text(or_none(parse_quiet_hours))
    cap_per_day = Text(or_none(parse_cap))
    cap_per_week = Text(or_none(parse_cap))
    stale_after = Text(or_none(parse_duration_s), attribute="stale_after_s")
    flood = Text(or_none(parse_flood))
    send = Text(or_none(parse_send))
    holidays = OneOrMany(parse_date)
    spread = Text(or_none(parse_duration_s), attribute="spread_s")
    reminders_per_week = Text(or_none(parse_cap))
    reminders_per_enrolment = Text(or_none(parse_cap))


class CompletionSchema(FormSchema):
    """When a course is completed."""

    counts = OneOrMany(choice(_COUNTABLE), required=True, error_messages=_REQUIRED)


class WhereSchema(FormSchema):
    """Conditions of a rule."""

    record_class = Where

    course = OneOrMany(parse_words)
    group = OneOrMany(parse_words)
    team = OneOrMany(parse_words)
    location = OneOrMany(parse_words)
    coworker_type = OneOrMany(choice(COWORKER_TYPES))
    visibility = OneOrMany(choice(VISIBILITIES))
    completion_type = OneOrMany(choice(COMPLETION_TYPES))


class RuleSchema(TimingSchema):
    """One rule. Loads into a dict that has only the timing keys that the rule itself sets."""

    record_class = dict

    name = Text(parse_name, required=True, error_messages=_REQUIRED)
    event = Text(choice(_EVENTS), required=True, error_messages=_REQUIRED)
    action = Text(parse_words, required=True, error_messages=_REQUIRED)
    template = Text(parse_words, load_default=None)
    stream = Text(member_of(Stream), load_default=Stream.SERVICE)
    delay = Text(parse_duration_s, attribute="delay_s", load_default=0)
    gather = Text(or_none(parse_duration_s), attribute="gather_s", load_default=None)
    gather_at_most = Text(parse_duration_s, attribute="gather_at_most_s", load_default=None)
    where = fields.Nested(WhereSchema, load_default=Where())
    enabled = Text(choice({"true": True, "false": False}), load_default=True)

    def __init__(self, actions: Kinds) -> None:
        super().__init__()
        self.actions = actions

    @validates_schema(skip_on_field_errors=False)
    def check_names(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check that the action exists, and that the template belongs to it and fits the event."""
        errors: dict[str, Any] = {}
        action, template, event = rule.get("action"), rule.get("template"), rule.get("event")
        if action is not None and action not in self.actions:
            errors["action"] = [f"expected {one_of(sorted(self.actions))}"]
        templates = self._templates_of(action)
        if template is not None and not templates:
            errors["template"] = [f"the action {action} has no templates; remove this line"]
        elif template is not None and template not in templates:
            errors["template"] = [f"expected {one_of(sorted(templates))}"]
        elif template is not None and event is not None and event not in templates[template]:
            fitting = sorted(name for name, events in templates.items() if event in events)
            choice = one_of(fitting) if fitting else "another event, as no template fits this one"
            errors["template"] = [f"it does not fit the event {event}; expected {choice}"]
        # None means that it was omitted; absent means that its value was already refused.
        if self.actions.get(action or "") and "template" in rule and template is None:
            errors["template"] = [f"this key is missing; the action {action} needs it"]
        if errors:
            raise ValidationError(errors)

    def _templates_of(self, action: str | None) -> Mapping[str, Collection[EventKind]]:
        """Return the templates of a kind; those of all kinds if there is no such kind."""
        if action is not None and action in self.actions:
            return self.actions[action]
        return {name: events for one in self.actions.values() for name, events in one.items()}

    @validates_schema(skip_on_field_errors=False)
    def check_lesson_keys(self, rule: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own signature
        """Check the keys that only a rule about lessons may have."""
        errors: dict[str, Any] = {}
        at_most = rule.get("gather_at_most_s")
        if at_most is not None and "gather_s" in rule:
            if rule["gather_s"] is None:
                errors["gather_at_most"] = ["expected only together with gather"]
            elif at_most < rule["gather_s"]:
                errors["gather_at_most"] = ["expected at least as much as gather"]
        if rule.get("gather_s") is not None and rule.get("delay_s"):
            errors["delay"] = ["expected only without gather, which already waits"]
        if rule.get("event", EventKind.LESSON_COMPLETED) is not EventKind.LESSON_COMPLETED:
            only = [f"expected only with the event {EventKind.LESSON_COMPLETED}"]
            if rule.get("gather_s") is not None:
                errors["gather"] = only
            if isinstance(where := rule.get("where"), Where) and where.completion_type:
                errors["where"] = {"completion_type": only}
        if errors:
            raise ValidationError(errors)


class FileSchema(FormSchema):
    """The whole file. Its rules are loaded one by one with `RuleSchema`."""

    version = Text(
        choice({"1": 1}), required=True, error_messages={"required": "expected version: 1"}
    )
    timing = fields.Nested(TimingSchema, load_default=Timing())
    completion = fields.Nested(
        CompletionSchema, load_default={"counts": tuple(_COUNTABLE.values())}
    )
    rules = fields.List(
        fields.Raw(), required=True, error_messages={"invalid": "expected a list", **_REQUIRED}
    )
