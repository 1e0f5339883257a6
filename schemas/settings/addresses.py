"""Parses the addresses in settings: databases, brokers and web sites.

Each parser takes the text and raises `ValidationError` with what was expected. No error repeats the
text, because it may hold a password or an email address.
"""

import ipaddress
import re
import string
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from marshmallow import ValidationError

from schemas.settings.broker_address import broker_address
from schemas.text import one_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

API_URL = "https://spaces.nexudus.com"  # of the Nexudus REST API, for every space
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})")
_HOST_ENDS = re.compile(r"[/?#\[]")
_POSTGRESQL = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
# The parameters that libpq reads after ? (PostgreSQL 18, section 34.1.2), except those of no use
# here.
_LIBPQ_NUMBERS = frozenset(
    {
        *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval"),
        *("keepalives_count", "tcp_user_timeout"),
    }
)
_LIBPQ = _LIBPQ_NUMBERS | {
    *("service", "user", "password", "passfile", "dbname", "host", "hostaddr", "port"),
    *("channel_binding", "client_encoding", "options", "application_name"),
    *("fallback_application_name", "sslmode", "sslnegotiation", "sslcompression", "sslcert"),
    *("sslkey", "sslcertmode", "sslpassword", "sslrootcert", "sslcrl", "sslcrldir", "sslsni"),
    *("requirepeer", "require_auth", "min_protocol_version", "max_protocol_version"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version", "gssencmode", "krbsrvname"),
    *("gsslib", "gssdelegation", "target_session_attrs", "load_balance_hosts"),
}
# Parameters of other programs. They may be named in errors: none is part of a password.
_OF_OTHERS = frozenset(
    {
        *("pgbouncer", "schema", "connection_limit", "pool_timeout", "pool_size", "max_overflow"),
        *("statement_cache_size", "prepared_statement_cache_size", "prepare_threshold"),
        *("sslaccept", "socket_timeout", "currentSchema", "reconnect", "encoding", "pool"),
    }
)
_PARAMETERS = (
    "expected only parameters that libpq knows after ?, each with its value,"
    " such as sslmode=require or target_session_attrs=read-write"
)
_HOSTS = (
    "expected hosts such as one.example:5432,two.example:5432,"
    " or the folder of a socket with each / as %2F"
)
_AUTHORITY_ENDS = re.compile(r"[/?#]")
_PORTS = 65_536
_PERCENT_ENCODE = (
    "special characters in user and password percent-encoded: # is %23, @ is %40, / is %2F,"
    " ? is %3F, : is %3A, [ is %5B, % is %25"
)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the web process listens. `host` has no brackets, even if it is an IPv6 address."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether the name or address means this machine. Resolves no names."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def database_url(text: str) -> str:
    """Return the URL for SQLAlchemy: SQLite unchanged, PostgreSQL with our driver's name."""
    scheme, _, rest = text.partition("://")
    if scheme.lower() in _POSTGRESQL:
        return f"postgresql+psycopg://{_for_libpq(rest)}"
    if scheme.lower() != "sqlite" or not rest.startswith("/"):
        raise ValidationError("expected sqlite:///file or postgresql://user:password@host/name")
    if rest.partition("?")[0] in {"/", "/:memory:"}:
        raise ValidationError("expected a file: a ledger in memory would be lost with the process")
    return f"sqlite://{rest}"


def _for_libpq(rest: str) -> str:
    """Return the part after `://` in a form that SQLAlchemy passes on to libpq unchanged.

    SQLAlchemy decodes neither host nor database name, and reads only one host and port. So several
    hosts, the folder of a socket and a name with `%` move into the query, which it does not change.
    """
    authority = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
    login, at, hosts = authority.rpartition("@")
    moved = {}
    if "," in hosts or "%" in hosts:
        names, ports = zip(*map(_host_and_port, hosts.split(",")), strict=True)
        moved["host"] = ",".join(quote(name, safe="/:") for name in names)
        if any(ports):
            moved["port"] = ",".join(ports)
        rest = login + at + rest[len(authority) :]
    parts = split_address(
        f"postgresql://{rest}",
        lambda parts: moved or any((parts.netloc, parts.path[1:], parts.query)),
    )
    path = parts.path
    if "%" in path:
        moved["dbname"], path = path[1:], ""
    pairs = [*moved.items(), *_libpq_parameters(parts.query, moved)]
    query = "&".join(f"{name}={value}" for name, value in pairs)
    return f"{parts.netloc}{path or '/' * bool(moved)}{'?' * bool(query)}{query}"


def _host_and_port(text: str) -> tuple[str, str]:
    found = re.fullmatch(r"(\[[^\[\]]*\]|[^:]*)(?::([0-9]{0,5}))?", text)
    if found is None:
        raise ValidationError(_HOSTS)
    name, port = unquote(found[1].strip("[]")), found[2] or ""
    is_port = not port or 0 < int(port) < _PORTS
    if not is_port or not name or not (name.startswith("/") or _host_fits(name)):
        raise ValidationError(_HOSTS)
    return name, port


def _libpq_parameters(query: str, moved: Collection[str]) -> list[tuple[str, str]]:
    """Return the parameters of a URL. Refuses those that libpq does not know."""
    found: list[tuple[str, str]] = []
    for pair in filter(None, query.split("&")):
        name, _, value = ("sslmode=require" if pair == "ssl=true" else pair).partition("=")
        if name in _OF_OTHERS:
            raise ValidationError(f"PostgreSQL has no parameter {name}; remove it")
        is_number = name not in _LIBPQ_NUMBERS or re.fullmatch(r"\d{1,9}", value, re.ASCII)
        if name not in _LIBPQ or not value or not is_number:
            raise ValidationError(_PARAMETERS)
        if name in moved or (name != "host" and name in dict(found)):
            raise ValidationError("expected each parameter and the host once")
        found.append((name, value.replace("+", "%2B")))  # libpq does not read + as a space
    return found


def broker_url(text: str) -> str:
    """Return the address of a Redis-like broker, once `broker_address` can parse it."""
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme == "memory":
        raise ValidationError(
            "expected a broker that several processes can reach, which memory:// is not;"
            " leave it unset and `coursebell up` starts one"
        )
    if scheme == "redis+socket":
        split_address(text, lambda parts: parts.path.strip("/"))
        if not rest.rpartition("@")[2].startswith("/"):
            raise ValidationError("expected redis+socket:///path/to/socket, with three slashes")
    elif scheme in {"redis", "rediss"}:
        split_address(text, lambda parts: parts.hostname)
    else:
        raise ValidationError("expected redis://, rediss:// or redis+socket://")
    broker_address(f"{scheme}://{rest}")
    return f"{scheme}://{rest}"


def web_address(text: str) -> str:
    """Return an http or https address without its trailing slash."""
    parts = _web(text)
    if parts.username is not None or "?" in text or "#" in text:
        raise ValidationError("expected an address without a login, ? or #")
    return text.rstrip("/")


def issuer(text: str) -> str:
    """Return the address of a sign-in provider as it was given: it is compared as a text.

    Secrets and passwords go there, so it must be https or on this machine.
    """
    parts = urlsplit(web_address(text))
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValidationError("expected https://, because people sign in there")
    if text.rstrip("/").endswith("/.well-known/openid-configuration"):
        raise ValidationError("expected the issuer: what stands before /.well-known/…")
    return text


_OIDC = "COURSEBELL_OIDC_"


def provider_mistakes(loaded: Mapping[str, Any]) -> dict[str, str]:
    """Return what does not fit together in the settings of the sign-in provider, by name.

    `loaded` are the parsed settings, by attribute.
    """
    if loaded["oidc_issuer"] is not None:
        if loaded["oidc_client_id"] is not None:
            return {}
        return {f"{_OIDC}ISSUER": f"needs {_OIDC}CLIENT_ID too"}
    others = ("client_id", "client_secret", "name")
    given = [name for name in others if loaded[f"oidc_{name}"] is not None]
    found = {f"{_OIDC}{name.upper()}": f"needs {_OIDC}ISSUER too" for name in given}
    if not loaded["passwords"]:
        found["COURSEBELL_PASSWORDS"] = f"false needs {_OIDC}ISSUER, or nobody could sign in"
    return found


def nexudus_url(text: str) -> str:
    """Return a web address. A password is sent there, so it must be https or on this machine.

    A path is accepted where a proxy may need it, and refused where it can only be a mistake.
    """
    _web(text, API_URL)
    address = web_address(text)
    parts = urlsplit(address)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "https" and not is_loopback(host):
        raise ValidationError("expected https://, because the password is sent there")
    is_theirs = f".{host}".endswith(".nexudus.com")
    if is_theirs and host != urlsplit(API_URL).hostname:
        raise ValidationError(
            f"expected {API_URL}, the address of the API for every space; this is the address of"
            " a website"
        )
    if parts.path and (is_theirs or parts.path.lower().split("/")[1] == "api"):
        raise ValidationError(
            f"expected an address without a path, such as {API_URL}; Coursebell adds /api itself"
        )
    return address


def portal_pattern(*placeholders: str) -> Callable[[str], str]:
    """Return a parser for a web address that may contain only these placeholders."""
    expected = f"expected no placeholders other than {one_of('{' + p + '}' for p in placeholders)}"

    def parse(text: str) -> str:
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError:
            raise ValidationError("expected a } for every {") from None
        for _, name, form, conversion in pieces:
            if name is not None and (name not in placeholders or form or conversion):
                raise ValidationError(expected)
        _web(text)
        return text

    return parse


def listen(text: str) -> Listen:
    """Parse `host:port`, with an IPv6 address in brackets."""
    expected = "expected host:port, such as 127.0.0.1:8000 or [::1]:8000"
    try:
        parts = split_address(f"tcp://{text}", lambda parts: parts.hostname and parts.port)
    except ValidationError:
        raise ValidationError(expected) from None
    if parts.netloc != text or parts.username is not None or not parts.hostname or not parts.port:
        raise ValidationError(expected)
    return Listen(host=parts.hostname, port=parts.port)


def _web(text: str, example: str = "https://coursebell.example.org") -> SplitResult:
    """Split a web address into its parts."""
    if "://" not in text and not text.startswith("//"):
        raise ValidationError(f"expected https:// in front, as in {example}")
    parts = split_address(text, lambda parts: parts.hostname, has_login=False)
    if parts.scheme not in {"http", "https"}:
        raise ValidationError("expected an address that begins with https:// or http://")
    return parts


def split_address(
    text: str,
    has_what_it_needs: Callable[[SplitResult], object],
    *,
    has_login: bool = True,
    one_at: bool = True,
) -> SplitResult:
    """Split an address into its parts. The library's own error would repeat the text."""
    if has_login and _is_login_unencoded(text, one_at=one_at):
        raise ValidationError(f"expected {_PERCENT_ENCODE}")
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


def _is_login_unencoded(text: str, *, one_at: bool) -> bool:
    """Return whether what looks like a login contains a character that would end the host."""
    login = text.partition("://")[2].rpartition("@")[0]
    authority = _HOST_ENDS.split(login, maxsplit=1)[0]
    if authority == login:
        return one_at and "@" in login
    # After a complete login, and in a query (?password=p@ss), an @ has no meaning.
    is_query = "=" in login.partition("?")[2]
    return ":" in authority and "@" not in authority and not is_query


def _host_fits(host: str | None) -> bool:
    return host is None or ":" in host or bool(_HOST.fullmatch(host))
