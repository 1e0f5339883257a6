"""A kind of action other than email goes through the same workers, with its own rules."""

from collections.abc import Callable
from dataclasses import replace
from typing import Self

import pytest

from ledger.engine import Engine
from schemas.actions import KindForm
from schemas.entity import Entity
from schemas.errors import (
    ChannelUnavailable,
    DeliveryRefused,
    DeliveryUnavailable,
    DeliveryUnknown,
    RecipientUnusable,
)
from schemas.reasons import Reason
from schemas.rules import load_rules
from schemas.settings import Settings
from tests.contract.study_rig import Space, coworker
from workers.actions.base import Action, ActionContext, Checkpoints, Prepared
from workers.actions.registry import kinds_for_rules
from workers.deliver.context import DeliveryTools

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

RULES = """
version: 1
timing: {cap_per_day: 1, cap_per_week: none}
rules:
  - {name: welcome, event: enrolled, action: email, template: welcome}
  - {name: note, event: enrolled, action: note}
"""


class NoteAction(Action):
    """Keeps notes in memory, unless a failure is set."""

    kind = "note"
    repeatable = False

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.failures: list[Exception] = []

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        raise NotImplementedError

    def prepare(self, context: ActionContext) -> Prepared:
        title = context.person.full_name

        def send(checkpoints: Checkpoints) -> str:
            if self.failures:
                raise self.failures.pop(0)
            checkpoints.before_commit()
            self.notes.append(title)
            return "noted"

        return Prepared(None, title, title.encode(), "text/plain", send)


class NotingSpace(Space):
    """A space whose workers also take notes."""

    note = NoteAction()

    @property
    def delivery(self) -> DeliveryTools:
        tools = super().delivery
        actions = {**tools.actions, "note": self.note}
        return replace(tools, setup=replace(tools.setup, actions=actions))


@pytest.fixture
def space(ledger_engine: Engine) -> NotingSpace:
    rules = load_rules(RULES, "rules.yaml", actions=kinds_for_rules() | {"note": KindForm()})
    found = NotingSpace(ledger_engine, rules)
    found.note = NoteAction()
    return found


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (lambda: DeliveryUnavailable("later"), ("waiting", Reason.DELIVERY_LATER)),
        (lambda: DeliveryRefused("no"), ("failed", Reason.DELIVERY_REFUSED)),
        (lambda: DeliveryUnknown("cut off"), ("unknown", Reason.HANDOVER_UNKNOWN)),
        (
            lambda: RecipientUnusable("no number", reason=Reason.NO_EMAIL),
            ("skipped", Reason.NO_EMAIL),
        ),
        (lambda: ValueError("a fault"), ("unknown", Reason.HANDOVER_UNKNOWN)),
    ],
)
def test_a_failure_is_recorded_with_reasons_of_its_kind(
    space: NotingSpace, failure: Callable[[], Exception], outcome: tuple[str, Reason]
) -> None:
    space.note.failures.append(failure())
    space.enrol(1)
    space.work()
    assert space.outcomes() == [("done", None), outcome]
    assert space.note.notes == []


def test_an_outage_of_one_kind_does_not_delay_emails(
    space: NotingSpace,
) -> None:
    space.note.failures.append(ChannelUnavailable(Reason.DELIVERY_DOWN, "it is down"))
    for number in (1, 2, 3):
        space.enrol(number)
    space.work()
    assert sorted(space.outcomes(), key=str) == [
        *[("done", None)] * 3,
        *[("planned", None)] * 2,
        ("waiting", Reason.DELIVERY_DOWN),
    ]
    assert len(space.mailer.caught) == 3
    space.later(minutes=1)
    assert sorted(space.note.notes) == ["Person 1", "Person 2", "Person 3"]


def test_a_missing_address_does_not_stop_a_kind_that_needs_none(space: NotingSpace) -> None:
    space.enrol(1)
    space.source.have(Entity.COWORKER, coworker(1, email=None))
    space.work()
    assert space.outcomes() == [("skipped", Reason.NO_EMAIL), ("done", None)]
    assert space.note.notes == ["Person 1"]


def test_emails_do_not_count_for_the_cap_of_another_kind(space: NotingSpace) -> None:
    space.enrol(1)
    space.work()
    assert space.outcomes() == [("done", None), ("done", None)]
