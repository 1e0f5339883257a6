"""An OpenID Connect provider on a port of this machine, which can be made to misbehave.

Authlib's authorization server checks clients, redirect addresses, codes and PKCE; joserfc signs the
tokens with real keys. `claims`, `header` and `key` change the next tokens, `answers` whole answers.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from threading import Event, Thread
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import AuthorizationCodeMixin
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, Response, jsonify, request
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import urlsafe_b64encode
from werkzeug.serving import WSGIRequestHandler, make_server

CLIENT_ID = "coursebell-test"
CLIENT_SECRET = "client+secret/1"
Key = RSAKey | ECKey


@cache
def rsa_key() -> RSAKey:
    """Return a key, which takes a while to make."""
    return RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig", "alg": "RS256"})


def ec_key(kid: str) -> ECKey:
    """Return a new key."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


@dataclass
class Provider:
    """What the provider knows and does."""

    issuer: str = ""
    now: Callable[[], float] = time.time
    # Who is signed in there; `None` cancels.
    person: dict[str, Any] | None = field(
        default_factory=lambda: {"sub": "r-1", "email": "Rita@Example.org", "email_verified": True}
    )
    keys: list[Key] = field(default_factory=lambda: [rsa_key()])
    published: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    sign: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asks: bool = False  # shows a page of its own, as to a person in a browser
    stalled: str = ""  # the path that is answered only when `released`
    released: Event = field(default_factory=Event)
    requests: list[str] = field(default_factory=list)
    codes: dict[str, "Code"] = field(default_factory=dict)

    def rotate(self, kid: str = "ec-2") -> None:
        """Sign with another key from now on, and publish only that."""
        self.keys = [ec_key(kid)]

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=harbour",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
            "code_challenge_methods_supported": ["S256"],
            **self.published,
        }

    def token(self, claims: dict[str, Any]) -> str:
        """Sign a token, with what was asked to be wrong."""
        key = self.keys[0]
        header = {"alg": key.alg, "kid": key.kid, "typ": "JWT", **self.header}
        claims = {name: value for name, value in (claims | self.claims).items() if value != ""}
        if self.sign is not None:
            return self.sign(header, claims)
        return jws.serialize_compact(header, json.dumps(claims).encode(), key, [str(header["alg"])])


@dataclass
class Code(AuthorizationCodeMixin):  # type: ignore[misc]  # it has no types
    """A code that was given out."""

    redirect_uri: str
    scope: str
    nonce: str
    person: dict[str, Any]
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> None:
        return None


class _Client(ClientMixin):  # type: ignore[misc]  # same
    redirect_uris: tuple[str, ...] = ()

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.endswith("/sign-in/answer")

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, _: str) -> bool:
        return method in {"client_secret_basic", "client_secret_post"}

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


def _grant_of(provider: Provider) -> tuple[type, list[object]]:
    class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]  # it has no types
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

        def save_authorization_code(self, code: str, asked: Any) -> None:  # noqa: ANN401 - as Authlib calls it
            sent = asked.payload
            pkce = (sent.data.get("code_challenge"), sent.data.get("code_challenge_method"))
            nonce = sent.data.get("nonce")
            provider.codes[code] = Code(sent.redirect_uri, asked.scope, nonce, asked.user, *pkce)

        def query_authorization_code(self, code: str, _: object) -> Code | None:
            return provider.codes.get(code)

        def delete_authorization_code(self, code: Code) -> None:
            provider.codes = {name: one for name, one in provider.codes.items() if one != code}

        def authenticate_user(self, code: Code) -> dict[str, Any]:
            return code.person

    class Tokens(OpenIDCode):  # type: ignore[misc]  # same
        def exists_nonce(self, *_: object) -> bool:
            return False

        def encode_id_token(self, _: object, asked: Any) -> str:  # noqa: ANN401 - same
            now = int(provider.now())
            about = {"iss": provider.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300}
            nonce = asked.authorization_code.get_nonce()
            return provider.token({**about, "nonce": nonce, **asked.user})

    return CodeGrant, [Tokens(require_nonce=True), CodeChallenge(required=True)]


def _application(provider: Provider) -> Flask:
    app = Flask("provider")
    server = AuthorizationServer(app, lambda name: _Client() if name == CLIENT_ID else None)
    server.save_token = lambda *_: None
    server.register_grant(*_grant_of(provider))

    @app.before_request
    def noted() -> Response | None:
        provider.requests.append(request.path)
        if request.path == provider.stalled:
            provider.released.wait(20)
        status, body = provider.answers.get(request.path, (0, b""))
        return Response(body, status, mimetype="application/json") if status else None

    @app.get("/.well-known/openid-configuration")
    def metadata() -> Response:
        return jsonify(provider.metadata())

    @app.get("/keys")
    def keys() -> Response:
        return jsonify({"keys": [key.as_dict(private=False) for key in provider.keys]})

    @app.route("/authorize", methods=["GET", "POST"])
    def authorize() -> Any:  # noqa: ANN401 - as Authlib answers
        if provider.asks and request.method == "GET":
            return "<!doctype html><title>Id</title><form method=post><button>Allow</button></form>"
        grant = server.get_consent_grant(end_user=provider.person)
        return server.create_authorization_response(grant_user=provider.person, grant=grant)

    @app.post("/token")
    def token() -> Any:  # noqa: ANN401 - same
        return server.create_token_response()

    return app


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object, **__: object) -> None:
        """Log nothing."""


@contextmanager
def providing(host: str = "127.0.0.1") -> Iterator[Provider]:
    """Serve a provider while inside."""
    provider = Provider()
    server = make_server(
        "127.0.0.1", 0, _application(provider), threaded=True, request_handler=_Quiet
    )
    provider.issuer = f"http://{host}:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield provider
    finally:
        provider.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def unsigned(header: dict[str, Any], claims: dict[str, Any], alg: str = "none") -> str:
    """Return a token without a signature."""
    parts = ({**header, "alg": alg}, claims)
    return "".join(f"{urlsafe_b64encode(json.dumps(one).encode()).decode()}." for one in parts)
