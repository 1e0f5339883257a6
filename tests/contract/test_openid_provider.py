"""What a sign-in provider answers: who it is, and everything that is not to be trusted."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from joserfc import jws
from joserfc.util import urlsafe_b64encode

from schemas.checkup import Verdict
from schemas.errors import ConfigurationError
from schemas.identity import Claimed, Identity, SignInFailed, SignInFault, email_key
from schemas.settings import Settings, load_settings
from service.cli.doctor import sign_in_checks
from service.desk import sign_in_flow
from tests.contract.source_rig import HandClock
from tests.doubles.openid_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    Provider,
    ec_key,
    providing,
    rsa_key,
    unsigned,
)
from workers.openid import Challenge, OpenidProvider, provider_checks

SECRETS = Challenge("http://127.0.0.1:8000/sign-in/answer", "s" * 64, "n" * 64, "v" * 64)


@pytest.fixture(scope="module")
def serving() -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture
def provider(serving: Provider) -> Provider:
    """Give a provider that behaves."""
    fresh = Provider(serving.issuer, lambda: HandClock().now().timestamp())
    serving.__dict__.update(fresh.__dict__)
    return serving


def settings_for(provider: Provider) -> Settings:
    return load_settings(
        {
            "COURSEBELL_OIDC_ISSUER": provider.issuer,
            "COURSEBELL_OIDC_CLIENT_ID": CLIENT_ID,
            "COURSEBELL_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        }
    )


def client_of(provider: Provider) -> OpenidProvider:
    return OpenidProvider(settings_for(provider), HandClock())


def answer_to(client: OpenidProvider, challenge: Challenge = SECRETS) -> dict[str, str]:
    """Go where the client leads, and return what the provider answers."""
    answer = requests.get(client.address(challenge), allow_redirects=False, timeout=10)
    assert answer.status_code == 302
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def claimed(provider: Provider, client: OpenidProvider | None = None) -> Claimed:
    client = client or client_of(provider)
    return client.identify(answer_to(client), SECRETS)


def fault_of(act: Callable[[], object]) -> SignInFault:
    with pytest.raises(SignInFailed) as caught:
        act()
    for secret in (CLIENT_SECRET, "n" * 64, "v" * 64, "xample.org", "eyJ", "r-1"):
        assert secret not in str(caught.value)
    return caught.value.fault


def test_a_person_is_known_by_issuer_and_subject(provider: Provider) -> None:
    found = claimed(provider)
    assert found == Claimed(Identity(provider.issuer, "r-1"), "Rita@Example.org")
    assert "r-1" not in repr(found)
    assert "Rita" not in repr(found)
    asked = dict(parse_qsl(urlsplit(client_of(provider).address(SECRETS)).query))
    assert asked["tenant"] == "harbour"
    assert (asked["scope"], asked["code_challenge_method"]) == ("openid email", "S256")
    assert "v" * 64 not in asked.values()


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_basic"]])
def test_the_secret_is_sent_as_the_provider_takes_it(
    provider: Provider, methods: list[str]
) -> None:
    provider.published = {"token_endpoint_auth_methods_supported": methods}
    assert claimed(provider).identity.subject == "r-1"


@pytest.mark.parametrize(
    ("stated", "email"),
    [
        ({"email_verified": False}, None),
        ({"email_verified": "false"}, None),
        ({"email_verified": 1}, None),
        ({"email_verified": [True]}, None),
        ({"email_verified": ""}, None),
        ({"email_verified": "true"}, "Rita@Example.org"),
        ({"email": ["rita@example.org"]}, None),
        ({"email": "rita@example.org\nx"}, None),
    ],
    ids=str,
)
def test_only_a_verified_address_counts(
    provider: Provider, stated: dict[str, Any], email: str | None
) -> None:
    provider.claims = stated
    assert claimed(provider).email == email


NOW = int(HandClock().now().timestamp())


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        ({"nonce": "another"}, SignInFault.TOKEN),
        ({"nonce": ""}, SignInFault.TOKEN),
        ({"iss": "https://evil.example"}, SignInFault.TOKEN),
        ({"sub": ""}, SignInFault.TOKEN),
        ({"sub": 7}, SignInFault.TOKEN),
        ({"sub": "a\0b"}, SignInFault.TOKEN),
        ({"sub": "x" * 256}, SignInFault.TOKEN),
        ({"at_hash": "another"}, SignInFault.TOKEN),
        ({"aud": "another"}, SignInFault.AUDIENCE),
        ({"aud": [CLIENT_ID, "another"]}, SignInFault.AUDIENCE),
        ({"azp": "another"}, SignInFault.AUDIENCE),
        ({"aud": "another", "azp": CLIENT_ID}, SignInFault.AUDIENCE),
        ({"aud": ""}, SignInFault.AUDIENCE),
        ({"exp": NOW - 121}, SignInFault.CLOCK),
        ({"exp": ""}, SignInFault.CLOCK),
        ({"exp": "tomorrow"}, SignInFault.CLOCK),
        ({"iat": NOW + 121}, SignInFault.CLOCK),
        ({"nbf": NOW + 121}, SignInFault.CLOCK),
    ],
    ids=str,
)
def test_a_token_about_something_else_signs_nobody_in(
    provider: Provider, claims: dict[str, Any], fault: SignInFault
) -> None:
    provider.claims = claims
    assert fault_of(lambda: claimed(provider)) is fault


@pytest.mark.parametrize(
    "claims",
    [{"exp": NOW - 119}, {"iat": NOW + 119}, {"aud": [CLIENT_ID]}, {"azp": CLIENT_ID}],
    ids=str,
)
def test_clocks_may_differ_by_two_minutes(provider: Provider, claims: dict[str, Any]) -> None:
    provider.claims = claims
    assert claimed(provider).identity.subject == "r-1"


def with_public_key(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Sign with HMAC and the provider's public key, which everybody knows."""
    signed = unsigned(header, claims, "HS256").rstrip(".").encode()
    made = hmac.new(rsa_key().as_pem(private=False), signed, hashlib.sha256).digest()
    return f"{signed.decode()}.{urlsafe_b64encode(made).decode()}"


