"""Asks an OpenID Connect provider who a person is: authorization code flow with PKCE.

OpenID Connect Core 1.0, section 3.1; Discovery 1.0; RFC 7636 (PKCE); RFC 9207 (`iss` of answers).
Authlib checks the claims of a token and joserfc its signature. The requests are our own, since each
must be small, short and without redirects. Nothing here repeats a token, a code or an address.
"""

import json
import re
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import quote_plus, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    ClaimError,
    ExpiredTokenError,
    InvalidKeyIdError,
    JoseError,
)
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from ledger.clock import Clock
from schemas.checkup import Check, Topic
from schemas.errors import SourceError
from schemas.identity import LONGEST_SUBJECT, Claimed, Identity, SignInFailed, SignInFault
from schemas.settings import Settings, is_loopback
from workers.source.answers import Answer
from workers.source.http import Transport

LEEWAY_S = 120  # between our clock and the provider's
_WHOLE_S = 5.0  # for one request: a person waits
_KEPT_FOR_S = 3600.0  # of what the provider publishes
_PAUSE_S = 5.0  # after it could not be read
_DISCOVERY = "/.well-known/openid-configuration"
_SCOPE = "openid email"
# With a key that only the provider has. Never `none`, nor HS256, for which ours would do.
_SIGNED_BY = tuple(f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512))
_ALGORITHMS = frozenset({*_SIGNED_BY, "EdDSA", "Ed25519"})
_OF_CLOCKS = frozenset({"exp", "iat", "nbf"})
_OF_AUDIENCE = frozenset({"aud", "azp"})
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")  # RFC 6749, section 5.2
# What the libraries raise for a token or a key that is not as it should be.
_UNTRUSTED = (JoseError, AttributeError, KeyError, RecursionError, TypeError, ValueError)
_BUSY = "server_error", "temporarily_unavailable"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What one sign-in is recognised by. Only the browser it was begun in can bring it back."""

    redirect_uri: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Published:
    """What a provider publishes about itself, as far as it is used."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    algorithms: tuple[str, ...]
    takes_secret_in_form: bool
    states_issuer: bool
    has_pkce: bool


