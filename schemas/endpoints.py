"""The file of endpoints that rules may post to.

The addresses of chat webhooks are secrets, so a rule names an endpoint and never an address. No
mistake repeats a value.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError

from schemas.errors import ConfigurationError
from schemas.settings import is_loopback
from schemas.strict_yaml import MAX_FILE_BYTES, Path, mistake_at, place_of, read_tree
from schemas.text import closest, one_of

_NAME = re.compile(r"[a-z0-9-]{1,40}")
_NAME_FORM = "expected 1 to 40 of a-z, 0-9 and - as the name of an endpoint"
_KEYS = ("url", "shape", "secrets", "include")
_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)  # as the specification of Standard Webhooks says
_SIGNING_FORM = (
    "expected whsec_ and 24 to 64 random bytes in base64; this makes one:"
    ' echo "whsec_$(openssl rand -base64 32)"'
)
_LOWEST_PORT = 1024  # others below it belong to programs that are no web servers, such as email
_WEB_PORTS = frozenset({None, 80, 443})
_LONGEST_URL = 2_000


class Shape(StrEnum):
    """What is posted: a signed event, or a sentence in the form of a chat program."""

    STANDARD = "standard"
    SLACK = "slack"
    TEAMS = "teams"


class Personal(StrEnum):
    """What an endpoint may learn about a member beyond their Id."""

    NAME = "name"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place that rules may post to. `secrets` sign what is posted, newest first."""

    name: str
    url: str = field(repr=False)
    shape: Shape = Shape.STANDARD
    secrets: tuple[str, ...] = field(default=(), repr=False)
    include: frozenset[Personal] = frozenset()

    @property
    def host(self) -> str:
        """The host of its address, without what may be secret."""
        return urlsplit(self.url).hostname or ""


def load_endpoints(text: str, file_name: str) -> tuple[Endpoint, ...]:
    """Load endpoints from their file: names, each with `url`, `shape`, `secrets` and `include`.

    Raises:
        ConfigurationError: with every mistake, each as `file:line:column: path: message`.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_FILE_BYTES:
        too_large = mistake_at(None, (), f"expected at most {MAX_FILE_BYTES // 1024} KiB")
        raise ConfigurationError([too_large.as_line(file_name)])
    tree = read_tree(text)
    found: list[Endpoint] = []
    mistakes = list(tree.mistakes)
    if isinstance(tree.content, Mapping):
        for name, keys in tree.content.items():
            endpoint, wrong = _endpoint(name, keys)
            mistakes += [mistake_at(place_of(path, tree), path, said) for path, said in wrong]
            found += [endpoint] if endpoint else []
    elif tree.content is not None:
        expected = "expected names of endpoints, each with its keys"
        mistakes.append(mistake_at(None, (), expected))
    if mistakes:
        raise ConfigurationError([one.as_line(file_name) for one in sorted(set(mistakes))])
    return tuple(found)


def _endpoint(name: str, keys: object) -> tuple[Endpoint | None, list[tuple[Path, str]]]:
    """Return an endpoint, or its mistakes with their places."""
    if not _NAME.fullmatch(name):
        return None, [((name,), _NAME_FORM)]
    if not isinstance(keys, Mapping):
        return None, [((name,), f"expected {one_of(_KEYS)} with values")]
    wrong: list[tuple[Path, str]] = [
        ((name, key), f"there is no such key{closest(key, _KEYS)}") for key in keys.keys() - _KEYS
    ]
    values: dict[str, Any] = {}
    for key, parse in (("url", _url), ("shape", _shape), ("secrets", _secrets), ("include", _kept)):
        if key not in keys:
            continue
        try:
            values[key] = parse(keys[key])
        except ValidationError as error:
            wrong += [((name, key), str(one)) for one in error.messages]
    if "url" not in keys:
        wrong.append(((name,), "the key url is missing"))
    shape = values.get("shape") if "shape" in keys else Shape.STANDARD
    if shape is Shape.STANDARD and "secrets" not in keys:
        wrong.append(((name,), f"the key secrets is missing; {_SIGNING_FORM}"))
    if shape not in {Shape.STANDARD, None} and "secrets" in keys:
        wrong.append(((name, "secrets"), f"expected none with the shape {shape}"))
    return (None if wrong else Endpoint(name, **values)), wrong


def _url(value: object) -> str:
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValidationError("expected an address such as https://example.org/hooks") from None
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > _LONGEST_URL:
        raise ValidationError(
            f"expected ASCII characters without spaces, at most {_LONGEST_URL}; write the host of"
            " another script in the form that begins with xn--"
        )
    if parts.scheme not in {"https", "http"} or not host:
        raise ValidationError("expected an address such as https://example.org/hooks")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValidationError("expected https://; http:// is for this machine only")
    if parts.username is not None or "@" in parts.netloc or "#" in text or "\\" in text:
        raise ValidationError("expected an address without a login, # or a backslash")
    if port not in _WEB_PORTS and (port or 0) < _LOWEST_PORT:
        raise ValidationError(f"expected the port 443, or one from {_LOWEST_PORT}")
    return text


def _shape(value: object) -> Shape:
    try:
        return Shape(str(value))
    except ValueError:
        raise ValidationError(f"expected {one_of(Shape)}") from None


def _secrets(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(one, str) and _is_secret(one) for one in listed):
        raise ValidationError(_SIGNING_FORM)
    return tuple(dict.fromkeys(listed))


def _is_secret(text: str) -> bool:
    key = text.removeprefix(_PREFIX)
    try:
        decoded = base64.b64decode(f"{key}{'=' * (-len(key) % 4)}", validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(_PREFIX) and len(decoded) in _KEY_BYTES


def _kept(value: object) -> frozenset[Personal]:
    listed = value if isinstance(value, list) else [value]
    try:
        return frozenset(Personal(str(one)) for one in listed)
    except ValueError:
        raise ValidationError(f"expected {one_of(Personal)}, or a list of both") from None
