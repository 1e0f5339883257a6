"""Moments as people write them."""

from datetime import UTC, datetime

import click
import pytest

from service.cli.common import Moment
from tests.contract.source_rig import HandClock

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def meant(text: object) -> datetime:
    with click.Context(click.Command("any"), obj=HandClock(NOW)):
        return Moment().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30m", "2026-03-10T11:30+00:00"),
        ("3h", "2026-03-10T09:00+00:00"),
        (" 7d ", "2026-03-03T12:00+00:00"),
        ("2026-03-01T10:00Z", "2026-03-01T10:00+00:00"),
        ("2026-03-01T10:00+05:30", "2026-03-01T04:30+00:00"),
    ],
)
def test_a_time_back_from_now_or_with_its_zone_needs_no_settings(text: str, moment: str) -> None:
    assert meant(text).isoformat(timespec="minutes") == moment
    assert meant(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", "2026-02-28T18:30+00:00"),
        ("2026-03-01T10:00", "2026-03-01T04:30+00:00"),
    ],
)
def test_a_day_begins_where_the_space_is(
    text: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSEBELL_ZONE", "Asia/Kolkata")
    assert meant(text).isoformat(timespec="minutes") == moment


@pytest.mark.parametrize(
    "text",
    ["", "7", "7w", "-7d", "7.5d", "\u0667d", "yesterday", "2026-02-30", "9999999d", "999999d"],
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(click.BadParameter, match="7d"):
        meant(text)


def test_a_moment_stays_what_it_is() -> None:
    assert meant(NOW) is NOW
