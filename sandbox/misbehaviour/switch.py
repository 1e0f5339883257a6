"""One way to misbehave: its name, what it does, and its parameters. Pure.

Values arrive typed from JSON and YAML, or as texts from a form; both become `Settings`.
"""

import base64
import binascii
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from zoneinfo import ZoneInfo

from schemas.entity import Entity

Value = str | int | float | bool | None

_LARGEST = {"chance": 1, "mebibytes": 64}  # other numbers may be as large as an Id


class Refused(Exception):
    """A request that cannot be granted; carries the HTTP status that says so."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


class Group(StrEnum):
    """The section of the page that lists a switch."""

    ANSWERS = "Answers"
    CONNECTION = "The connection"
    SIGN_IN = "Sign-in and permissions"
    LISTS = "Lists"
    RECORDS = "Records"
    DELIVERIES = "Deliveries"


class Kind(StrEnum):
    """The values a parameter accepts."""

    TEXT = "a text"
    WHOLE = "a whole number, 0 or more"
    NUMBER = "a number, 0 or more"
    FLAG = "true or false"
    CHOICE = "one of the choices"
    ENTITY = "the name of a kind of record"
    ZONE = "the name of a time zone"
    KEY = "a base32 key"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a switch. With `may_be_none` it can be left empty."""

    name: str
    kind: Kind
    default: Value
    may_be_none: bool = False
    choices: tuple[Value, ...] = ()

    def read(self, value: object) -> Value:
        """Return the value.

        Raises:
            Refused: it does not fit; the sentence says what does.
        """
        if value is None and self.may_be_none:
            return None
        if isinstance(value, (str, int, float)) and _FITS[self.kind](self, value):
            return value
        wanted = self.kind.value
        if self.kind is Kind.CHOICE:
            wanted = "one of " + ", ".join(str(choice) for choice in self.choices)
        or_nothing = ", or nothing" if self.may_be_none else ""
        raise Refused(f"{self.name} must be {wanted}{or_nothing}.", 400)

    def read_text(self, text: str) -> Value:
        """Return the value of a form field; an empty one is the default."""
        if not text.strip():
            return None if self.may_be_none else self.default
        return self.read(_typed(self, text.strip()))


@dataclass(frozen=True, slots=True)
class Switch:
    """A way to misbehave. `pitfalls` are the numbers of the contract's section 9 it shows."""

    name: str
    group: Group
    sentence: str
    pitfalls: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()

    def read(self, given: Mapping[str, object]) -> dict[str, Value]:
        """Return a value for every parameter: the given one, or its default.

        Raises:
            Refused: there is no such parameter, or a value does not fit.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                there = ", ".join(known) or "none"
                raise Refused(f"{self.name} has no parameter {name}; it has: {there}.", 400)
        return {
            name: parameter.read(given[name]) if name in given else parameter.default
            for name, parameter in known.items()
        }


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of a switch that is on. `over` is set when it is switched off."""

    values: Mapping[str, Value]
    since: float = field(default_factory=time.monotonic)
    over: threading.Event = field(default_factory=threading.Event)

    def text(self, name: str) -> str:
        """Return a text; None is an empty one."""
        return str(self.values[name] or "")

    def whole(self, name: str) -> int:
        """Return a whole number; None is 0."""
        return int(self.values[name] or 0)

    def maybe_whole(self, name: str) -> int | None:
        """Return a whole number or None."""
        return None if self.values[name] is None else self.whole(name)

    def number(self, name: str) -> float:
        """Return a number; None is 0."""
        return float(self.values[name] or 0)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        return bool(self.values[name])

    def words(self, name: str) -> frozenset[str]:
        """Return the parts of a comma-separated text."""
        return frozenset(word.strip() for word in self.text(name).split(",") if word.strip())

    def is_about(self, entity: Entity) -> bool:
        """Whether the parameter `entity` names this kind, or none and so all."""
        return self.values["entity"] in {None, entity.value}


def key_bytes(key: str) -> bytes:
    """Return the bytes of a base32 key, written with or without blanks and padding.

    Raises:
        ValueError: the key is not base32.
    """
    plain = key.replace(" ", "").rstrip("=").upper()
    try:
        return base64.b32decode(plain + "=" * (-len(plain) % 8))
    except binascii.Error as error:
        raise ValueError("not base32") from error


def _is_number(one: Parameter, value: Value) -> bool:
    largest = _LARGEST.get(one.name, 2**62)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= largest


def _is_text(one: Parameter, value: Value) -> bool:
    # Some texts go into headers, which must not contain a line break.
    return isinstance(value, str) and value.isprintable() and (one.name != "path" or "/" in value)


def _is_accepted(read: Callable[[str], object]) -> Callable[[Parameter, Value], bool]:
    def is_accepted(_: Parameter, value: Value) -> bool:
        try:
            read(str(value))
        except (ValueError, OSError, LookupError):
            return False
        return True

    return is_accepted


_FITS: dict[Kind, Callable[[Parameter, Value], bool]] = {
    Kind.TEXT: _is_text,
    Kind.WHOLE: lambda one, value: isinstance(value, int) and _is_number(one, value),
    Kind.NUMBER: _is_number,
    Kind.FLAG: lambda _, value: isinstance(value, bool),
    Kind.CHOICE: lambda one, value: value in one.choices and not isinstance(value, bool),
    Kind.ENTITY: lambda _, value: value in set(Entity),
    Kind.ZONE: _is_accepted(ZoneInfo),
    Kind.KEY: _is_accepted(key_bytes),
}


def _typed(parameter: Parameter, text: str) -> Value:
    if parameter.kind is Kind.FLAG:
        return {"true": True, "false": False}.get(text, text)
    if parameter.kind is Kind.CHOICE:
        return next((choice for choice in parameter.choices if str(choice) == text), text)
    if parameter.kind not in {Kind.WHOLE, Kind.NUMBER}:
        return text
    try:
        return int(text) if parameter.kind is Kind.WHOLE else float(text)
    except ValueError:
        return text
