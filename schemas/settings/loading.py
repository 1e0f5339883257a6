"""Loads typed settings from the environment, and describes them without secrets.

All mistakes are reported at once, each with the setting and what was expected. They never repeat
the value: a password pasted into the wrong setting must not reach a log.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from marshmallow import ValidationError

from schemas.errors import ConfigurationError
from schemas.fields import InternalSchema
from schemas.settings import addresses
from schemas.settings.mail import MailAddress, SmtpServer, dkim_mistakes, login_mistakes
from schemas.settings.table import PREFIX, SETTINGS, SettingDoc, Settings
from schemas.settings.values import whole_number
from schemas.text import Text, closest

_FILE = "_FILE"
_BLANKS = " \t"
_QUOTES = ("'", '"')
_SPECIAL_IN_DOUBLE_QUOTES = frozenset('"\\$`')  # a shell would have changed or removed these
_HIGHEST_PORT = 65_535
_BY_NAME = {doc.name: doc for doc in SETTINGS}


def _field(doc: SettingDoc) -> Text[Any]:
    default = {} if doc.default is not None else {"load_default": doc.unset}
    return Text(doc.parse, many_lines=doc.many_lines, data_key=doc.name, **default)


class _SettingsSchema(InternalSchema):
    record_class = dict


_SCHEMA = _SettingsSchema.from_dict({doc.attribute: _field(doc) for doc in SETTINGS})()


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings of this environment, with defaults for the rest.

    Reads only names that begin with `COURSEBELL_`. An empty text counts as unset.
    Quotes around a whole value are removed (`unquoted`). Names that end in `_FILE` must have been
    resolved before (`workers.environment` does that).

    Raises:
        ConfigurationError: with one sentence for each mistake, in the order of the table, each
            beginning with the setting's name. An unknown name is a mistake too.
    """
    stated: dict[str, str] = {}
    mistakes: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX):
            continue
        try:
            value = plain_text(name, text)
        except ValidationError as error:
            mistakes[name] = error.messages
        else:
            stated |= {name: value} if value else {}
    defaults = {doc.name: doc.default for doc in SETTINGS if doc.default is not None}
    try:
        loaded: dict[str, Any] = _SCHEMA.load({**defaults, **stated})
    except ValidationError as errors:
        mistakes |= errors.messages_dict
    else:
        unfit = login_mistakes(loaded) | dkim_mistakes(loaded)
        unfit |= addresses.provider_mistakes(loaded)
        mistakes = {name: [text] for name, text in unfit.items()} | mistakes
    if mistakes:
        raise ConfigurationError(_sentences(mistakes))
    in_data_dir = f"sqlite:///{loaded['data_dir']}/coursebell.db"
    return Settings(**{**loaded, "database_url": loaded["database_url"] or in_data_dir})


def _sentences(errors: Mapping[str, Any]) -> list[str]:
    known = [f"{name}: {sentence}" for name in _BY_NAME for sentence in errors.get(name, ())]
    unknown = sorted(name for name in errors if name not in _BY_NAME)
    return known + [f"{ascii(name)[1:-1]}: {_unknown(name)}" for name in unknown]


def _unknown(name: str) -> str:
    """Return the sentence about an unknown setting, with the name that was probably meant."""
    if name.removesuffix(_FILE) in _BY_NAME:
        return "the caller must read this file first; this is a fault of Coursebell"
    names = {one + _FILE if name.endswith(_FILE) else one for one in _BY_NAME}
    return f"there is no such setting{closest(name, names, prefix=PREFIX)}"


def plain_text(name: str, text: str) -> str:
    """Return a setting's text without the quotes and spaces around it.

    Secrets keep their spaces. An empty result means unset.

    Raises:
        ValidationError: see `unquoted`.
    """
    if name in _BY_NAME and _BY_NAME[name].secret:
        return unquoted(text)
    return unquoted(text.strip(_BLANKS)).strip(_BLANKS)


def unquoted(text: str) -> str:
    """Return the text without one pair of equal quotes around it.

    A shell, systemd and Compose remove the quotes of an env file; `docker run --env-file` and some
    platforms pass them on. Removing one pair makes the same file mean the same everywhere.

    Raises:
        ValidationError: a shell would read the text inside the quotes differently.
    """
    if not is_quoted(text):
        return text
    inside = text[1:-1]
    special = {"'"} if text[0] == "'" else _SPECIAL_IN_DOUBLE_QUOTES
    if special & set(inside):
        raise ValidationError(
            "arrived with quotes around it and special characters inside, which a shell and Docker"
            " read differently; remove the quotes, or put the value into a file and set the name"
            " with _FILE"
        )
    return inside


def is_quoted(text: str) -> bool:
    """Whether the text begins and ends with the same quote."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES


def is_set(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether the environment has this name with more than spaces or empty quotes."""
    try:
        return bool(plain_text(name, environ.get(name, "")))
    except ValidationError:
        return True


# --- What a platform with a Procfile sets: PORT, DATABASE_URL and REDIS_URL -----------------------


def _listen(text: str) -> str:
    return f"0.0.0.0:{whole_number(1, _HIGHEST_PORT)(text)}"


def _database(text: str) -> str:
    if addresses.database_url(text).startswith("sqlite"):
        raise ValidationError("expected postgresql://user:password@host/name")
    return text


def _broker(text: str) -> str:
    addresses.broker_url(text)
    return text


