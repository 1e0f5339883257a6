"""Signing in to the pages: passwords, one-time links, sessions, and forms of other sites."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ledger.engine import reading, writing
from ledger.operators import begin_session, close_operator, sessions_of, set_password
from schemas.roles import Role
from service.desk.operator_pages import MOST_WRONG
from tests.contract.operator_rig import HERE, PASSWORD, RITA, Browser, Office, opened
from tests.contract.source_rig import HandClock

pytestmark = pytest.mark.engines("sqlite")
NEW_PASSWORD = "another four words then"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with opened(tmp_path) as found:
        yield found


def is_in(browser: Browser) -> bool:
    return browser.get("/").status_code == 200


def test_a_one_time_link_lets_its_owner_choose_a_password_and_signs_them_in(
    office: Office,
) -> None:
    office.add()
    link, browser = office.link(), office.browser()
    assert RITA in browser.get(link).text
    answer = browser.post(link, {"new_password": NEW_PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert is_in(browser)
    assert office.browser().sign_in(password=NEW_PASSWORD).status_code == 303


def test_a_one_time_link_works_once_for_a_day_and_not_after_a_newer_one(office: Office) -> None:
    office.add()
    old = office.link()
    newer = office.link(token="another-token")
    stranger = office.browser()
    assert stranger.get(old).status_code == stranger.post(old, {}).status_code == 404
    office.clock.move(24 * 3600)
    assert stranger.get(newer).status_code == 404
    last = office.link(token="the-last-token")
    assert stranger.post(last, {"new_password": NEW_PASSWORD}).status_code == 303
    assert office.browser().post(last, {"new_password": PASSWORD}).status_code == 404
    assert office.browser().sign_in(password=PASSWORD).status_code == 403


@pytest.mark.parametrize("weak", ["short", "a" * 40, "rita sousa rita", "x" * 300, ""])
def test_a_password_that_is_easy_to_guess_is_not_stored(office: Office, weak: str) -> None:
    office.add()
    answer = office.browser().post(office.link(), {"new_password": weak})
    assert answer.status_code == 422
    assert "at least 12 characters" in answer.text
    assert office.browser().sign_in(password=PASSWORD).status_code == 303


def test_without_an_account_the_page_says_how_to_make_one(office: Office) -> None:
    answer = office.browser().get("/sign-in")
    assert "coursebell user add" in answer.text
    assert "password" not in answer.text.partition("<main")[2]


def test_a_page_leads_to_the_sign_in_and_back(office: Office) -> None:
    office.add()
    browser = office.browser()
    answer = browser.get("/account?x=1")
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        "/sign-in?next=/account%3Fx%3D1",
    )
    shown = browser.get(answer.headers["Location"])
    answer = browser.send(
        shown, "/sign-in", name="rita  SOUSA".replace("  ", " "), password=PASSWORD
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account?x=1")


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:1", "/a\nb"],
)
def test_the_way_back_leads_nowhere_else(office: Office, elsewhere: str) -> None:
    office.add()
    assert office.browser().sign_in(next=elsewhere).headers["Location"] == "/"


def test_an_unknown_name_is_answered_as_a_wrong_password_is(office: Office) -> None:
    office.add()
    wrong = office.browser().sign_in(password="not the password at all")
    unknown = office.browser().sign_in("Otto", "not the password at all")
    assert wrong.status_code == unknown.status_code == 403
    assert wrong.text.replace(RITA, "Otto") == unknown.text


class TickingClock(HandClock):
    """A clock whose seconds pass only when it is moved."""

    def monotonic(self) -> float:
        return self.time.timestamp()


@pytest.fixture
def ticking(tmp_path: Path) -> Iterator[Office]:
    with opened(tmp_path, clock=TickingClock()) as found:
        found.add()
        yield found


def tried(office: Office, name: str, password: str, address: str) -> int:
    return (
        office.browser()
        .client.post(
            "/sign-in",
            base_url=HERE,
            data={"name": name, "password": password},
            environ_base={"REMOTE_ADDR": address},
        )
        .status_code
    )


def test_wrong_passwords_for_one_name_are_limited_wherever_they_come_from(
    ticking: Office,
) -> None:
    with capture_logs() as logs:
        for number in range(MOST_WRONG):
            address = f"127.0.1.{number}"
            assert tried(ticking, RITA, "wrong", address) == 403
        assert tried(ticking, RITA, PASSWORD, "127.0.2.1") == 429
    assert RITA not in str(logs)
    assert len(logs) == MOST_WRONG  # a flood writes no line for each request
    ticking.clock.move(60)
    assert tried(ticking, RITA, PASSWORD, "127.0.2.1") == 303


def test_wrong_passwords_of_one_address_are_limited_whatever_the_name(ticking: Office) -> None:
    for number in range(MOST_WRONG):
        assert tried(ticking, f"nobody {number}", "wrong", "127.0.1.1") == 403
    assert tried(ticking, RITA, PASSWORD, "127.0.1.1") == 429
    assert tried(ticking, RITA, PASSWORD, "127.0.1.2") == 303


def test_a_stranger_cannot_lock_out_an_operator_who_signed_in_here_before(ticking: Office) -> None:
    own = ticking.browser()
    own.sign_in()
    own.press("/account", "/sign-out")
    for _ in range(MOST_WRONG):
        ticking.browser().sign_in(password="wrong")
    assert ticking.browser().sign_in().status_code == 429
    assert own.sign_in().status_code == 303
    own.press("/account", "/sign-out")
    for _ in range(MOST_WRONG):
        assert own.sign_in(password="wrong").status_code == 403
    assert own.sign_in().status_code == 429
    ticking.add("Otto")
    assert own.sign_in("Otto").status_code == 429  # it is not known as Otto's


def test_a_sign_in_that_a_new_password_overtakes_ends_there(office: Office) -> None:
    before = office.add()
    with writing(office.engine) as connection:
        set_password(connection, before.operator_id, "another", office.clock.now())
        assert not begin_session(connection, before, "late", "test", office.clock.now())
        close_operator(connection, office.account(), "test", office.clock.now())
        assert not begin_session(connection, office.account(), "late", "test", office.clock.now())


def test_a_password_chosen_by_link_ends_all_sessions(office: Office) -> None:
    browser = office.signed_in()
    office.browser().post(office.link(), {"new_password": NEW_PASSWORD})
    assert not is_in(browser)


def test_only_a_new_account_chooses_its_name(office: Office) -> None:
    office.add()
    office.add("Otto")
    with writing(office.engine) as connection:
        close_operator(connection, office.account("Otto"), "test", office.clock.now())
    for name in (RITA, "Otto"):
        sent = {"new_password": NEW_PASSWORD, "name": "Another Name"}
        assert office.browser().post(office.link(name, f"link {name}"), sent).status_code == 303
        assert office.account(name).name == name


def test_pages_are_read_while_the_ledger_cannot_be_written(office: Office) -> None:
    browser = office.signed_in()
    office.clock.move(600)
    with sqlite3.connect(str(office.engine.url.database)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert is_in(browser)
        other.rollback()
    other.close()


def test_a_cookie_is_for_this_service_only(office: Office) -> None:
    office.add()
    for cookie in office.browser().sign_in().headers.getlist("Set-Cookie"):
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Secure" not in cookie  # the browser is on this machine


PUBLIC = "https://courses.harbour.example"


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Office]:
    with opened(tmp_path, COURSEBELL_PUBLIC_URL=PUBLIC) as found:
        found.add()
        yield found


def test_over_https_the_cookies_are_secure(public: Office) -> None:
    browser = public.browser(PUBLIC)
    cookies = browser.sign_in().headers.getlist("Set-Cookie")
    assert len(cookies) == 2
    assert all("Secure" in one for one in cookies)
    assert is_in(browser)


@pytest.mark.parametrize(
    ("base", "headers"),
    [
        ("http://10.0.0.5:8000", {}),
        (PUBLIC, {"Origin": "http://courses.harbour.example"}),
        (PUBLIC, {"X-Forwarded-Proto": "http"}),
        (HERE, {"Origin": "http://courses.harbour.example"}),
    ],
    ids=["another host", "an http origin", "a proxy says http", "a proxy hides the host"],
)
def test_elsewhere_no_password_is_taken_without_https(
    public: Office, base: str, headers: dict[str, str]
) -> None:
    sent = {"name": RITA, "password": PASSWORD}
    answer = public.browser(base).post("/sign-in", sent, headers=headers)
    assert answer.status_code == 403
    assert "without https" in answer.text
    assert public.browser(base).get("/sign-in", headers=headers).text.count('password"') == 0


def test_a_session_ends_after_a_week_without_use_and_after_a_month(office: Office) -> None:
    browser = office.signed_in()
    used = []
    for _ in range(5):
        office.clock.move(6 * 86_400)
        used.append(is_in(browser))
    assert used == [True, True, True, True, False]
    other = office.browser()
    other.sign_in()
    office.clock.move(7 * 86_400 - 1)
    assert is_in(other)
    office.clock.move(7 * 86_400)
    assert not is_in(other)


def test_signing_out_ends_the_session_for_everyone_who_has_the_cookie(office: Office) -> None:
    browser = office.signed_in()
    copy = office.browser()
    cookie = browser.client.get_cookie("coursebell_session", "127.0.0.1")
    assert cookie
    copy.client.set_cookie("coursebell_session", cookie.value, domain="127.0.0.1")
    assert is_in(copy)
    assert browser.press("/account", "/sign-out").headers["Location"] == "/sign-in"
    assert not is_in(copy)


def test_another_password_signs_out_all_other_browsers(office: Office) -> None:
    browser, other = office.signed_in(), office.browser()
    other.sign_in()
    sent = {"password": PASSWORD, "new_password": NEW_PASSWORD}
    wrong = browser.press("/account", "/account/password", **(sent | {"password": "wrong"}))
    assert (wrong.status_code, is_in(other)) == (403, True)
    weak = browser.press("/account", "/account/password", **(sent | {"new_password": "short"}))
    assert (weak.status_code, is_in(other)) == (422, True)
    answer = browser.press("/account", "/account/password", **sent)
    assert answer.status_code == 303
    assert "Password changed" in browser.get("/account").text
    assert (is_in(browser), is_in(other)) == (True, False)
    assert office.browser().sign_in(password=PASSWORD).status_code == 403


def test_wrong_current_passwords_are_limited(office: Office) -> None:
    browser = office.signed_in()
    shown = browser.get("/account")
    sent = {"password": "wrong", "new_password": NEW_PASSWORD}
    for _ in range(MOST_WRONG):
        assert browser.send(shown, "/account/password", **sent).status_code == 403
    right = sent | {"password": PASSWORD}
    assert browser.send(shown, "/account/password", **right).status_code == 429
    assert office.browser().sign_in().status_code == 303


def test_sessions_are_listed_and_ended(office: Office) -> None:
    browser, phone = office.signed_in(), office.browser()
    phone.client.post(
        "/sign-in",
        base_url=HERE,
        data={"name": RITA, "password": PASSWORD},
        headers={"User-Agent": "Mozilla/5.0 (iPhone; CPU) Version/18.0 Mobile Safari/604.1"},
    )
    shown = browser.get("/account")
    assert "Safari, iPhone" in shown.text
    answer = browser.send(shown, "/account/end")
    assert answer.status_code == 303
    assert (is_in(browser), is_in(phone)) == (True, False)
    with reading(office.engine) as connection:
        [left] = sessions_of(connection, office.account().operator_id, office.clock.now())
    assert left.client != "Safari, iPhone"


def test_nobody_ends_the_session_of_another_operator(office: Office) -> None:
    browser, other = office.signed_in(), office.signed_in(name="Otto")
    with reading(office.engine) as connection:
        [theirs] = sessions_of(connection, office.account("Otto").operator_id, office.clock.now())
    browser.press("/account", "/sign-out")
    office_browser = office.browser()
    office_browser.sign_in()
    other_page = office_browser.get("/account")
    token = other_page.text.split('name="token" value="')[1].split('"')[0]
    office_browser.post("/account/end", {"token": token, "session": theirs.session_id})
    assert is_in(other)


def test_closing_an_account_signs_its_owner_out_at_once(office: Office) -> None:
    browser = office.signed_in()
    link = office.link()
    with writing(office.engine) as connection:
        close_operator(connection, office.account(), "test", office.clock.now())
    assert not is_in(browser)
    assert office.browser().sign_in().status_code == 403
    assert office.browser().get(link).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_a_form_of_another_site_changes_nothing(office: Office, headers: dict[str, str]) -> None:
    browser = office.signed_in()
    token = browser.get("/account").text.split('name="token" value="')[1].split('"')[0]
    answer = browser.post("/sign-out", {"token": token}, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.text
    assert is_in(browser)
    assert browser.sign_in().status_code == 303
    assert browser.post("/sign-in", {"name": RITA}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Origin": HERE}, {}],
    ids=["fetch metadata", "origin", "neither"],
)
def test_a_form_of_this_site_works(office: Office, headers: dict[str, str]) -> None:
    browser = office.signed_in()
    token = browser.get("/account").text.split('name="token" value="')[1].split('"')[0]
    assert browser.post("/sign-out", {"token": token}, headers=headers).status_code == 303


def test_a_form_of_another_session_is_asked_for_again(office: Office) -> None:
    browser = office.signed_in()
    office.browser().sign_in()
    shown = browser.get("/account")
    browser.sign_in()  # in another tab
    answer = browser.send(shown, "/account/end", session="abc")
    assert answer.status_code == 409
    assert "nothing you typed is lost" in answer.text
    assert 'name="session" value="abc"' in answer.text
    assert browser.send(answer, "/account/end").status_code == 303


def test_what_was_typed_survives_the_end_of_the_session(office: Office) -> None:
    browser = office.signed_in()
    office.browser().sign_in()
    shown = browser.get("/account")
    office.clock.move(8 * 86_400)
    answer = browser.send(shown, "/account/end", session="abc<d>")
    assert answer.status_code == 401
    assert "What you filled in is kept" in answer.text
    wrong = browser.send(answer, "/sign-in", name=RITA, password="wrong")
    assert "kept.session" in wrong.text
    again = browser.send(wrong, "/sign-in", name=RITA, password=PASSWORD)
    assert 'name="session" value="abc&lt;d&gt;"' in again.text
    assert "password" not in again.text
    assert browser.send(again, "/account/end").status_code == 303


def test_a_kept_form_is_sent_to_this_service_only(office: Office) -> None:
    office.add()
    answer = office.browser().sign_in(kept_path="https://evil.example/x")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def test_roles_include_the_ones_before() -> None:
    assert Role.ENGINEER.includes(Role.LOOK)
    assert Role.OPERATE.includes(Role.OPERATE)
    assert not Role.LOOK.includes(Role.OPERATE)


def test_pages_load_nothing_from_elsewhere_and_are_not_kept(office: Office) -> None:
    browser = office.signed_in()
    for path in ("/", "/account"):
        answer = browser.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.text.count("<script") == answer.text.count('<script src="/desk.js?v=')
        assert "style=" not in answer.text
    style = browser.get(browser.get("/").text.split('rel="stylesheet" href="')[1].split('"')[0])
    assert style.mimetype == "text/css"
    assert "immutable" in style.headers["Cache-Control"]
    assert len(style.data) < 10_000
