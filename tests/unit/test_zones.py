"""From the source's names of time zones to zones that can be reckoned with."""

from datetime import datetime
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
from babel.core import get_global
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.zones import iana_zone, own_zone

WINDOWS_NAMES = sorted(get_global("windows_zone_mapping"))
LISBON = ZoneInfo("Europe/Lisbon")


def test_every_windows_name_leads_to_a_zone_that_tzdata_has() -> None:
    for name in WINDOWS_NAMES:
        zone = iana_zone(name)
        assert zone is not None, name
        shipped = files("tzdata").joinpath("zoneinfo", *zone.key.split("/"))
        assert shipped.read_bytes().startswith(b"TZif"), name
        assert datetime(2026, 7, 1, tzinfo=zone).utcoffset() is not None, name


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("GMT Standard Time", "Europe/London"),
        ("  GMT Standard Time\n", "Europe/London"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("Tokyo Standard Time", "Asia/Tokyo"),
        ("UTC", "Etc/UTC"),
        ("Europe/Lisbon", "Europe/Lisbon"),
        (" America/Argentina/Buenos_Aires ", "America/Argentina/Buenos_Aires"),
    ],
)
def test_a_zone_is_known_by_its_windows_name_or_its_own(name: str, key: str) -> None:
    assert iana_zone(name) == ZoneInfo(key)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "Mars Standard Time",
        "(UTC+00:00) Dublin, Edinburgh, Lisbon, London",
        "Europe",  # a folder
        "../Europe/Lisbon",
        "/etc/localtime",
        "zone.tab",
        "a\x00b",
        "\ud800",
        "x" * 5_000,
    ],
)
def test_an_unknown_zone_is_none_and_no_error(name: str) -> None:
    assert iana_zone(name) is None


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_a_zone_or_none(name: str) -> None:
    assert isinstance(iana_zone(name), ZoneInfo | None)


@pytest.mark.parametrize(
    ("name", "key"),
    [("Asia/Tokyo", "Asia/Tokyo"), ("Mars/Olympus", "Europe/Lisbon"), (None, "Europe/Lisbon")],
)
def test_a_person_without_a_known_zone_has_the_default_zone(name: str | None, key: str) -> None:
    assert own_zone(name, LISBON) == ZoneInfo(key)
