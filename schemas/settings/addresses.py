"""Addresses in settings: of databases, brokers, web sites, mail servers and senders.

Each parser takes the text and raises `ValidationError` with what was expected. None repeats the
text, because any of these may hold a password or somebody's email address.
"""

import ipaddress
import re
import string
from collections.abc import Callable
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from marshmallow import ValidationError

from schemas.settings.shape import Listen, MailAddress, SmtpServer, TlsMode
from schemas.text import is_one_line, one_of

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}"  # RFC 5322, section 3.2.3
_LABEL = r"[A-Za-z0-9-]{1,63}"
_EMAIL = re.compile(rf"(?=.{{3,254}}\Z){_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})*")
_NAMED_ADDRESS = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
_POSTGRESQL = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_IMPLICIT_PORT = 465  # RFC 8314, section 3.3
_SUBMISSION_PORT = 587  # RFC 6409


def is_loopback(host: str) -> bool:
    """Whether the name or address means this machine, without asking anybody."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def database_url(text: str) -> str:
    """Keep SQLite as it is; turn every PostgreSQL spelling into the one that names our driver."""
    scheme, _, rest = text.partition("://")
    if scheme.lower() in _POSTGRESQL:
        _split(text, lambda parts: parts.netloc or parts.path.strip("/"))
        return f"postgresql+psycopg://{rest}"
    if scheme.lower() != "sqlite" or not rest.startswith("/"):
        raise ValidationError("expected sqlite:///file or postgresql://user:password@host/name")
    if rest.partition("?")[0] in {"/", "/:memory:"}:
        raise ValidationError("expected a file: a ledger in memory would be lost with the process")
    return f"sqlite://{rest}"


def broker_url(text: str) -> str:
    """Return the address of a Redis-like broker."""
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme == "memory":
        raise ValidationError(
            "expected a broker that several processes can reach, which memory:// is not;"
            " leave it unset and `coursebell up` starts one"
        )
    if scheme == "redis+socket":
        _split(text, lambda parts: parts.path.strip("/"))
    elif scheme in {"redis", "rediss"}:
        _split(text, lambda parts: parts.hostname)
    else:
        raise ValidationError("expected redis://, rediss:// or redis+socket://")
    return f"{scheme}://{rest}"


def web_address(text: str) -> str:
    """Return an http or https address without its trailing slash."""
    parts = _split(text, lambda parts: parts.hostname)
    if parts.scheme not in {"http", "https"}:
        raise ValidationError("expected an address that begins with https:// or http://")
    if parts.username is not None or "?" in text or "#" in text:
        raise ValidationError("expected an address without a login, ? or #")
    return text.rstrip("/")


def nexudus_url(text: str) -> str:
    """Return a web address: encrypted, as a password goes there, unless it is on this machine."""
    address = web_address(text)
    parts = urlsplit(address)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValidationError("expected https://, because the password is sent there")
    return address


def portal_pattern(*placeholders: str) -> Callable[[str], str]:
    """Return a parser for a web address that may hold these placeholders and no others."""
    expected = f"expected no other placeholder than {one_of('{' + p + '}' for p in placeholders)}"

    def parse(text: str) -> str:
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError:
            raise ValidationError("expected every { to have its }") from None
        for _, name, form, conversion in pieces:
            if name is not None and (name not in placeholders or form or conversion):
                raise ValidationError(expected)
        parts = _split(text, lambda parts: parts.hostname)
        if parts.scheme not in {"http", "https"}:
            raise ValidationError("expected an address that begins with https:// or http://")
        return text

    return parse


def smtp_server(text: str) -> SmtpServer:
    """Parse `smtp://user:password@host:587?tls=starttls`; `smtps://` is encrypted throughout."""
    parts = _split(text, lambda parts: parts.hostname)
    if parts.scheme not in {"smtp", "smtps"} or parts.path.strip("/") or parts.fragment:
        raise ValidationError("expected smtp://user:password@host:587?tls=starttls, or smtps://")
    tls = _tls_mode(parts)
    username, password = _login(parts)
    host = parts.hostname or ""
    if tls is TlsMode.NONE and username is not None and not is_loopback(host):
        raise ValidationError("expected tls=starttls or tls=implicit, because a login is sent")
    port = parts.port or (_IMPLICIT_PORT if tls is TlsMode.IMPLICIT else _SUBMISSION_PORT)
    return SmtpServer(host=host, port=port, username=username, password=password, tls=tls)


def mail_address(text: str) -> MailAddress:
    """Parse `Name <address>` or a bare address. The name needs no quotes, whatever it contains."""
    named = _NAMED_ADDRESS.fullmatch(text)
    name, address = (named["name"].strip(), named["address"].strip()) if named else ("", text)
    if name.startswith('"') and name.endswith('"') and len(name) > 1:
        name = re.sub(r"\\(.)", r"\1", name[1:-1]).strip()
    # An encoded word in a name would be decoded by the reader's mail program into something else.
    if not _EMAIL.fullmatch(address) or "=?" in name:
        raise ValidationError("expected an address, as in Harbour Works <courses@example.org>")
    return MailAddress(name=name, address=address)


def listen(text: str) -> Listen:
    """Parse `host:port`, with an IPv6 address in brackets."""
    expected = "expected host:port, such as 127.0.0.1:8000 or [::1]:8000"
    try:
        parts = _split(f"tcp://{text}", lambda parts: parts.hostname and parts.port)
    except ValidationError:
        raise ValidationError(expected) from None
    if parts.netloc != text or parts.username is not None or not parts.hostname or not parts.port:
        raise ValidationError(expected)
    return Listen(host=parts.hostname, port=parts.port)


def _split(text: str, has_what_it_needs: Callable[[SplitResult], object]) -> SplitResult:
    """Take an address apart, or say it cannot be. The library's own words would repeat the text."""
    try:
        parts = urlsplit(text)
        fits = has_what_it_needs(parts) and parts.port != 0 and _host_fits(parts.hostname)
    except ValueError:
        fits = False
    if not fits or any(character.isspace() for character in text):
        raise ValidationError(
            "expected a whole address with a host, at most one numeric port from 1 to 65535,"
            " and special characters in user and password percent-encoded"
        )
    return parts


def _host_fits(host: str | None) -> bool:
    return host is None or ":" in host or bool(_HOST.fullmatch(host))


def _tls_mode(parts: SplitResult) -> TlsMode:
    expected = f"expected nothing after ? but tls={one_of(TlsMode)}"
    default = TlsMode.IMPLICIT if parts.scheme == "smtps" else TlsMode.STARTTLS
    if not parts.query:
        return default
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
        ((key, value),) = pairs
        tls = TlsMode(value)
    except ValueError:
        raise ValidationError(expected) from None
    if key != "tls":
        raise ValidationError(expected)
    if parts.scheme == "smtps" and tls is not TlsMode.IMPLICIT:
        raise ValidationError("expected tls=implicit or nothing with smtps://")
    return tls


def _login(parts: SplitResult) -> tuple[str, str] | tuple[None, None]:
    if parts.username is None and parts.password is None:
        return None, None
    try:
        username = unquote(parts.username or "", errors="strict")
        password = unquote(parts.password or "", errors="strict")
    except UnicodeDecodeError:
        raise ValidationError("expected percent-encoded UTF-8 in user and password") from None
    if not username or not password or not is_one_line(username + password):
        raise ValidationError("expected both a user and a password, or neither")
    return username, password
