"""Hands out one token, for all processes at once, and signs in when there is none.

One process asks for a token while the others wait for what it gets: a second password grant for
the same client id ends the first one's tokens (contract, section 1). A token that the source
refuses is replaced once; a second refusal is for a person, never a loop that locks the user out.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from ledger.beats import give_lease_back, is_leased, take_lease
from ledger.clock import Clock
from ledger.engine import Connection, Engine, reading, writing
from ledger.sign_ins import SignIn, keep_sign_in, sign_in_of
from ledger.troubles import ask_refused_again
from schemas.errors import SignInRefused, SourceRefused, SourceUnavailable
from schemas.records.answers import Token
from schemas.skew import TOLERANCE, is_ahead
from workers.source.http import Transport
from workers.source.sign_in.grants import REFRESH_LIFE, Credentials, Grants, InvalidGrant

_LEASE = "sign-in"
_LEASE_S = 120.0  # longer than two exchanges may take
_EARLY_S = 60.0  # a token is not used in the last minute of its life
_WAIT_S = 0.1
_REFUSED_FOR_S = 300.0
_YOUNG = timedelta(seconds=60)
_SHORTEST_LIFE_S = 5.0  # so that an absurd `expires_in` causes no storm of sign-ins
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

        It is that very one if it was made a moment ago, so that signing in again would not help.
        `keep` is called while another process signs in; what it raises ends the wait.

        Raises:
            SourceRefused: there is nothing to sign in with, or the source does not take it.
            SourceUnavailable: the source did not answer, or another process is still signing in.
        """
        # Who was refused asks the ledger: another process may have signed in meanwhile.
        if refused_version is None and self._kept is not None and self._usable(self._kept, None):
            return self._kept
        holder = self._clock.new_id()
        deadline = self._clock.monotonic() + _LEASE_S
        while self._clock.monotonic() < deadline:
            with reading(self._engine) as connection:
                kept, ours = self._looked_up(connection, refused_version), False
                is_taken = self._is_taken(connection)
            # Only who may take the lease writes: while one signs in, the others would queue up.
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
        """Return the sign-in that others made since this version, if it can be used."""
        with reading(self._engine) as connection:
            kept = sign_in_of(connection)
        if kept.version <= version or not self._usable(kept, version):
            return None
        self._kept = kept
        return kept

    def sign_in_anew(self, password: str, code: str | None) -> SignIn:
        """Sign in by what a person typed, whatever sign-in there is; all workers then use it.

        Raises:
            InvalidGrant: the source does not take it. What was kept before stays in force.
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
        """Return the sign-in as it stands, and whether it is for us to make a new one."""
        with writing(self._engine) as connection:
            kept = self._looked_up(connection, refused_version)
            if self._usable(kept, refused_version) or not take_lease(
                connection, _LEASE, holder, self._clock.now(), lease_s=_LEASE_S
            ):
                return kept, False
            # Who had the lease may have signed in and given it back since we looked.
            kept = self._looked_up(connection, refused_version)
            if not self._usable(kept, refused_version):
                return kept, True
            give_lease_back(connection, _LEASE, holder)
            return kept, False

    def _looked_up(self, connection: Connection, refused_version: int | None) -> SignIn:
        """Return the sign-in as it stands, if it can be used or another may be asked for."""
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
            return False  # by a clock that was ahead: nobody knows how long it lasts
        # A token refused so soon after its sign-in is not stale: a right is missing, and signing
        # in for every such answer would be a storm.
        young = now - kept.signed_in_at < _YOUNG
        return kept.version != (refused_version or 0) or young

    def _renew_alone(self, old: SignIn, holder: str) -> SignIn:
        now = self._clock.now()
        left, token = old, None  # what is kept if nothing comes of it
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
            keep_sign_in(connection, sign_in)
            give_lease_back(connection, _LEASE, holder)

    def _ask_again(self, now: datetime) -> None:
        """Let what was refused try the new token; the fault may be fixed."""
        with writing(self._engine) as connection:
            ask_refused_again(connection, now)


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