class OpenidProvider:
    """One provider. Safe to share between threads."""

    def __init__(self, settings: Settings, clock: Clock, whole_s: float = _WHOLE_S) -> None:
        """`whole_s` is how long one request may take."""
        self._issuer = settings.oidc_issuer or ""
        self._client_id = settings.oidc_client_id or ""
        self._client_secret = settings.oidc_client_secret
        self._clock = clock
        self._whole_s = whole_s
        self._lock = threading.Lock()
        self._published: tuple[float, Published] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._failed: tuple[float, SignInFailed] | None = None

    def address(self, challenge: Challenge) -> str:
        """Return where the browser goes to sign in. Raises `SignInFailed`."""
        address: str = prepare_grant_uri(
            self.published().authorization_endpoint,
            client_id=self._client_id,
            response_type="code",
            redirect_uri=challenge.redirect_uri,
            scope=_SCOPE,
            state=challenge.state,
            nonce=challenge.nonce,
            code_challenge=create_s256_code_challenge(challenge.verifier),
            code_challenge_method="S256",
        )
        return address

    def identify(self, answer: Mapping[str, str], challenge: Challenge) -> Claimed:
        """Return who signed in, by the provider's answer. Raises `SignInFailed`.

        The caller compared its `state`.
        """
        published = self.published()
        stated = answer.get("iss")
        if stated != self._issuer and (stated is not None or published.states_issuer):
            raise SignInFailed(SignInFault.TOKEN, "the answer is of another issuer")
        if "error" in answer:
            _raise_denied(answer["error"])
        if not answer.get("code"):
            raise SignInFailed(SignInFault.TOKEN, "the answer has no code")
        tokens = self._redeem(published, answer["code"], challenge)
        if not isinstance(tokens.get("id_token"), str):
            raise SignInFailed(SignInFault.SETTINGS, "the token endpoint sent no id_token")
        verified = self._verified(published, tokens["id_token"])
        return self._claimed(verified, tokens, challenge.nonce)

    def published(self) -> Published:
        """Return what the provider publishes, at most an hour old. Raises `SignInFailed`."""
        with self._lock:
            now = self._clock.monotonic()
            if self._published and now - self._published[0] < _KEPT_FOR_S:
                return self._published[1]
            if self._failed and now - self._failed[0] < _PAUSE_S:
                raise SignInFailed(self._failed[1].fault, str(self._failed[1]))
            try:
                found = self._discover()
            except SignInFailed as error:
                self._failed = self._clock.monotonic(), error
                raise
            self._published = self._clock.monotonic(), found
            return found

    def _discover(self) -> Published:
        what = "the discovery document"
        stated = _readable(_asked(self._issuer.rstrip("/") + _DISCOVERY, what, self._whole_s), what)
        if stated.get("issuer") != self._issuer:
            raise SignInFailed(SignInFault.SETTINGS, f"{what} is of another issuer")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        authorization, token, keys = (_safe_address(stated.get(name), name) for name in names)
        offered = stated.get("id_token_signing_alg_values_supported", ["RS256"])
        algorithms = tuple(one for one in _texts(offered) if one in _ALGORITHMS)
        if not algorithms:  # an empty list would allow HS256
            raise SignInFailed(SignInFault.SETTINGS, f"{what} offers no signature that we accept")
        methods = _texts(stated.get("token_endpoint_auth_methods_supported"))
        return Published(
            authorization,
            token,
            keys,
            algorithms=algorithms,
            takes_secret_in_form="client_secret_post" in methods,
            states_issuer=stated.get("authorization_response_iss_parameter_supported") is True,
            has_pkce="S256" in _texts(stated.get("code_challenge_methods_supported", ["S256"])),
        )

    def _redeem(self, published: Published, code: str, challenge: Challenge) -> dict[str, Any]:
        """Return the tokens for a code, which can be had once."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": challenge.redirect_uri,
            "code_verifier": challenge.verifier,
        }
        headers = {}
        if self._client_secret is None or published.takes_secret_in_form:
            form["client_id"] = self._client_id
            form |= {"client_secret": self._client_secret} if self._client_secret else {}
        else:
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        what = "the token endpoint"
        return _readable(_asked(published.token_endpoint, what, self._whole_s, form, headers), what)

    def _verified(self, published: Published, token: str) -> jwt.Token:
        """Return a token that the provider signed; its keys are read again if none fits."""
        registry = JWSRegistry(algorithms=published.algorithms, strict_check_header=False)
        try:
            return jwt.decode(token, self._key_set(published), registry=registry)
        except (InvalidKeyIdError, BadSignatureError):
            with self._lock:
                self._keys = None
        except _UNTRUSTED as error:
            _raise_untrusted(error)
        try:
            return jwt.decode(token, self._key_set(published), registry=registry)
        except _UNTRUSTED as error:
            _raise_untrusted(error)

    def _key_set(self, published: Published) -> KeySet:
        with self._lock:
            kept = self._keys
            if kept is None or self._clock.monotonic() - kept[0] >= _KEPT_FOR_S:
                kept = self._keys = (
                    self._clock.monotonic(),
                    _keys_at(published.jwks_uri, self._whole_s),
                )
            return kept[1]

    def _claimed(self, token: jwt.Token, tokens: Mapping[str, Any], nonce: str) -> Claimed:
        """Check the claims of a verified token, and return whom it is about."""
        expected = {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._client_id},
            "sub": {"essential": True},
        }
        known = {"nonce": nonce, "client_id": self._client_id}
        access_token = tokens.get("access_token")
        known |= {"access_token": access_token} if isinstance(access_token, str) else {}
        claims = CodeIDToken(token.claims, token.header, expected, known)
        try:
            claims.validate(int(self._clock.now().timestamp()), LEEWAY_S)
        except ClaimError as error:
            _raise_claim(error)
        except _UNTRUSTED as error:
            _raise_untrusted(error)
        subject = claims["sub"]
        if len(subject) > LONGEST_SUBJECT or not subject.isprintable():
            raise SignInFailed(SignInFault.TOKEN, "the subject cannot be stored")
        email = claims.get("email")
        stated = claims.get("email_verified")
        is_verified = stated is True or stated == "true"  # some providers send it as a text
        usable = isinstance(email, str) and is_verified and email.isprintable()
        return Claimed(Identity(self._issuer, subject), email if usable else None)


def provider_checks(settings: Settings, clock: Clock, redirect_uri: str) -> Iterator[Check]:
    """Check what a sign-in needs of the provider, without signing in."""
    topic, provider = Topic.PAGES, OpenidProvider(settings, clock)
    try:
        published = provider.published()
    except SignInFailed as error:
        fix = "Compare COURSEBELL_OIDC_ISSUER with the provider's page about its settings."
        if error.fault is SignInFault.UNREACHABLE:
            fix = "Check the network of this machine, and whether the provider works."
        yield topic.problem("provider", str(error), fix)
        return
    yield topic.ok("provider", "it publishes what a sign-in needs, and its issuer is the set one")
    try:
        keys = _keys_at(published.jwks_uri)
    except SignInFailed as error:
        yield topic.problem("keys", str(error), "Ask the people who run the provider.")
    else:
        yield topic.ok("keys", f"{len(keys.keys)} can be read")
    if not published.has_pkce:
        yield topic.note(
            "PKCE", "the provider says that it does not know it, so codes are less protected"
        )
    if settings.oidc_client_secret is None:
        found = "COURSEBELL_OIDC_CLIENT_SECRET is not set"
        yield topic.note("client", found, "Set it unless the client is a public one.")
    found = f"the provider must know it for this client: {redirect_uri}"
    yield topic.note("redirect", found)


def _keys_at(address: str, whole_s: float = _WHOLE_S) -> KeySet:
    what = "the list of keys"
    stated = _readable(_asked(address, what, whole_s), what)
    try:
        return KeySet.import_key_set(stated)  # type: ignore[arg-type]  # it checks what it is given
    except _UNTRUSTED:
        raise SignInFailed(SignInFault.SETTINGS, f"{what} cannot be read") from None


def _asked(
    address: str,
    what: str,
    whole_s: float,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return the answer to a GET, or to a POST of a form."""
    parts = urlsplit(address)
    path = parts._replace(scheme="", netloc="", fragment="").geturl()
    transport = Transport(f"{parts.scheme}://{parts.netloc}", whole_s=whole_s, below="")
    try:
        if form is None:
            answer = transport.get_open(path)
        else:
            answer = transport.post_form(path, form, headers or {})
    except SourceError as error:
        cause = str(error).partition(": ")[2] or "a redirect, or too long an answer"
        found = f"{what} cannot be read: {cause}"
        raise SignInFailed(SignInFault.UNREACHABLE, found) from None
    finally:
        transport.close()
    if answer.status != HTTPStatus.OK:
        _raise_for(answer, what)
    return answer


