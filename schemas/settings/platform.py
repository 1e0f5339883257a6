"""Variables that platforms with a Procfile set: `PORT`, `DATABASE_URL` and `REDIS_URL`.

Each counts only where our own setting is unset. Other applications use the same names, so a value
that cannot be meant for us is refused: to ignore it would silently open a second, empty ledger.
"""

from collections.abc import Callable, Mapping

from marshmallow import ValidationError

from schemas.settings import addresses, values
from schemas.settings.loading import is_set, plain_text

_HIGHEST_PORT = 65_535


def _listen(text: str) -> str:
    return f"0.0.0.0:{values.whole_number(1, _HIGHEST_PORT)(text)}"


def _database(text: str) -> str:
    if addresses.database_url(text).startswith("sqlite"):
        raise ValidationError("expected postgresql://user:password@host/name")
    return text


def _broker(text: str) -> str:
    addresses.broker_url(text)
    return text


# The setting, the variable, and what turns one into the other.
_PLATFORM: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("COURSEBELL_LISTEN", "PORT", _listen),
    ("COURSEBELL_DATABASE_URL", "DATABASE_URL", _database),
    ("COURSEBELL_BROKER_URL", "REDIS_URL", _broker),
)
PLATFORM_NAMES = tuple(variable for _, variable, _ in _PLATFORM)


def platform_sources(environ: Mapping[str, str]) -> dict[str, str]:
    """Return which settings come from a platform's variable: the setting's name to the variable's.

    `environ` is the whole environment, before `_FILE` names are resolved.
    """
    return {
        name: variable
        for name, variable, _ in _PLATFORM
        if is_set(variable, environ)
        and not is_set(name, environ)
        and not is_set(f"{name}_FILE", environ)
    }


def from_platform(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the settings that come from a platform's variables, and one sentence a mistake."""
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
