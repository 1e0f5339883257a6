"""Lookups stored together with few statements: each ends as if it were stored alone."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import event as of_engine
from sqlalchemy import select

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import Connection, Engine, lock_decisions, reading, writing
from ledger.joint_writer import JointWriter
from ledger.lookups import Claim
from ledger.tables import action_events, actions, events, listings, lookups, people, records
from schemas.actions import LookupState, Mode
from schemas.entity import Entity
from schemas.records import CompletedLesson, Coworker
from tests.builders.records import NOON, course, course_member, lesson
from tests.contract.ledger_rig import arrival, claim, keep, while_one_commits
from tests.contract.study_rig import LISBON, SHIPPED, rules_of
from workers.lookup.commit import DecisionSetup, FoundLookup, store_lookups
from workers.lookup.read import Findings

DECIDING = DecisionSetup(rules_of(SHIPPED), LISBON)
LATER = NOON + timedelta(seconds=1)
DONE, MEMBER = Entity.COMPLETED_LESSON, Entity.COURSE_MEMBER
# The member and the lesson of each completion. The first member finishes the course with the two.
COMPLETED = {501: (1, 1), 502: (1, 2), 503: (2, 1), 504: (3, 2), 505: (4, 1)}
GONE = 505

Store = Callable[[Connection, Sequence[FoundLookup]], list[int | None]]


def begun(engine: Engine) -> list[FoundLookup]:
    """Begin a ledger that sends, claim lookups of completions and of an enrolment, and read them.

    Two of them are of one enrolment, one is of a member who completed nothing, and one record is
    gone.
    """
    with writing(engine) as connection:
        start = NOON - timedelta(days=30)
        begin_with(connection, Mode.SENDING, start, SYSTEM_CLOCK.new_id())
    keep(engine, *(arrival(number, entity=DONE, received_at=NOON) for number in COMPLETED))
    keep(engine, arrival(9003, entity=MEMBER, received_at=NOON))
    claims = sorted(claim(engine, NOON), key=lambda one: (one.entity, one.record_id))
    return [FoundLookup(one, read_for(one)) for one in claims]


def completion(record_id: int) -> CompletedLesson:
    number, lesson_id = COMPLETED[record_id]
    return CompletedLesson(record_id, NOON, NOON, lesson_id, None, 9000 + number, None)


def read_for(claimed: Claim) -> Findings:
    """Return what this lookup reads."""
    findings = Findings(NOON, upto=100)
    if claimed.record_id == GONE:
        findings.gone = [(DONE, GONE)]
        return findings
    is_lesson = claimed.entity is DONE
    number = COMPLETED[claimed.record_id][0] if is_lesson else claimed.record_id - 9000
    member = course_member(record_id=9000 + number, coworker_id=number)
    mine = [completion(one) for one, (whose, _) in COMPLETED.items() if whose == number]
    findings.enrolment, findings.course = member, course()
    findings.records = [(MEMBER, member)]
    findings.people = [(Coworker(number, NOON, None, f"Person {number}", None), None)]
    findings.decided = [(MEMBER, member.record_id)]
    if is_lesson:
        findings.records.append((DONE, completion(claimed.record_id)))
        findings.listings = [(DONE, ("course_member_id", member.record_id), mine)]
        findings.lessons, findings.completions = [lesson(1), lesson(2)], mine
        findings.decided += [(DONE, one.record_id) for one in mine]
    return findings


def together(connection: Connection, found: Sequence[FoundLookup]) -> list[int | None]:
    return store_lookups(connection, found, DECIDING, LATER)


def one_by_one(connection: Connection, found: Sequence[FoundLookup]) -> list[int | None]:
    return [planned for one in found for planned in together(connection, [one])]


def contents(connection: Connection) -> dict[str, list[list[str]]]:
    """Return what the ledger holds, without the numbers of rows."""
    plans = (
        select(actions.c.key, events.c.key)
        .join(action_events, action_events.c.action_id == actions.c.id)
        .join(events, events.c.id == action_events.c.event_id)
    )
    tables = {table.name: select(table) for table in (records, events, actions, listings, people)}
    chosen: dict[str, Any] = tables | {"lookups": select(lookups), "plans": plans}
    return {
        name: sorted(
            [str(value) for column, value in row._asdict().items() if column != "id"]
            for row in connection.execute(statement)
        )
        for name, statement in chosen.items()
    }


def result_of(
    engine: Engine, store: Store, found: Sequence[FoundLookup]
) -> tuple[list[int | None], dict[str, list[list[str]]]]:
    """Return what storing so returns and what the ledger holds then; nothing is committed."""
    with writing(engine) as connection:
        lock_decisions(connection)
        planned = store(connection, found)
        result = planned, contents(connection)
        connection.rollback()
    return result


def test_a_group_is_stored_as_its_lookups_would_be_one_by_one(ledger_engine: Engine) -> None:
    found = begun(ledger_engine)
    planned, holds = result_of(ledger_engine, together, found)
    assert (planned, holds) == result_of(ledger_engine, one_by_one, found)
    assert [len(holds[name]) for name in ("people", "listings")] == [3, 3]
    assert sum(one or 0 for one in planned) > 0


def test_a_completion_and_then_its_enrolment_are_found_gone_in_this_order(
    ledger_engine: Engine,
) -> None:
    found = begun(ledger_engine)
    with writing(ledger_engine) as connection:
        lock_decisions(connection)
        together(connection, found)
    deleted = [(DONE, 501), (MEMBER, 9001)]
    keep(ledger_engine, *(arrival(one, entity=kind, received_at=LATER) for kind, one in deleted))
    claims = sorted(claim(ledger_engine, LATER), key=lambda one: (one.entity, one.record_id))
    gone = [
        FoundLookup(one, Findings(LATER, upto=200, gone=[(one.entity, one.record_id)]))
        for one in claims
    ]
    assert [one.key for one in gone] == deleted
    planned, holds = result_of(ledger_engine, together, gone)
    assert (planned, holds) == result_of(ledger_engine, one_by_one, gone)


def test_a_lookup_that_another_worker_took_stores_nothing(ledger_engine: Engine) -> None:
    found = begun(ledger_engine)
    late = NOON + timedelta(hours=1)
    taken, *others = found
    with writing(ledger_engine) as connection:
        connection.execute(
            lookups.update()
            .where(lookups.c.id == taken.claim.lookup_id)
            .values(lease_token="another", lease_until=late)
        )
    planned, holds = result_of(ledger_engine, together, found)
    assert planned[0] is None
    assert None not in planned[1:]
    assert holds == result_of(ledger_engine, together, others)[1]


def test_a_group_takes_few_statements(ledger_engine: Engine) -> None:
    pair = [one for one in begun(ledger_engine) if one.claim.record_id in {503, 504}]
    statements: list[object] = []

    def note(_: Connection, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    of_engine.listen(ledger_engine, "before_cursor_execute", note)
    result_of(ledger_engine, together, pair[:1])
    of_one = len(statements)
    result_of(ledger_engine, together, pair)
    of_two = len(statements) - of_one
    # Only planning takes statements for each.
    assert of_two - of_one < of_one / 2


def test_one_lookup_that_cannot_be_stored_does_not_affect_the_others(
    ledger_engine: Engine,
) -> None:
    found = begun(ledger_engine)
    broken = next(one for one in found if one.claim.record_id == 504)
    broken.findings.records.append((DONE, "no record"))  # type: ignore[arg-type]
    writer = JointWriter(ledger_engine)

    def store(one: FoundLookup) -> Callable[[JointWriter], int | None]:
        order = (one.claim.entity.value, one.claim.record_id)
        return lambda writer: writer.write_together(order, one, together)

    ended = while_one_commits(writer, *(store(one) for one in found))
    for one, how in zip(found, ended, strict=True):
        assert isinstance(how, Exception) == (one is broken)
    with reading(ledger_engine) as connection:
        rows = connection.execute(select(lookups.c.record_id, lookups.c.state)).all()
    left = {row.record_id for row in rows if row.state != LookupState.DONE}
    assert left == {504}