# The setting, the variable, and the conversion. Other applications use the same names. A value that
# cannot be ours is refused: if it were ignored, a second, empty ledger would be opened silently.
_PLATFORM: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("COURSEBELL_LISTEN", "PORT", _listen),
    ("COURSEBELL_DATABASE_URL", "DATABASE_URL", _database),
    ("COURSEBELL_BROKER_URL", "REDIS_URL", _broker),
)
PLATFORM_NAMES = tuple(variable for _, variable, _ in _PLATFORM)


def platform_sources(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that are unset and come from a platform's variable instead.

    Maps the setting's name to the variable's. `environ` is the whole environment, before `_FILE`
    names are resolved.
    """
    return {
        name: variable
        for name, variable, _ in _PLATFORM
        if is_set(variable, environ)
        and not is_set(name, environ)
        and not is_set(name + _FILE, environ)
    }


def from_platform(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the settings that come from a platform's variables, and one sentence per mistake."""
    sources = platform_sources(environ)
    found, mistakes = {}, []
    for name, variable, convert in _PLATFORM:
        if name not in sources:
            continue
        try:
            found[name] = convert(plain_text(variable, environ[variable]))
        except ValidationError as error:
            mistakes.append(
                f"{variable}: {error.messages[0]}; it is read because {name} is not set, so set"
                f" {name} if {variable} belongs to another application"
            )
    return found, mistakes


# --- Settings as `config show` lists them ---------------------------------------------------------

_LONG_ENOUGH = 16  # characters; shorter secrets are accepted, with a warning
_MAKE = "`openssl rand -hex 32` prints one"
# Secrets that are made for Coursebell alone, and how to replace each.
_CHOSEN = {
    "COURSEBELL_HOOK_SECRETS": f"put a longer one first, and set it at Nexudus; {_MAKE}",
    "COURSEBELL_RELAY_TOKENS": f"put a longer one first, and give it to the relay; {_MAKE}",
    "COURSEBELL_SECRET_KEY": f"use a longer one, then `coursebell config accept-key`; {_MAKE}",
}
_PASSWORD = re.compile(r"^([^:/]+://[^:@/]*):.*@", re.DOTALL)
_PASSWORD_IN_QUERY = re.compile(r"([?&][^=&]*pass[^=&]*=)[^&#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting as it was read, without its secret.

    `origin` is `default`, `environment`, `file`, or a platform's variable such as `PORT`.
    `unquoted`: quotes around the value were removed. `warning` is a sentence about a secret that
    could be guessed, or a value instead of which another is used. `read` is false if the value
    cannot be used.
    """

    name: str
    value: str
    origin: str
    read: bool
    unquoted: bool
    warning: str | None


@dataclass(frozen=True, slots=True)
class WeakSecret:
    """A setting whose secret could be guessed, and what to do; without the value."""

    setting: str
    found: str
    fix: str

    @property
    def sentence(self) -> str:
        """Return the warning as one sentence."""
        return f"{self.setting}: {self.found} and might be guessed; {self.fix}"


def describe(settings: Settings, environ: Mapping[str, str]) -> list[SettingLine]:
    """Return a line for each setting, in the order of the table.

    `environ` is the environment they were loaded from, before `_FILE` names were resolved; only its
    names are used. Shows a secret as its length, and an address without its password.
    """
    sources = platform_sources(environ)
    weak = {one.setting: one.sentence for one in weak_secrets(settings)}
    return [
        SettingLine(
            doc.name,
            _shown(getattr(settings, doc.attribute), secret=doc.secret),
            _origin(doc.name, environ, sources),
            read=True,
            unquoted=is_set(doc.name, environ) and is_quoted(environ[doc.name].strip()),
            warning=weak.get(doc.name),
        )
        for doc in SETTINGS
    ]


def weak_secrets(settings: Settings) -> list[WeakSecret]:
    """Return our own secrets that are short enough to be guessed, in the order of the table.

    Passwords are not checked: their length is chosen elsewhere.
    """
    found = []
    for name, fix in _CHOSEN.items():
        value = getattr(settings, _BY_NAME[name].attribute)
        values = value if isinstance(value, tuple) else (value or "",)
        short = sum(0 < len(one) < _LONG_ENOUGH for one in values)
        if short:
            of = f"{short} of {len(values)} has" if len(values) > 1 else "it has"
            found.append(WeakSecret(name, f"{of} fewer than {_LONG_ENOUGH} characters", fix))
    return found


def _origin(name: str, environ: Mapping[str, str], sources: Mapping[str, str]) -> str:
    if is_set(name + _FILE, environ):
        return "file"
    if is_set(name, environ):
        return "environment"
    return sources.get(name, "default")


def _shown(value: object, *, secret: bool) -> str:
    if value is None or value == ():
        return "unset"
    values = value if isinstance(value, tuple) else (value,)
    if secret:
        lengths = " and ".join(str(len(one)) for one in values)
        return f"{'' if len(values) == 1 else f'{len(values)} '}set, {lengths} characters"
    match value:
        case bool():
            return str(value).lower()
        case SmtpServer(host=host, port=port, username=username, password=password, tls=tls):
            hidden = "" if password is None else ":***"
            login = f"{quote(username, safe='')}{hidden}@" if username else ""
            return f"smtp://{login}{f'[{host}]' if ':' in host else host}:{port}?tls={tls}"
        case MailAddress(name=person, address=address):
            return f"{person} <{address}>" if person else address
    text = ", ".join(map(str, values))
    return _PASSWORD_IN_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))
