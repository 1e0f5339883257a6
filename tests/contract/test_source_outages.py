"""Why records cannot be read: one entry a reason, at a bounded cost."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from ledger.engine import Engine, reading, writing
from ledger.outages import MOST_COUNTED, SourceOutage, source_outages
from ledger.tables import lookups
from schemas.actions import LookupState
from schemas.reasons import EXPLANATIONS, Reason
from tests.contract.ledger_rig import NOW, at


def wait(engine: Engine, reason: Reason, count: int) -> None:
    """Store lookups that wait for this reason; each is due, and was asked for, a second later."""
    first = len(reason) * 100_000
    rows = [
        {
            "entity": "CourseMember",
            "record_id": first + number,
            "state": LookupState.WAITING,
            "due_at": at(number),
            "asked_at": NOW - timedelta(seconds=number),
            "asked": 1,
            "reason": reason,
            "last_error": f"error {number}",
        }
        for number in range(count)
    ]
    with writing(engine) as connection:
        connection.execute(insert(lookups), rows)


def test_each_reason_has_an_entry_with_what_is_tried_next(ledger_engine: Engine) -> None:
    wait(ledger_engine, Reason.NEXUDUS_REFUSED, 1)
    wait(ledger_engine, Reason.NEXUDUS_DOWN, 3)
    with reading(ledger_engine) as connection:
        assert source_outages(connection) == [
            SourceOutage(Reason.NEXUDUS_DOWN, 3, at(-2), NOW, "error 0"),
            SourceOutage(Reason.NEXUDUS_REFUSED, 1, NOW, NOW, "error 0"),
        ]


@pytest.mark.parametrize(
    ("count", "unread"),
    [
        (1, "1 record unread"),
        (2, "2 records unread"),
        (MOST_COUNTED - 1, "999 records unread"),
        (MOST_COUNTED + 5, "1,000 records or more unread"),
    ],
)
def test_a_backlog_is_counted_up_to_a_limit(ledger_engine: Engine, count: int, unread: str) -> None:
    wait(ledger_engine, Reason.NEXUDUS_DOWN, count)
    with reading(ledger_engine) as connection:
        [outage] = source_outages(connection)
    assert (outage.unread, outage.since) == (unread, at(1 - count))


def test_a_record_that_was_not_tried_has_the_sentence_of_its_reason(ledger_engine: Engine) -> None:
    wait(ledger_engine, Reason.NEXUDUS_BUSY, 1)
    with writing(ledger_engine) as connection:
        connection.execute(update(lookups).values(last_error=None))
        [outage] = source_outages(connection)
    assert outage.last_error == EXPLANATIONS[Reason.NEXUDUS_BUSY].sentence
