"""The preference page and the one-click unsubscribe: what they show, and what they change."""

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, text, update
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from ledger.engine import writing
from ledger.people import accept_person, store_language
from ledger.tables import choices, people
from schemas.choices import SNOOZE, WEEKLY, Choice, ChoiceOrigin, Choices
from schemas.rules import Stream
from service.limits import MOST_PER_MINUTE
from tests.contract.ledger_rig import ANA, JOEL, NOW, rows
from tests.contract.preference_rig import KEY, Site, opened
from tests.contract.study_rig import coworker
from workers.preference_links import PreferenceLinks

pytestmark = pytest.mark.engines("sqlite")

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
DAY = timedelta(days=1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path) as found:
        yield found


def said(answer: TestResponse) -> list[str]:
    """Return what the page says is true now."""
    part = re.search(r'<section class="now\b.*?</section>', answer.text, re.DOTALL)
    assert part, answer.text
    return [re.sub(r"<[^>]+>", "", line) for line in re.findall(r"<li>.*?</li>", part[0])]


def ticked(answer: TestResponse) -> set[str]:
    return set(re.findall(r'id="([\w-]+)"[^>]* checked', answer.text))


def saved(site: Site, answer: TestResponse) -> list[str]:
    """Follow a change to the page that it leads to."""
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(site.page.rpartition("/")[2])
    after = site.get(f"/p/{answer.headers['Location']}")
    assert "Saved." in after.text
    return said(after)


def test_the_page_says_what_is_true_and_offers_to_change_it(site: Site) -> None:
    answer = site.get()
    assert answer.status_code == 200
    assert said(answer) == ["You get emails about your courses.", "You get no reminders."]
    assert ticked(answer) == {"service", "lessons-sitting", "snooze-none"}
    assert "Saved." not in answer.text
    assert "For a week, until 11 May 2026" in answer.text
    assert "For a month, until 3 June 2026" in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_link_scanner_changes_nothing(site: Site, method: str) -> None:
    paths = (site.page, *(site.one_click(stream) for stream in Stream))
    client = site.web.app.test_client()
    for path in paths:
        for suffix in ("", "?act=stop", "?List-Unsubscribe=One-Click", "?stream=&act=save"):
            answer = client.open(f"{path}{suffix}", method=method, data={"act": "stop"})
            assert answer.status_code < 400
    assert rows(site.engine, choices) == []


def test_saving_stores_only_what_changed(site: Site) -> None:
    assert saved(site, site.post()) == [
        "You get emails about your courses.",
        "You get reminders.",
    ]
    assert site.chosen().made == {
        "reminder": Choice(agreed=True, chosen_at=NOW, origin=ChoiceOrigin.PAGE)
    }
    site.clock.move(60)
    assert saved(site, site.post({"act": "save", "stream": "reminder"})) == [
        "You get no emails about your courses.",
        "You get reminders.",
    ]
    assert site.chosen().made["service"].chosen_at == site.clock.now()
    assert site.chosen().made["reminder"].chosen_at == NOW


def test_one_button_stops_everything_and_ticking_a_box_allows_only_that_again(site: Site) -> None:
    site.post()
    assert saved(site, site.post({"act": "stop", "stream": ["service", "reminder"]})) == [
        "All course emails are stopped."
    ]
    assert ticked(site.get()) == {"lessons-sitting", "snooze-none"}
    assert saved(site, site.post({"act": "save"})) == ["All course emails are stopped."]
    assert saved(site, site.post({"act": "save", "stream": "reminder"})) == [
        "You get no emails about your courses.",
        "You get reminders.",
    ]
    assert site.chosen().agreed == {"all": True, "service": False, "reminder": True}


@pytest.mark.parametrize(
    ("length", "days", "ends"), [("week", 7, "11 May"), ("month", 30, "3 June")]
)
def test_a_snooze_ends_after_a_week_or_a_month_or_at_once(
    site: Site, length: str, days: int, ends: str
) -> None:
    answer = site.post({"act": "save", "stream": "service", "snooze": length})
    lines = saved(site, answer)
    assert lines[2] == f"Your emails are paused until {ends} 2026."
    assert site.chosen().snoozed_until(NOW) == NOW + days * DAY
    assert ticked(site.get()) == {"service", "lessons-sitting", "snooze-keep"}
    site.clock.move(days * 86_400 - 1)
    saved(site, site.post({"act": "save", "stream": "service", "snooze": "keep"}))
    assert len(said(site.get())) == 4
    site.clock.move(1)
    assert len(said(site.get())) == 2
    site.post({"act": "save", "stream": "service", "snooze": length})
    assert len(saved(site, site.post({"act": "save", "stream": "service", "snooze": "end"}))) == 2


