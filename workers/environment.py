"""Reads the settings from the environment and their `_FILE` variants, the only I/O of settings.

Any setting may be given as `NAME_FILE`, the path of a file that holds it, as container platforms
mount secrets. `schemas.settings` decides what the settings mean.
"""

from collections.abc import Mapping
from pathlib import Path

from schemas.errors import ConfigurationError
from schemas.settings import (
    PREFIX,
    SETTINGS,
    Settings,
    from_platform,
    is_quoted,
    is_set,
    load_settings,
)
from workers.broker import unusable_files

_FILE = "_FILE"
_LARGEST_FILE = 64 * 1024  # bytes; no setting is longer, and a wrong path may never end


def load(environ: Mapping[str, str]) -> Settings:
    """Read the files and load the settings, once, at the start of a process.

    The text of the file that `NAME_FILE` names takes the place of `NAME`, without one newline at
    its end. Where ours is unset, a platform's `PORT`, `DATABASE_URL` or `REDIS_URL` takes its place
    (`from_platform`). An empty text counts as unset, also for `NAME_FILE`.

    Raises:
        ConfigurationError: with the mistakes of both steps together, or with each certificate
            file that the broker's address names and that cannot be used.
    """
    found, mistakes = _read(environ)
    try:
        settings = load_settings(found)
    except ConfigurationError as error:
        raise ConfigurationError(mistakes + error.mistakes) from None
    if settings.broker_url is not None:
        files = unusable_files(settings.broker_url)
        mistakes += [f"COURSEBELL_BROKER_URL: {mistake}" for mistake in files]
    if mistakes:
        raise ConfigurationError(mistakes)
    return settings


def _read(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    found = {
        name: text
        for name, text in environ.items()
        if name.startswith(PREFIX) and is_set(name, environ)
    }
    mistakes: list[str] = []
    for doc in SETTINGS:
        path = found.pop(doc.name + _FILE, None)
        if path is None:
            continue
        if doc.name in found:
            # Neither of the two is checked further.
            del found[doc.name]
            mistakes.append(f"{doc.name}: expected this or {doc.name}_FILE, not both")
            continue
        try:
            found[doc.name] = _content(path[1:-1] if is_quoted(path) else path)
        except (OSError, ValueError) as error:
            # The path is not repeated: it may be the secret itself, set under the wrong name.
            mistakes.append(f"{doc.name}{_FILE}: expected a file that can be read; {_why(error)}")
    taken, mistaken = from_platform(environ)
    return taken | found, mistakes + mistaken


def _content(path: str) -> str:
    with Path(path).open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise OSError(0, f"it is larger than {_LARGEST_FILE} bytes")
    text = content.decode("utf-8-sig")
    return text.removesuffix("\n").removesuffix("\r")


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or "the system refuses it"
    return "it is not UTF-8 text" if isinstance(error, UnicodeError) else "its path is impossible"
