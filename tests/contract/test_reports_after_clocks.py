"""Digests and summaries after a clock was ahead, or the space moved to another zone."""

from datetime import timedelta

import pytest

from ledger.engine import Engine
from tests.contract.ledger_rig import BOTH
from tests.contract.report_rig import ReportDesk
from tests.contract.study_rig import SHIPPED, Space, rules_of
from tests.contract.test_digests import DAY, HOUR, MONDAY, study, with_host

pytestmark = pytest.mark.engines("sqlite")
FILE = f"{SHIPPED}\ndigests:\n  - {{name: for-hosts, every: week, to: host}}\n"


@pytest.fixture
def desk(ledger_engine: Engine) -> ReportDesk:
    """Give a space whose host got the digest of the first week."""
    space = Space(ledger_engine, rules_of(FILE))
    with_host(space)
    found = ReportDesk(space)
    found.given(operator_email="")
    found.work()
    study(found)
    found.at(MONDAY)
    return found


def said_after(desk: ReportDesk, week: int) -> list[int]:
    """Let one enrol in this week; return who is said to have enrolled."""
    before = len(desk.space.mailer.caught)
    desk.space.clock.time = MONDAY + 7 * week * DAY - 3 * DAY
    desk.space.enrol(40 + week)
    desk.space.look_up()
    for _ in range(2):
        desk.at(MONDAY + 7 * week * DAY)
    texts = [
        desk.text(place).split("got stuck")[0]
        for place in range(before, len(desk.space.mailer.caught))
    ]
    assert len(texts) <= 1
    return [one for one in range(41, 46) if any(f"Person {one}\n" in text for text in texts)]


@pytest.mark.parametrize("ahead", [7 * DAY - 5 * HOUR, 7 * DAY + HOUR, 21 * DAY + HOUR])
def test_each_week_is_in_one_digest_after_a_clock_was_ahead(
    desk: ReportDesk, ahead: timedelta
) -> None:
    desk.at(MONDAY + ahead)  # sent, unless it waits for nine
    desk.at(MONDAY + 2 * DAY)
    assert [said_after(desk, week) for week in (1, 2, 3, 4)] == [[41], [42], [43], [44]]


@pytest.mark.engines(*BOTH)
def test_a_digest_planned_by_a_clock_ahead_is_not_sent_once_it_is_right(desk: ReportDesk) -> None:
    desk.at(MONDAY + 21 * DAY - 5 * HOUR)
    desk.at(MONDAY + 2 * DAY)
    assert desk.ends()[-1] == ("for-hosts", "skipped", "nothing-happened")
    assert [said_after(desk, week) for week in (1, 2, 3, 4)] == [[41], [42], [43], [44]]


def test_two_clocks_that_disagree_send_one_digest(desk: ReportDesk) -> None:
    desk.space.clock.time = MONDAY + DAY
    desk.space.enrol(41)
    desk.space.look_up()
    sent = len(desk.space.mailer.caught)
    for _ in range(3):
        desk.at(MONDAY + 8 * DAY)
        desk.at(MONDAY + DAY + HOUR)
    assert len(desk.space.mailer.caught) == sent + 1
    assert len(desk.rows()) == 2


def test_what_is_recorded_in_the_hours_of_a_move_west_is_in_the_next_digest(
    desk: ReportDesk,
) -> None:
    desk.at(MONDAY + 7 * DAY - 8 * HOUR)
    desk.space.enrol(41)  # after the week ended in Lisbon, before it ends in New York
    desk.space.look_up()
    desk.given(operator_email="", zone="America/New_York")
    before = len(desk.rows())
    desk.at(MONDAY + 7 * DAY)
    desk.at(MONDAY + 8 * DAY)
    assert len(desk.rows()) == before
    desk.at(MONDAY + 14 * DAY + 5 * HOUR)
    assert "Person 41\n" in desk.text()
