"""The secret key of an installation: from the settings, or a file that is made once."""

import contextlib
import os
import secrets
from datetime import datetime
from pathlib import Path

from ledger.controls import check_key, has_known_key
from ledger.engine import Engine
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.settings.values import MIN_SECRET_LENGTH

SECRET_KEY_FILE = "secret_key"  # noqa: S105 - a file in the data folder


def has_secret_key(settings: Settings) -> bool:
    """Return whether a secret key exists, so that none would be made."""
    return settings.secret_key is not None or _key_file(settings).exists()


def secret_key(settings: Settings) -> str:
    """Return the key for hashes and signed addresses. It is made once and kept in the data folder.

    Raises:
        ConfigurationError: the data folder cannot be written, or the file holds no key.
    """
    if settings.secret_key:
        return settings.secret_key
    path = _key_file(settings)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make_key(path)
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError(
            [f"COURSEBELL_DATA_DIR: cannot keep {path}: {_why(error)}"]
        ) from None
    except UnicodeDecodeError:
        key = ""
    if len(key) < MIN_SECRET_LENGTH:
        raise ConfigurationError(
            [
                (
                    f"COURSEBELL_DATA_DIR: {path} is not a key that Coursebell made: it is empty, "
                    "truncated or not text; restore that file"
                )
            ]
        )
    return key


def known_secret_key(settings: Settings) -> str | None:
    """Return the secret key; None if there is none or it cannot be read, which others report."""
    try:
        return secret_key(settings) if has_secret_key(settings) else None
    except ConfigurationError:
        return None


def checked_secret_key(settings: Settings, engine: Engine, now: datetime) -> str:
    """Return the secret key if it is the one this ledger belongs to. Raises as `check_key`.

    A missing key is made only for a ledger that never had one.
    """
    if not has_secret_key(settings) and has_known_key(engine):
        raise ConfigurationError(
            [
                (
                    "COURSEBELL_SECRET_KEY: the ledger belongs to a secret key that is not here; "
                    f"set it, or restore the file {_key_file(settings)} "
                    "(`coursebell config accept-key` begins with a new key on purpose)"
                )
            ]
        )
    key = secret_key(settings)
    check_key(engine, key, now)
    return key


def _key_file(settings: Settings) -> Path:
    return Path(settings.data_dir) / SECRET_KEY_FILE


def _make_key(path: Path) -> None:
    """Create the key file by linking a finished file, so that two processes agree on one key.

    It is synced to disk before it is used, so that a power cut does not leave it empty.
    """
    fresh = path.with_suffix(f".{secrets.token_hex(4)}")
    fresh.touch(mode=0o600)
    with fresh.open("w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(fresh)
    fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _why(error: OSError) -> str:
    return (error.strerror or "the system refuses it").lower()
