"""A month of study gives the same emails, byte for byte, however well the hooks tell of it.

The reference is a month in which each change is told at once. In all others our own check has to
find what nobody told, or what was told too late.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from sandbox.study.deeds import DeedKind
from sandbox.study.telling import Telling
from tests.month.month_ground import Ground, ground_in
from tests.month.month_rig import Check, Played, Player
from tests.month.month_world import SEED, the_month
from workers.check.check import check_all
from workers.workshop import Workshop


def run_check(workshop: Workshop) -> None:
    """Look for news that nobody told, to the end."""
    while check_all(workshop.checking, for_s=60).more:
        pass


CHECK: Check | None = run_check  # None: only hooks are told of anything
# Hooks that tell everything at once need no check.
_ALONE = (Telling.ON, Telling.DUPLICATED)
WAYS = tuple(Telling) if CHECK is not None else _ALONE


@dataclass
class Months:
    """The months that were played, each once."""

    ground: Ground
    played: dict[tuple[Telling, bool], Played] = field(default_factory=dict)

    def month(self, way: Telling, check: Check | None) -> Played:
        known = (way, check is not None)
        if known not in self.played:
            self.played[known] = Player(self.ground, way, SEED, check).play(the_month())
        return self.played[known]


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Months]:
    with ground_in(tmp_path_factory.mktemp("month")) as ground:
        yield Months(ground)


def line(way: Telling, played: Played) -> str:
    emails = ", ".join(f"{number} {name}" for name, number in played.by_template.items())
    return (
        f"month {way:<10} {played.deeds:>4} deeds {played.deliveries:>4} deliveries "
        f"{played.checks:>4} checks {played.requests:>5} requests "
        f"{len(played.emails):>4} emails ({emails})"
    )


def differences(reference: Played, other: Played) -> str:
    """Return the subjects and recipients of what only one of the two has."""
    lines = []
    for name, ours, theirs in (("only told", reference, other), ("only here", other, reference)):
        for email in sorted(set(ours.emails) - set(theirs.emails)):
            head = email.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
            lines += [f"{name}: {' | '.join(one for one in head if one[:3] in {'To:', 'Sub'})}"]
    return "\n".join(lines)


def test_a_month_that_is_told_whole_has_emails_of_every_kind(
    months: Months, record_property: Callable[[str, object], None]
) -> None:
    told = months.month(Telling.ON, None)
    record_property("figure", line(Telling.ON, told))
    assert {deed.kind for deed in the_month()} == set(DeedKind)
    assert set(told.by_template) == {"welcome", "lesson-finished", "course-finished"}
    assert len(told.emails) > 30
    assert len(set(told.emails)) == len(told.emails), "nobody gets the same twice"


def test_nobody_writes_about_what_nobody_told_or_found(months: Months) -> None:
    assert months.month(Telling.OFF, None).emails == ()


@pytest.mark.parametrize("way", WAYS)
def test_however_it_is_told_the_emails_are_the_same_to_the_byte(
    months: Months, way: Telling, record_property: Callable[[str, object], None]
) -> None:
    told, found = months.month(Telling.ON, None), months.month(way, CHECK)
    record_property("figure", line(way, found))
    assert found.emails == told.emails, differences(told, found)
