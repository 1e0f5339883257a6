"""What a member chose: how choices under several keys combine, and which emails they stop."""

from datetime import timedelta
from itertools import permutations

import pytest

from schemas.choices import SNOOZE, Choice, Choices, combined, objection_to
from schemas.reasons import Reason
from schemas.rules import Stream
from tests.builders.records import NOON

HOUR = timedelta(hours=1)
OLD_YES = Choice(agreed=True, chosen_at=NOON - HOUR)
OLD_NO = Choice(agreed=False, chosen_at=NOON - HOUR)
YES = Choice(agreed=True, chosen_at=NOON)
NO = Choice(agreed=False, chosen_at=NOON)


def snooze(hours: int) -> Choice:
    return Choice(agreed=False, chosen_at=NOON, until=NOON + hours * HOUR)


@pytest.mark.parametrize(
    ("these", "counts"),
    [
        ([OLD_YES, YES], YES),
        ([OLD_NO, NO], NO),
        ([OLD_NO, YES], OLD_NO),
        ([OLD_YES, NO], NO),
        ([snooze(1), snooze(5)], snooze(5)),
        ([snooze(1), YES], snooze(1)),
        ([YES], YES),
    ],
)
def test_a_no_counts_wherever_it_was_said(these: list[Choice], counts: Choice) -> None:
    for order in permutations(these):
        assert combined(("service", one) for one in order).made == {"service": counts}


def test_choices_of_different_streams_do_not_mix() -> None:
    found = combined([("service", NO), ("reminder", YES), (SNOOZE, snooze(1)), ("all", YES)])
    assert found.agreed == {"service": False, "reminder": True, "all": True}


@pytest.mark.parametrize(
    ("choice", "until"),
    [
        (None, None),
        (snooze(1), NOON + HOUR),
        (snooze(0), None),
        (snooze(-1), None),
        (YES, None),
        (NO, None),
    ],
)
def test_a_snooze_lasts_until_its_end(choice: Choice | None, until: object) -> None:
    chosen = Choices({} if choice is None else {SNOOZE: choice})
    assert chosen.snoozed_until(NOON) == until


@pytest.mark.parametrize(
    ("agreed", "service", "reminder"),
    [
        ({}, None, Reason.NO_CONSENT),
        ({"reminder": True}, None, None),
        ({"reminder": False}, None, Reason.OPTED_OUT_KIND),
        ({"service": False}, Reason.OPTED_OUT_KIND, Reason.NO_CONSENT),
        ({"all": True, "service": True}, None, Reason.NO_CONSENT),
        ({"all": False, "reminder": True}, Reason.OPTED_OUT_ALL, Reason.OPTED_OUT_ALL),
    ],
)
def test_reminders_need_a_yes_and_other_emails_no_objection(
    agreed: dict[str, bool], service: Reason | None, reminder: Reason | None
) -> None:
    assert objection_to(Stream.SERVICE, agreed) is service
    assert objection_to(Stream.REMINDER, agreed) is reminder
    made = {name: Choice(one, NOON) for name, one in agreed.items()}
    assert Choices(made).wants(Stream.SERVICE) is (service is None)
    assert Choices(made).wants(Stream.REMINDER) is (reminder is None)
