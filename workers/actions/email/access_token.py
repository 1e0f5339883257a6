"""Access tokens for a mail server that wants no password (OAuth 2.0: Google, Microsoft 365).

A token is requested by refresh token (RFC 6749, section 6) or as the client's own (section 4.4),
and kept in this process until shortly before it ends. Nothing here repeats a secret or more of an
answer than its error code.
"""

import json
import re
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NoReturn, Self

from schemas.errors import ChannelUnavailable, RecordUnreadable, SourceError
from schemas.reasons import Reason
from schemas.records.answers import load_token
from schemas.settings import Settings
from workers.source.answers import Answer
from workers.source.deadline import Deadline
from workers.source.http import Transport

_WHOLE_S = 10.0  # for one request: it is part of the time of an email
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")  # RFC 6749, section 5.2
SEE_TOKENS = "see COURSEBELL_SMTP_OAUTH_TOKEN_URL"


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """How long a token is used, in seconds.

    Not in the last `early_s` of its life, but for `shortest_s` whatever its life. Instead of one
    younger than `young_s` that the mail server refuses, no other is requested.
    """

    early_s: float = 60.0
    shortest_s: float = 5.0
    young_s: float = 60.0


class TokenUnavailable(ChannelUnavailable):
    """There is no access token for the mail server; it was not asked for anything."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Who requests access tokens, and where. Without a refresh token, the client for itself."""

    token_url: str
    client_id: str
    client_secret: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    scope: str | None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Return the client from the settings; None: the login is by password, if at all."""
        if settings.smtp_oauth_token_url is None:
            return None
        return cls(
            settings.smtp_oauth_token_url,
            settings.smtp_oauth_client_id or "",
            settings.smtp_oauth_client_secret,
            settings.smtp_oauth_refresh_token,
            settings.smtp_oauth_scope,
        )


class AccessTokens:
    """The access token of one process. Safe to share between threads."""

    def __init__(self, client: OAuthClient, times: TokenTimes | None = None) -> None:
        self._client = client
        self._times = times or TokenTimes()
        self._refresh_token = client.refresh_token
        self._mutex = threading.Lock()
        self._token: str | None = None
        self._life, self._youth = Deadline(), Deadline()

    def current(self) -> str:
        """Return a token that is valid for some time.

        Raises `TokenUnavailable`.
        """
        with self._mutex:
            if self._token is None or self._life.rest_s <= 0:
                self._request()
            return self._token or ""

    def instead_of(self, refused: str) -> str | None:
        """Return another token after the server refused this one; None if it was young.

        Raises `TokenUnavailable`.
        """
        with self._mutex:
            if self._token == refused:
                if self._youth.rest_s > 0:
                    return None
                self._request()
            return self._token

    def _request(self) -> None:
        self._token = None
        answer = self._answer()
        if answer.status != HTTPStatus.OK:
            _raise_for(answer)
        try:
            found = load_token(json.loads(answer.body))
        except (ValueError, RecursionError, RecordUnreadable):
            raise TokenUnavailable(
                Reason.MAIL_UNREACHABLE, f"the token server answers something else; {SEE_TOKENS}"
            ) from None
        self._token = found.access_token
        # Some servers replace the refresh token each time.
        self._refresh_token = found.refresh_token or self._refresh_token
        self._youth.start(self._times.young_s)
        life_s = found.expires_in - self._times.early_s
        self._life.start(max(life_s, self._times.shortest_s))

    def _answer(self) -> Answer:
        client = self._client
        form = {"client_id": client.client_id}
        form |= {"client_secret": client.client_secret} if client.client_secret else {}
        form |= {"scope": client.scope} if client.scope else {}
        if self._refresh_token is None:
            form["grant_type"] = "client_credentials"
        else:
            form |= {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        transport = Transport(client.token_url, below="", whole_s=_WHOLE_S)
        try:
            return transport.post_form("", form, {})
        except SourceError as error:
            cause = str(error).partition(": ")[2] or "a redirect, or too long an answer"
            raise TokenUnavailable(
                Reason.MAIL_UNREACHABLE,
                f"the token server cannot be reached; {SEE_TOKENS}",
                answer=cause,
            ) from None
        finally:
            transport.close()


def _raise_for(answer: Answer) -> NoReturn:
    try:
        code = json.loads(answer.body)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        code = None
    is_code = isinstance(code, str) and _ERROR_CODE.fullmatch(code)
    said = f"{answer.status} {code}" if is_code else str(answer.status)
    if answer.status in _REFUSED:
        raise TokenUnavailable(
            Reason.MAIL_LOGIN, f"the token server refuses us; {SEE_TOKENS}", answer=said
        )
    raise TokenUnavailable(
        Reason.MAIL_UNREACHABLE, f"the token server is in trouble; {SEE_TOKENS}", answer=said
    )
