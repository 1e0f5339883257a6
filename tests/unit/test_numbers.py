"""Numbers by day and hour of a zone, and how a week begins in a language."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from babel import Locale

from ledger.counts_over_time import QuarterCount
from service.desk.counting import by_day, by_hour
from service.desk.pictures import week_of

LISBON, KATHMANDU = ZoneInfo("Europe/Lisbon"), ZoneInfo("Asia/Kathmandu")


def quarter(
    *day: int, at: tuple[int, int] = (0, 0), number: int = 1, what: str | None = None
) -> QuarterCount:
    begins = datetime.combine(date(*day), time(*at), UTC)
    return QuarterCount(begins, number, what)


def test_a_day_is_one_of_the_space_also_where_its_clock_is_changed() -> None:
    days = (date(2026, 3, 28), date(2026, 3, 29), date(2026, 3, 30))
    found = by_day(
        [
            quarter(2026, 3, 28, at=(23, 45), what="welcome"),
            quarter(2026, 3, 29, at=(0, 0), number=2, what="welcome"),
            quarter(2026, 3, 29, at=(23, 0), number=4, what="welcome"),  # midnight of summer time
            quarter(2026, 3, 29, at=(12, 0), number=9),
        ],
        days,
        LISBON,
    )
    assert found == {"": (0, 9, 0), "welcome": (1, 2, 4)}
    assert list(found) == ["", "welcome"]  # most first


def test_an_hour_is_one_of_the_clock_on_the_wall() -> None:
    monday, sunday = 0, 6
    before, after = quarter(2026, 3, 22, at=(9, 0)), quarter(2026, 3, 29, at=(8, 0), number=3)
    assert by_hour([before, after], LISBON) == {(sunday, 9): 4}
    assert by_hour([quarter(2026, 3, 22, at=(18, 15))], KATHMANDU) == {(monday, 0): 1}


def test_a_week_begins_as_the_language_of_the_operator_has_it() -> None:
    assert [day for day, _ in week_of(Locale("en", "GB"))] == [0, 1, 2, 3, 4, 5, 6]
    assert [name for _, name in week_of(Locale("en", "US"))][:2] == ["Sun", "Mon"]
    assert week_of(Locale("de"))[0] == (0, "Mo.")
