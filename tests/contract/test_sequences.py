"""A sequence of emails, each sent from the ledger when it is due."""

import pytest

from ledger.engine import Engine, reading
from ledger.tables import actions
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import Space, rules_of

pytestmark = pytest.mark.engines(*BOTH)
FIRST_WEEK = """
version: 1
timing: {quiet_hours: none, spread: none, flood: 3/10m}
rules:
  - name: first-week
    event: enrolled
    action: email
    template: [welcome, not-started, welcome]
    steps: [0d, 3d, 7d]
    until: started
"""
WELCOME = "You're in: Freelance Finance"
START = "Your first lesson in Freelance Finance is ready"


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(FIRST_WEEK))


def test_each_email_of_a_sequence_is_sent_when_it_is_due(space: Space) -> None:
    space.enrol(1)
    space.work()
    assert space.subjects == [WELCOME]
    space.later(days=3)
    assert space.subjects == [WELCOME, START]
    space.later(days=4)
    assert space.subjects == [WELCOME, START, WELCOME]
    with reading(space.engine) as connection:
        keys = connection.scalars(actions.select().with_only_columns(actions.c.key)).all()
    event_key = "enrolled:1234:1"
    assert sorted(keys) == [
        f"first-week/{event_key}",
        f"first-week/{event_key}/step-1",
        f"first-week/{event_key}/step-2",
    ]


def test_a_sequence_ends_when_the_member_starts(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    space.later(days=1)
    space.finish(member, 1)
    space.later(days=6)
    space.later(days=3)
    skipped = ("skipped", "active-meanwhile")
    assert space.outcomes() == [("done", None), skipped, skipped]


def test_later_steps_of_a_sequence_are_no_flood(space: Space) -> None:
    for number in (1, 2, 3):
        space.enrol(number)
    space.work()
    assert space.subjects == [WELCOME] * 3
