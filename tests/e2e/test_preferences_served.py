"""The preference page as a real web process serves it: floods, locks, and a whole story."""

import re
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import check_key
from ledger.engine import open_engine, writing
from ledger.people import accept_person
from schemas.records import Coworker
from schemas.rules import Stream
from tests.e2e.house import House, living
from tests.e2e.test_input import HOOKS, signed
from tests.e2e.test_receiver import begun
from tests.servers.programs import wait_until
from workers.preference_links import PreferenceLinks

KEY = "a-secret-key-for-this-test-only"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
PEOPLE = range(7, 12)
_PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house in which only the web server runs, and some people are known."""
    with living(tmp_path_factory.mktemp("preferences"), COURSEBELL_SECRET_KEY=KEY) as found:
        engine = open_engine(found.environment["COURSEBELL_DATABASE_URL"])
        now = SYSTEM_CLOCK.now()
        with writing(engine) as connection:
            for number in PEOPLE:
                person = Coworker(number, now, None, "Ana López", "Ana", address_of(number))
                accept_person(connection, person, now)
        check_key(engine, KEY, now)
        engine.dispose()
        found.start("serve")
        wait_until(lambda: is_alive(found), "the web server")
        yield found


def is_alive(house: House) -> bool:
    try:
        return requests.get(f"{house.url}/healthz", timeout=5).ok
    except requests.RequestException:
        return False


def address_of(number: int) -> str:
    return f"person{number}@example.org"


def links_of(house: House, number: int) -> tuple[str, str]:
    """Return the page and the one-click link of a person."""
    links = PreferenceLinks(house.url, KEY)
    owner = links.owner(number, address_of(number))
    return links.page(owner), links.one_click(owner, Stream.SERVICE)


def post(url: str, sent: dict[str, str]) -> requests.Response:
    return requests.post(url, sent, timeout=_PATIENCE_S, allow_redirects=False)


def choices(house: House) -> int:
    [(number,)] = house.rows("SELECT count(*) FROM choices")
    assert isinstance(number, int)
    return number


def deliver(house: House, record_id: int) -> float:
    """Deliver a notification, and return how long that took."""
    body, began = b'[{"Id": %d}]' % record_id, time.monotonic()
    assert house.post(HOOKS[0], body, signed(body)).status_code == 202
    return time.monotonic() - began


def test_two_thousand_repeated_clicks_store_one_choice_and_delay_no_delivery(
    house: House, record_property: Callable[[str, object], None]
) -> None:
    _, one_click = links_of(house, 7)
    before = choices(house)
    with ThreadPoolExecutor(8) as senders, requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=8))

        def click(_: int) -> int:
            return session.post(one_click, ONE_CLICK, timeout=_PATIENCE_S).status_code

        began = time.monotonic()
        clicks = senders.map(click, range(2_000))
        took = [deliver(house, number) for number in range(20)]
        answers = Counter(clicks)
        all_s = time.monotonic() - began
    assert answers == {200: 2_000}
    assert choices(house) == before + 2  # under the hash of the address and that of the Id
    record_property(
        "figure",
        f"2,000 one-click POSTs from 8 senders in {all_s:.1f} s; deliveries meanwhile took "
        f"{statistics.median(took) * 1000:.0f} ms, the longest {max(took) * 1000:.0f} ms",
    )


def test_a_flood_of_wrong_links_from_one_address_locks_no_member_out(house: House) -> None:
    page, one_click = links_of(house, 8)
    wrong = Counter(
        post(f"{one_click[:-9]}{number:09}", ONE_CLICK).status_code for number in range(100)
    )
    assert set(wrong) == {404, 429}
    assert wrong[429] >= 60
    assert requests.get(page, timeout=_PATIENCE_S).status_code == 200
    assert post(one_click, ONE_CLICK).status_code == 200


def test_while_another_program_locks_the_ledger_a_click_is_to_be_repeated(house: House) -> None:
    page, one_click = links_of(house, 9)
    path = house.environment["COURSEBELL_DATABASE_URL"].removeprefix("sqlite:///")
    locking = sqlite3.connect(path, isolation_level=None)
    locking.execute("BEGIN IMMEDIATE")
    try:
        answer = post(one_click, ONE_CLICK)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert requests.get(page, timeout=_PATIENCE_S).status_code == 200, "reading still works"
    finally:
        locking.execute("ROLLBACK")
        locking.close()
    assert "You get emails about your courses." in requests.get(page, timeout=_PATIENCE_S).text
    assert post(one_click, ONE_CLICK).status_code == 200
    assert "You get no emails" in requests.get(page, timeout=_PATIENCE_S).text


def test_a_browser_saves_and_is_led_back_to_the_page(house: House) -> None:
    page, one_click = links_of(house, 10)
    opened = requests.get(one_click, timeout=_PATIENCE_S)
    assert opened.url == page
    action = re.findall(r'action="([^"]+)"', opened.text)
    assert action == [page.rpartition("/")[2]]
    saved = requests.post(page, {"act": "stop"}, timeout=_PATIENCE_S)
    assert saved.url == f"{page}?saved=1"
    assert "All course emails are stopped." in saved.text
    assert requests.head(page, timeout=_PATIENCE_S).status_code == 200


@pytest.mark.parametrize("size", [5_000, 2_000_000])
def test_a_large_body_is_refused_before_it_is_kept(house: House, size: int) -> None:
    for url in links_of(house, 11):
        assert post(url, {"act": "stop", **ONE_CLICK, "x": "x" * size}).status_code == 413
    assert (
        "You get emails about your courses."
        in requests.get(links_of(house, 11)[0], timeout=_PATIENCE_S).text
    )


def test_no_log_has_a_link_or_an_address(house: House) -> None:
    said = house.logs()
    assert "preferences.changed" in said
    for number in PEOPLE:
        assert address_of(number) not in said
        for url in links_of(house, number):
            assert url.rpartition("/")[2] not in said


def test_a_large_body_is_refused_although_it_never_arrives(house: House) -> None:
    for url in links_of(house, 11):
        path = url.removeprefix(house.url)
        with begun(house, path, {}, 5_000) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
