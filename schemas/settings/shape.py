"""What loaded settings look like. Secrets are left out of `repr`, so a traceback cannot show them.

There are no defaults here: they stand once, in `schemas.settings.table`.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from schemas.states import Mode


class TlsMode(StrEnum):
    """How the connection to the mail server is encrypted."""

    NONE = "none"  # not at all: only without a login, or on this machine
    STARTTLS = "starttls"  # begins in the clear and must be upgraded before the login
    IMPLICIT = "implicit"  # encrypted from the first byte


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The mail server. Either both `username` and `password` are set, or neither."""

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
class Listen:
    """Where the web process listens. `host` has no brackets, also when it is an IPv6 address."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, with the brackets that an IPv6 address needs there."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the environment says, typed. None means unset; what that does is in the table."""

    data_dir: str
    database_url: str = field(repr=False)
    broker_url: str | None = field(repr=False)
    nexudus_url: str
    nexudus_username: str | None = field(repr=False)
    nexudus_password: str | None = field(repr=False)
    nexudus_totp: str | None = field(repr=False)
    nexudus_client_id: str | None
    hook_secrets: tuple[str, ...] = field(repr=False)
    relay_tokens: tuple[str, ...] = field(repr=False)
    smtp: SmtpServer | None
    mail_from: MailAddress | None
    mail_reply_to: MailAddress | None
    rules: str | None
    public_url: str
    listen: Listen
    mode: Mode
    check_every_s: int
    hooks_reenable: bool
    lesson_url: str | None
    course_url: str | None
    secret_key: str | None = field(repr=False)
    nexudus_limits: str
    zone: str
    lease_s: int
    workers: int