def test_finished_lessons_come_once_a_week_if_chosen_until_that_is_undone(site: Site) -> None:
    weekly = {"act": "save", "stream": "service", "lessons": "weekly"}
    lines = saved(site, site.post(weekly))
    assert lines[2] == "Finished lessons share one email a week, on Friday."
    assert ticked(site.get()) == {"service", "lessons-weekly", "snooze-none"}
    assert site.chosen().made == {
        WEEKLY: Choice(agreed=True, chosen_at=NOW, origin=ChoiceOrigin.PAGE)
    }
    saved(site, site.post({"act": "save", "stream": "service"}))
    assert site.chosen().is_weekly
    assert len(saved(site, site.post(weekly | {"lessons": "sitting"}))) == 2
    assert not site.chosen().is_weekly


@pytest.mark.parametrize("stream", list(Stream))
@pytest.mark.parametrize(
    "how",
    [
        {"sent": ONE_CLICK},
        {"sent": ONE_CLICK, "content_type": "multipart/form-data"},
        {"sent": "List-Unsubscribe=One-Click"},
        {"sent": b"List-Unsubscribe=One-Click", "content_type": "text/plain"},
        {"sent": "list-unsubscribe=ignored&List-Unsubscribe=one-click\r\n"},
    ],
)
def test_one_click_stops_the_stream_of_the_email_without_a_cookie(
    site: Site, stream: Stream, how: dict[str, Any]
) -> None:
    site.store(reminder=Choice(agreed=True, chosen_at=NOW))
    if isinstance(how["sent"], str):
        how = {**how, "content_type": "application/x-www-form-urlencoded"}
    answer = site.post(path=site.one_click(stream), **how)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert site.chosen().agreed == {"reminder": True} | {str(stream): False}
    assert site.chosen().made[stream].origin is ChoiceOrigin.ONE_CLICK
    before = rows(site.engine, choices)
    site.clock.move(60)
    assert site.post(path=site.one_click(stream), **how).status_code == 200
    assert rows(site.engine, choices) == before


@pytest.mark.parametrize(("asks", "shown"), [("", "fr"), ("?lang=ja", "ja")])
def test_the_answer_to_one_click_is_in_the_language_of_the_email_or_of_the_member(
    site: Site, asks: str, shown: str
) -> None:
    with writing(site.engine) as connection:
        store_language(connection, ANA, "fr", NOW)
    answer = site.post(ONE_CLICK, f"{site.one_click()}{asks}")
    assert f'<html lang="{shown}"' in answer.text
    assert f'href="..{site.page}{asks}"' in answer.text
    assert site.chosen().agreed == {"service": False}


@pytest.mark.parametrize("sent", [{}, {"List-Unsubscribe": "Two-Clicks"}, {"act": "stop"}, b"\xff"])
def test_another_post_to_a_one_click_link_changes_nothing(site: Site, sent: Any) -> None:  # noqa: ANN401 - a column of the table
    answer = site.post(sent, site.one_click())
    assert answer.status_code == 400
    assert "Nothing was changed" in answer.text
    assert rows(site.engine, choices) == []


@pytest.mark.parametrize("sent", [{}, {"act": "else"}, {"stream": "service"}, ONE_CLICK, b"\xff"])
def test_a_form_without_one_of_its_buttons_changes_nothing(site: Site, sent: Any) -> None:  # noqa: ANN401 - a column of the table
    assert site.post(sent).status_code == 400
    assert rows(site.engine, choices) == []


def test_unknown_fields_and_values_are_ignored(site: Site) -> None:
    sent = {
        "act": "save",
        "stream": ["service", "all", "x"],
        "snooze": "year",
        "lessons": "daily",
        "all": "no",
    }
    saved(site, site.post(sent))
    assert rows(site.engine, choices) == []


def test_an_opened_one_click_link_leads_to_the_page(site: Site) -> None:
    answer = site.get(f"{site.one_click()}?lang=en")
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"..{site.page}?lang=en"


