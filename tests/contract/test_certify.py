"""The completeness certificate of a complete week, and of one with rows removed.

See `tests.contract.study_rig`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import ColumnElement, Table, delete, func, insert, select, text, update

from ledger.engine import Connection, Engine, reading, writing
from ledger.interventions import send_again
from ledger.records import note_seen
from ledger.tables import (
    action_events,
    actions,
    attempts,
    events,
    lookups,
    records,
)
from schemas.actions import Mode
from schemas.entity import Entity
from schemas.errors import DeliveryUnavailable, SourceThrottled, SourceUnavailable
from schemas.reasons import Reason
from schemas.records import CompletedLesson
from service.cli.certificate_view import row_of
from tests.builders.records import lesson
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import LISBON, SHIPPED, Space, rules_of
from tests.servers.ready_ledgers import ReadyPostgres, quick_engine, sqlite_copy
from workers.sync.certificate import Certificate, certify
from workers.sync.document import Issuer, document_of
from workers.sync.evidence import window_of
from workers.sync.row_outcomes import Finding, FindingKind, RowOutcome
from workers.sync.rows import SyncContext
from workers.versions import version_of_record

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

RULES = SHIPPED.replace("cap_per_day: 2", "cap_per_day: none").replace(
    "cap_per_week: 4", "cap_per_week: none"
)
FIRST, LAST = date(2026, 3, 3), date(2026, 3, 9)


@dataclass
class Week:
    """Some people who studied for a week, and what is certified of it."""

    space: Space
    ids: dict[str, int] = field(default_factory=dict)

    @property
    def sync(self) -> SyncContext:
        return SyncContext(self.space.engine, self.space.lend, self.space.clock)

    def certify(self, first: date = FIRST, last: date = LAST) -> Certificate:
        window = window_of(first, last, LISBON, self.space.clock.now())
        return certify(self.sync, window, self.space.rules)

    def by_hand(self, *tables_and_rows: tuple[Table, ColumnElement[bool]]) -> "Removed":
        """Delete rows as with a database client; return them."""
        removed: Removed = []
        with self._careless() as connection:
            for table, rows in tables_and_rows:
                found = connection.execute(delete(table).where(rows).returning(table))
                removed += [(table, dict(row)) for row in found.mappings()]
        return removed

    def put_back(self, removed: "Removed") -> None:
        """Undo `by_hand`."""
        with self._careless() as connection:
            for table, row in removed:
                connection.execute(insert(table).values(row))

    @contextmanager
    def _careless(self) -> Iterator[Connection]:
        """Give a connection on which no row has to fit the others."""
        with self.space.engine.connect() as bare:
            is_sqlite = bare.dialect.name == "sqlite"
            if is_sqlite:
                bare.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]  # it is connected
            with bare.begin():
                if not is_sqlite:
                    bare.execute(text("SET LOCAL session_replication_role = replica"))
                yield bare
            if is_sqlite:
                bare.connection.driver_connection.execute("PRAGMA foreign_keys=ON")  # type: ignore[union-attr]  # it is connected


def test_the_progress_of_a_certificate_rises(lived: Week) -> None:
    shares: list[float] = []
    window = window_of(FIRST, LAST, LISBON, lived.space.clock.now())
    certify(lived.sync, window, lived.space.rules, shares.append)
    assert shares == sorted(shares)
    assert len(set(shares)) > 4
    assert 0 < shares[0] < shares[-1] < 1


Removed = list[tuple[Table, dict[str, Any]]]


@pytest.fixture(scope="module")
def lived(
    engine_name: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Week]:
    """Give one week to the tests that leave it as it was; to live through it takes a while."""
    with ExitStack() as stack:
        if engine_name == "sqlite":
            url = sqlite_copy(tmp_path_factory.mktemp("week") / "ledger.db")
        else:
            ready: ReadyPostgres = request.getfixturevalue("ready_postgres")
            url = stack.enter_context(ready.lend())
        engine = quick_engine(url)
        stack.callback(engine.dispose)
        yield a_week(engine)


@pytest.fixture
def week(ledger_engine: Engine) -> Week:
    """Give a small week of its own: one person, two lessons of a sitting, and days of rest."""
    found = Week(Space(ledger_engine, rules_of(RULES)))
    ana = found.space.enrol(1)
    found.space.work()
    found.space.later(minutes=10)
    one, two = found.space.finish(ana, 1, 2)
    found.space.later(hours=2)
    found.space.clock.time += timedelta(days=8)
    found.ids = {"ana": ana.record_id, "one": one, "whole": two}
    return found


def a_week(engine: Engine) -> Week:
    """Live through a week: a sitting, a whole course, a request, a blocked one, a return."""
    space = Space(engine, rules_of(RULES))
    found = Week(space)
    ana, joel = space.enrol(1, full_name="Person 1"), space.enrol(2)
    waits, blocked = space.enrol(3, approved=False), space.enrol(4, blocked=True)
    space.work()
    space.later(minutes=10)
    one, two = space.finish(ana, 1, 2)
    space.later(hours=2)
    space.later(days=1)
    whole = space.finish(joel, 1, 2, 3)
    space.later(hours=4)
    space.later(days=1)
    space.change(waits, approved=True)
    space.work()
    space.source.lose(Entity.COMPLETED_LESSON, two)  # un-done, and done again under a new Id
    space.notify(Entity.COMPLETED_LESSON, two)
    space.later(hours=1)
    [again] = space.finish(ana, 2)
    space.later(hours=4)
    back = space.enrol(1, record_id=9901)  # the same person enrols once more
    space.later(days=5)
    found.ids = {
        "ana": ana.record_id,
        "joel": joel.record_id,
        "waits": waits.record_id,
        "blocked": blocked.record_id,
        "one": one,
        "again": again,
        "whole": whole[1],
        "back": back.record_id,
    }
    return found


def only(certificate: Certificate) -> Finding:
    [found] = certificate.findings
    return found


@pytest.mark.engines(*BOTH)
def test_a_complete_week_has_no_difference_and_its_sums_agree(lived: Week) -> None:
    made = lived.certify()
    assert list(made.findings) == []
    assert made.is_clean
    assert made.totals.at_source == {Entity.COURSE_MEMBER: 5, Entity.COMPLETED_LESSON: 5}
    assert made.totals.here == made.totals.at_source
    assert dict(made.totals.outcomes) == {
        (RowOutcome.WRITTEN, None): 4,
        (RowOutcome.UNWRITTEN, "superseded"): 3,
        (RowOutcome.REPEAT, "duplicate"): 2,
        (RowOutcome.NO_EVENT, "blocked"): 1,
    }
    assert made.totals.outcomes.total() == made.totals.at_source.total()
    assert made.totals.events.total() == made.totals.event_outcomes.total()
    assert made.totals.emails == {(RowOutcome.WRITTEN, None): 5}
    assert {line.location for line in made.lines} == {"Harbour Works"}


def test_days_are_those_of_the_zone_and_each_window_is_whole_by_itself(lived: Week) -> None:
    days = [FIRST + timedelta(days=number) for number in range(7)]
    made = [lived.certify(day, day) for day in days]
    assert all(one.is_clean for one in made)
    whole = lived.certify()
    assert sum(one.totals.at_source.total() for one in made) == whole.totals.at_source.total()
    assert sum(one.totals.emails.total() for one in made) == whole.totals.emails.total()


Remove = Callable[[Week], Removed]


def gone_record(name: str) -> Remove:
    return lambda week: week.by_hand((records, records.c.record_id == week.ids[name]))


def gone_event(kind: str, coworker_id: int) -> Remove:
    rows = (events.c.kind == kind) & (events.c.coworker_id == coworker_id)
    return lambda week: week.by_hand((events, rows))


def _event_id(kind: str, coworker_id: int, lesson_id: int | None = None) -> ColumnElement[int]:
    found = select(events.c.id).where(events.c.kind == kind, events.c.coworker_id == coworker_id)
    if lesson_id is not None:
        found = found.where(events.c.lesson_id == lesson_id)
    return found.scalar_subquery()


def gone_link(kind: str, coworker_id: int, lesson_id: int | None = None) -> Remove:
    event_id = _event_id(kind, coworker_id, lesson_id)
    return lambda week: week.by_hand((action_events, action_events.c.event_id == event_id))


def gone_action(event_kind: str, coworker_id: int) -> Remove:
    rows = (actions.c.event_kind == event_kind) & (actions.c.coworker_id == coworker_id)
    return lambda week: week.by_hand((actions, rows))


def gone_attempt(event_kind: str, coworker_id: int) -> Remove:
    whose = select(actions.c.id).where(
        actions.c.event_kind == event_kind, actions.c.coworker_id == coworker_id
    )
    rows = attempts.c.action_id.in_(whose) & (attempts.c.outcome == "done")
    return lambda week: week.by_hand((attempts, rows))


TAMPERED: dict[str, tuple[Remove, FindingKind, str, str | None]] = {
    "record of an enrolment": (gone_record("ana"), FindingKind.MISSING_HERE, "Person 1", None),
    "record of a lesson": (gone_record("one"), FindingKind.MISSING_HERE, "Person 1", "Lesson 1"),
    "record of a repeat": (gone_record("again"), FindingKind.MISSING_HERE, "Person 1", "Lesson 2"),
    "event with an email": (gone_event("enrolled", 2), FindingKind.NO_EVENT, "Person 2", None),
    "event of a course": (
        gone_event("course_completed", 2),
        FindingKind.NO_EVENT,
        "Person 2",
        None,
    ),
    "event of a start": (gone_event("course_started", 2), FindingKind.NO_EVENT, "Person 2", None),
    "link of one lesson": (
        gone_link("lesson_completed", 1, 1),
        FindingKind.NO_OUTCOME,
        "Person 1",
        "Lesson 1",
    ),
    "link of an enrolment": (gone_link("enrolled", 3), FindingKind.NO_OUTCOME, "Person 3", None),
    "action": (gone_action("enrolled", 2), FindingKind.NO_ACTION, "Person 2", None),
    "gathered action": (
        gone_action("lesson_completed", 1),
        FindingKind.NO_ACTION,
        "Person 1",
        "Lesson 1",
    ),
    "action of a course": (
        gone_action("course_completed", 2),
        FindingKind.NO_ACTION,
        "Person 2",
        None,
    ),
    "attempt": (gone_attempt("enrolled", 1), FindingKind.NO_TRACE, "Person 1", None),
    "attempt of a course": (
        gone_attempt("course_completed", 2),
        FindingKind.NO_TRACE,
        "Person 2",
        None,
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_one_row_removed_by_hand_is_one_difference_with_its_name(lived: Week, name: str) -> None:
    remove, kind, person, title = TAMPERED[name]
    removed = remove(lived)
    made = lived.certify()
    lived.put_back(removed)
    assert len(removed) == 1
    found = only(made)
    assert (found.kind, found.person) == (kind, person)
    assert title is None or found.lesson == title
    assert (found.location, found.course) == ("Harbour Works", "Freelance Finance")
    assert not made.is_clean


def test_many_rows_removed_by_hand_are_exactly_these_differences(lived: Week) -> None:
    names = ("record of a lesson", "event with an email", "attempt of a course")
    removed = [row for name in names for row in TAMPERED[name][0](lived)]
    made = lived.certify()
    lived.put_back(removed)
    assert [(one.kind, one.person, one.lesson) for one in made.findings] == [
        (FindingKind.MISSING_HERE, "Person 1", "Lesson 1"),
        (FindingKind.NO_EVENT, "Person 2", None),
        (FindingKind.NO_TRACE, "Person 2", None),
    ]
    assert not made.closes
    assert made.totals.outcomes[RowOutcome.UNACCOUNTED, None] == 2
    assert lived.certify().is_clean


def test_an_event_removed_with_its_link_is_one_difference(lived: Week) -> None:
    event_id = _event_id("enrolled", 2)
    rows = (events.c.kind == "enrolled") & (events.c.coworker_id == 2)
    removed = lived.by_hand((action_events, action_events.c.event_id == event_id), (events, rows))
    made = lived.certify()
    lived.put_back(removed[::-1])
    assert len(removed) == 2
    assert only(made).kind == FindingKind.NO_EVENT


def gone_chain(event_kind: str) -> Remove:
    """Remove an event with all that it led to."""
    mine = actions.c.event_kind == event_kind
    action_ids = select(actions.c.id).where(mine)
    return lambda week: week.by_hand(
        (attempts, attempts.c.action_id.in_(action_ids)),
        (action_events, action_events.c.action_id.in_(action_ids)),
        (actions, mine),
        (events, events.c.kind == event_kind),
    )


@pytest.mark.parametrize("rules", [RULES, RULES.replace("gather: 30m", "gather: 31m")])
def test_a_course_completion_removed_with_its_email_is_one_difference(
    lived: Week, rules: str
) -> None:
    removed = gone_chain("course_completed")(lived)
    as_it_was, lived.space.rules = lived.space.rules, rules_of(rules)
    made = lived.certify()
    lived.space.rules = as_it_was
    lived.put_back(removed[::-1])
    assert len(removed) >= 4
    found = only(made)
    assert (found.kind, found.person) == (FindingKind.NO_EVENT, "Person 2")
    assert found.detail == "The completion of the course is missing here"
    assert lived.certify().is_clean


def test_missing_rows_of_another_day_are_not_differences_of_this_day(ledger_engine: Engine) -> None:
    week = Week(Space(ledger_engine, rules_of(RULES)))
    week.space.enrol(1)
    week.space.work()
    week.space.later(days=1)
    week.space.enrol(2)
    week.space.later(hours=1)
    week.space.clock.time += timedelta(days=8)
    assert len(week.by_hand((attempts, attempts.c.action_id == 2))) == 1
    made = week.certify(FIRST, FIRST)
    assert made.is_clean
    assert made.carried_over == 0
    assert only(week.certify(FIRST, LAST)).person == "Person 2"


def test_emails_held_in_observe_mode_are_not_counted_as_sent(ledger_engine: Engine) -> None:
    week = Week(Space(ledger_engine, rules_of(RULES)))
    week.space.choose(Mode.OBSERVE)
    for number in (1, 2):
        week.space.enrol(number)
    week.space.later(hours=2)
    week.space.clock.time += timedelta(days=1)
    said = document_of(week.certify(FIRST, FIRST), Issuer("", "1", "", week.space.clock.now()))
    row = row_of(said["totals"])
    assert (row["events"], row["sent"], row["waiting"] + row["held"]) == (2, 0, 2)
    assert said["reasons"]["observe"] == {"rows": 2, "events": 2, "emails": 2}
    week.space.choose(Mode.SENDING)
    week.space.later(days=1)
    sent = document_of(week.certify(FIRST, FIRST), Issuer("", "1", "", week.space.clock.now()))
    assert row_of(sent["totals"])["sent"] == len(week.space.subjects)


def test_the_database_and_the_lists_count_what_the_lines_add_up_to(lived: Week) -> None:
    counted = {one.what: one.counted for one in lived.certify().sums}
    assert counted["enrolments at Nexudus"] == counted["finished lessons at Nexudus"] == 5
    assert counted["enrolments here"] == counted["finished lessons here"] == 5
    with reading(lived.space.engine) as connection:
        for table, name in ((events, "events here"), (actions, "emails here")):
            number = connection.scalar(select(func.count()).select_from(table))
            assert counted[name] == number


def test_an_emptied_receipt_is_a_difference(week: Week) -> None:
    with writing(week.space.engine) as connection:
        mine = actions.c.event_kind == "enrolled"
        connection.execute(update(actions).where(mine).values(receipt=None))
    assert only(week.certify()).kind == FindingKind.NO_TRACE


def test_an_unreported_record_is_at_the_source_and_not_here(week: Week) -> None:
    joel = week.space.enrol(5)
    week.space.work()
    week.space.finish(joel, 1, reported=False)
    week.space.clock.time += timedelta(days=1)
    found = only(week.certify(LAST, LAST + timedelta(days=2)))
    assert (found.kind, found.person, found.lesson) == (
        FindingKind.MISSING_HERE,
        "Person 5",
        "Lesson 1",
    )
    assert found.entity is Entity.COMPLETED_LESSON
    assert found.record_id == week.space.completions


def test_an_unnoticed_deletion_is_a_record_that_only_the_ledger_has(week: Week) -> None:
    week.space.source.lose(Entity.COMPLETED_LESSON, week.ids["one"])
    made = week.certify()
    found = only(made)
    assert (found.kind, found.record_id) == (FindingKind.MISSING_THERE, week.ids["one"])
    assert made.only_here == 1


def test_a_row_that_refers_to_another_lesson_than_here_is_a_difference(week: Week) -> None:
    known = week.space.source.fetch(Entity.COMPLETED_LESSON, week.ids["whole"])
    assert isinstance(known, CompletedLesson)
    week.space.source.have(Entity.LESSON, lesson(9))
    week.space.source.have(Entity.COMPLETED_LESSON, replace(known, lesson_id=9))
    found = only(week.certify())
    assert (found.kind, found.record_id) == (FindingKind.OTHER_KEYS, week.ids["whole"])


def test_a_row_with_a_pending_lookup_is_no_difference_and_counts_as_unread(week: Week) -> None:
    member = week.space.enrol(6)
    week.space.clock.time += timedelta(days=1)
    made = week.certify(LAST, LAST + timedelta(days=2))
    assert made.is_clean
    assert made.not_here == 1
    assert made.totals.outcomes[RowOutcome.OPEN, "due"] == 1
    with writing(week.space.engine) as connection:
        mine = lookups.c.record_id == member.record_id
        connection.execute(
            update(lookups).where(mine).values(state="failed", reason=Reason.UNREADABLE)
        )
    failed = week.certify(LAST, LAST + timedelta(days=2))
    assert only(failed).kind == FindingKind.UNREADABLE
    assert failed.totals.outcomes[RowOutcome.OPEN, "unreadable"] == 1
    assert failed.closes, "it is known what became of it, and that is what is wrong"


@pytest.mark.parametrize("reason", [Reason.BEFORE_START, Reason.IMPORTED])
def test_records_of_the_baseline_count_as_seen_without_being_read(
    week: Week, reason: Reason
) -> None:
    joel = week.space.enrol(7)
    week.space.work()
    [done] = week.space.finish(joel, 1, reported=False)
    record = week.space.source.fetch(Entity.COMPLETED_LESSON, done)
    with writing(week.space.engine) as connection:
        seen = [version_of_record(Entity.COMPLETED_LESSON, record)]  # type: ignore[arg-type]  # it is there
        now = week.space.clock.now()
        note_seen(connection, Entity.COMPLETED_LESSON, seen, now, reason)
    week.space.clock.time += timedelta(days=1)
    made = week.certify(LAST, LAST + timedelta(days=2))
    assert made.is_clean
    assert made.totals.outcomes[RowOutcome.SEEN, reason] == 1


def test_an_enrolment_that_was_never_read_is_found_in_the_list_of_all(week: Week) -> None:
    joel = week.space.enrol(8)
    week.space.work()
    week.space.finish(joel, 1)
    week.space.work()
    week.space.clock.time += timedelta(days=1)
    mine = week.space.clock.now().date()
    whose = joel.record_id
    week.by_hand((records, records.c.record_id == whose))
    week.space.source.asked.clear()
    made = week.certify(mine - timedelta(days=1), mine)
    found = only(made)
    assert (found.kind, found.record_id, found.person) == (
        FindingKind.MISSING_HERE,
        whose,
        "Person 8",
    )
    assert {line.course for line in made.lines} == {"Freelance Finance"}
    assert len(week.space.source.asked) <= 4


def test_a_finished_lesson_is_named_by_an_enrolment_that_only_nexudus_has(week: Week) -> None:
    zoe = week.space.enrol(9, reported=False, full_name="Zoë Brandt")
    week.space.finish(zoe, 1, reported=False)
    week.space.clock.time += timedelta(days=1)
    made = week.certify(LAST, LAST + timedelta(days=2))
    assert [one.person for one in made.findings] == ["Zoë Brandt", "Zoë Brandt"]


def test_a_list_that_does_not_add_up_gives_no_certificate_and_no_difference(week: Week) -> None:
    week.space.source.say_total(Entity.COMPLETED_LESSON, 6)
    with pytest.raises(SourceUnavailable, match="has a total of 6 rows, and shows 2"):
        week.certify()


def test_a_source_that_does_not_answer_gives_no_certificate(week: Week) -> None:
    week.space.source.be_busy()
    with pytest.raises(SourceThrottled):
        week.certify()


def test_a_certificate_costs_lists_only_and_writes_nothing(week: Week) -> None:
    week.space.source.asked.clear()
    week.certify()
    assert [question for question, _ in week.space.source.asked] == [
        "created_between CourseMember",
        "created_between CourseCompletedLesson",
    ]


def test_an_email_that_was_tried_again_needs_each_of_its_attempts(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(RULES))
    week = Week(space)
    space.mailer.fail_next(DeliveryUnavailable("421 later"))
    space.enrol(1)
    space.work()
    space.later(hours=1)
    space.clock.time += timedelta(days=1)
    assert week.certify(FIRST, FIRST).is_clean
    assert len(week.by_hand((attempts, attempts.c.reason == "mail-temporary"))) == 1
    assert only(week.certify(FIRST, FIRST)).kind == FindingKind.NO_TRACE


def test_an_email_that_was_sent_again_is_no_difference_and_its_event_is_written(
    week: Week,
) -> None:
    space = week.space
    with writing(space.engine) as connection:
        connection.execute(update(actions).values(state="failed", reason="mail-rejected"))
        connection.execute(update(attempts).values(outcome="failed", reason="mail-rejected"))
        ids = connection.scalars(select(actions.c.id)).all()
        done = send_again(connection, ids, "Rita", space.clock.now(), checked=False)
    assert len(done) == len(ids) == 2
    assert week.certify().is_clean
    space.work()
    made = week.certify()
    assert made.is_clean
    assert made.totals.event_outcomes[RowOutcome.WRITTEN, None] == 3


def test_names_that_are_addresses_are_masked(week: Week) -> None:
    member = week.space.enrol(1, record_id=9777, coworker_id=78, full_name="ana@example.org")
    week.space.clock.time += timedelta(days=1)
    with writing(week.space.engine) as connection:
        connection.execute(delete(lookups).where(lookups.c.record_id == member.record_id))
    found = only(week.certify(LAST, LAST + timedelta(days=2)))
    assert found.person == "***"


def test_unfinished_days_are_cut_and_the_certificate_says_so(week: Week) -> None:
    now = week.space.clock.now()
    window = window_of(FIRST, now.date() + timedelta(days=2), ZoneInfo("UTC"), now)
    assert window.is_cut
    assert window.until == now - timedelta(minutes=15)
    assert not window_of(FIRST, FIRST, ZoneInfo("UTC"), now).is_cut
