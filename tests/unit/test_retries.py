"""When to try again: how waits grow, where they end, and that Retry-After is respected."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import (
    NotThereYet,
    RecordStuck,
    RecordUnreadable,
    SignInRefused,
    SourceError,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
)
from schemas.reasons import Reason
from tests.builders.records import NOON
from workers.retries import (
    BackOff,
    back_off_after,
    lookup_again_at,
    outage_wait_s,
    refused_again_at,
    send_again_at,
)

EVEN = 0.5  # the chance that changes nothing
CHANCES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 2), (2, 4), (3, 8), (9, 512), (10, 900), (11, 900), (10_000, 900)],
)
def test_a_lookup_waits_twice_as_long_each_time_up_to_a_quarter_of_an_hour(
    attempts: int, seconds: int
) -> None:
    again = lookup_again_at(NOON, attempts, retry_after_s=None, chance=EVEN)
    assert again - NOON == timedelta(seconds=seconds)


def test_jitter_spreads_a_lookup_by_a_quarter() -> None:
    waits = [
        lookup_again_at(NOON, 2, retry_after_s=None, chance=chance) - NOON for chance in (0, 1)
    ]
    assert waits == [timedelta(seconds=3), timedelta(seconds=5)]


def test_a_lookup_waits_longer_than_the_source_asked_for() -> None:
    again = lookup_again_at(NOON, 1, retry_after_s=60, chance=EVEN)
    assert again - NOON == timedelta(seconds=62)


@given(st.integers(1, 10**6), st.floats(0, 3600), CHANCES)
def test_a_wait_is_never_shorter_than_the_source_asked_for(
    attempts: int, wish_s: float, chance: float
) -> None:
    again = lookup_again_at(NOON, attempts, retry_after_s=wish_s, chance=chance)
    assert timedelta(seconds=wish_s) < again - NOON <= timedelta(seconds=wish_s + 1125)


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 15), (2, 30), (3, 60), (5, 240), (6, 360), (99, 360)]
)
def test_a_refusal_is_retried_seldom(attempts: int, minutes: int) -> None:
    again = refused_again_at(NOON, attempts, chance=EVEN)
    assert again - NOON == timedelta(minutes=minutes)


def test_jitter_spreads_a_refusal_by_a_quarter() -> None:
    assert refused_again_at(NOON, 1, chance=0) - NOON == timedelta(seconds=675)
    assert refused_again_at(NOON, 1, chance=1) - NOON == timedelta(seconds=1125)


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 1), (2, 10), (3, 60), (4, 240), (5, 840), (6, None), (7, None)]
)
def test_mail_is_tried_six_times(attempts: int, minutes: int | None) -> None:
    again = send_again_at(NOON, attempts, chance=EVEN)
    assert again == (None if minutes is None else NOON + timedelta(minutes=minutes))


@given(CHANCES)
def test_the_last_try_of_a_mail_is_within_a_day(chance: float) -> None:
    moment = NOON
    for attempts in range(1, 6):
        again = send_again_at(moment, attempts, chance=chance)
        assert again is not None
        moment = again
    assert timedelta(hours=14) < moment - NOON < timedelta(hours=24)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 30), (2, 60), (3, 120), (5, 480), (6, 900), (5_000, 900)]
)
@pytest.mark.parametrize("reason", [Reason.MAIL_UNREACHABLE, Reason.DELIVERY_DOWN])
def test_an_outage_that_may_pass_is_tried_soon_and_at_least_every_quarter_of_an_hour(
    reason: Reason, failures: int, seconds: int
) -> None:
    assert outage_wait_s(reason, failures) == seconds


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 300), (2, 600), (4, 2_400), (5, 3_600), (5_000, 3_600)]
)
def test_an_outage_that_an_operator_has_to_end_is_tried_at_least_every_hour(
    failures: int, seconds: int
) -> None:
    assert outage_wait_s(Reason.MAIL_LOGIN, failures) == seconds


def back_off(error: SourceError, tries: int = 3, chance: float = EVEN) -> BackOff:
    return back_off_after(error, tries, NOON, chance=chance)


@pytest.mark.parametrize(
    ("error", "reason", "seconds"),
    [
        (SourceUnavailable("503"), Reason.NEXUDUS_DOWN, 8),
        (SourceThrottled("429"), Reason.NEXUDUS_BUSY, 8),
        (RecordStuck("500"), Reason.RECORD_STUCK, 8),
        (RecordUnreadable("no Id"), Reason.NEXUDUS_DOWN, 8),
        (NotThereYet("404"), Reason.NOT_THERE_YET, 4),  # as after the second try
        (SourceRefused("403"), Reason.NEXUDUS_REFUSED, 3_600),
        (SignInRefused("401"), Reason.NEXUDUS_REFUSED, 3_600),
    ],
)
def test_the_back_off_after_a_failure_depends_on_the_answer(
    error: SourceError, reason: Reason, seconds: int
) -> None:
    assert back_off(error) == BackOff(reason, NOON + timedelta(seconds=seconds))


def test_a_record_that_is_not_there_yet_waits_less_after_the_first_try() -> None:
    assert back_off(NotThereYet("404"), tries=1).until == NOON + timedelta(seconds=2)


def test_a_wait_that_the_source_states_is_no_failed_try_and_does_not_grow() -> None:
    for tries in (1, 9):
        error = SourceThrottled("429", retry_after_s=60)
        until = NOON + timedelta(seconds=62)
        assert back_off(error, tries) == BackOff(Reason.NEXUDUS_BUSY, until, counts=False)


def test_jitter_spreads_every_back_off_by_a_quarter() -> None:
    assert back_off(SourceUnavailable("503"), chance=0).until == NOON + timedelta(seconds=6)
    assert back_off(SourceRefused("403"), chance=1).until == NOON + timedelta(seconds=4_500)
