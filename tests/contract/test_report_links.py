"""The link in a report: it stops that report for that address, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.choices import address_hash, choices_of
from ledger.engine import reading
from schemas.choices import notices_of
from tests.contract.preference_rig import EMAIL, KEY, LINKS, Site, opened
from tests.emails.gate import CheckedPage, check_pages

pytestmark = pytest.mark.engines("sqlite")
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
PAGE, CLICK = (
    url.removeprefix("https://courses.harbour.example")
    for url in (LINKS.report_page("attention", EMAIL), LINKS.report_one_click("attention", EMAIL))
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path) as found:
        yield found


def is_stopped(site: Site, name: str = "attention") -> bool:
    with reading(site.engine) as connection:
        chosen = choices_of(connection, [address_hash(EMAIL.upper(), KEY)])
    return chosen.stopped_report_at(name) is not None


def test_one_click_stops_one_report_and_the_page_starts_it_again(site: Site) -> None:
    assert site.post(ONE_CLICK, CLICK).status_code == 200
    assert site.post(ONE_CLICK, CLICK).status_code == 200
    assert is_stopped(site)
    assert not is_stopped(site, "summary")
    assert site.chosen().agreed.get("all") is None
    assert "You won&#39;t get these emails any more" in site.get(PAGE).text
    assert site.post({"act": "save"}, PAGE).status_code == 303
    assert not is_stopped(site)
    assert site.post({"act": "stop"}, PAGE).status_code == 303
    assert is_stopped(site)


def test_what_a_link_of_a_report_opens_is_in_the_language_of_its_email(site: Site) -> None:
    page, click = (
        url.removeprefix("https://courses.harbour.example")
        for url in (
            LINKS.report_page("attention", EMAIL, "de"),
            LINKS.report_one_click("attention", EMAIL, "de"),
        )
    )
    assert '<html lang="de"' in site.get(page).text
    answer = site.post(ONE_CLICK, click)
    assert '<html lang="de"' in answer.text
    assert f'href="..{page}"' in answer.text
    assert is_stopped(site)


def test_opening_a_link_changes_nothing(site: Site) -> None:
    assert "Stop these emails" in site.get(PAGE).text
    answer = site.get(CLICK)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"..{PAGE}"
    assert site.post({"act": "else"}, PAGE).status_code == 400
    assert site.post({}, CLICK).status_code == 400
    assert not is_stopped(site)


def test_the_link_of_a_member_is_not_that_of_a_report(site: Site) -> None:
    assert site.post(ONE_CLICK, site.one_click()).status_code == 200
    assert not is_stopped(site)
    assert LINKS.read_report(site.page.rpartition("/")[2]) is None
    assert LINKS.read_page(PAGE.rpartition("/")[2]) is None


def test_starting_again_too_often_is_refused_and_stopping_never_is(site: Site) -> None:
    answers = {site.post({"act": "save"}, PAGE).status_code for _ in range(100)}
    assert answers == {303, 429}
    assert site.post(ONE_CLICK, CLICK).status_code == 200
    assert is_stopped(site)


def test_the_page_can_be_read_by_everyone(site: Site) -> None:
    pages = [site.get(f"{PAGE}?lang={code}").text for code in ("en", "ar")]
    site.post(ONE_CLICK, CLICK)
    pages += [site.get(f"{PAGE}?lang={code}").text for code in ("de", "he")]
    checked = [CheckedPage(str(number), html=page) for number, page in enumerate(pages)]
    assert check_pages(checked).faults == ()


def test_a_link_of_a_notice_stops_what_one_rule_sends_to_this_address(site: Site) -> None:
    urls = (LINKS.report_page, LINKS.report_one_click)
    page, click = (
        one(notices_of("tell-host"), EMAIL).removeprefix("https://courses.harbour.example")
        for one in urls
    )
    assert site.post(ONE_CLICK, click).status_code == 200
    with reading(site.engine) as connection:
        stored = choices_of(connection, [address_hash(EMAIL, KEY)])
    assert stored.agreed == {"by/tell-host": False}
    assert "Get these emails again" in site.get(page).text
    assert site.post({"act": "save"}, page).status_code == 303
    assert not is_stopped(site, notices_of("tell-host"))
