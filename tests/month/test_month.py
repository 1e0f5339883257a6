"""A month of study gives the same emails, byte for byte, for every way of delivery.

Only the date of writing may differ, by no more than the time between two polls. The reference is a
month in which each change is delivered at once. In all others polls have to find what was not
delivered, or too late. Two things do not occur in the month, because polling cannot see them as
webhooks do: records created and deleted within ten minutes, and events within the last quarter of
an hour before quiet hours (`tests/month/month_study.py`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from tests.month.month_audit import Audit, run_check
from tests.month.month_delivery import DeliveryMode
from tests.month.month_rig import CHECK_EVERY, Played, Player
from tests.month.month_setup import Ground, ground_in
from tests.month.month_study import DeedKind
from tests.month.month_world import SEED, the_month


@dataclass
class Months:
    """The months that were played, each once."""

    ground: Ground
    played: dict[tuple[DeliveryMode, bool], Played] = field(default_factory=dict)
    audits: dict[DeliveryMode, Audit] = field(default_factory=dict)

    def deliveries_only(self, way: DeliveryMode) -> Played:
        """Play a month without polls."""
        if (way, False) not in self.played:
            self.played[way, False] = Player(self.ground, way, SEED).play(the_month())
        return self.played[way, False]

    def polled(self, way: DeliveryMode) -> Played:
        """Play a month with polls, and audit it the day after."""
        if (way, True) not in self.played:
            audit = self.audits[way] = Audit()
            player = Player(self.ground, way, SEED, run_check, audit.make)
            self.played[way, True] = player.play(the_month())
        return self.played[way, True]


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Months]:
    with ground_in(tmp_path_factory.mktemp("month")) as ground:
        yield Months(ground)


def line(way: DeliveryMode, played: Played) -> str:
    emails = ", ".join(f"{number} {name}" for name, number in played.by_template.items())
    return (
        f"month {way:<10} {played.deeds:>4} deeds {played.deliveries:>4} deliveries "
        f"{played.checks:>4} checks {played.requests:>5} requests "
        f"first reported by {dict(sorted(played.first_reported.items()))} "
        f"{len(played.emails):>4} emails ({emails})"
    )


def differences(reference: Played, other: Played) -> str:
    """Return the subjects and recipients of what only one of the two has."""
    lines = []
    for name, ours, theirs in (
        ("only delivered", reference, other),
        ("only here", other, reference),
    ):
        for email in sorted(set(ours.emails) - set(theirs.emails)):
            head = email.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
            lines += [f"{name}: {' | '.join(one for one in head if one[:3] in {'To:', 'Sub'})}"]
    return "\n".join(lines)


def test_a_month_with_complete_deliveries_has_emails_of_every_kind(
    months: Months, record_property: Callable[[str, object], None]
) -> None:
    delivered = months.deliveries_only(DeliveryMode.ON)
    record_property("figure", line(DeliveryMode.ON, delivered))
    assert {deed.kind for deed in the_month()} == set(DeedKind)
    assert set(delivered.by_template) == {"welcome", "lesson-finished", "course-finished"}
    assert len(delivered.emails) > 30
    assert len(set(delivered.emails)) == len(delivered.emails), "no email is sent twice"


def test_without_deliveries_and_polls_there_are_no_emails(months: Months) -> None:
    assert months.deliveries_only(DeliveryMode.OFF).emails == ()


@pytest.mark.parametrize("way", DeliveryMode)
def test_the_emails_are_the_same_to_the_byte_for_every_way_of_delivery(
    months: Months, way: DeliveryMode, record_property: Callable[[str, object], None]
) -> None:
    delivered, found = months.deliveries_only(DeliveryMode.ON), months.polled(way)
    record_property("figure", line(way, found))
    assert found.emails == delivered.emails, differences(delivered, found)
    later = [abs(found.went[email] - delivered.went[email]) for email in delivered.emails]
    assert max(later) <= CHECK_EVERY + timedelta(minutes=1), "no later than the next check"


def test_each_way_of_delivery_does_what_its_name_says(months: Months) -> None:
    first = {way: months.polled(way).first_reported for way in DeliveryMode}
    for way in (DeliveryMode.ON, DeliveryMode.DUPLICATED):
        assert first[way]["hook"] > 9 * first[way]["check"]
    for way in (DeliveryMode.LOSSY, DeliveryMode.SHUFFLED, DeliveryMode.STOPPED):
        assert min(first[way]["hook"], first[way]["check"]) > 10
    for way in (DeliveryMode.OFF, DeliveryMode.LATE):
        assert set(first[way]) == {"check"}


@pytest.mark.parametrize("way", DeliveryMode)
def test_the_certificate_shows_no_difference_for_every_way_of_delivery(
    months: Months, way: DeliveryMode, record_property: Callable[[str, object], None]
) -> None:
    months.polled(way)
    audit = months.audits[way]
    record_property("figure", f"certificate {way:<10} {audit.says}")
    assert audit.differences == []
    assert audit.certificate.closes


def test_rows_removed_by_hand_are_exactly_those_the_certificate_names(
    months: Months,
) -> None:
    months.polled(DeliveryMode.OFF)
    audit = months.audits[DeliveryMode.OFF]
    assert len(audit.removed) == 6
    assert sorted(audit.named_after_removal) == sorted(audit.removed)
