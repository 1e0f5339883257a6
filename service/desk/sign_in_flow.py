"""What a sign-in with a provider needs between leaving for it and coming back.

It is in a cookie of the browser, signed and for ten minutes, so the answer to a sign-in that was
begun in another browser means nothing. What the provider must give back is made from a random
number in the cookie, with the secret key of the service.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer

from ledger.clock import Clock
from ledger.engine import Engine
from schemas.errors import ConfigurationError
from schemas.identity import SignInFailed, SignInFault
from schemas.settings import Settings
from service.limits import AddressLimit
from workers.secret_key import checked_secret_key

if TYPE_CHECKING:
    from workers.openid import Challenge, OpenidProvider

LASTS = timedelta(minutes=10)
ANSWER = "/sign-in/answer"
_LIBRARIES = ("authlib", "joserfc")
_LONGEST_LINK = 100  # characters; a token has fewer
_LONGEST_VALUE = 3800  # characters of a cookie, which has room for 4096 with its attributes
_RANDOM_BYTES = 24
_MOST_WRONG = 10  # answers in a minute from one address


@dataclass(frozen=True, slots=True)
class Flow:
    """One sign-in that was begun. `path` is where it leads.

    `link` is the one-time link that it uses up, if any. `is_beside`: a form waits in another tab.
    """

    redirect_uri: str
    path: str
    link: str = field(default="", repr=False)
    is_beside: bool = False
    seed: str = field(default="", repr=False)
    ends_at: float = 0.0


class Flows:
    """Signs flows, and opens those that were signed here and are not too old.

    `key` returns the secret key of the service. If it raises `ConfigurationError`, the methods that
    need the key raise `SignInFailed`: only the sign-in with a provider fails.
    """

    def __init__(self, key: Callable[[], str], clock: Clock) -> None:
        self._known_key = cache(key)
        self._clock = clock

    def begun(self, redirect_uri: str, path: str, link: str, *, is_beside: bool) -> Flow:
        """Return a new flow."""
        return Flow(
            redirect_uri,
            path,
            link[:_LONGEST_LINK],
            is_beside,
            self._clock.random_bytes(_RANDOM_BYTES).hex(),
            (self._clock.now() + LASTS).timestamp(),
        )

    def signed(self, flow: Flow) -> str:
        """Return a flow as the value of a cookie.

        If a cookie has no room for its path, it leads to the first page instead.
        """
        words = [flow.redirect_uri, flow.path, flow.link, flow.is_beside, flow.seed, flow.ends_at]
        value = str(self._signer().dumps(words))
        if len(value) > _LONGEST_VALUE and flow.path != "/":
            return self.signed(replace(flow, path="/"))
        return value

    def opened(self, value: str, now: datetime) -> Flow | None:
        """Return the flow of a cookie; None if it is none of ours, or too old."""
        try:
            flow = Flow(*self._signer().loads(value))
        except (BadData, TypeError):
            return None
        return flow if now.timestamp() < flow.ends_at else None

    def challenge(self, flow: Flow) -> "Challenge":
        """Return what the provider gets of a flow, and what it must give back."""
        make: type[Challenge] = resolve_name("workers.openid:Challenge")
        state, nonce, verifier = (self._derived(flow, one) for one in ("s", "n", "v"))
        return make(flow.redirect_uri, state, nonce, verifier)

    def _key(self) -> str:
        try:
            return self._known_key()
        except ConfigurationError as error:
            raise SignInFailed(SignInFault.SETTINGS, str(error)) from None

    def _derived(self, flow: Flow, purpose: str) -> str:
        text = f"sign-in {purpose} {flow.seed}"
        return hmac.new(self._key().encode(), text.encode(), hashlib.sha256).hexdigest()

    def _signer(self) -> URLSafeSerializer:
        how = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        return URLSafeSerializer(self._key(), salt="sign-in with a provider", signer_kwargs=how)


class ProviderSignIns:
    """What the pages need to sign in with a provider. `provider` is None if none is set."""

    def __init__(self, settings: Settings, engine: Engine, clock: Clock) -> None:
        self.provider = provider_of(settings, clock)
        self.flows = Flows(lambda: checked_secret_key(settings, engine, clock.now()), clock)
        self.wrong_answers = AddressLimit(clock, _MOST_WRONG)


def check_libraries(settings: Settings, libraries: Sequence[str] = _LIBRARIES) -> None:
    """Check that a provider can be asked, if one is set.

    Raises:
        ConfigurationError: the libraries for it are not installed.
    """
    if settings.oidc_issuer is not None and not all(map(find_spec, libraries)):
        raise ConfigurationError(
            ["COURSEBELL_OIDC_ISSUER: needs the package `authlib` (the extra `oidc`)"]
        )


def provider_of(settings: Settings, clock: Clock) -> "OpenidProvider | None":
    """Return the provider of the settings; None if there is none. Raises as `check_libraries`."""
    if settings.oidc_issuer is None:
        return None
    check_libraries(settings)
    make: type[OpenidProvider] = resolve_name("workers.openid:OpenidProvider")
    return make(settings, clock)


def provider_name(settings: Settings) -> str:
    """Return what pages call the provider; empty if there is none."""
    return settings.oidc_name or urlsplit(settings.oidc_issuer or "").hostname or ""
