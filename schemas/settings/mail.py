"""Parses the settings of email: the mail server, the sender, and how many emails may go at a time.

Each parser takes the text and raises `ValidationError` with what was expected. No error repeats the
text, because it may hold a password or an email address.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from marshmallow import ValidationError

from schemas.settings import addresses
from schemas.settings.addresses import is_loopback, split_address
from schemas.text import ascii_domain, is_local_part, is_one_line, one_of

_NAMED_ADDRESS = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
_LONGEST_EMAIL = 254  # octets; RFC 5321, section 4.5.3.1.3
_SMTP = "expected smtp://user:password@host:587?tls=starttls, or smtps://"
_IMPLICIT_PORT = 465  # RFC 8314, section 3.3
_SUBMISSION_PORT = 587  # RFC 6409
_RATE = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,2})([smhd])")
_PEM = re.compile(
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s[A-Za-z0-9+/=\s]+"
    r"-----END (?:[A-Z]+ )?PRIVATE KEY-----\n"
)
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class TlsMode(StrEnum):
    """How the connection to the mail server is encrypted."""

    NONE = "none"  # unencrypted: only without a login, or on this machine
    STARTTLS = "starttls"  # starts unencrypted; must be upgraded before the login
    IMPLICIT = "implicit"  # encrypted from the first byte


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The mail server. With a `username` alone, the login is by access tokens."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls: TlsMode


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A sender. `name` is empty if only an address was given."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class SendingRate:
    """How many emails may go in how many seconds."""

    emails: int
    seconds: int

    @property
    def window(self) -> timedelta:
        """The time in which they are counted."""
        return timedelta(seconds=self.seconds)

    @property
    def step(self) -> timedelta:
        """The time from one to the next, if they go evenly."""
        return self.window / self.emails

    def __str__(self) -> str:
        """Return it as in the environment."""
        fits = ((length, unit) for unit, length in _UNIT_S.items() if self.seconds % length == 0)
        length, unit = max(fits)
        return f"{self.emails}/{self.seconds // length}{unit}"


def smtp_server(text: str) -> SmtpServer:
    """Parse `smtp://user:password@host:587?tls=starttls`; `smtps://` means implicit TLS."""
    if "://" not in text:
        raise ValidationError(_SMTP)
    # A user is often an email address; without a path, the last @ ends it.
    parts = split_address(text, lambda parts: parts.hostname, one_at=False)
    if parts.scheme not in {"smtp", "smtps"} or parts.path.strip("/") or parts.fragment:
        raise ValidationError(_SMTP)
    tls = _tls_mode(parts)
    username, password = _login(parts)
    host = parts.hostname or ""
    if tls is TlsMode.NONE and username is not None and not is_loopback(host):
        raise ValidationError("expected tls=starttls or tls=implicit, because a login is sent")
    port = parts.port or (_IMPLICIT_PORT if tls is TlsMode.IMPLICIT else _SUBMISSION_PORT)
    return SmtpServer(host=host, port=port, username=username, password=password, tls=tls)


def token_address(text: str) -> str:
    """Return the address of a token endpoint. A secret is sent there, so only https, or to here."""
    address = addresses.web_address(text)
    parts = urlsplit(address)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValidationError("expected https://, because a secret is sent there")
    return address


def mail_address(text: str) -> MailAddress:
    """Parse `Name <address>` or a bare address, in any script.

    The name needs no quotes, whatever it contains.
    """
    named = _NAMED_ADDRESS.fullmatch(text)
    name, address = (named["name"].strip(), named["address"].strip()) if named else ("", text)
    if name.startswith('"') and name.endswith('"') and len(name) > 1:
        name = re.sub(r"\\(.)", r"\1", name[1:-1]).strip()
    local, _, domain = address.rpartition("@")
    written = f"{local}@{ascii_domain(domain)}"
    fits = is_local_part(local) and ascii_domain(domain) is not None
    # The reader's mail program would decode an encoded word in a name.
    if not fits or len(written.encode()) > _LONGEST_EMAIL or "=?" in name:
        raise ValidationError("expected an address, as in Harbour Works <courses@example.org>")
    return MailAddress(name=name, address=written)


def mail_addresses(text: str) -> tuple[str, ...]:
    """Return addresses, separated by commas, each once in whatever letter case."""
    try:
        found = [mail_address(one.strip()) for one in text.split(",") if one.strip()]
    except ValidationError:
        found = []
    if not found or any(one.name for one in found):
        raise ValidationError("expected addresses such as ops@example.org, separated by commas")
    return tuple({one.address.lower(): one.address for one in found}.values())


def reply_address(text: str) -> MailAddress:
    """Parse an address as `mail_address`, in ASCII before the @.

    With another one, no email could be sent through a server without SMTPUTF8.
    """
    parsed = mail_address(text)
    if not parsed.address.isascii():
        raise ValidationError("expected only ASCII characters before the @")
    return parsed


def mail_rate(text: str) -> SendingRate | None:
    """Parse `30/1m`: so many emails in so many seconds, minutes, hours or days; `none` is None."""
    if text == "none":
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValidationError("expected none, or emails in a time such as 30/1m, 500/1h or 2000/1d")
    number, times, unit = found.groups()
    return SendingRate(int(number), int(times) * _UNIT_S[unit])


def dkim_selector(text: str) -> str:
    """Return a selector: one or more labels of a domain."""
    if not text.isascii() or ascii_domain(text) is None:
        raise ValidationError("expected a selector such as coursebell2026")
    return text.lower()


def dkim_domain(text: str) -> str:
    """Return a domain in ASCII."""
    domain = ascii_domain(text)
    if domain is None:
        raise ValidationError("expected a domain, such as example.org")
    return domain.lower()


def pem_key(text: str) -> str:
    """Return a private key in PEM form. What kind it is, is checked where it is used."""
    key = text.replace("\\n", "\n").strip() + "\n"
    if not _PEM.fullmatch(key):
        raise ValidationError(
            "expected a private key in PEM form, from -----BEGIN to -----END; best as a file"
        )
    return key


def _tls_mode(parts: SplitResult) -> TlsMode:
    expected = f"expected only tls={one_of(TlsMode)} after ?"
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
        raise ValidationError("expected tls=implicit, or no tls=, with smtps://")
    return tls


def _login(parts: SplitResult) -> tuple[str | None, str | None]:
    if parts.username is None and parts.password is None:
        return None, None
    try:
        username = unquote(parts.username or "", errors="strict")
        password = unquote(parts.password or "", errors="strict")
    except UnicodeDecodeError:
        raise ValidationError("expected percent-encoded UTF-8 in user and password") from None
    if not username or parts.password == "" or not is_one_line(username + password):
        raise ValidationError("expected both a user and a password, or neither")
    return username, password or None


_OAUTH = "COURSEBELL_SMTP_OAUTH_"


def login_mistakes(loaded: Mapping[str, Any]) -> dict[str, str]:
    """Return what does not fit together in the login to the mail server, by setting's name.

    `loaded` are the parsed settings, by attribute.
    """
    server: SmtpServer | None = loaded["smtp"]
    names = ("token_url", "client_id", "client_secret", "refresh_token", "scope")
    given = {name for name in names if loaded[f"smtp_oauth_{name}"] is not None}
    if "token_url" not in given:
        found = {f"{_OAUTH}{name.upper()}": f"needs {_OAUTH}TOKEN_URL too" for name in given}
        if server is not None and server.username is not None and server.password is None:
            found["COURSEBELL_SMTP_URL"] = (
                f"expected both a user and a password, or neither, unless {_OAUTH}TOKEN_URL is set"
            )
        return found
    found = {}
    if "client_id" not in given or not given & {"client_secret", "refresh_token"}:
        found[f"{_OAUTH}TOKEN_URL"] = (
            f"needs {_OAUTH}CLIENT_ID, and {_OAUTH}CLIENT_SECRET or {_OAUTH}REFRESH_TOKEN or both"
        )
    if server is not None and (server.username is None or server.password is not None):
        found["COURSEBELL_SMTP_URL"] = (
            f"expected a user without a password, as {_OAUTH}TOKEN_URL is set"
        )
    return found


_DKIM = "COURSEBELL_DKIM_"


def dkim_mistakes(loaded: Mapping[str, Any]) -> dict[str, str]:
    """Return what does not fit together in the settings of DKIM, by setting's name."""
    selector, domain, key = (loaded[f"dkim_{name}"] for name in ("selector", "domain", "key"))
    if key is None:
        others = {"SELECTOR": selector, "DOMAIN": domain}
        given = (name for name, value in others.items() if value is not None)
        return {_DKIM + name: f"needs {_DKIM}KEY too" for name in given}
    found = {} if selector is not None else {f"{_DKIM}KEY": f"needs {_DKIM}SELECTOR too"}
    sender: MailAddress | None = loaded["mail_from"]
    of_sender = "" if sender is None else sender.address.rpartition("@")[2].lower()
    if domain is not None and sender is not None and not f".{of_sender}".endswith(f".{domain}"):
        found[f"{_DKIM}DOMAIN"] = (
            "expected the domain of the sender (COURSEBELL_MAIL_FROM), or one above it: receivers"
            " compare the two"
        )
    return found
