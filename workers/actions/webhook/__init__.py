"""The action `webhook`: its name, and the endpoints of the settings that it posts to.

A program that only checks rules imports this, without what posts.
"""

from pathlib import Path

from schemas.endpoints import Endpoint, load_endpoints
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.strict_yaml import file_text

KIND = "webhook"
_EXPECTED = "COURSEBELL_ENDPOINTS: expected the path of the file of endpoints"


def read_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Return the endpoints that rules may post to; none without a file of them.

    Raises:
        ConfigurationError: every mistake in the file, or that it cannot be read.
    """
    if settings.endpoints is None:
        return ()
    path = Path(settings.endpoints)
    try:
        content = path.read_bytes()
    except OSError as error:
        # The value is not repeated: it may be the content of the file, with its secrets.
        why = (error.strerror or "the system refuses it").lower()
        raise ConfigurationError([f"{_EXPECTED}; it cannot be read: {why}"]) from None
    return load_endpoints(file_text(content, str(path)), str(path))


def can_others_read(settings: Settings) -> bool:
    """Return whether other users of this machine can read the file, which holds secrets."""
    if settings.endpoints is None:
        return False
    try:
        return bool(Path(settings.endpoints).stat().st_mode & 0o004)
    except OSError:
        return False
