"""The totals that the database keeps equal a count of the rows, whatever changed them."""

import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import ColumnElement, case, delete, func, insert, literal, select, update

from ledger.engine import Connection, Engine, reading, writing
from ledger.tables import actions, deliveries, events, lookups, notifications, tallies
from ledger.tallies import Tally, fold_tallies, tallies_of
from tests.contract.ledger_rig import NOW, arrival, at_once, decide, keep, lesson_done, plan_for

COUNTED = (deliveries, notifications, events, lookups, actions)
STATES = ("due", "waiting", "leased", "done", "failed")
REASONS = (None, "nexudus-down", "nexudus-busy")


def counted(connection: Connection) -> dict[str, Tally]:
    """Count every row."""
    nothing: ColumnElement[Any] = literal("")
    by: dict[str, tuple[ColumnElement[Any], ColumnElement[Any]]] = {
        "deliveries": (case((deliveries.c.error.is_(None), ""), else_="unreadable"), nothing),
        "notifications": (nothing, nothing),
        "events": (nothing, func.coalesce(events.c.reason, "")),
        "lookups": (lookups.c.state, func.coalesce(lookups.c.reason, "")),
        "actions": (actions.c.state, func.coalesce(actions.c.reason, "")),
    }
    found: dict[str, Tally] = {}
    for table in COUNTED:
        tally = found.setdefault(table.name, {})
        columns = (column.label(name) for name, column in zip("ab", by[table.name], strict=True))
        each = select(*columns).select_from(table).subquery()
        rows = select(each.c.a, each.c.b, func.count()).group_by(each.c.a, each.c.b)
        for state, reason, number in connection.execute(rows):
            tally.setdefault(state, {})[reason] = number
    return found


def assert_equal(engine: Engine) -> None:
    with reading(engine) as connection:
        assert tallies_of(connection, *COUNTED) == counted(connection)


def change_something(connection: Connection, chance: random.Random) -> None:
    """Insert, change or delete some rows, with one statement for several."""
    match chance.randrange(6):
        case 0:
            rows = [{"key": f"{chance.random()}", "kind": "enrolled"} for _ in range(3)]
            about = dict.fromkeys(("course_id", "coworker_id", "course_member_id"), 1)
            when = dict.fromkeys(("happened_at", "found_at"), NOW)
            connection.execute(insert(events), [row | about | when for row in rows])
        case 1:
            some = events.c.id % 3 == chance.randrange(3)
            reason = chance.choice(REASONS)
            connection.execute(update(events).where(some).values(reason=reason))
        case 2:
            some = lookups.c.id % 3 == chance.randrange(3)
            changes = {"state": chance.choice(STATES), "reason": chance.choice(REASONS)}
            connection.execute(update(lookups).where(some).values(**changes))
        case 3:
            connection.execute(delete(lookups).where(lookups.c.id % 5 == chance.randrange(5)))
        case 4:
            connection.execute(
                delete(notifications).where(notifications.c.id % 5 == chance.randrange(5))
            )
        case _:
            some = actions.c.id % 2 == chance.randrange(2)
            connection.execute(update(actions).where(some).values(state=chance.choice(STATES)))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_totals_equal_a_count_after_a_random_history(ledger_engine: Engine, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    for number in range(40):
        wrong = "unreadable" if chance.random() < 0.3 else None
        keep(ledger_engine, *(arrival(chance.randrange(20), error=wrong) for _ in range(3)))
        event = lesson_done(number, NOW + timedelta(minutes=number))
        decide(ledger_engine, event, plan_for(event))
        with writing(ledger_engine) as connection:
            change_something(connection, chance)
        with writing(ledger_engine) as connection:
            change_something(connection, chance)
            connection.rollback()
        if chance.random() < 0.2:
            with writing(ledger_engine) as connection:
                fold_tallies(connection)
    assert_equal(ledger_engine)


def test_the_totals_equal_a_count_after_changes_at_once(ledger_engine: Engine) -> None:
    def work(number: int) -> None:
        for one in range(10):
            keep(ledger_engine, arrival(number, one), arrival(one))
            with writing(ledger_engine) as connection:
                fold_tallies(connection)

    at_once(4, work)
    assert_equal(ledger_engine)


def test_merging_leaves_one_row_for_each_state_and_reason(ledger_engine: Engine) -> None:
    for number in range(5):
        keep(ledger_engine, arrival(number), arrival(number))
    with writing(ledger_engine) as connection:
        fold_tallies(connection)
    with reading(ledger_engine) as connection:
        rows = connection.execute(select(tallies.c.name, tallies.c.number)).all()
    assert sorted(tuple(row) for row in rows) == [
        ("deliveries", 10),
        ("lookups", 5),
        ("notifications", 10),
    ]