def test_a_link_that_is_not_genuine_says_what_to_do_and_tells_nothing(site: Site) -> None:
    other = replace(site, links=PreferenceLinks("https://courses.harbour.example", "x" * 16))
    for path in (
        f"{site.page[:-1]}",
        other.page,
        site.page.replace("/p/", "/u/"),
        site.one_click().replace("/u/", "/p/"),
        "/p/x",
    ):
        for answer in (site.get(path), site.post(path=path), site.post(ONE_CLICK, path)):
            assert answer.status_code == 404
            assert "This link does not work" in answer.text
            assert "Ana" not in answer.text
    assert rows(site.engine, choices) == []


def test_a_forwarded_page_reveals_neither_the_member_nor_their_courses(site: Site) -> None:
    text_of_page = site.get().text
    assert "For the address \u2066a…@p…\u2069" in text_of_page
    for private in ("Ana", "ana@", "people.example", "López", "Freelance", str(ANA)):
        assert private not in text_of_page


def test_a_page_loads_nothing_runs_nothing_and_is_kept_nowhere(site: Site) -> None:
    answers = [site.get(), site.get("/p/x"), site.post(ONE_CLICK, site.one_click()), site.post({})]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        [style] = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy == (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self';"
            " base-uri 'none'; frame-ancestors 'none'"
        )
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<script|<img|<link|\bsrc=|\bstyle=|https?://", answer.text)
        assert len(style) < 10_000
        assert '<html lang="en" dir="ltr">' in answer.text
    assert site.post().headers["Cache-Control"] == "no-store"


def test_a_person_who_was_erased_can_still_say_no(site: Site) -> None:
    path = site.page
    with writing(site.engine) as connection:
        connection.execute(delete(people))
    assert said(site.get(path)) == ["You get emails about your courses.", "You get no reminders."]
    assert "a…" not in site.get(path).text
    assert saved(site, site.post({"act": "stop"}, path)) == ["All course emails are stopped."]
    again = replace(site, coworker_id=JOEL + 7)
    assert again.chosen().agreed == {"all": False}, "a new record with the same address"


def test_a_link_of_an_old_email_works_after_the_address_changed(site: Site) -> None:
    path = site.page
    with writing(site.engine) as connection:
        accept_person(connection, coworker(ANA, email="ana@new.example"), NOW)
    assert "a…" not in site.get(path).text
    site.post({"act": "stop"}, path)
    assert site.chosen("ana@new.example").agreed == {"all": False}
    assert said(replace(site, email="ana@new.example").get()) == ["All course emails are stopped."]
    assert replace(site, coworker_id=JOEL).chosen("joel@people.example") == Choices()


