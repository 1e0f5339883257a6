"""The settings as an engineer may see them: each with where it came from, and no secret.

What is shown is what was understood, not what was written, so a surprise in reading shows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from schemas.settings.loading import ATTRIBUTES, is_set
from schemas.settings.platform import platform_sources
from schemas.settings.quotes import is_quoted
from schemas.settings.shape import MailAddress, Settings, SmtpServer
from schemas.settings.table import SETTINGS

_LONG_ENOUGH = 16  # characters; shorter ones are accepted, with a warning
_MAKE = "`openssl rand -hex 32` prints one"
# What is chosen for Coursebell alone, and how it is replaced.
_CHOSEN = {
    "COURSEBELL_HOOK_SECRETS": f"put a longer one first, and set it at Nexudus; {_MAKE}",
    "COURSEBELL_RELAY_TOKENS": f"put a longer one first, and give it to the relay; {_MAKE}",
    "COURSEBELL_SECRET_KEY": f"use a longer one, then `coursebell config accept-key`; {_MAKE}",
}
_PASSWORD = re.compile(r"^([^:/]+://[^:@/]*):.*@", re.DOTALL)
_PASSWORD_IN_QUERY = re.compile(r"([?&][^=&]*pass[^=&]*=)[^&#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting as it stands.

    `origin` is `default`, `environment`, `file`, or the variable of a platform that it was taken
    from, such as `PORT`. `unquoted`: the environment has it with quotes around it, which were
    removed. Without `read` this version does nothing with it yet. `warning` is a sentence about a
    secret that can be guessed.
    """

    name: str
    value: str
    origin: str
    read: bool
    unquoted: bool
    warning: str | None


@dataclass(frozen=True, slots=True)
class WeakSecret:
    """A setting with a secret that might be guessed, and what to do; never the value."""

    setting: str
    found: str
    fix: str

    @property
    def sentence(self) -> str:
        """Return all of it in one sentence."""
        return f"{self.setting}: {self.found} and might be guessed; {self.fix}"


def describe(settings: Settings, environ: Mapping[str, str]) -> list[SettingLine]:
    """List every setting in the order of the table.

    `environ` is what the settings were loaded from, before `_FILE` names were resolved; it is only
    asked which names are set. A secret appears as its length, an address without its password.
    """
    sources, weak = (
        platform_sources(environ),
        {one.setting: one.sentence for one in weak_secrets(settings)},
    )
    return [
        SettingLine(
            doc.name,
            _shown(doc.name, settings, secret=doc.secret),
            _origin(doc.name, environ, sources),
            doc.read,
            is_set(doc.name, environ) and is_quoted(environ[doc.name].strip()),
            weak.get(doc.name),
        )
        for doc in SETTINGS
    ]


def weak_secrets(settings: Settings) -> list[WeakSecret]:
    """Return those of our own secrets that are short enough to be guessed, in the table's order.

    Passwords are not ours to choose the length of.
    """
    found = []
    for name, fix in _CHOSEN.items():
        value = getattr(settings, ATTRIBUTES[name])
        values = value if isinstance(value, tuple) else (value or "",)
        short = sum(0 < len(one) < _LONG_ENOUGH for one in values)
        if short:
            of = f"{short} of {len(values)} has" if len(values) > 1 else "it has"
            found.append(WeakSecret(name, f"{of} fewer than {_LONG_ENOUGH} characters", fix))
    return found


def _origin(name: str, environ: Mapping[str, str], sources: Mapping[str, str]) -> str:
    if is_set(f"{name}_FILE", environ):
        return "file"
    if is_set(name, environ):
        return "environment"
    return sources.get(name, "default")


def _shown(name: str, settings: Settings, *, secret: bool) -> str:
    value = getattr(settings, ATTRIBUTES[name])
    if value is None or value == ():
        return "unset"
    if secret:
        return _lengths(value if isinstance(value, tuple) else (value,))
    match value:
        case bool():
            value = str(value).lower()
        case SmtpServer():
            return _smtp_url(value)
        case MailAddress(name=person, address=address):
            return f"{person} <{address}>" if person else address
    return _without_password(str(value))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _lengths(secrets: tuple[str, ...]) -> str:
    lengths = " and ".join(str(len(secret)) for secret in secrets)
    return f"{'' if len(secrets) == 1 else f'{len(secrets)} '}set, {lengths} characters"


def _smtp_url(server: SmtpServer) -> str:
    login = f"{quote(server.username, safe='')}:***@" if server.username else ""
    return f"smtp://{login}{_bracketed(server.host)}:{server.port}?tls={server.tls}"


def _without_password(address: str) -> str:
    shortened = _PASSWORD.sub(r"\1:***@", address)
    return _PASSWORD_IN_QUERY.sub(r"\1***", shortened)
