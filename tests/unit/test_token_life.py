"""An unreadable lifetime does not make a token unusable."""

import pytest

from schemas.records.answers import load_token


@pytest.mark.parametrize(
    ("said", "life_s"),
    [
        (604_799, 604_799),
        (20_159, 20_159),
        (5, 5),
        ("604799", 604_799),
        (20_159.0, 20_159),
        (1.5, 1),
        (0, 0),
        (-7, 0),
        (10**400, 1_000_000_000),  # no time could hold its end
        (1e300, 1_000_000_000),
        ("9" * 20, 1_000_000_000),
        ("9" * 5_000, 900),
        ("\u0661", 900),  # an Arabic one
        ("soon", 900),
        ("", 900),
        (None, 900),
        (True, 900),
        (float("nan"), 900),
        (float("inf"), 900),
        ([], 900),
    ],
)
def test_a_lifetime_is_whole_seconds_or_a_short_default(said: object, life_s: int) -> None:
    assert load_token({"access_token": "sesame", "expires_in": said}).expires_in == life_s


def test_a_missing_lifetime_is_short() -> None:
    assert load_token({"access_token": "sesame"}).expires_in == 900
