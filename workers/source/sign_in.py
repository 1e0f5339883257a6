"""Signs in at the source, for all processes at once.

One process asks for a token while the others wait for what it gets: a second password grant for
the same client id ends the first one's tokens (contract, section 1). A token that the source
refuses is replaced once; a second refusal is for a person, never a loop that locks the user out.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from ledger.beats import give_lease_back, take_lease
from ledger.controls import client_id_of
from ledger.engine import Engine, reading, writing
from ledger.refusals import ask_refused_again
from ledger.sign_ins import SignIn, keep_sign_in, sign_in_of
from schemas.errors import RecordUnreadable, SourceRefused, SourceUnavailable
from schemas.records.token import Token, load_token
from workers.source.answers import Missing, read_answer
from workers.source.transport import Transport

_LEASE = "sign-in"
_LEASE_S = 60.0  # longer than one exchange may take
_EARLY_S = 60.0  # a token is not used in the last minute of its life
_WAIT_S = 0.1
_REFUSED_FOR_S = 300.0
_YOUNG = timedelta(seconds=60)

_log = structlog.get_logger("source")
_SHORTEST_LIFE_S = 5  # so that an absurd `expires_in` causes no storm of sign-ins


@dataclass(frozen=True, slots=True)
class Credentials:
    """The source's user. `client_id` None: the one generated for this deployment."""

    username: str
    password: str = field(repr=False)
    client_id: str | None = None


class Tokens:
    """Hands out the shared token."""

    def __init__(
        self,
        engine: Engine,
        transport: Callable[[], Transport],
        credentials: Credentials | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._kept: SignIn | None = None

    def current(self, *, refused_version: int | None = None) -> SignIn:
        """Return a usable sign-in, newer than `refused_version` when the source refused that one.

        Raises:
            SourceRefused: there are no credentials, or the source does not take them.
            SourceUnavailable: the source did not answer, or another process is still signing in.
        """
        if self._credentials is None:
            raise SourceRefused(
                "no sign-in for the source: set COURSEBELL_NEXUDUS_USERNAME and _PASSWORD"
            )
        if self._kept is not None and self._usable(self._kept, refused_version):
            return self._kept
        holder = secrets.token_hex(16)
        deadline = time.monotonic() + _LEASE_S
        while time.monotonic() < deadline:
            kept, ours = self._kept_or_ours(holder, refused_version)
            if ours:
                return self._sign_in_alone(kept, holder, self._credentials)
            if self._usable(kept, refused_version):
                self._kept = kept
                return kept
            time.sleep(_WAIT_S)
        raise SourceUnavailable("another process is still signing in")

    def _kept_or_ours(self, holder: str, refused_version: int | None) -> tuple[SignIn, bool]:
        """Return the sign-in as it stands, and whether it is for us to make a new one."""
        with writing(self._engine) as connection:
            kept = sign_in_of(connection)
            if self._usable(kept, refused_version) or not take_lease(
                connection, _LEASE, holder, self._clock(), lease_s=_LEASE_S
            ):
                return kept, False
            # Who had the lease may have signed in and given it back since we looked.
            kept = sign_in_of(connection)
            if not self._usable(kept, refused_version):
                return kept, True
            give_lease_back(connection, _LEASE, holder)
            return kept, False

    def _usable(self, kept: SignIn, refused_version: int | None) -> bool:
        now = self._clock()
        if kept.signed_in_at is None or kept.use_until is None or kept.use_until <= now:
            return False
        # A token refused so soon after its sign-in is not stale: a right is missing, and signing
        # in for every such answer would be a storm.
        young = now - kept.signed_in_at < _YOUNG
        return kept.version != (refused_version or 0) or young

    def _sign_in_alone(self, old: SignIn, holder: str, user: Credentials) -> SignIn:
        now = self._clock()
        try:
            new = self._signed_in(old, user, now)
        except SourceRefused:
            still = old.refused_until if old.refused_until and old.refused_until > now else None
            until = still or now + timedelta(seconds=_REFUSED_FOR_S)
            self._keep(replace(old, refused_until=until), holder)
            raise
        except BaseException:
            self._keep(old, holder)
            raise
        self._keep(new, holder)
        self._kept = new
        if old.refused_until is not None:
            # Somebody mended it: what waits because of it need not wait any longer.
            with writing(self._engine) as connection:
                ask_refused_again(connection, now)
        return new

    def _keep(self, sign_in: SignIn, holder: str) -> None:
        with writing(self._engine) as connection:
            keep_sign_in(connection, sign_in)
            give_lease_back(connection, _LEASE, holder)

    def _signed_in(self, old: SignIn, user: Credentials, now: datetime) -> SignIn:
        if old.refused_until is not None and old.refused_until > now:
            raise SourceRefused("the source refused our sign-in a moment ago")
        token = self._grant(old, user)
        life_s = max(token.expires_in, _SHORTEST_LIFE_S)
        use_until = now + timedelta(seconds=life_s - min(_EARLY_S, life_s / 2))
        return SignIn(old.version + 1, token.access_token, token.refresh_token, now, use_until)

    def _grant(self, old: SignIn, user: Credentials) -> Token:
        with reading(self._engine) as connection:
            client_id = user.client_id or client_id_of(connection) or ""
        if old.refresh_token is not None:
            try:
                return self._ask(
                    {"grant_type": "refresh_token", "refresh_token": old.refresh_token}, client_id
                )
            except SourceRefused:
                # It lives 15 days at most, and any other sign-in of this client id ends it.
                _log.info("sign-in.refresh-refused")
        form = {"grant_type": "password", "username": user.username, "password": user.password}
        return self._ask(form, client_id)

    def _ask(self, form: dict[str, str], client_id: str) -> Token:
        # Documented as a header first and as a field later; both are sent (contract, section 1).
        answer = self._transport().post_form(
            "token", {**form, "client_id": client_id}, {"client_id": client_id}
        )
        found = read_answer(answer)
        if isinstance(found, Missing):
            raise SourceUnavailable("the source's sign-in did not answer")
        try:
            return load_token(found)
        except RecordUnreadable:
            raise SourceUnavailable("the source's sign-in answered something else") from None