def _readable(answer: Answer, what: str) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SignInFailed(SignInFault.SETTINGS, f"{what} is not a JSON object")
    return found


def _safe_address(stated: object, name: str) -> str:
    """Return an address that secrets and people may be sent to: https, or on this machine."""
    try:
        parts = urlsplit(stated if isinstance(stated, str) else "")
        is_safe = parts.scheme == "https" and bool(parts.hostname)
        is_safe = is_safe or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    except ValueError:
        is_safe = False
    if not is_safe:
        raise SignInFailed(SignInFault.SETTINGS, f"the discovery document has no https {name}")
    return str(stated)


def _texts(stated: object) -> list[str]:
    return [one for one in stated if isinstance(one, str)] if isinstance(stated, list) else []


def _raise_for(answer: Answer, what: str) -> NoReturn:
    try:
        code = json.loads(answer.body)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        code = None
    is_code = isinstance(code, str) and _ERROR_CODE.fullmatch(code)
    said = f"{what} answered {answer.status}{f' {code}' if is_code else ''}"
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in {408, 429}:
        raise SignInFailed(SignInFault.UNREACHABLE, said)
    fault = SignInFault.CODE if code == "invalid_grant" else SignInFault.SETTINGS
    raise SignInFailed(fault, said)


def _raise_denied(code: str) -> NoReturn:
    """Raise what came instead of a code: RFC 6749, 4.1.2.1; OpenID Connect Core 1.0, 3.1.2.6."""
    said = f"the provider answered {code if _ERROR_CODE.fullmatch(code) else 'an error'}"
    if code in _BUSY:
        raise SignInFailed(SignInFault.UNREACHABLE, said)
    is_denied = code == "access_denied" or code.endswith("_required")
    raise SignInFailed(SignInFault.DENIED if is_denied else SignInFault.SETTINGS, said)


def _raise_claim(error: ClaimError) -> NoReturn:
    if isinstance(error, ExpiredTokenError) or error.claim in _OF_CLOCKS:
        raise SignInFailed(SignInFault.CLOCK, f"the token's {error.claim} does not fit our clock")
    is_audience = error.claim in _OF_AUDIENCE
    fault = SignInFault.AUDIENCE if is_audience else SignInFault.TOKEN
    raise SignInFailed(fault, f"the token's {error.claim} is not as it must be") from None


def _raise_untrusted(error: Exception) -> NoReturn:
    raise SignInFailed(
        SignInFault.TOKEN, f"the token cannot be trusted: {type(error).__name__}"
    ) from None
