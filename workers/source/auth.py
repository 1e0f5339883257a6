"""Signs in at the source: one token for all processes, renewed by one of them (contract, 1).

One process requests a token while the others wait: a second password grant for the same client id
ends the first one's tokens. A refused token is replaced once; after a second refusal a person must
act, so that no retry loop locks the user out.
"""

import json
from base64 import b32decode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus

import pyotp
import structlog

from ledger.clock import Clock
from ledger.controls import client_id_of
from ledger.engine import Connection, Engine, reading, writing
from ledger.heartbeats import is_leased, release_lease, take_lease
from ledger.outages import retry_refused
from ledger.source_state import SignIn, sign_in_of, store_sign_in
from schemas.errors import RecordUnreadable, SignInRefused, SourceRefused, SourceUnavailable
from schemas.events import TOLERANCE, is_ahead
from schemas.records.answers import Token, load_token
from schemas.settings import Settings
from workers.source.answers import Answer, Missing, read_answer
from workers.source.http import Transport

REFRESH_LIFE = timedelta(days=15)  # of a refresh token, counted from when it was given
_CODE_LEASE = "second-factor"
_CODE_S = 30.0  # an authenticator app makes one code per half minute
_BAD_GRANT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}  # documents differ

_SETTINGS = "COURSEBELL_NEXUDUS_USERNAME and COURSEBELL_NEXUDUS_PASSWORD"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The source's user; without a password, `coursebell login` signs in.

    `client_id` None: the one generated for this deployment. `totp_key` is the key of the user's
    authenticator app, in base32; None if there is no second factor, or a person types its codes.
    """

    username: str | None
    password: str | None = field(repr=False)
    client_id: str | None = None
    totp_key: str | None = field(default=None, repr=False)

    @property
    def has_password(self) -> bool:
        """Whether a password grant can be asked for without a person."""
        return bool(self.username and self.password)

    def fix(self) -> str:
        """Return what an operator can do when the source refuses our sign-in."""
        if not self.has_password:
            return "run `coursebell login`"
        if self.totp_key is not None:
            return f"fix {_SETTINGS}, or COURSEBELL_NEXUDUS_TOTP and this machine's clock"
        return (
            f"fix {_SETTINGS}; with a second factor, set COURSEBELL_NEXUDUS_TOTP or run"
            " `coursebell login`"
        )


class InvalidGrant(SignInRefused):
    """The source refused the password, the code or the refresh token."""


def credentials_of(settings: Settings) -> Credentials:
    """Return the user of the source from the settings."""
    return Credentials(
        settings.nexudus_username,
        settings.nexudus_password,
        settings.nexudus_client_id,
        settings.nexudus_totp,
    )


class _App(pyotp.TOTP):
    """An authenticator app with a key of any length; the source often uses 80 bits."""

    def byte_secret(self) -> bytes:
        return b32decode(self.secret + "=" * (-len(self.secret) % 8))


class Grants:
    """Requests tokens from the source."""

    def __init__(
        self,
        engine: Engine,
        transport: Callable[[], Transport],
        credentials: Credentials,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._transport = transport
        self._credentials = credentials

    def by_refresh(self, refresh_token: str) -> Token:
        """Return new tokens for a refresh token, which can be used once.

        Raises:
            InvalidGrant: it is too old, or another sign-in of this client id ended it.
            SourceError: see `read_answer`.
        """
        found = self._ask({"grant_type": "refresh_token", "refresh_token": refresh_token})
        # Without a new one the old one stays valid (RFC 6749, section 6).
        if found.refresh_token is None:
            return Token(found.access_token, refresh_token, found.expires_in)
        return found

    def by_password(
        self, now: datetime, *, password: str | None = None, code: str | None = None
    ) -> Token:
        """Return new tokens, which end all others of this client id.

        `password` and `code` were typed by a person; without them the settings are used.

        Raises:
            InvalidGrant: the source refused them.
            SourceUnavailable: also if the code of this half minute was sent before.
            SourceThrottled, SourceRefused: see `read_answer`.
        """
        user = self._credentials
        sent_code = code or self._own_code(now)
        form = {
            "grant_type": "password",
            "username": user.username or "",
            "password": password or user.password or "",
            **({"totp": sent_code} if sent_code else {}),
        }
        try:
            return self._ask(form)
        except InvalidGrant:
            raise InvalidGrant(f"the source does not accept our sign-in: {user.fix()}") from None

    def _own_code(self, now: datetime) -> str | None:
        """Return the current code; all processes together may send each code once."""
        key = self._credentials.totp_key
        if key is None:
            return None
        left_s = _CODE_S - now.timestamp() % _CODE_S
        with writing(self._engine) as connection:
            holder = self._clock.new_id()
            if not take_lease(connection, _CODE_LEASE, holder, now, lease_s=left_s):
                raise SourceUnavailable(
                    "the code of this half minute was sent already", retry_after_s=left_s
                )
        return _App(key).at(now)

    def _ask(self, form: dict[str, str]) -> Token:
        with reading(self._engine) as connection:
            client_id = self._credentials.client_id or client_id_of(connection) or ""
        # Documented as a header first and as a field later; both are sent (contract, section 1).
        answer = self._transport().post_form(
            "token", {**form, "client_id": client_id}, {"client_id": client_id}
        )
        if _is_invalid_grant(answer):
            raise InvalidGrant("the source answered invalid_grant")
        found = read_answer(answer)
        if isinstance(found, Missing):
            raise SourceUnavailable("the source's sign-in did not answer")
        try:
            return load_token(found)
        except RecordUnreadable:
            raise SourceUnavailable("the source's sign-in answered something else") from None


def _is_invalid_grant(answer: Answer) -> bool:
    if answer.status not in _BAD_GRANT:
        return False
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("error") == "invalid_grant"


_LEASE = "sign-in"
_LEASE_S = 120.0  # longer than two exchanges may take
_EARLY_S = 60.0  # a token is not used in the last minute of its life
_WAIT_S = 0.1
_REFUSED_FOR_S = 300.0
_YOUNG = timedelta(seconds=60)
_SHORTEST_LIFE_S = 5.0  # so that an absurd `expires_in` cannot cause constant sign-ins
_LONGEST_LIFE_S = (
    REFRESH_LIFE - timedelta(days=1)
).total_seconds()  # renewed while it still can be

_log = structlog.get_logger("source")


class Tokens:
    """Hands out the shared token."""

    def __init__(
        self,
        engine: Engine,
        transport: Callable[[], Transport],
        credentials: Credentials | None,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._credentials = credentials or Credentials(None, None)
        self._grants = Grants(engine, transport, self._credentials, clock)
        self._clock = clock
        self._kept: SignIn | None = None

    def current(
        self, *, refused_version: int | None = None, keep: Callable[[], None] = lambda: None
    ) -> SignIn:
        """Return a usable sign-in, newer than `refused_version` when the source refused that one.

        If the refused one was made a moment ago it is returned, as signing in again would not help.
        `keep` is called while another process signs in; an exception of it ends the wait.

        Raises:
            SourceRefused: there are no credentials, or the source refused them.
            SourceUnavailable: the source did not answer, or another process is still signing in.
        """
        # After a refusal read the ledger: another process may have signed in meanwhile.
        if refused_version is None and self._kept is not None and self._usable(self._kept, None):
            return self._kept
        holder = self._clock.new_id()
        deadline = self._clock.monotonic() + _LEASE_S
        while self._clock.monotonic() < deadline:
            with reading(self._engine) as connection:
                kept, ours = self._looked_up(connection, refused_version), False
                is_taken = self._is_taken(connection)
            # Write only if the lease is free, or all processes would queue up during a sign-in.
            if not is_taken and not self._usable(kept, refused_version):
                kept, ours = self._kept_or_ours(holder, refused_version)
            if ours:
                kept = self._renew_alone(kept, holder)
            if ours or self._usable(kept, refused_version):
                self._kept = kept
                return kept
            keep()
            self._clock.sleep(_WAIT_S)
        raise SourceUnavailable("another process is still signing in")

    def newer_than(self, version: int) -> SignIn | None:
        """Return a newer sign-in that another process made, if it can be used."""
        with reading(self._engine) as connection:
            kept = sign_in_of(connection)
        if kept.version <= version or not self._usable(kept, version):
            return None
        self._kept = kept
        return kept

    def sign_in_with(self, password: str, code: str | None) -> SignIn:
        """Sign in with a typed password, replacing any sign-in; all workers then use it.

        Raises:
            InvalidGrant: the source refused it; the stored sign-in stays.
            SourceError: as `Grants.by_password`.
        """
        holder = self._clock.new_id()
        deadline = self._clock.monotonic() + _LEASE_S
        while not self._taken(holder):
            if self._clock.monotonic() > deadline:
                raise SourceUnavailable("another process is still signing in")
            self._clock.sleep(_WAIT_S)
        with writing(self._engine) as connection:
            kept = sign_in_of(connection)
        now = self._clock.now()
        try:
            kept = _made(kept, self._grants.by_password(now, password=password, code=code), now)
        finally:
            self._keep(kept, holder)
        self._ask_again(now)
        return kept

    def _is_taken(self, connection: Connection) -> bool:
        return is_leased(connection, _LEASE, self._clock.now(), lease_s=_LEASE_S)

    def _taken(self, holder: str) -> bool:
        """Take the lease if it is free. Waiting for it takes no write transaction."""
        with reading(self._engine) as connection:
            if self._is_taken(connection):
                return False
        with writing(self._engine) as connection:
            return take_lease(connection, _LEASE, holder, self._clock.now(), lease_s=_LEASE_S)

    def _kept_or_ours(self, holder: str, refused_version: int | None) -> tuple[SignIn, bool]:
        """Return the stored sign-in, and whether we hold the lease to make a new one."""
        with writing(self._engine) as connection:
            kept = self._looked_up(connection, refused_version)
            if self._usable(kept, refused_version) or not take_lease(
                connection, _LEASE, holder, self._clock.now(), lease_s=_LEASE_S
            ):
                return kept, False
            # The last holder of the lease may have signed in since we read it.
            kept = self._looked_up(connection, refused_version)
            if not self._usable(kept, refused_version):
                return kept, True
            release_lease(connection, _LEASE, holder)
            return kept, False

    def _looked_up(self, connection: Connection, refused_version: int | None) -> SignIn:
        """Return the stored sign-in, if it can be used or renewed."""
        kept = sign_in_of(connection)
        if self._usable(kept, refused_version):
            return kept
        user, now = self._credentials, self._clock.now()
        longest = now + timedelta(seconds=_REFUSED_FOR_S) + TOLERANCE
        if kept.refused_until is not None and now < kept.refused_until <= longest:
            raise SignInRefused(f"the source refused our sign-in a moment ago: {user.fix()}")
        if not user.has_password and not _can_refresh(kept, now):
            raise SignInRefused(_nothing_left(kept))
        return kept

    def _usable(self, kept: SignIn, refused_version: int | None) -> bool:
        now = self._clock.now()
        if kept.signed_in_at is None or kept.use_until is None or kept.use_until <= now:
            return False
        if is_ahead(kept.signed_in_at, now):
            return False  # made with a clock that was ahead: its lifetime is unknown
        # A token refused so soon after its sign-in has not expired: a role is missing, and signing
        # in again for every such answer would flood the source.
        young = now - kept.signed_in_at < _YOUNG
        return kept.version != (refused_version or 0) or young

    def _renew_alone(self, old: SignIn, holder: str) -> SignIn:
        now = self._clock.now()
        left, token = old, None  # what is stored if that fails
        try:
            if old.refresh_token is not None and _can_refresh(old, now):
                try:
                    token = self._grants.by_refresh(old.refresh_token)
                except SourceRefused as refused:
                    _log.info("sign-in.refresh-refused")
                    if isinstance(refused, InvalidGrant):
                        left = replace(old, refresh_token=None)
                    elif not self._credentials.has_password:
                        raise
            left = _made(old, token or self._by_password(left, now), now)
        except SourceRefused:
            if self._credentials.has_password or left.refresh_token is not None:
                left = replace(left, refused_until=now + timedelta(seconds=_REFUSED_FOR_S))
            _log.error("sign-in.refused")
            raise
        finally:
            self._keep(left, holder)
        self._ask_again(now)
        return left

    def _by_password(self, left: SignIn, now: datetime) -> Token:
        if not self._credentials.has_password:
            raise SignInRefused(_nothing_left(left))
        return self._grants.by_password(now)

    def _keep(self, sign_in: SignIn, holder: str) -> None:
        with writing(self._engine) as connection:
            store_sign_in(connection, sign_in)
            release_lease(connection, _LEASE, holder)

    def _ask_again(self, now: datetime) -> None:
        """Retry what was refused, as the new token may have fixed it."""
        with writing(self._engine) as connection:
            retry_refused(connection, now)


def _can_refresh(kept: SignIn, now: datetime) -> bool:
    if kept.refresh_token is None or kept.signed_in_at is None:
        return False
    return now - kept.signed_in_at < REFRESH_LIFE


def _made(old: SignIn, token: Token, now: datetime) -> SignIn:
    life_s = min(max(float(token.expires_in), _SHORTEST_LIFE_S), _LONGEST_LIFE_S)
    use_until = now + timedelta(seconds=life_s - min(_EARLY_S, life_s / 2))
    return SignIn(old.version + 1, token.access_token, token.refresh_token, now, use_until)


def _nothing_left(kept: SignIn) -> str:
    if kept.version == 0:
        return (
            "no sign-in for the source: set COURSEBELL_NEXUDUS_USERNAME and _PASSWORD, or run"
            " `coursebell login`"
        )
    return "our sign-in at the source has ended: run `coursebell login`"
