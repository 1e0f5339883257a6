"""Asks the source for tokens, by password or by refresh token (contract, section 1).

Who may ask, and when, is decided in `tokens`. What is asked here is asked once.
"""

import json
from base64 import b32decode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus

import pyotp

from ledger.beats import take_lease
from ledger.clock import Clock
from ledger.controls import client_id_of
from ledger.engine import Engine, reading, writing
from schemas.errors import RecordUnreadable, SignInRefused, SourceUnavailable
from schemas.records.answers import Token, load_token
from schemas.settings import Settings
from workers.source.answers import Answer, Missing, read_answer
from workers.source.http import Transport

REFRESH_LIFE = timedelta(days=15)  # of a refresh token, counted from when it was given
_CODE_LEASE = "second-factor"
_CODE_S = 30.0  # a code of an authenticator app is for one half minute
_BAD_GRANT = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}  # documents differ

_SETTINGS = "COURSEBELL_NEXUDUS_USERNAME and COURSEBELL_NEXUDUS_PASSWORD"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The source's user, as far as it is known; without a password `coursebell login` signs in.

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
        """Say what a person can do when the source does not take our sign-in."""
        if not self.has_password:
            return "run `coursebell login`"
        if self.totp_key is not None:
            return f"fix {_SETTINGS}, or COURSEBELL_NEXUDUS_TOTP and this machine's clock"
        return (
            f"fix {_SETTINGS}; with a second factor, set COURSEBELL_NEXUDUS_TOTP or run"
            " `coursebell login`"
        )


class InvalidGrant(SignInRefused):
    """The source does not take the password, the code or the refresh token it was given."""


def credentials_of(settings: Settings) -> Credentials:
    """Return what the settings say of the source's user."""
    return Credentials(
        settings.nexudus_username,
        settings.nexudus_password,
        settings.nexudus_client_id,
        settings.nexudus_totp,
    )


class _App(pyotp.TOTP):
    """An authenticator app. How long its key is was chosen by the source, often 80 bits."""

    def byte_secret(self) -> bytes:
        return b32decode(self.secret + "=" * (-len(self.secret) % 8))


class Grants:
    """Asks for tokens."""

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
        """Return the tokens that follow on a refresh token, which may be used once.

        Raises:
            InvalidGrant: it is too old, or another sign-in of this client id ended it.
            SourceError: see `read_answer`.
        """
        found = self._ask({"grant_type": "refresh_token", "refresh_token": refresh_token})
        # Who gives no other leaves the old one in force (RFC 6749, section 6).
        if found.refresh_token is None:
            return Token(found.access_token, refresh_token, found.expires_in)
        return found

    def by_password(
        self, now: datetime, *, password: str | None = None, code: str | None = None
    ) -> Token:
        """Return new tokens, which end all others of this client id.

        `password` and `code` are what a person typed; without, what the settings say.

        Raises:
            InvalidGrant: the source does not take them.
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
            raise InvalidGrant(f"the source does not take our sign-in: {user.fix()}") from None

    def _own_code(self, now: datetime) -> str | None:
        """Make a code, of which each can be sent once by all processes together."""
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
            raise InvalidGrant("the source says invalid_grant")
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
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("error") == "invalid_grant"
