"""What operators read in the ledger: one person's history, totals, and recent activity."""

import pytest

from ledger.actions import Copy, store_copy
from ledger.activity import Bookmark, Entry, entries_since, newest_entries
from ledger.engine import Engine, reading, writing
from ledger.events import note_reason, store_events
from ledger.outbox import begin_action, settle_action
from ledger.people import accept_person
from ledger.queries import count_totals
from ledger.report_queries import HeldSince, done_by_report, done_by_rule, held_since
from ledger.stories import history_of
from ledger.tables import actions
from schemas.actions import ActionState, Outcome
from schemas.reasons import Reason
from schemas.records import Coworker
from tests.contract.ledger_rig import (
    ANA,
    JOEL,
    LEASE_S,
    LESSON,
    NOW,
    arrival,
    at,
    claim,
    claim_due,
    decide,
    keep,
    lesson_done,
    plan_for,
    planned,
)


def sent_one(engine: Engine) -> int:
    """Let one email go to Ana, at the second try."""
    one = planned(engine)
    copy = Copy("w1", "ana@people.example", "Schön 🔔", b"text", "text/plain")
    with writing(engine) as connection:
        begin_action(connection, one, at(1), lease_s=LEASE_S, events=1)
        store_copy(connection, one.action_id, copy, at(1))
        settle_action(connection, one, Outcome.waiting(NOW, Reason.MAIL_TEMPORARY, "450"), at(2))
    again = planned_again(engine)
    assert again == one.action_id
    return again


def planned_again(engine: Engine) -> int:
    from_now = at(3)
    [one] = claim_due(engine, from_now)
    with writing(engine) as connection:
        begin_action(connection, one, from_now, lease_s=LEASE_S, events=1)
        settle_action(connection, one, Outcome.done("250 queued"), at(4))
    return one.action_id


def test_an_empty_ledger_has_no_history(ledger_engine: Engine) -> None:
    with reading(ledger_engine) as connection:
        assert history_of(connection, ANA) == []
        assert newest_entries(connection, 10) == Bookmark(0, 0)
        assert entries_since(connection, Bookmark(0, 0)) == ([], Bookmark(0, 0))
        counted = count_totals(connection, NOW)
    assert (counted.deliveries, counted.events, counted.lookups, counted.actions) == (0, 0, {}, {})
    assert counted.oldest_due_at is None


def test_a_history_has_the_events_and_their_outcomes(ledger_engine: Engine) -> None:
    action_id = sent_one(ledger_engine)
    late = lesson_done(LESSON + 1, at(-60))
    with writing(ledger_engine) as connection:
        [event_id] = store_events(connection, [(late, None)], at(9)).values()
        note_reason(connection, event_id, Reason.KIND_OFF)
    decide(ledger_engine, lesson_done(coworker_id=JOEL), plan_for(lesson_done(coworker_id=JOEL)))
    with reading(ledger_engine) as connection:
        first, second = history_of(connection, ANA)
    assert (first.lesson_id, first.reason, first.actions) == (LESSON + 1, Reason.KIND_OFF, ())
    assert (first.happened_at, first.found_at) == (at(-60), at(9))
    [action] = second.actions
    assert (action.action_id, action.state, action.receipt) == (action_id, "done", "250 queued")
    assert (action.rule, action.title, action.finished_at) == ("one", "Schön 🔔", at(4))
    assert [(one.at, one.outcome, one.reason, one.detail) for one in action.tries] == [
        (at(2), "waiting", Reason.MAIL_TEMPORARY, "450"),
        (at(4), "done", None, "250 queued"),
    ]
    assert "Schön" not in repr(action)


def test_a_gathered_action_is_listed_with_each_of_its_events(ledger_engine: Engine) -> None:
    for number in range(2):
        event = lesson_done(LESSON + number, at(number))
        decide(ledger_engine, event, plan_for(event, gather_s=60))
    with reading(ledger_engine) as connection:
        history = history_of(connection, ANA)
    assert len({one.actions[0].action_id for one in history}) == 1
    assert [one.lesson_id for one in history] == [LESSON, LESSON + 1]


