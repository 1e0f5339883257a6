"""Every route authenticates its caller, or is on the short list of open routes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.migrate import migrate
from sandbox.mail_provider import SendGridSender
from schemas.settings import load_settings
from service.app import Web, make_web
from service.desk.routes import PROVIDER_PATHS, ROUTES

# The first two contain no personal data; the code in the third is the proof.
OPEN_TO_ALL = {"/healthz", "/readyz", "/c/<typed>"}
BEHIND_LINKS = {"/p/<token>", "/u/<token>"}  # a signed link says whose page it is
DESK = {one.path for one in ROUTES if one.role is not None}
OPEN_DESK = {
    *("/desk.css", "/desk.js", "/language", "/sign-in", "/welcome/<token>"),
    *PROVIDER_PATHS,
}

KEY = {"COURSEBELL_SECRET_KEY": "a-secret-key-for-this-test-only"}
SECRETS = {
    "COURSEBELL_HOOK_SECRETS": "a-hook-secret-for-this-test-only",
    "COURSEBELL_RELAY_TOKENS": "a-relay-token-for-this-test-only",
    "COURSEBELL_SES_TOPIC": "arn:aws:sns:eu-west-1:123456789012:emails",
    "COURSEBELL_POSTMARK_SECRET": "a-password-for-this-test-only",
    "COURSEBELL_MAILGUN_SIGNING_KEY": "a-signing-key-for-this-test-only",
    "COURSEBELL_SENDGRID_PUBLIC_KEY": SendGridSender().public_key,
    "COURSEBELL_BREVO_SECRET": "a-password-for-this-test-only",
}


@pytest.fixture(params=[{}, SECRETS], ids=["nothing configured", "secrets configured"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Web]:
    made = make_web(load_settings({"COURSEBELL_DATA_DIR": str(tmp_path), **KEY, **request.param}))
    yield made
    made.close()


def routes(web: Web) -> list[tuple[str, str]]:
    return [
        (method, rule.rule)
        for rule in web.app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def test_every_route_refuses_missing_and_wrong_credentials(web: Web) -> None:
    guarded = [
        one for one in routes(web) if one[1] not in OPEN_TO_ALL | BEHIND_LINKS | DESK | OPEN_DESK
    ]
    assert guarded
    client = web.app.test_client()
    wrong = {"Authorization": "Bearer wrong", "X-Nexudus-Hook-Signature": "0" * 64}
    for method, path in guarded:
        for headers in ({}, wrong):
            answer = client.open(path, method=method, headers=headers, data=b'[{"Id": 1}]')
            assert answer.status_code == 401, f"{method} {path}"


def test_pages_of_operators_lead_everyone_else_to_the_sign_in(web: Web) -> None:
    migrate(web.engine)
    assert {one.path for one in ROUTES if one.role is None} == OPEN_DESK
    client = web.app.test_client()
    for one in ROUTES:
        if one.role is None:
            continue
        path = re.sub(r"<int:\w+>", "1", one.path)
        for cookie in ("", "x" * 64):
            headers = {"Cookie": f"coursebell_session={cookie}"} if cookie else {}
            answer = client.open(path, method=one.method, headers=headers)
            is_page = one.method == "GET" and not one.is_asked_by_script
            assert answer.status_code == (303 if is_page else 401), one
            if one.is_asked_by_script:
                assert answer.data == b""
            elif is_page:
                assert answer.headers["Location"].startswith("/sign-in")
            else:
                assert "Sign in" in answer.text


def test_a_link_that_is_not_genuine_leads_nowhere(web: Web) -> None:
    linked = [one for one in routes(web) if one[1] in BEHIND_LINKS]
    assert {path for _, path in linked} == BEHIND_LINKS
    client = web.app.test_client()
    for method, path in linked:
        for token in ("x", "x.y", "a" * 99, "é", "%00"):
            answer = client.open(
                path.replace("<token>", token), method=method, data={"act": "stop"}
            )
            assert answer.status_code == 404, f"{method} {path} {token}"


def test_the_list_of_open_routes_names_only_existing_routes(web: Web) -> None:
    assert {path for _, path in routes(web)} >= OPEN_TO_ALL
    assert all(method == "GET" for method, path in routes(web) if path in OPEN_TO_ALL)
