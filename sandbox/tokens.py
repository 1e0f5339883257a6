"""Sign-in as the source does it: password and refresh grants, one refresh token per client_id.

Contract, section 1. Without a user name the sandbox takes any name and password.
"""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EXPIRES_IN_S = 604_799


class GrantRefused(Exception):
    """No token; `code` is the word of the answer, for example `invalid_grant`."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


@dataclass(slots=True)
class Tokens:
    """Who may sign in, and which tokens are good now."""

    username: str | None = None
    password: str | None = None
    _access: dict[str, str] = field(default_factory=dict)  # access token -> client id
    _refresh: dict[str, str] = field(default_factory=dict)  # client id -> refresh token
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def grant(self, fields: Mapping[str, str], client_id: str | None) -> dict[str, Any]:
        """Return the answer to a token request; `client_id` comes from the header or the form."""
        kind = fields.get("grant_type", "")
        if kind == "password":
            return self._by_password(fields, client_id)
        if kind == "refresh_token":
            return self._by_refresh(fields, client_id)
        raise GrantRefused("unsupported_grant_type", "The grant type is not supported.")

    def is_good(self, authorization: str) -> bool:
        """Whether this Authorization header carries an access token that is valid now."""
        scheme, _, token = authorization.partition(" ")
        with self._lock:
            return scheme.lower() == "bearer" and token.strip() in self._access

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
            raise GrantRefused("invalid_grant", "The user name or password is incorrect.")
        client = client_id or username
        with self._lock:
            # A new sign-in ends what this client had; that is how two workers kick each other out.
            self._access = {k: v for k, v in self._access.items() if v != client}
            return self._issue(client)

    def _by_refresh(self, fields: Mapping[str, str], client_id: str | None) -> dict[str, Any]:
        with self._lock:
            known = self._refresh.get(client_id or "")
            if known is None or known != fields.get("refresh_token"):
                raise GrantRefused("invalid_grant", "The refresh token is not valid.")
            return self._issue(client_id or "")

    def _issue(self, client: str) -> dict[str, Any]:
        access, refresh = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
        self._access[access] = client
        self._refresh[client] = refresh
        return {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": EXPIRES_IN_S,
            "refresh_token": refresh,
        }
