"""Sign-in as the source does it: password and refresh grants, one refresh token per client_id.

Contract, section 1. Without a user name the sandbox accepts any name and password.
"""

import hashlib
import hmac
import secrets
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.misbehaviour.board import TOKEN_PATH, Board
from sandbox.misbehaviour.switch import key_bytes

EXPIRES_IN_S = 604_799
_TOTP_STEP_S = 30
_TOTP_DIGITS = 6


class GrantRefused(Exception):
    """No token; `code` is the error of the answer, for example `invalid_grant`."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class _Access:
    client: str
    ends_at: float


@dataclass(slots=True)
class Tokens:
    """The accepted user, and the valid tokens. Safe to use from several threads."""

    username: str | None = None
    password: str | None = None
    board: Board = field(default_factory=Board)
    _access: dict[str, _Access] = field(default_factory=dict)  # by access token
    _refresh: dict[str, str] = field(default_factory=dict)  # client id -> refresh token
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def grant(
        self, fields: Mapping[str, str], *, in_header: str | None, in_fields: str | None
    ) -> dict[str, Any]:
        """Return the answer to a token request; the `client_id` is in the header or the form.

        Raises:
            GrantRefused: no token is given.
        """
        if self.board.is_on("client-id-header-only"):
            in_fields = None
        if self.board.is_on("client-id-field-only"):
            in_header = None
        client_id, kind = in_header or in_fields, fields.get("grant_type", "")
        if kind == "password":
            return self._by_password(fields, client_id)
        if kind == "refresh_token":
            return self._by_refresh(fields, client_id)
        raise GrantRefused("unsupported_grant_type", "The grant type is not supported.")

    def client_of(self, authorization: str) -> str | None:
        """Return the client of this Authorization header's access token; None if invalid."""
        scheme, _, token = authorization.partition(" ")
        with self._lock:
            found = self._access.get(token.strip())
            if scheme.lower() != "bearer" or found is None or found.ends_at <= time.monotonic():
                return None
            return found.client

    def forget(self) -> None:
        """Make all tokens invalid."""
        with self._lock:
            self._access.clear()
            self._refresh.clear()

    def expire(self) -> int:
        """End all access tokens early, and return how many; refresh tokens stay valid."""
        with self._lock:
            ended = len(self._access)
            self._access.clear()
            return ended

    def _by_password(self, fields: Mapping[str, str], client_id: str | None) -> dict[str, Any]:
        username, password = fields.get("username", ""), fields.get("password", "")
        expected = (self.username, self.password)
        is_wrong = self.username and (username, password) != expected
        if (
            not username
            or not password
            or is_wrong
            or self.board.take("refuse-sign-in", TOKEN_PATH)
        ):
            raise self._invalid("The user name or password is incorrect.")
        if not self._has_second_factor(fields.get("totp", "")):
            raise self._invalid("The code is missing or incorrect.")
        client = client_id or username
        with self._lock:
            # A sign-in ends the client's earlier tokens: two workers sign each other out this way.
            self._access = {k: v for k, v in self._access.items() if v.client != client}
            if self.board.is_on("kick-out"):
                self._access.clear()
                self._refresh.clear()
            return self._issue(client)

    def _by_refresh(self, fields: Mapping[str, str], client_id: str | None) -> dict[str, Any]:
        with self._lock:
            known = self._refresh.get(client_id or "")
            is_refused = self.board.take("refuse-refresh", TOKEN_PATH) is not None
            if is_refused or known is None or known != fields.get("refresh_token"):
                raise self._invalid("The refresh token is not valid.")
            return self._issue(client_id or "")

    def _has_second_factor(self, code: str) -> bool:
        required = self.board.now("totp-required")
        if required is None or (code and code == required.text("code")):
            return True
        key, now = required.text("key"), time.time()
        around = (now - _TOTP_STEP_S, now, now + _TOTP_STEP_S)
        return bool(key) and code in {totp_at(key, moment) for moment in around}

    def _invalid(self, description: str) -> GrantRefused:
        status = 401 if self.board.is_on("invalid-grant-as-401") else 400
        return GrantRefused("invalid_grant", description, status)

    def _issue(self, client: str) -> dict[str, Any]:
        access, refresh = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
        short = self.board.now("short-life")
        life_s = EXPIRES_IN_S if short is None else short.whole("expires_in")
        self._access[access] = _Access(client, time.monotonic() + life_s)
        self._refresh[client] = refresh
        answer = {"access_token": access, "token_type": "bearer", "refresh_token": refresh}
        return answer if self.board.is_on("no-expires-in") else {**answer, "expires_in": life_s}


def totp_at(key: str, at: float) -> str:
    """Return the code of a base32 key (RFC 6238, SHA-1) at a time in seconds since 1970."""
    digest = hmac.digest(key_bytes(key), struct.pack(">Q", int(at // _TOTP_STEP_S)), hashlib.sha1)
    start = digest[-1] & 0x0F
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFF_FFFF
    return str(number % 10**_TOTP_DIGITS).zfill(_TOTP_DIGITS)