def test_totals_count_everything(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7, 8), arrival(error="0: Id: Missing."))
    claim(ledger_engine, most=1)
    sent_one(ledger_engine)
    waiting, without = lesson_done(LESSON + 1, at(-5)), lesson_done(LESSON + 2)
    decide(ledger_engine, waiting, plan_for(waiting))
    gathering = lesson_done(LESSON + 3)
    decide(ledger_engine, gathering, plan_for(gathering, rule="other", gather_s=60))
    with writing(ledger_engine) as connection:
        [event_id] = store_events(connection, [(without, None)], NOW).values()
        note_reason(connection, event_id, Reason.BEFORE_START)
    with reading(ledger_engine) as connection:
        counted = count_totals(connection, NOW)
    assert (counted.deliveries, counted.unreadable_deliveries) == (2, 1)
    assert (counted.notifications, counted.events) == (2, 4)
    assert counted.lookups == {"due": {"": 1}, "leased": {"": 1}}
    assert counted.actions == {
        "done": {"": 1},
        "planned": {"": 1},
        "waiting": {"gathering": 1},
    }
    assert counted.events_without_action == {"before-start": 1}
    assert counted.oldest_due_at == at(-5)


def test_what_was_sent_is_counted_by_rule_and_what_is_held_by_person(ledger_engine: Engine) -> None:
    sent_one(ledger_engine)
    for lesson, coworker_id in ((1, JOEL), (2, JOEL), (3, ANA)):
        event = lesson_done(lesson, coworker_id=coworker_id)
        decide(ledger_engine, event, plan_for(event, rule="two"))
    with writing(ledger_engine) as connection:
        held = {"state": ActionState.HELD, "reason": Reason.OBSERVE}
        connection.execute(actions.update().where(actions.c.rule == "two").values(**held))
    with reading(ledger_engine) as connection:
        assert done_by_rule(connection, "email", NOW) == {"one": 1}
        assert done_by_rule(connection, "email", at(60)) == {}
        assert done_by_report(connection, NOW) == {}
        found = held_since(connection, "email", Reason.OBSERVE, NOW)
        assert found == HeldSince(3, 2, JOEL, 2)
        later = held_since(connection, "email", Reason.OBSERVE, at(60))
        assert later == HeldSince(0, 0, None, 0)


def test_activity_is_listed_once_with_names(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        accept_person(connection, Coworker(ANA, NOW, None, "Ana Müller", None), NOW)
    sent_one(ledger_engine)
    with reading(ledger_engine) as connection:
        lines, mark = entries_since(connection, Bookmark(0, 0))
        again = entries_since(connection, mark)
        assert newest_entries(connection, 0) == mark
    assert [(one.what, one.name, one.outcome, one.at) for one in lines] == [
        ("lesson_completed", "Ana Müller", None, NOW),
        ("action", "Ana Müller", "waiting", at(2)),
        ("action", "Ana Müller", "done", at(4)),
    ]
    assert again == ([], mark)
    decide(ledger_engine, lesson_done(coworker_id=JOEL), plan_for(lesson_done(coworker_id=JOEL)))
    with reading(ledger_engine) as connection:
        [line], _ = entries_since(connection, mark)
        assert len(entries_since(connection, newest_entries(connection, 1))[0]) == 2
    assert (line.name, line.what) == (None, "lesson_completed")


@pytest.mark.engines("postgres")  # which assigns ids before it commits
def test_activity_committed_after_later_activity_was_read_is_still_listed(
    ledger_engine: Engine,
) -> None:
    late, later = lesson_done(), lesson_done(coworker_id=JOEL)
    mark, read = Bookmark(0, 0), list[Entry]()
    with writing(ledger_engine) as under_way:
        store_events(under_way, [(late, None)], NOW)
        decide(ledger_engine, later, plan_for(later))
        for _ in range(3):
            with reading(ledger_engine) as connection:
                found, mark = entries_since(connection, mark)
                read += found
        with reading(ledger_engine) as connection:
            other = newest_entries(connection, 0)
    assert [one.what for one in read] == [later.kind]
    for reader in (mark, other):
        with reading(ledger_engine) as connection:
            [line], after = entries_since(connection, reader)
            assert entries_since(connection, after)[0] == []
        assert line.at == NOW


@pytest.mark.engines("postgres")
def test_ids_that_nobody_has_are_not_looked_for_any_longer(ledger_engine: Engine) -> None:
    lost = lesson_done()
    with writing(ledger_engine) as connection:
        store_events(connection, [(lost, None)], NOW)
        connection.rollback()
    decide(ledger_engine, lost, plan_for(lost))
    mark, sizes = Bookmark(0, 0), list[int]()
    for _ in range(4):
        with reading(ledger_engine) as connection:
            _, mark = entries_since(connection, mark)
        sizes.append(len(mark.missing_events))
        with writing(ledger_engine) as connection:  # which uses up a transaction id
            note_reason(connection, mark.event_id, Reason.BEFORE_START)
    assert (sizes[0], sizes[-1]) == (1, 0)
