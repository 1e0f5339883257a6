"""Signing in to the pages with a provider: who gets in, how, and what everybody else reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from ledger.controls import check_key
from ledger.engine import reading, writing
from ledger.identities import invite
from ledger.interventions import decisions
from ledger.operators import add_operator, close_operator, has_operators, sessions_of
from schemas.roles import Role
from tests.contract.operator_rig import (
    HERE,
    PASSWORD,
    RITA,
    Browser,
    Office,
    hidden_fields,
    opened,
)
from tests.doubles.openid_provider import CLIENT_ID, CLIENT_SECRET, Provider, providing

pytestmark = pytest.mark.engines("sqlite")
BEGIN = "/sign-in/provider"
ADDRESS = "rita@example.org"


@pytest.fixture(scope="module")
def serving() -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture
def provider(serving: Provider) -> Provider:
    """Give a provider that behaves."""
    serving.__dict__.update(Provider(serving.issuer).__dict__)
    return serving


@contextmanager
def with_provider(provider: Provider, folder: Path, **more: str) -> Iterator[Office]:
    settings = {
        "COURSEBELL_OIDC_ISSUER": provider.issuer,
        "COURSEBELL_OIDC_CLIENT_ID": CLIENT_ID,
        "COURSEBELL_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "COURSEBELL_OIDC_NAME": "Harbour ID",
    }
    with opened(folder, None, None, **settings, **more) as found:
        provider.now = lambda: found.clock.now().timestamp()
        yield found


@pytest.fixture
def office(provider: Provider, tmp_path: Path) -> Iterator[Office]:
    with with_provider(provider, tmp_path) as found:
        yield found


def invited(office: Office, name: str = RITA, address: str = ADDRESS) -> None:
    """Add an account that may be connected by this address."""
    now = office.clock.now()
    with writing(office.engine) as connection:
        made = add_operator(connection, name, Role.OPERATE, "test", now)
        assert made
        assert invite(connection, made, address, "test", now)


def at_provider(left: TestResponse) -> str:
    """Go where this leads, and return the path with which the provider leads back."""
    assert left.status_code == 303, left.text
    answer = requests.get(left.headers["Location"], allow_redirects=False, timeout=10)
    back = urlsplit(answer.headers["Location"])
    assert f"{back.scheme}://{back.netloc}" == HERE
    return f"{back.path}?{back.query}"


def signing_in(browser: Browser, begin: str = BEGIN) -> TestResponse:
    return browser.get(at_provider(browser.get(begin)))


def is_in(browser: Browser) -> bool:
    return browser.get("/").status_code == 200


def test_who_was_added_by_address_signs_in_and_comes_back_to_the_wanted_page(
    office: Office,
) -> None:
    invited(office)
    browser = office.browser()
    wanted = browser.get(browser.get("/people?q=Jo%C3%ABl").headers["Location"])
    begin = wanted.text.split('class="button" href="')[1].split('"')[0]
    with capture_logs() as lines:
        answer = signing_in(browser, begin)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/people?q=Jo%C3%ABl")
    assert is_in(browser)
    signed_in = {"event": "operator.signed_in", "operator_id": 1, "way": "provider"}
    assert signed_in.items() <= lines[-1].items()
    assert "rita" not in str(lines).lower()
    account = browser.get("/account").text
    assert "Signing out here does not sign you out there" in account
    assert "Change your password" not in account
    with reading(office.engine) as connection:
        assert len(sessions_of(connection, 1, office.clock.now())) == 1
        assert [one.detail for one in decisions(connection)][-1].get("connected")


def test_once_connected_only_the_same_person_gets_in_and_not_a_later_owner_of_the_address(
    office: Office, provider: Provider
) -> None:
    invited(office)
    assert signing_in(office.browser()).status_code == 303
    provider.person = {"sub": "r-1", "email": "changed@example.org"}
    assert signing_in(office.browser()).status_code == 303
    provider.person = {"sub": "o-2", "email": ADDRESS, "email_verified": True}
    refused = signing_in(office.browser())
    assert (refused.status_code, "You have no account here." in refused.text) == (403, True)
    assert office.account().email is None


@pytest.mark.parametrize("closes", [False, True])
def test_a_stranger_and_who_was_closed_are_refused(office: Office, *, closes: bool) -> None:
    browser = office.browser()
    if closes:
        invited(office)
        assert signing_in(browser).status_code == 303
        with writing(office.engine) as connection:
            close_operator(connection, office.account(), "test", office.clock.now())
        assert not is_in(browser)
    with capture_logs() as lines:
        refused = signing_in(browser)
    assert (refused.status_code, "You have no account here." in refused.text) == (403, True)
    assert not is_in(browser)
    assert "example.org" not in f"{refused.text}{lines}".lower()


def test_an_address_that_the_provider_did_not_verify_connects_nothing(
    office: Office, provider: Provider
) -> None:
    invited(office)
    provider.claims = {"email_verified": False}
    refused = signing_in(office.browser())
    assert (refused.status_code, "was verified" in refused.text) == (403, True)
    assert office.account().identity is None


def test_a_one_time_link_connects_an_account_without_any_address(
    office: Office, provider: Provider
) -> None:
    provider.person = {"sub": "r-1"}
    office.add()
    link, browser = office.link(), office.browser()
    shown = browser.get(link)
    begin = shown.text.split('class="button" href="')[1].split('"')[0]
    elsewhere = browser.get(begin, headers={"Sec-Fetch-Site": "cross-site"})
    assert elsewhere.headers["Location"] == "/sign-in"
    assert signing_in(browser, begin).status_code == 303
    assert is_in(browser)
    assert "no longer works" in browser.get(link).text
    assert signing_in(office.browser()).status_code == 303
    with writing(office.engine) as connection:
        add_operator(connection, "Otto", Role.LOOK, "test", office.clock.now())
    other = office.link("Otto", "another-token")
    taken = signing_in(office.browser(), f"{BEGIN}?link=another-token")
    assert (taken.status_code, "connected with you" in taken.text) == (403, True)
    assert office.browser().get(other).status_code == 200
    assert "no longer works" in signing_in(browser, f"{BEGIN}?link=unknown").text


def test_an_answer_counts_in_the_browser_that_began_for_ten_minutes_and_once(
    office: Office,
) -> None:
    invited(office)
    browser, other = office.browser(), office.browser()
    back = at_provider(browser.get(BEGIN))
    stolen = other.get(back)
    assert (stolen.status_code, "not begun in this browser" in stolen.text) == (400, True)
    other.get(BEGIN)
    assert other.get(back).status_code == 400
    late = at_provider(browser.get(BEGIN))
    office.clock.move(600)
    assert browser.get(late).status_code == 400
    assert not is_in(browser)
    office.clock.move(-600)
    again = at_provider(browser.get(BEGIN))
    assert browser.get(again).status_code == 303
    assert browser.get(again).status_code == 400
    forged = office.browser()
    forged.client.set_cookie("coursebell_flow", "W10.AAAA", domain="127.0.0.1")
    assert forged.get(again).status_code == 400


@pytest.mark.parametrize(
    ("person", "claims", "answers", "status", "says"),
    [
        (None, {}, {}, 403, "you cancelled there"),
        ({"sub": "r-1"}, {"aud": "another"}, {}, 403, "to another service"),
        ({"sub": "r-1"}, {"exp": 1}, {}, 503, "clock"),
        ({"sub": "r-1"}, {"nonce": "another"}, {}, 403, "cannot be trusted"),
        ({"sub": "r-1"}, {}, {"/token": (400, b'{"error":"invalid_grant"}')}, 403, "too long"),
        ({"sub": "r-1"}, {}, {"/token": (401, b'{"error":"invalid_client"}')}, 503, "set up"),
        ({"sub": "r-1"}, {}, {"/token": (500, b"")}, 503, "does not answer"),
    ],
    ids=["cancelled", "audience", "clock", "nonce", "code", "client", "trouble"],
)
def test_each_failure_is_a_plain_page_that_leads_back(  # noqa: PLR0913, PLR0917 - one table
    office: Office,
    provider: Provider,
    person: dict[str, str] | None,
    claims: dict[str, object],
    answers: dict[str, tuple[int, bytes]],
    status: int,
    says: str,
) -> None:
    provider.person, provider.claims, provider.answers = person, claims, answers
    with capture_logs() as lines:
        shown = signing_in(office.browser())
    assert (shown.status_code, says in shown.text) == (status, True), shown.text
    assert 'href="/sign-in"' in shown.text
    assert CLIENT_SECRET not in f"{shown.text}{lines}"
    assert [one["event"] for one in lines] == ["operator.refused"]


def test_a_provider_that_cannot_be_reached_leaves_the_password(
    office: Office, provider: Provider
) -> None:
    provider.answers = {"/.well-known/openid-configuration": (503, b"")}
    office.add()
    browser = office.browser()
    shown = browser.get(BEGIN)
    assert (shown.status_code, "Harbour ID does not answer" in shown.text) == (503, True)
    assert browser.sign_in().status_code == 303


def test_wrong_answers_are_limited_but_lock_no_known_browser_out(
    office: Office, provider: Provider
) -> None:
    invited(office)
    known, stranger = office.browser(), office.browser()
    assert signing_in(known).status_code == 303
    provider.person = None
    assert [signing_in(stranger).status_code for _ in range(11)] == [*[403] * 10, 429]
    assert signing_in(office.browser()).status_code == 429
    provider.person = Provider(provider.issuer).person
    assert signing_in(known).status_code == 303
    provider.person = None
    assert [signing_in(known).status_code for _ in range(11)] == [*[403] * 10, 429]


def test_an_answer_to_nothing_is_not_counted(office: Office) -> None:
    invited(office)
    stranger = office.browser()
    begun = stranger.get(BEGIN)
    assert begun.status_code == 303
    assert [stranger.get("/sign-in/answer?state=x").status_code for _ in range(11)] == [400] * 11
    assert signing_in(office.browser()).status_code == 303


def test_what_was_typed_waits_in_its_tab_while_its_owner_signs_in_in_another(
    office: Office,
) -> None:
    invited(office)
    browser = office.browser()
    assert signing_in(office.browser()).status_code == 303
    assert signing_in(browser).status_code == 303
    shown = browser.get("/account")
    office.clock.move(8 * 86_400)
    kept = browser.send(shown, "/account/end", session="abc<d>")
    assert kept.status_code == 401
    begin = kept.text.split('class="button" href="')[1].split('"')[0]
    assert 'target="_blank"' in kept.text
    still = browser.send(kept, "/account/end")
    assert (still.status_code, "abc&lt;d&gt;" in still.text) == (401, True)
    assert signing_in(browser, begin).status_code == 303
    assert "Go back to the other tab" in browser.get("/").text
    again = browser.send(still, "/account/end")
    assert again.status_code == 409
    assert hidden_fields(again.text, "/account/end")["session"] == "abc<d>"


def test_without_passwords_only_the_provider_signs_in(provider: Provider, tmp_path: Path) -> None:
    with with_provider(provider, tmp_path, COURSEBELL_PASSWORDS="false") as office:
        office.add()
        browser, link = office.browser(), office.link()
        assert 'type="password"' not in browser.get("/sign-in").text + browser.get(link).text
        assert browser.sign_in().status_code == 403
        chosen = browser.post(link, {"new_password": PASSWORD})
        assert (chosen.status_code, is_in(browser)) == (200, False)
        with reading(office.engine) as connection:
            assert not has_operators(connection, passwords=False, issuer=provider.issuer)
        assert signing_in(browser, f"{BEGIN}?link={link.rpartition('/')[2]}").status_code == 303
        assert browser.press("/account", "/sign-out").status_code == 303
        with reading(office.engine) as connection:
            assert has_operators(connection, passwords=False, issuer=provider.issuer)
            assert not has_operators(connection, passwords=False, issuer="https://id.example")


@pytest.mark.parametrize("path", [BEGIN, "/sign-in/answer?state=x"])
def test_a_wrong_secret_key_is_said_to_be_a_matter_of_the_settings(
    office: Office, path: str
) -> None:
    check_key(office.engine, "the-key-that-the-ledger-belongs-to", office.clock.now())
    with capture_logs() as lines:
        shown = office.browser().get(path)
    assert (shown.status_code, "not set up correctly" in shown.text) == (503, True)
    assert [(one["event"], one["reason"]) for one in lines] == [("operator.refused", "settings")]
    assert "COURSEBELL_SECRET_KEY" in lines[0]["error"]
    assert "a-secret-key-for" not in str(lines)


def test_a_path_for_which_the_cookie_has_no_room_leads_to_the_first_page(office: Office) -> None:
    invited(office)
    several = [chr(0x4E00 + number * 37 % 20_000) for number in range(1400)]
    for text, leads in (("".join(several[:90]), True), ("".join(several), False)):
        browser, path = office.browser(), f"/people?q={quote(text)}"
        left = browser.get(f"{BEGIN}?next={quote(path)}&link={quote(text)}")
        assert len(left.headers["Set-Cookie"]) < 4096
        left = browser.get(f"{BEGIN}?next={quote(path)}")
        assert len(left.headers["Set-Cookie"]) < 4096
        assert browser.get(at_provider(left)).headers["Location"] == (path if leads else "/")


def test_elsewhere_nobody_is_led_to_the_provider_without_https(
    provider: Provider, tmp_path: Path
) -> None:
    public = "https://courses.harbour.example"
    with with_provider(provider, tmp_path, COURSEBELL_PUBLIC_URL=public) as office:
        assert "without https" in office.browser("http://10.0.0.5:8000").get(BEGIN).text
        left = office.browser(public).get(BEGIN)
        assert "redirect_uri=https%3A%2F%2Fcourses.harbour.example%2F" in left.headers["Location"]
        [cookie] = left.headers.getlist("Set-Cookie")
        assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=Lax"))


def test_without_a_provider_its_addresses_lead_to_the_sign_in(tmp_path: Path) -> None:
    with opened(tmp_path) as office:
        office.add()
        assert "Password" in office.browser().get(BEGIN).text
        assert office.browser().get("/sign-in/answer?state=x").status_code == 400
