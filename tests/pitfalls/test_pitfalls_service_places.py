"""Time zone and sender when person, course and location are in different places.

The stated rule: the clock is the person's, `COURSEBELL_ZONE` where theirs is not known, and the
sender is the one of the settings, whatever the course's location says. The number in a test's name
is that of the pitfall in the table of docs/source.md.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sandbox.records import ZONES
from tests.e2e.house import RULES, House
from tests.pitfalls.pitfall_house import (
    CALLIGRAPHY,
    CERAMICS,
    FINANCE,
    behave,
    letters,
    pitfall_house,
    switch_on,
)
from tests.servers.programs import wait_until

SENDER = "Rita, Harbour Works"
TOKYO_ID = next(number for number, name in ZONES.items() if name == "Tokyo Standard Time")
UNKNOWN_ID = 999_999


def is_written_to(house: House, address: str, title: str) -> bool:
    return len(letters(house, address, title)) == 1


@pytest.fixture(scope="module")
def night_in_tokyo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house whose quiet hours are around now by the clock of Tokyo, and of no other here."""
    folder = tmp_path_factory.mktemp("places")
    there = datetime.now(ZoneInfo("Asia/Tokyo"))
    began, ends = (there + timedelta(hours=hours) for hours in (-3, 3))
    rules = folder / "rules.yaml"
    quiet = f"quiet_hours: {began:%H:%M}-{ends:%H:%M}"
    rules.write_text(RULES.read_text().replace("quiet_hours: none", quiet))
    with pitfall_house(folder, COURSEBELL_RULES=str(rules), COURSEBELL_ZONE="Asia/Tokyo") as found:
        for name, zone_id in (("Zoë", TOKYO_ID), ("Jonas", UNKNOWN_ID)):
            found.sandbox.post(
                "/sandbox/change",
                entity="Coworker",
                id=found.sandbox.person(name),
                fields={"SimpleTimeZoneId": zone_id},
            )
        yield found


@pytest.mark.parametrize("title", [FINANCE, CALLIGRAPHY], ids=["at home", "the other location"])
def test_35_an_email_about_a_course_elsewhere_has_the_persons_clock_and_our_sender(
    night_in_tokyo: House, title: str
) -> None:
    house = night_in_tokyo
    for name in ("Joël", "ليلى"):  # at home in Berlin, and in Dubai
        house.sandbox.enrol(name, title)
    for address in ("joel", "layla"):
        wait_until(partial(is_written_to, house, address, title), f"the email to {address}")
        [mail] = letters(house, address, title)
        assert mail["from"] == f'"{SENDER}" <rita@example.org>'
        assert "Reply-To" not in mail["headers"]


@pytest.mark.parametrize("title", [FINANCE, CALLIGRAPHY], ids=["at home", "the other location"])
def test_35_quiet_hours_follow_the_person_wherever_the_course_is(
    night_in_tokyo: House, title: str
) -> None:
    member = night_in_tokyo.sandbox.enrol("Zoë", title)
    wait_until(
        lambda: _stands(night_in_tokyo, member) == [("waiting", "quiet-hours")],
        f"waiting for the morning in Tokyo; {night_in_tokyo.tail()}",
    )


def test_28_without_a_known_zone_the_one_of_the_settings_is_used(
    night_in_tokyo: House,
) -> None:
    member = night_in_tokyo.sandbox.enrol("Jonas", CERAMICS)
    wait_until(
        lambda: _stands(night_in_tokyo, member) == [("waiting", "quiet-hours")],
        f"waiting for the morning of the settings' zone; {night_in_tokyo.tail()}",
    )
    assert night_in_tokyo.rows("SELECT zone FROM people WHERE full_name = 'Jonas Weber'") == [
        (None,)
    ]


def test_28_a_refused_list_of_zones_delays_no_email(tmp_path: Path) -> None:
    with pitfall_house(tmp_path) as house:
        switch_on(house, "missing-right", entity="SimpleTimeZone")
        house.sandbox.enrol("Joël", FINANCE)
        house.wait_mails("joel", 1)
        house.wait_idle()
        assert len(house.mails("joel")) == 1
        assert house.rows("SELECT zone FROM people") == [(None,)]
        assert "time-zones.unread" in house.logs()
        behave(house)


def _stands(house: House, member: int) -> list[tuple[str, str | None]]:
    return house.rows(f"SELECT state, reason FROM actions WHERE course_member_id = {member}")


def test_27_a_missing_role_for_languages_delays_no_email(tmp_path: Path) -> None:
    with pitfall_house(tmp_path) as house:
        switch_on(house, "missing-right", entity="User", status=403)
        for name, address in (("Lucía", "lucia"), ("Zoë", "zoe")):
            house.sandbox.enrol(name, FINANCE)
            house.wait_mails(address, 1)
        house.wait_idle()
        assert house.rows("SELECT language FROM people") == [(None,)] * 2
        assert house.logs().count("language.refused") == 1
        behave(house)
