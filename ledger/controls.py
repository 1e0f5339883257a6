"""Controls: the mode and other values operators set, and the secret key the ledger belongs to.

Settings only provide initial values; afterwards the ledger decides.

A ledger belongs to one secret key, because hashes and signatures made with another do not match.
It stores a fingerprint of the first key. A generated key cannot be derived from it; a short one
could be guessed.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    bindparam,
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

# Names of controls. The first two exist only in backups: when it was made, and the secret key.
BACKED_UP_AT = "backed_up_at"
SECRET_KEY = "secret_key"  # noqa: S105 - the name of a row, not a key
MOVED_AT = "moved_at"  # when this ledger was moved to another database
REPORT_STATE = "report_state"  # what was planned and said, by report and audience
RETAINED_UPTO = (
    "retained_upto"  # the time that ages counted from in the last complete retention run
)
REMEMBERED_SINCE = "remembered_since"  # since when machines store when they last used this ledger


@dataclass(frozen=True, slots=True)
class Sending:
    """The mode, and when sending started, if it did. `began_at` is when the ledger began."""

    mode: Mode
    started_at: datetime | None
    changed_at: datetime | None
    changed_by: str
    began_at: datetime | None = None

    @property
    def watching_since(self) -> datetime | None:
        """Since when events lead to emails: the start of sending, else of the ledger."""
        return self.started_at or self.began_at


def begin_with(connection: Connection, mode: Mode, now: datetime, client_id: str) -> None:
    """Store initial values where there are none.

    `client_id` is new; it identifies this ledger, also at sign-in to the source.
    """
    correct_start(connection, now)
    _keep_first(connection, "mode", mode, now)
    _keep_first(connection, "client_id", client_id, now)
    if sending_of(connection).mode == Mode.SENDING:
        _keep_first(connection, "sending_started_at", now.isoformat(), now)


_OF_SENDING = select(controls).where(
    controls.c.name.in_(("mode", "sending_started_at", "client_id"))
)


def sending_of(connection: Connection) -> Sending:
    """Return the current mode; `observe` for an empty ledger."""
    found = {row.name: row for row in connection.execute(_OF_SENDING)}
    mode, began, started = (found.get(name) for name in ("mode", "client_id", "sending_started_at"))
    if mode is None:
        return Sending(Mode.OBSERVE, None, None, "nobody")
    return Sending(
        Mode(json.loads(mode.value)),
        None if started is None else datetime.fromisoformat(json.loads(started.value)),
        mode.changed_at,
        mode.changed_by,
        None if began is None else began.changed_at,
    )


def change_mode(connection: Connection, mode: Mode, who: str, now: datetime) -> Sending:
    """Change the mode; the first change to sending is the start that `before-start` refers to.

    A change to sending releases or holds each action held for `observe`; see `resumption`.
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
    """Return what a change to sending would do now with the actions held for `observe`, as ids.

    Those under None become due and are checked again, so old or too many ones stay held. The others
    get a new reason: they happened before sending started (`before-start`), or may have been sent
    before the ledger was restored (`restored`).
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
    """Move a start time in the future to now; return now, or None if there is none.

    With a start set by a clock that was ahead, new events would count as older than the start.
    For a ledger on a server, the server's clock must agree.
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
    """Return the client id with which this deployment signs in to the source."""
    return value_of(connection, "client_id")


_VALUE_OF = select(controls.c.value).where(controls.c.name == bindparam("this"))


def value_of(connection: Connection, name: str) -> str | None:
    """Return the value of one control; None if it is not set."""
    text = connection.scalar(_VALUE_OF, {"this": name})
    return None if text is None else str(json.loads(text))


def set_value(connection: Connection, name: str, value: str, who: str, now: datetime) -> None:
    """Set the value of one control."""
    values = {"value": json.dumps(value), "changed_at": now, "changed_by": who[:64]}
    statement = insert_into(connection, controls).values(name=name, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[controls.c.name], set_=values)
    )


def delete_values(connection: Connection, *names: str) -> None:
    """Delete these controls."""
    connection.execute(delete(controls).where(controls.c.name.in_(names)))


def _keep_first(connection: Connection, name: str, value: str, now: datetime) -> None:
    statement = insert_into(connection, controls).values(
        name=name, value=json.dumps(value), changed_at=now, changed_by="settings"
    )
    connection.execute(statement.on_conflict_do_nothing(index_elements=[controls.c.name]))


_FORECAST = "accepted_forecast"


@dataclass(frozen=True, slots=True)
class AcceptedForecast:
    """The forecast that brakes are measured against, and who accepted it when.

    `per_day` is by rule how many emails it sends on its busiest day; `digest` is that of the rules
    it was made with.
    """

    per_day: Mapping[str, int]
    digest: str
    accepted_at: datetime
    accepted_by: str


def accept_forecast(
    connection: Connection, per_day: Mapping[str, int], digest: str, who: str, now: datetime
) -> None:
    """Store the forecast, replacing the one before, and log the decision."""
    forecast = {"per_day": dict(per_day), "digest": digest}
    set_value(connection, _FORECAST, json.dumps(forecast), who, now)
    log_decision(connection, "accept-forecast", who, now, forecast)


def accepted_forecast(connection: Connection) -> AcceptedForecast | None:
    """Return the accepted forecast, or None if there is none."""
    row = connection.execute(select(controls).where(controls.c.name == _FORECAST)).one_or_none()
    if row is None:
        return None
    forecast = json.loads(json.loads(row.value))
    return AcceptedForecast(forecast["per_day"], forecast["digest"], row.changed_at, row.changed_by)


_NAME = "secret_key_fingerprint"
_LABEL = b"coursebell: fingerprint of the secret key, 1"
_DIGITS = 32
_ANOTHER = (
    "COURSEBELL_SECRET_KEY: this is not the secret key that the ledger belongs to; give every "
    "process the same key, as COURSEBELL_SECRET_KEY or as the file secret_key in its data folder "
    "(`coursebell config accept-key` changes the key on purpose)"
)


def has_known_key(engine: Engine) -> bool:
    """Return whether the ledger belongs to a secret key. Raises `LedgerUnavailable`."""
    with reading(engine) as connection:
        return _known(connection) is not None


def is_key_of(connection: Connection, secret_key: str) -> bool | None:
    """Return whether the ledger belongs to this key; None if it belongs to none yet."""
    known = _known(connection)
    return None if known is None else hmac.compare_digest(known, _fingerprint(secret_key))


def check_key(engine: Engine, secret_key: str, now: datetime) -> None:
    """Check that the ledger belongs to this key; a new ledger takes it as its own.

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
            # If two processes race, the first one wins.
            connection.execute(statement.on_conflict_do_nothing(index_elements=[controls.c.name]))
            known = _known(connection)
    if known is None or not hmac.compare_digest(known, ours):
        raise ConfigurationError([_ANOTHER])


def accept_key(connection: Connection, secret_key: str, who: str, now: datetime) -> None:
    """Make this key the ledger's, replacing the one it had."""
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
    """Count the members' stored choices, which can be found only with the same key."""
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
