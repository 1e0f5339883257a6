"""Sign-in as the source does it: password and refresh grants, one refresh token per client_id.

Contract, section 1. Without a user name the sandbox takes any name and password.
"""

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.misbehaviour.board import TOKEN_PATH, Board
from sandbox.totp import is_current

EXPIRES_IN_S = 604_799


class GrantRefused(Exception):
    """No token; `code` is the word of the answer, for example `invalid_grant`."""

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
    """Who may sign in, and which tokens are good now."""

    username: str | None = None
    password: str | None = None
    board: Board = field(default_factory=Board)
    _access: dict[str, _Access] = field(default_factory=dict)  # by access token
    _refresh: dict[str, str] = field(default_factory=dict)  # client id -> refresh token
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def grant(
        self, fields: Mapping[str, str], *, in_header: str | None, in_fields: str | None
    ) -> dict[str, Any]:
        """Return the answer to a token request; `client_id` comes from the header or the form."""
        if self.board.now("client-id-header-only") is not None:
            in_fields = None
        if self.board.now("client-id-field-only") is not None:
            in_header = None
        client_id, kind = in_header or in_fields, fields.get("grant_type", "")
        if kind == "password":
            return self._by_password(fields, client_id)
        if kind == "refresh_token":
            return self._by_refresh(fields, client_id)
        raise GrantRefused("unsupported_grant_type", "The grant type is not supported.")

    def client_of(self, authorization: str) -> str | None:
        """Return whose access token this Authorization header carries; None if it is not good."""
        scheme, _, token = authorization.partition(" ")
        with self._lock:
            found = self._access.get(token.strip())
            if scheme.lower() != "bearer" or found is None or found.ends_at <= time.monotonic():
                return None
            return found.client

    def forget(self) -> None:
        """Know nobody's token any more."""
        with self._lock:
            self._access.clear()
            self._refresh.clear()

    def expire(self) -> int:
        """End all access tokens early; refresh tokens stay. Returns how many ended."""
        with self._lock:
            ended = len(self._access)
            self._access.clear()
            return ended

    def _by_password(self, fields: Mapping[str, str], client_id: str | None) -> dict[str, Any]:
        username, password = fields.get("username", ""), fields.get("password", "")
        expected = (self.username, self.password)
        if not username or not password or (self.username and (username, password) != expected):
            raise self._invalid("The user name or password is incorrect.")
        if self.board.take("refuse-sign-in", TOKEN_PATH) is not None:
            raise self._invalid("The user name or password is incorrect.")
        if not self._has_second_factor(fields.get("totp", "")):
            raise self._invalid("The code is missing or incorrect.")
        client = client_id or username
        with self._lock:
            # A new sign-in ends what this client had; that is how two workers kick each other out.
            self._access = {k: v for k, v in self._access.items() if v.client != client}
            if self.board.now("kick-out") is not None:
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
        asked = self.board.now("totp-required")
        if asked is None or (code and code == asked.text("code")):
            return True
        key = asked.text("key")
        return bool(key) and code.isascii() and is_current(key, code, time.time())

    def _invalid(self, description: str) -> GrantRefused:
        as_401 = self.board.now("invalid-grant-as-401") is not None
        return GrantRefused("invalid_grant", description, 401 if as_401 else 400)

    def _issue(self, client: str) -> dict[str, Any]:
        access, refresh = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
        short = self.board.now("short-life")
        life_s = EXPIRES_IN_S if short is None else short.whole("expires_in")
        self._access[access] = _Access(client, time.monotonic() + life_s)
        self._refresh[client] = refresh
        answer: dict[str, Any] = {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": life_s,
            "refresh_token": refresh,
        }
        if self.board.now("no-expires-in") is not None:
            del answer["expires_in"]
        return answer
