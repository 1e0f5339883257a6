"""Holds a ledger to one secret key: hashes of addresses and signatures made with another are lost.

The ledger keeps a fingerprint of the key that was used first. Nothing leads back from it to a key
that was generated; a short one that a person made up could be found by trying.
"""

import hashlib
import hmac
import json
from datetime import datetime

from sqlalchemy import Connection, Engine, func, select

from ledger.engine import reading, writing
from ledger.tables import choices, controls
from ledger.upsert import insert_into
from schemas.errors import ConfigurationError

_NAME = "secret_key_fingerprint"
_LABEL = b"coursebell: fingerprint of the secret key, 1"
_DIGITS = 32
_ANOTHER = (
    "COURSEBELL_SECRET_KEY: this is not the secret key that the ledger belongs to; give every "
    "process the same key, as COURSEBELL_SECRET_KEY or as the file secret_key in its data folder "
    "(`coursebell config accept-key` changes the key on purpose)"
)


def has_known_key(engine: Engine) -> bool:
    """Return whether a secret key was used with this ledger before. Raises `LedgerUnavailable`."""
    with reading(engine) as connection:
        return _known(connection) is not None


def is_key_of(connection: Connection, secret_key: str) -> bool | None:
    """Return whether the ledger belongs to this key; None if none was used with it before."""
    known = _known(connection)
    return None if known is None else hmac.compare_digest(known, _fingerprint(secret_key))


def check_key(engine: Engine, secret_key: str, now: datetime) -> None:
    """Check that the ledger belongs to this key; the first key that comes is the ledger's.

    Raises:
        ConfigurationError: the ledger belongs to another key.
        LedgerUnavailable: it could not be read or written.
    """
    ours = _fingerprint(secret_key)
    with reading(engine) as connection:
        known = _known(connection)
    if known is None:
        with writing(engine) as connection:
            values = {"value": json.dumps(ours), "changed_at": now, "changed_by": "settings"}
            statement = insert_into(connection, controls).values(name=_NAME, **values)
            # Two that come first together: the ledger belongs to one of them.
            connection.execute(statement.on_conflict_do_nothing(index_elements=[controls.c.name]))
            known = _known(connection)
    if known is None or not hmac.compare_digest(known, ours):
        raise ConfigurationError([_ANOTHER])


def accept_key(connection: Connection, secret_key: str, who: str, now: datetime) -> None:
    """Make this key the ledger's, in place of the one it had."""
    values = {
        "value": json.dumps(_fingerprint(secret_key)),
        "changed_at": now,
        "changed_by": who[:64],
    }
    statement = insert_into(connection, controls).values(name=_NAME, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[controls.c.name], set_=values)
    )


def choices_kept(connection: Connection) -> int:
    """Return how many choices of members are kept under hashes, which only their key can find."""
    return connection.scalar(select(func.count()).select_from(choices)) or 0


class KeyCheck:
    """Checks the key of a running process once, as soon as the ledger can be read."""

    def __init__(self, engine: Engine, secret_key: str) -> None:
        self._engine = engine
        self._secret_key = secret_key
        self._passed = False

    def check(self, now: datetime) -> None:
        """Check the key unless it passed before. Raises as `check_key`."""
        if not self._passed:
            check_key(self._engine, self._secret_key, now)
            self._passed = True


def _known(connection: Connection) -> str | None:
    value = connection.scalar(select(controls.c.value).where(controls.c.name == _NAME))
    return None if value is None else str(json.loads(value))


def _fingerprint(secret_key: str) -> str:
    return hmac.new(secret_key.encode(), _LABEL, hashlib.sha256).hexdigest()[:_DIGITS]