def by_another(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Sign with a key that the provider does not have, under the name of one that it has."""
    body = json.dumps(claims).encode()
    return jws.serialize_compact({**header, "alg": "ES256"}, body, ec_key("rsa-1"), ["ES256"])


def changed(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Change a token after it was signed."""
    genuine = jws.serialize_compact(header, json.dumps(claims).encode(), rsa_key(), ["RS256"])
    forged = jws.serialize_compact(
        header, json.dumps({**claims, "sub": "o-2"}).encode(), rsa_key(), ["RS256"]
    )
    return ".".join([genuine.split(".")[0], forged.split(".")[1], genuine.split(".")[2]])


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize(
    "sign",
    [unsigned, with_public_key, by_another, changed, lambda *_: "a.b", lambda *_: "x" * 200_000],
    ids=["alg none", "HS256 with the public key", "another key", "changed", "no token", "huge"],
)
def test_a_token_that_the_provider_did_not_sign_signs_nobody_in(
    provider: Provider, sign: Callable[..., str]
) -> None:
    provider.sign = sign
    assert fault_of(lambda: claimed(provider)) is SignInFault.TOKEN


def test_a_provider_that_signs_only_with_secrets_is_not_used(provider: Provider) -> None:
    for offered in (["HS256", "none"], [], "RS256", None):
        provider.published = {"id_token_signing_alg_values_supported": offered}
        assert fault_of(lambda: claimed(provider)) is SignInFault.SETTINGS


def test_new_keys_of_the_provider_are_read_when_a_token_has_one(provider: Provider) -> None:
    client = client_of(provider)
    claimed(provider, client)
    claimed(provider, client)
    assert provider.requests.count("/keys") == provider.requests.count(
        "/.well-known/openid-configuration"
    )
    provider.rotate()
    assert claimed(provider, client).identity.subject == "r-1"
    assert provider.requests.count("/keys") == 2
    provider.header = {"kid": "nobody-has-it"}
    assert fault_of(lambda: claimed(provider, client)) is SignInFault.TOKEN
    assert provider.requests.count("/keys") == 3


def test_a_code_is_used_once_and_by_the_browser_that_began(provider: Provider) -> None:
    client = client_of(provider)
    answer = answer_to(client)
    client.identify(answer, SECRETS)
    assert fault_of(lambda: client.identify(answer, SECRETS)) is SignInFault.CODE
    stolen = replace(SECRETS, verifier="w" * 64)
    assert fault_of(lambda: client.identify(answer_to(client), stolen)) is SignInFault.CODE


def test_an_answer_of_another_issuer_is_not_redeemed(provider: Provider) -> None:
    client = client_of(provider)
    mixed = {**answer_to(client), "iss": "https://evil.example"}
    assert fault_of(lambda: client.identify(mixed, SECRETS)) is SignInFault.TOKEN
    provider.published = {"authorization_response_iss_parameter_supported": True}
    other = client_of(provider)
    assert fault_of(lambda: claimed(provider, other)) is SignInFault.TOKEN
    stated = {**answer_to(other), "iss": provider.issuer}
    assert other.identify(stated, SECRETS).identity.subject == "r-1"
    assert provider.requests.count("/token") == 1


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"error": "access_denied"}, SignInFault.DENIED),
        ({"error": "consent_required"}, SignInFault.DENIED),
        ({"error": "temporarily_unavailable"}, SignInFault.UNREACHABLE),
        ({"error": "invalid_scope"}, SignInFault.SETTINGS),
        ({"error": "Rita@Example.org <b>"}, SignInFault.SETTINGS),
        ({}, SignInFault.TOKEN),
    ],
    ids=str,
)
def test_what_the_provider_says_instead_of_a_code(
    provider: Provider, answer: dict[str, str], fault: SignInFault
) -> None:
    assert fault_of(lambda: client_of(provider).identify(answer, SECRETS)) is fault


