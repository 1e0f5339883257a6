"""When records missing from a list count as gone."""

import pytest

from schemas.entity import Entity
from workers.sync.compare import doubt_about
from workers.sync.listed_rows import Listing, counted

MEMBER = Entity.COURSE_MEMBER


Listed = tuple[int, int | None, int, int | None]  # rows, stated, pages, stated again


def doubt(listed: Listed, known: int, absent: int, *, accept_gone: bool = False) -> str | None:
    rows, stated, pages, again = listed
    listing = Listing(MEMBER, set(range(rows)), stated, pages)
    return doubt_about(listing, again, known, absent, accept_gone=accept_gone)


@pytest.mark.parametrize(
    ("known", "absent", "believed"),
    [
        (20, 10, True),
        (20, 11, False),
        (200, 10, True),
        (1_000, 50, True),
        (1_000, 51, False),
        (5, 5, True),
    ],
)
def test_ten_or_a_twentieth_may_be_gone_at_once(known: int, absent: int, *, believed: bool) -> None:
    assert (doubt((500, 500, 1, None), known, absent) is None) is believed
    assert doubt((500, 500, 1, None), known, absent, accept_gone=True) is None


def test_an_empty_list_is_accepted_only_with_an_operators_consent() -> None:
    assert "empty" in (doubt((0, 0, 1, None), 3, 3) or "")
    assert doubt((0, 0, 1, None), 3, 3, accept_gone=True) is None
    assert doubt((0, 0, 1, None), 0, 0) is None


@pytest.mark.parametrize(
    "listed",
    [
        (499, 500, 1, None),
        (501, 500, 1, None),
        (500, None, 1, None),
        (1_999, 2_000, 2, 2_000),
        (2_000, 2_000, 2, 2_001),
        (2_000, 2_000, 2, None),
    ],
)
def test_a_list_that_may_be_incomplete_is_never_accepted(listed: Listed) -> None:
    assert doubt(listed, 100, 1) is not None
    assert doubt(listed, 100, 1, accept_gone=True) is not None
    assert doubt(listed, 100, 0) is None


def test_a_list_that_changed_while_it_was_read_to_its_end_is_accepted() -> None:
    assert doubt((2_001, 2_000, 2, 2_001), 100, 1) is None
    assert doubt((2_000, 2_000, 2, 1_999), 100, 1) is None


def test_counts_are_in_words() -> None:
    assert counted(1, MEMBER) == "1 enrolment"
    assert counted(1_234, Entity.COMPLETED_LESSON) == "1,234 finished lessons"
