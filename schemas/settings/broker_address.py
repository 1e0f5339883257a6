"""Parses the address of a Redis-like broker, once for every library that connects to it.

Celery, the limiter's client and our PING each read such an address differently, and what one needs
makes another fail. So none of them gets the text: see `workers.broker`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from marshmallow import ValidationError

from schemas.text import is_one_line, one_of

PORT = 6379
_SHORTEST_VISIBILITY_S = 301  # longer than a task may take, so that no message is delivered twice
_LONGEST_VISIBILITY_S = 86_400
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_DATABASE = re.compile(r"[0-9]{1,4}")
_CERTIFICATES = {"required": "required", "optional": "optional", "none": "none"} | {
    f"cert_{word}": word for word in ("required", "optional", "none")
}
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS = ("ssl_cert_reqs", "ssl_check_hostname", *_TLS_FILES)
_ANYWHERE = ("db", "virtual_host", "visibility_timeout")


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """How a `rediss://` connection is encrypted. Each file is a path, or None for the default."""

    certificate: str  # required, optional or none: whether the server's certificate is verified
    check_hostname: bool
    ca_file: str | None  # None: the system's certificate authorities
    certificate_file: str | None
    key_file: str | None


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is. Either `host` or `socket_path` is set. `tls` is None if unencrypted."""

    host: str | None
    port: int
    socket_path: str | None
    database: int
    username: str | None
    password: str | None = field(repr=False)
    tls: BrokerTls | None
    visibility_timeout_s: int | None  # None: not stated


def broker_address(url: str) -> BrokerAddress:
    """Parse redis://, rediss:// or redis+socket://.

    Raises:
        ValidationError: with what was expected. Names unknown options, and repeats no value.
    """
    parts = urlsplit(url)
    if parts.fragment or "@" in parts.query:
        raise ValidationError("expected # and ? and @ in user and password percent-encoded")
    is_socket = parts.scheme == "redis+socket"
    options = _options(parts)
    username, password = _login(parts)
    return BrokerAddress(
        host=None if is_socket else parts.hostname,
        port=parts.port or PORT,
        socket_path=_decoded(parts.path) if is_socket else None,
        database=_database("" if is_socket else parts.path, options),
        username=username,
        password=password,
        tls=_tls(options) if parts.scheme == "rediss" else None,
        visibility_timeout_s=_visibility_timeout(options.get("visibility_timeout")),
    )


def _options(parts: SplitResult) -> dict[str, str]:
    known = list(_ANYWHERE)
    if parts.scheme == "rediss":
        known += _TLS
    if parts.scheme != "redis+socket":
        known.append("family")
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValidationError("expected name=value after the ?") from None
    options: dict[str, str] = {}
    for name, value in pairs:
        if not _NAME.fullmatch(name):
            raise ValidationError(f"expected no options after the ? other than {one_of(known)}")
        if name in _TLS and name not in known:
            raise ValidationError(f"the option {name} needs rediss://; remove it")
        if name not in known:
            raise ValidationError(
                f"the option {name} is unknown; remove it (known: {', '.join(known)})"
            )
        if name in options:
            raise ValidationError(f"expected {name} once")
        options[name] = value
    # Other clients ask for IPv4 and IPv6 this way; ours always use both.
    if options.get("family", "0") != "0":
        raise ValidationError("expected family=0, which is both IPv4 and IPv6")
    return options


def _database(path: str, options: Mapping[str, str]) -> int:
    stated = [path.strip("/"), options.get("db", ""), options.get("virtual_host", "").strip("/")]
    numbers = {one for one in stated if one}
    if len(numbers) > 1:
        raise ValidationError("expected one database: after the host, as db or as virtual_host")
    number = numbers.pop() if numbers else "0"
    if not _DATABASE.fullmatch(number):
        raise ValidationError("expected the number of a database, such as /0")
    return int(number)


def _login(parts: SplitResult) -> tuple[str | None, str | None]:
    username, password = _decoded(parts.username or ""), _decoded(parts.password or "")
    if username and not password:
        raise ValidationError("expected a password after the user, as in redis://:password@host")
    return username or None, password or None


def _decoded(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        decoded = "\n"
    if not is_one_line(decoded):
        raise ValidationError("expected percent-encoded UTF-8 in user, password and path")
    return decoded


def _tls(options: Mapping[str, str]) -> BrokerTls:
    certificate = _CERTIFICATES.get(options.get("ssl_cert_reqs", "required").lower())
    if certificate is None:
        raise ValidationError("expected ssl_cert_reqs=required, optional or none")
    check_hostname = _FLAGS.get(options.get("ssl_check_hostname", "true").lower())
    if check_hostname is None:
        raise ValidationError("expected ssl_check_hostname=true or false")
    ca_file, certificate_file, key_file = (options.get(name) or None for name in _TLS_FILES)
    if key_file and not certificate_file:
        raise ValidationError("expected ssl_certfile beside ssl_keyfile")
    return BrokerTls(
        certificate, check_hostname and certificate != "none", ca_file, certificate_file, key_file
    )


def _visibility_timeout(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(_LONGEST_VISIBILITY_S)):
        raise ValidationError("expected visibility_timeout in whole seconds")
    if not _SHORTEST_VISIBILITY_S <= int(text) <= _LONGEST_VISIBILITY_S:
        raise ValidationError(
            f"expected visibility_timeout from {_SHORTEST_VISIBILITY_S} to {_LONGEST_VISIBILITY_S}"
        )
    return int(text)