@pytest.mark.parametrize(
    ("path", "answer", "fault"),
    [
        ("/token", (401, b'{"error": "invalid_client"}'), SignInFault.SETTINGS),
        ("/token", (500, b"trouble"), SignInFault.UNREACHABLE),
        ("/token", (200, b'{"access_token": "eyJ"}'), SignInFault.SETTINGS),
        ("/token", (200, b"<html>eyJ"), SignInFault.SETTINGS),
        ("/token", (302, b""), SignInFault.UNREACHABLE),
        ("/keys", (500, b""), SignInFault.UNREACHABLE),
        ("/keys", (200, b"[]"), SignInFault.SETTINGS),
        ("/keys", (200, b'{"keys": [{"kty": "RSA"}]}'), SignInFault.SETTINGS),
        ("/keys", (200, b'{"keys": 7}'), SignInFault.SETTINGS),
        ("/keys", (200, b" " * (6 * 1024 * 1024)), SignInFault.UNREACHABLE),
    ],
    ids=lambda one: str(one)[:40],
)
def test_answers_that_cannot_be_used(
    provider: Provider, path: str, answer: tuple[int, bytes], fault: SignInFault
) -> None:
    provider.answers = {path: answer}
    assert fault_of(lambda: claimed(provider)) is fault


@pytest.mark.parametrize(
    ("published", "fault"),
    [
        ({"issuer": "https://evil.example"}, SignInFault.SETTINGS),
        ({"token_endpoint": "http://login.example/token"}, SignInFault.SETTINGS),
        ({"jwks_uri": None}, SignInFault.SETTINGS),
        ({"authorization_endpoint": "javascript:alert(1)"}, SignInFault.SETTINGS),
        ({"authorization_endpoint": "http://[::1"}, SignInFault.SETTINGS),
    ],
    ids=str,
)
def test_doctor_says_what_is_wrong_with_what_the_provider_publishes(
    provider: Provider, published: dict[str, Any], fault: SignInFault
) -> None:
    provider.published = published
    assert fault_of(lambda: client_of(provider).address(SECRETS)) is fault
    [check] = provider_checks(settings_for(provider), HandClock(), SECRETS.redirect_uri)
    assert check.verdict is Verdict.PROBLEM
    assert "COURSEBELL_OIDC_ISSUER" in (check.fix or "")


