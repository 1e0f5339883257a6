"""`coursebell preferences`: what a member chose, and changing it for one who writes or phones."""

from datetime import timedelta

import pytest

from ledger.choices import choice_keys, choices_of, store_choices
from ledger.engine import reading, writing
from ledger.tables import choices
from schemas.choices import SNOOZE, WEEKLY, Choice, ChoiceOrigin, Choices
from schemas.text import folded
from service.cli.common import local
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import rows
from workers.preference_links import PreferenceLinks

pytestmark = pytest.mark.engines("sqlite")
KEY = "a-key-for-hashes"  # that of the space
ADDRESS = "person1@example.org"


@pytest.fixture(autouse=True)
def known(desk: Desk) -> None:
    """Let person 1 be known, and the key be the one that emails are checked with."""
    (desk.folder / "secret_key").write_text(KEY, encoding="ascii")
    desk.space.enrol(1)
    desk.space.look_up()


def chosen(desk: Desk) -> Choices:
    with reading(desk.space.engine) as connection:
        return choices_of(connection, choice_keys(KEY, 1, ADDRESS))


def test_without_options_it_shows_and_changes_nothing(desk: Desk) -> None:
    shown = desk.run("preferences", ADDRESS)
    assert shown.stdout.splitlines() == [
        "Person 1  p***@example.org",
        "  course emails (service): sent, as they never objected",
        "  reminders (reminder): not sent, as they never agreed",
    ]
    assert rows(desk.space.engine, choices) == []
    assert desk.run("log").stdout == "Nothing was decided yet.\n"


def test_it_says_what_was_chosen_when_and_how(desk: Desk) -> None:
    now = desk.space.clock.now()
    with writing(desk.space.engine) as connection:
        made = {
            "service": Choice(agreed=False, chosen_at=now, origin=ChoiceOrigin.ONE_CLICK),
            "reminder": Choice(agreed=True, chosen_at=now, origin=ChoiceOrigin.PAGE),
            SNOOZE: Choice(agreed=False, chosen_at=now, until=now + timedelta(days=30)),
        }
        store_choices(connection, choice_keys(KEY, 1, ADDRESS), made)
    at = f"chosen {local(now)}"
    shown = desk.run("preferences", "1").stdout.splitlines()
    assert shown[1:] == [
        f"  course emails (service): not sent, {at}, with one click in a mail program",
        f"  reminders (reminder): sent, {at}, on the page of email preferences",
        f"  nothing until {local(now + timedelta(days=30))}, {at}",
    ]
    as_json = desk.as_json("preferences", "1")
    assert as_json["sent"] == {"service": False, "reminder": True}
    assert as_json["snoozed_until"] == (now + timedelta(days=30)).isoformat()
    assert as_json["chosen"]["service"]["origin"] == "one-click"
    why = desk.run("why", "1").stdout
    assert f"  Wants no course emails since {local(now)}" in why
    assert f"  Wants reminders since {local(now)}" in why
    assert f"  Wants no emails until {local(now + timedelta(days=30))} ({at})" in why


def test_a_member_who_phones_gets_no_more_emails_and_the_log_says_who_changed_it(
    desk: Desk,
) -> None:
    shown = desk.run("preferences", "person 1", "--stop", "all")
    assert shown.exit_code == 0
    assert "course emails (service): not sent, as they want no emails, chosen" in shown.stdout
    assert "by an operator" in shown.stdout
    desk.space.work()
    assert desk.space.outcomes() == [("skipped", "opted-out-all")]
    why = desk.run("why", ADDRESS).stdout
    assert "They asked for no course emails [opted-out-all] (since 20" in why
    logged = desk.run("log").stdout
    assert logged.endswith("changed emails to coworker 1: stopped all\n")
    assert "person" not in folded(logged)


def test_stops_yeses_and_snoozes_are_stored_together_and_undone(desk: Desk) -> None:
    words = ("--allow", "reminder", "--stop", "service", "--snooze", "7d")
    shown = desk.as_json("preferences", "1", *words)
    assert shown["sent"] == {"service": False, "reminder": True}
    assert shown["snoozed_until"] is not None
    assert desk.as_json("preferences", "1", "--allow", "service", "--no-snooze")["sent"] == {
        "service": True,
        "reminder": True,
    }
    assert chosen(desk).snoozed_until(desk.space.clock.now()) is None
    [first, second] = desk.run("log").stdout.splitlines()
    assert "coworker 1: stopped service, allowed reminder, snoozed all until 20" in first
    assert second.endswith("coworker 1: allowed service, ended the snooze")


def test_why_knows_every_choice_also_those_taken_back_and_about_reports(desk: Desk) -> None:
    now = desk.space.clock.now()
    yes, no = Choice(agreed=True, chosen_at=now), Choice(agreed=False, chosen_at=now)
    for weekly in (yes, no):
        made = {WEEKLY: weekly, "report/for-hosts": no, "report/summary": yes, "later": no}
        with writing(desk.space.engine) as connection:
            store_choices(connection, choice_keys(KEY, 1, ADDRESS), made)
        why = desk.run("why", ADDRESS)
        assert why.exit_code == 0, why.output
        assert "  Stopped the report for-hosts since " in why.stdout
        assert ("  Wants finished lessons in one email a week since " in why.stdout) is (
            weekly is yes
        )
        assert "summary" not in why.stdout


def test_one_email_a_week_is_chosen_shown_and_undone(desk: Desk) -> None:
    assert desk.as_json("preferences", "1")["weekly"] is False
    assert (
        "finished lessons in one email a week, chosen "
        in desk.run("preferences", "1", "--weekly").stdout
    )
    assert chosen(desk).is_weekly
    assert desk.as_json("preferences", "1", "--no-weekly")["weekly"] is False
    assert not chosen(desk).is_weekly
    [first, second] = desk.run("log").stdout.splitlines()
    assert first.endswith("coworker 1: finished lessons once a week")
    assert second.endswith("coworker 1: finished lessons after each sitting")


@pytest.mark.parametrize(
    "words",
    [
        ("--stop", "all", "--allow", "all"),
        ("--snooze", "7d", "--no-snooze"),
        ("--stop", "everything"),
        ("--snooze", "2020-01-01"),
    ],
)
def test_contradictions_and_unknown_words_change_nothing(
    desk: Desk, words: tuple[str, ...]
) -> None:
    assert desk.run("preferences", "1", *words).exit_code == 2
    assert rows(desk.space.engine, choices) == []


def test_an_unknown_person_is_named_as_such(desk: Desk) -> None:
    refused = desk.run("preferences", "nobody@example.org", "--stop", "all")
    assert refused.exit_code == 1
    assert "knows no member" in refused.stderr


def test_the_address_of_their_page_is_printed_only_on_request(desk: Desk) -> None:
    links = PreferenceLinks("http://127.0.0.1:8000", KEY)
    page = links.page(links.owner(1, ADDRESS))
    assert f"  Their page: {page}" in desk.run("preferences", "1", "--link").stdout
    assert desk.as_json("preferences", "1", "--link")["page"] == page
    assert "/p/" not in desk.run("preferences", "1").stdout
    assert "page" not in desk.as_json("preferences", "1")
