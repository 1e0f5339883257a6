"""What an operator set: the mode and other values; and the secret key the ledger belongs to.

Controls: what people decided about the service itself, with who and when.

The settings only give first values; afterwards what is here rules.

Holds a ledger to one secret key: hashes of addresses and signatures made with another are lost.

The ledger keeps a fingerprint of the key that was used first. Nothing leads back from it to a key
that was generated; a short one that a person made up could be found by trying.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    delete,
    false,
    func,
    not_,
    select,
    update,
)

from ledger.engine import insert_into, reading, writing
from ledger.interventions import AUTOMATIC, hold_actions, log_decision
from ledger.skew import clock_ahead
from ledger.tables import UNDECIDED_ACTIONS, actions, choices, controls, gaps
from schemas.actions import ActionState, Mode
from schemas.errors import ConfigurationError
from schemas.events import TOLERANCE, is_ahead
from schemas.reasons import Reason

# Names of controls. The first two are only in a backup: when it was made, and the key beside it.
BACKED_UP_AT = "backed_up_at"
SECRET_KEY = "secret_key"  # noqa: S105 - the name of a row, not a key
MOVED_AT = "moved_at"  # when all of this ledger was copied to another one, which is used instead
RETAINED_UPTO = "retained_upto"  # the time from which the last finished retention counted ages
REMEMBERED_SINCE = "remembered_since"  # since when a machine notes when it last used this ledger


@dataclass(frozen=True, slots=True)
class Sending:
    """The mode, and since when emails may be about things: None while nobody ever pressed start.

    `began_at` is when this ledger began.
    """

    mode: Mode
    started_at: datetime | None
    changed_at: datetime | None
    changed_by: str
    began_at: datetime | None = None

    @property
    def watching_since(self) -> datetime | None:
        """From when on things are written about: since sending began, or else since we began."""
        return self.started_at or self.began_at


def begin_with(connection: Connection, mode: Mode, now: datetime, client_id: str) -> None:
    """Put the first values in place, where there are none yet.

    `client_id` is new; it names this ledger and signs in at the source.
    """
    correct_start(connection, now)
    _keep_first(connection, "mode", mode, now)
    _keep_first(connection, "client_id", client_id, now)
    if sending_of(connection).mode == Mode.SENDING:
        _keep_first(connection, "sending_started_at", now.isoformat(), now)


def sending_of(connection: Connection) -> Sending:
    """Return the mode as it stands. An empty ledger observes."""
    row = connection.execute(select(controls).where(controls.c.name == "mode")).first()
    started = value_of(connection, "sending_started_at")
    if row is None:
        return Sending(Mode.OBSERVE, None, None, "nobody")
    began = select(controls.c.changed_at).where(controls.c.name == "client_id")
    return Sending(
        Mode(json.loads(row.value)),
        None if started is None else datetime.fromisoformat(started),
        row.changed_at,
        row.changed_by,
        connection.scalar(began),
    )


def change_mode(connection: Connection, mode: Mode, who: str, now: datetime) -> Sending:
    """Change the mode; the first change to sending is the start that `before-start` speaks of.

    A change to sending decides about each action that is held for `observe`; see `resumption`.
    """
    set_value(connection, "mode", mode, who, now)
    log_decision(connection, "mode", who, now, {"mode": mode})
    if mode == Mode.SENDING:
        _keep_first(connection, "sending_started_at", now.isoformat(), now)
    sending = sending_of(connection)
    if mode == Mode.SENDING and sending.started_at is not None:
        for reason, clause in _resumption(connection, sending.started_at).items():
            if reason is None:
                due = {"state": ActionState.WAITING, "reason": None}
                connection.execute(update(actions).where(clause).values(due))
            else:
                hold_actions(connection, reason, clause, now)
    return sending


def resumption(connection: Connection, now: datetime) -> dict[Reason | None, list[int]]:
    """Return what a change to sending would do now with the actions held for `observe`: their ids.

    Those under None are decided on again at once, so what is old or too much is held still. The
    others are held for that reason instead: they happened before sending began (`before-start`), or
    may have been sent before the ledger was restored (`restored`).
    """
    clauses = _resumption(connection, sending_of(connection).started_at or now)
    return {
        reason: list(connection.scalars(select(actions.c.id).where(clause).order_by(actions.c.id)))
        for reason, clause in clauses.items()
    }


def _resumption(
    connection: Connection, started_at: datetime
) -> dict[Reason | None, ColumnElement[bool]]:
    is_held = and_(UNDECIDED_ACTIONS, actions.c.state == ActionState.HELD)
    observed = and_(is_held, actions.c.reason == Reason.OBSERVE)
    is_since = actions.c.happened_at >= started_at
    restored_at = connection.scalar(select(func.max(gaps.c.ended_at)))
    is_older = false() if restored_at is None else actions.c.planned_at < restored_at
    return {
        None: and_(observed, is_since, not_(is_older)),
        Reason.BEFORE_START: and_(observed, not_(is_since)),
        Reason.RESTORED: and_(observed, is_since, is_older),
    }


def correct_start(connection: Connection, now: datetime) -> datetime | None:
    """Correct a start that lies in the future to now; return now, or None if none does.

    A ledger or sending that was started by a clock that was ahead would call what happens today
    older than itself. Where the ledger is on a server, its clock has to agree.
    """
    ahead = clock_ahead(connection, now)
    if ahead is not None and ahead < timedelta():
        now -= ahead
    began = connection.execute(
        update(controls)
        .where(controls.c.name == "client_id", controls.c.changed_at > now + TOLERANCE)
        .values(changed_at=now)
    )
    started = value_of(connection, "sending_started_at")
    if started is not None and is_ahead(datetime.fromisoformat(started), now):
        set_value(connection, "sending_started_at", now.isoformat(), AUTOMATIC, now)
    elif began.rowcount == 0:
        return None
    log_decision(connection, "start", AUTOMATIC, now, {"started_at": now.isoformat()})
    return now


def client_id_of(connection: Connection) -> str | None:
    """Return the client id under which this deployment signs in at the source."""
    return value_of(connection, "client_id")


def value_of(connection: Connection, name: str) -> str | None:
    """Return the value of one control; None if it was never set."""
    text = connection.scalar(select(controls.c.value).where(controls.c.name == name))
    return None if text is None else str(json.loads(text))


def set_value(connection: Connection, name: str, value: str, who: str, now: datetime) -> None:
    """Set the value of one control."""
    values = {"value": json.dumps(value), "changed_at": now, "changed_by": who[:64]}
    statement = insert_into(connection, controls).values(name=name, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[controls.c.name], set_=values)
    )


def delete_values(connection: Connection, *names: str) -> None:
    """Remove these controls."""
    connection.execute(delete(controls).where(controls.c.name.in_(names)))


def _keep_first(connection: Connection, name: str, value: str, now: datetime) -> None:
    statement = insert_into(connection, controls).values(
        name=name, value=json.dumps(value), changed_at=now, changed_by="settings"
    )
    connection.execute(statement.on_conflict_do_nothing(index_elements=[controls.c.name]))


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


def count_choices(connection: Connection) -> int:
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