def test_each_page_takes_the_same_few_queries(site: Site) -> None:
    site.get()
    statements: list[str] = []

    def count(*words: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own
        statements.append(words[2])

    event.listen(site.web.engine, "before_cursor_execute", count)
    for chosen in ({}, {"all": Choice(agreed=False, chosen_at=NOW)}):
        site.store(**chosen)
        statements.clear()
        assert site.get().status_code == 200
        assert len([one for one in statements if one.startswith("SELECT")]) == 2


def test_while_the_ledger_cannot_be_used_nothing_is_said_to_be_done(site: Site) -> None:
    path, one_click = site.page, site.one_click()
    with writing(site.engine) as connection:
        connection.execute(text("ALTER TABLE choices RENAME TO elsewhere"))
    with capture_logs() as logs:
        shown, *posted = (site.get(path), site.post(path=path), site.post(ONE_CLICK, one_click))
        for answer in (shown, *posted):
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert ("Nothing was changed" in answer.text) is (answer is not shown)
        assert "This page is not available right now" in shown.text
    assert [one["event"] for one in logs] == ["preferences.unavailable"] * 3
    with writing(site.engine) as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO choices"))
    assert site.post(ONE_CLICK, one_click).status_code == 200
    assert site.chosen().agreed == {"service": False}


def test_with_another_key_than_the_ledgers_nothing_is_shown_or_stored(tmp_path: Path) -> None:
    another = "another-secret-key-for-this-test"
    with opened(tmp_path, COURSEBELL_SECRET_KEY=another) as site:
        wrong = replace(site, links=PreferenceLinks("https://courses.harbour.example", another))
        assert wrong.get().status_code == 503
        assert wrong.post({"act": "stop"}).status_code == 503
        assert wrong.get("/p/x").status_code == 404
        assert rows(site.engine, choices) == []


def test_without_the_ledgers_key_no_link_is_called_wrong(tmp_path: Path) -> None:
    with opened(tmp_path, COURSEBELL_SECRET_KEY="") as site:
        assert site.get().status_code == 503
        assert not (tmp_path / "secret_key").exists()
        (tmp_path / "secret_key").write_text(KEY)
        assert site.get().status_code == 200


def test_repeated_requests_store_once_and_never_lock_out_a_mail_provider(site: Site) -> None:
    joel = replace(site, coworker_id=JOEL, email="joel@people.example")
    with capture_logs() as logs:
        answers = {site.post(ONE_CLICK, site.one_click()).status_code for _ in range(200)}
    assert answers == {200}
    assert [one["event"] for one in logs] == ["preferences.changed"]
    assert joel.post(ONE_CLICK, joel.one_click()).status_code == 200
    wrong = [site.post(ONE_CLICK, "/u/x").status_code for _ in range(MOST_PER_MINUTE + 5)]
    assert wrong == [404] * MOST_PER_MINUTE + [429] * 5
    assert joel.post(ONE_CLICK, joel.one_click(Stream.REMINDER)).status_code == 200
    assert joel.chosen().agreed == {"service": False, "reminder": False}


def test_what_allows_emails_again_is_limited_and_what_stops_them_is_not(site: Site) -> None:
    joel = replace(site, coworker_id=JOEL, email="joel@people.example")
    statuses = []
    for _ in range(MOST_PER_MINUTE + 5):
        assert site.post({"act": "stop"}).status_code == 303
        statuses.append(site.post().status_code)
    assert statuses == [303] * MOST_PER_MINUTE + [429] * 5
    assert site.chosen().agreed["all"] is False
    assert site.post({"act": "save", "snooze": "week"}).status_code == 429
    assert joel.post({"act": "save", "snooze": "week"}).status_code == 303


def test_a_large_form_is_refused(site: Site) -> None:
    for path in (site.page, site.one_click()):
        answer = site.post({"act": "stop", "more": "x" * 5_000, **ONE_CLICK}, path)
        assert answer.status_code == 413
    assert rows(site.engine, choices) == []


def test_the_log_names_a_change_by_ids_alone(site: Site) -> None:
    with capture_logs() as logs:
        site.post({"act": "save", "stream": "reminder", "snooze": "week"})
    [line] = logs
    assert (line["event"], line["coworker_id"]) == ("preferences.changed", ANA)
    assert line["names"] == ["reminder", "service", SNOOZE]
    assert site.page.rpartition("/")[2] not in str(logs)
    assert "people.example" not in str(logs)


def test_the_page_is_in_the_members_language_unless_another_is_asked_for(tmp_path: Path) -> None:
    with opened(tmp_path, COURSEBELL_LANGUAGE="fr") as site:
        assert '<html lang="fr" dir="ltr">' in site.get().text
        assert '<html lang="fr" dir="ltr">' in site.get("/p/x").text
        with writing(site.engine) as connection:
            connection.execute(update(people).values(language="he-IL"))
        page = site.get()
        assert '<html lang="he" dir="rtl">' in page.text
        assert "11 במאי 2026" in page.text
        asked = site.get(f"{site.page}?lang=de")
        assert '<html lang="de" dir="ltr">' in asked.text
        [action] = re.findall(r'action="([^"]+)"', asked.text)
        saved_in = site.post({"act": "stop"}, f"/p/{action}").headers["Location"]
        assert saved_in.endswith("?saved=1&lang=de")
        assert "Du bekommst keine Kurs-E-Mails mehr." in site.get(f"/p/{saved_in}").text


def test_the_page_has_the_colour_and_the_name_of_the_space(tmp_path: Path) -> None:
    with opened(
        tmp_path, COURSEBELL_SPACE_NAME="Werkhof <i>", COURSEBELL_SPACE_COLOUR="#7A1FA2"
    ) as site:
        page = site.get()
    assert "--accent: #7A1FA2;" in page.text
    assert "<bdi>Werkhof &lt;i&gt;</bdi>" in page.text
    assert "ACCENT" not in page.text
    assert "ON-" not in page.text