def test_doctor_says_that_all_is_well_and_what_the_provider_must_know(provider: Provider) -> None:
    assert list(sign_in_checks(load_settings({}))) == []
    checks = list(sign_in_checks(settings_for(provider)))
    assert [one.verdict for one in checks] == [Verdict.OK, Verdict.OK, Verdict.NOTE]
    assert SECRETS.redirect_uri in checks[-1].found


def test_a_provider_in_trouble_is_asked_again_after_a_pause_only(provider: Provider) -> None:
    provider.answers = {"/.well-known/openid-configuration": (503, b"")}
    client = client_of(provider)
    for _ in range(3):
        assert fault_of(lambda: client.address(SECRETS)) is SignInFault.UNREACHABLE
    assert len(provider.requests) == 1


def test_a_provider_that_does_not_answer_is_not_waited_for(provider: Provider) -> None:
    hurried = OpenidProvider(settings_for(provider), HandClock(), whole_s=0.5)
    provider.stalled = "/token"
    answer = answer_to(hurried)
    assert fault_of(lambda: hurried.identify(answer, SECRETS)) is SignInFault.UNREACHABLE
    provider.released.set()


def test_addresses_are_compared_without_folding_letters_of_other_scripts() -> None:
    assert email_key(" Rita@Example.ORG") == "rita@example.org"
    assert email_key("\N{KELVIN SIGN}@example.org") != email_key("k@example.org")
    assert email_key("\N{LATIN SMALL LETTER LONG S}@example.org") != email_key("s@example.org")


def test_the_libraries_are_asked_for_only_if_a_provider_is_set(
    provider: Provider,
) -> None:
    assert sign_in_flow.provider_of(load_settings({}), HandClock()) is None
    assert sign_in_flow.provider_of(settings_for(provider), HandClock()) is not None
    missing = ("a_library_that_is_not_installed",)
    with pytest.raises(ConfigurationError, match="needs the package `authlib`"):
        sign_in_flow.check_libraries(settings_for(provider), missing)
    sign_in_flow.check_libraries(load_settings({}), missing)


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        ({"ISSUER": "https://id.example"}, "ISSUER: needs COURSEBELL_OIDC_CLIENT_ID too"),
        ({"CLIENT_ID": "x"}, "CLIENT_ID: needs COURSEBELL_OIDC_ISSUER too"),
        ({"ISSUER": "http://id.example", "CLIENT_ID": "x"}, "expected https://"),
        (
            {
                "ISSUER": "https://id.example/.well-known/openid-configuration",
                "CLIENT_ID": "x",
            },
            "expected the issuer",
        ),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_together_are_refused(given: dict[str, str], mistake: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({f"COURSEBELL_OIDC_{name}": value for name, value in given.items()})
    assert mistake in caught.value.mistakes[0]
    with pytest.raises(ConfigurationError, match="nobody could sign in"):
        load_settings({"COURSEBELL_PASSWORDS": "false"})


def test_an_issuer_keeps_the_slash_at_its_end() -> None:
    """Auth0 has one, and an issuer is compared as a text."""
    given = {"COURSEBELL_OIDC_ISSUER": "https://id.example/", "COURSEBELL_OIDC_CLIENT_ID": "x"}
    assert load_settings(given).oidc_issuer == "https://id.example/"
