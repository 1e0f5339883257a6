"""An endpoint that refuses everything is shown and left alone until something arrives there."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ledger.channels import note_tested
from ledger.engine import Engine, reading, writing
from ledger.outages import end_outage, outages_now
from schemas.reasons import Reason
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import BOTH
from tests.contract.test_webhooks import SENT, PostingSpace, run_at, serving
from tests.doubles.endpoint import ReceivingEndpoint, receiving
from workers.endpoints import endpoint_needs

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

REFUSED = ("failed", Reason.DELIVERY_REFUSED)
WAITS = ("waiting", Reason.ENDPOINT_REFUSES)


@pytest.fixture
def space(ledger_engine: Engine) -> Iterator[PostingSpace]:
    with serving(ledger_engine) as found:
        yield found


def refuse(space: PostingSpace, *numbers: int, status: int = 404) -> None:
    """Enrol people, whose messages the endpoint refuses if they are posted at once."""
    for number in numbers:
        space.crm.answers[:] = [(status, {}, b"")]
        space.enrol(number)
        space.work()
    space.crm.answers.clear()


def needs(space: PostingSpace) -> list[str]:
    with reading(space.engine) as connection:
        return list(endpoint_needs(connection, space.clock.now()))


@pytest.mark.engines(*BOTH)
def test_from_the_third_refusal_in_a_row_on_messages_wait_and_one_is_tried_now_and_then(
    space: PostingSpace,
) -> None:
    refuse(space, *range(1, 9))
    assert space.ends()["endpoint:crm"][:3] == [REFUSED, REFUSED, WAITS]
    assert len(space.crm.arrived) == 3
    with reading(space.engine) as connection:
        outage = outages_now(connection)["webhook:crm"]
    assert (outage.reason, outage.answer) == (Reason.ENDPOINT_REFUSES, "it answered 404")
    assert outage.until - space.clock.now() == timedelta(minutes=5)
    [needed] = needs(space)
    assert needed.startswith("endpoint crm: nothing arrives since 2026-03-03 12:00 UTC: The endpoi")
    assert "(it answered 404). Correct its url, shape or secrets, or the receiver" in needed
    space.crm.answers[:] = [(404, {}, b"")]
    space.later(minutes=6)
    assert len(space.crm.arrived) == 4
    assert space.ends()["endpoint:crm"].count(REFUSED) == 2
    space.later(minutes=11)
    assert space.ends()["endpoint:crm"] == [REFUSED] * 2 + [SENT] * 6
    assert needs(space) == []


def test_refusals_with_something_accepted_between_are_final(space: PostingSpace) -> None:
    refuse(space, 1, 2)
    space.enrol(3)
    space.work()
    refuse(space, 4, 5)
    assert space.ends()["endpoint:crm"] == [REFUSED, REFUSED, SENT, REFUSED, REFUSED]
    assert needs(space) == []


@pytest.mark.parametrize("status", [404, 410])
def test_a_test_that_arrived_ends_what_is_shown_and_the_row_of_refusals(
    space: PostingSpace, status: int
) -> None:
    refuse(space, 1, 2, 3, status=status)
    assert len(needs(space)) == 1
    with writing(space.engine) as connection:
        note_tested(connection, "webhook:crm", "a test", space.clock.now())
        end_outage(connection, "webhook:crm", space.clock.now())
    assert needs(space) == []
    space.clock.time += timedelta(minutes=1)
    refuse(space, 4)
    assert WAITS not in space.ends()["endpoint:crm"]
    assert needs(space) == []


def test_commands_show_the_last_refusal_until_a_test_arrives(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSEBELL_ENDPOINT_NETWORKS", "127.0.0.1")
    with receiving(ReceivingEndpoint()) as url:
        with serving(desk.space.engine) as space:
            refuse(space, 1)
            _, said = run_at(desk, monkeypatch, url, "webhook", "list")
            assert "  ! it refused its last message at " in said
            assert ": it answered 404. Correct its url, shape or secrets, or the receiver;" in said
            refuse(space, 2, 3)
        _, said = run_at(desk, monkeypatch, url, "doctor")
        assert "The endpoint refuses every message" in " ".join(said.split())
        code, said = run_at(desk, monkeypatch, url, "webhook", "test", "crm")
        assert (code, said.splitlines()[1:]) == (0, ["The messages that waited for it go now."])
        _, said = run_at(desk, monkeypatch, url, "webhook", "list")
    assert "  ! " not in said
