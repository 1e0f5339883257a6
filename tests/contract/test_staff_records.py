"""Notes and tasks at Nexudus are written once, however often they are tried."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Engine, reading, writing
from ledger.outages import outages_now
from ledger.outbox import begin_action, claim_actions, commit_action
from ledger.tables import actions, copies
from schemas.actions import Mode
from schemas.entity import Entity
from schemas.errors import ConfigurationError, SourceRefused, SourceThrottled, SourceUnavailable
from schemas.reasons import Reason
from schemas.rules import load_rules
from schemas.settings import load_settings
from tests.contract.ledger_rig import BOTH
from tests.contract.source_rig import Line, line_to, sqlite_ledger
from tests.contract.study_rig import Space, coworker, rules_of
from tests.doubles.staff_session import StaffSession
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from workers.actions.base import Checkpoints
from workers.actions.nexudus_note.action import NexudusNoteAction
from workers.actions.nexudus_task.action import NexudusTaskAction
from workers.actions.registry import kinds_for_rules
from workers.actions.staff_record import marker_of
from workers.deliver.claim import sweep
from workers.deliver.context import DeliveryTools
from workers.endpoints import endpoint_needs
from workers.source.answers import WriteDenied
from workers.source.doctor_rights import Questions
from workers.source.staff_records import (
    NOTE,
    TASK,
    StaffRecord,
    note_fields,
    staff_checks,
    write_once,
)

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

TIMING = "timing: {flood: none, cap_per_day: 1, cap_per_week: none}"
FILE = f"""version: 1
{TIMING}
rules:
  - name: note
    event: enrolled
    action: nexudus-note
    text: "{{member}} has a place on {{course}}"
  - name: task
    event: enrolled
    action: nexudus-task
    responsible: 4711
    text: "Welcome {{member}} to {{course}}"
  - {{name: welcome, event: enrolled, action: email, template: welcome, quiet_hours: none}}
"""
SENT = ("done", None)


class StaffedSpace(Space):
    """A space whose workers also write notes and tasks."""

    @property
    def delivery(self) -> DeliveryTools:
        tools, settings = super().delivery, load_settings({})
        kinds = (NexudusNoteAction, NexudusTaskAction)
        more = {one.kind: one.from_settings(settings) for one in kinds}
        return replace(tools, setup=replace(tools.setup, actions={**tools.actions, **more}))

    def ends(self) -> dict[str, list[tuple[str, str | None]]]:
        found: dict[str, list[tuple[str, str | None]]] = {}
        with reading(self.engine) as connection:
            for row in connection.execute(select(actions).order_by(actions.c.id)):
                found.setdefault(row.rule, []).append((row.state, row.reason))
        return found

    def written(self, path: str) -> list[dict[str, Any]]:
        return [fields for at, fields in self.source.session.written if at == path]


@pytest.fixture
def space(ledger_engine: Engine) -> StaffedSpace:
    return StaffedSpace(ledger_engine, rules_of(FILE))


@pytest.mark.engines(*BOTH)
def test_a_note_and_a_task_are_written_with_the_text_of_their_rule(space: StaffedSpace) -> None:
    space.enrol(1)
    space.work()
    [note], [task] = space.written(NOTE.path), space.written(TASK.path)
    words, _, marker = note.pop("Notes").partition("\n\n")
    assert words == "Person 1 has a place on Freelance Finance"
    assert marker.startswith("[Coursebell ")
    assert note == {"CoworkerId": 1, "AddedBy": "Coursebell"}
    assert task.pop("Notes").startswith("[Coursebell ")
    assert task == {
        "CoworkerId": 1,
        "BusinessId": 500,
        "Name": "Welcome Person 1 to Freelance Finance",
        "ResponsibleId": 4711,
    }
    assert space.ends() == {"note": [SENT], "task": [SENT], "welcome": [SENT]}
    with reading(space.engine) as connection:
        receipts = connection.scalars(select(actions.c.receipt).order_by(actions.c.id)).all()
    assert receipts[:2] == ["CoworkerNote 1", "CoworkerTask 2"]


def test_at_night_and_beyond_limits_notes_are_written_and_count_for_nothing(
    space: StaffedSpace,
) -> None:
    space.clock.time = space.clock.time.replace(hour=23)
    space.enrol(1)
    space.work()
    assert space.ends() == {"note": [SENT], "task": [SENT], "welcome": [SENT]}


def test_a_name_cannot_become_a_page(space: StaffedSpace) -> None:
    space.enrol(1)
    space.source.have(Entity.COWORKER, coworker(1, full_name="<b>Ana</b>\n{course}"))
    space.work()
    [note] = space.written(NOTE.path)
    assert note["Notes"].startswith("\u2039b\u203aAna\u2039/b\u203a {course} has a place on Free")


@pytest.mark.engines(*BOTH)
def test_a_write_whose_answer_was_lost_is_found_and_not_repeated(space: StaffedSpace) -> None:
    space.source.session.lost_answers = 2
    space.enrol(1)
    space.work()
    assert space.ends()["note"] == [("waiting", Reason.DELIVERY_DOWN)]
    space.later(hours=1)
    assert space.ends()["note"] == space.ends()["task"] == [SENT]
    assert (len(space.written(NOTE.path)), len(space.written(TASK.path))) == (1, 1)
    with reading(space.engine) as connection:
        receipts = connection.scalars(select(actions.c.receipt).order_by(actions.c.id)).all()
    assert receipts[0] == "CoworkerNote 1 was there already"


@pytest.mark.parametrize("after", ["the look", "the write"])
def test_a_worker_that_is_killed_at_any_step_leaves_one_note(
    space: StaffedSpace, after: str
) -> None:
    space.enrol(1)
    space.look_up()
    now = space.clock.now()
    with writing(space.engine) as connection:
        [claimed] = claim_actions(
            connection, now, SYSTEM_CLOCK.new_id(), lease_s=60, most=1, only={"nexudus-note"}
        )
        assert begin_action(connection, claimed, now, lease_s=60, events=1)
        assert commit_action(connection, claimed, now, lease_s=60)
    if after == "the write":
        marker = marker_of(claimed.key)
        value = {"CoworkerId": 1, "Notes": f"written before the kill [{marker}]"}
        space.source.session.send("POST", NOTE.path, value)
    space.clock.time += timedelta(minutes=5)
    assert sweep(space.delivery) == 1
    space.work()
    assert space.ends()["note"] == [SENT]
    assert len(space.written(NOTE.path)) == 1


def test_a_missing_role_stops_notes_and_nothing_else(space: StaffedSpace) -> None:
    denied = WriteDenied("the source answered 401: sign-in or rights are missing")
    space.source.session.errors = [denied]
    for number in (1, 2):
        space.enrol(number)
    space.work()
    with reading(space.engine) as connection:
        [(channel, outage)] = outages_now(connection).items()
        [needed] = endpoint_needs(connection, space.clock.now())
    assert (channel, outage.reason) == ("nexudus-note", Reason.WRITE_DENIED)
    assert needed.startswith("nexudus-note: nothing arrives since 2026-03-03 12:00 UTC: Our Nexu")
    assert needed.endswith("`coursebell doctor` says what is missing")
    assert space.ends()["task"] == [SENT, SENT]
    assert space.ends()["welcome"] == [SENT, SENT]
    space.later(hours=1)
    assert space.ends()["note"] == [SENT, SENT]


def test_a_note_that_alone_always_fails_ends_and_lets_the_others_through(
    space: StaffedSpace,
) -> None:
    space.source.session.failing_for = 1
    space.enrol(1)
    space.work()
    for number in range(2, 12):
        space.enrol(number)
        space.later(hours=1)
    found = space.ends()["note"]
    assert found[0] == ("failed", Reason.DELIVERY_REFUSED)
    assert found[1:] == [SENT] * 10


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SourceRefused("the source refused the write"), ("failed", Reason.DELIVERY_REFUSED)),
        (SourceThrottled("wait", retry_after_s=9), ("waiting", Reason.DELIVERY_BUSY)),
        (SourceUnavailable("no answer"), ("waiting", Reason.DELIVERY_DOWN)),
    ],
)
def test_an_answer_that_is_no_success_has_its_reason(
    space: StaffedSpace, error: Exception, outcome: tuple[str, Reason]
) -> None:
    space.source.session.errors = [error]
    space.enrol(1)
    space.work()
    assert space.ends()["note"] == [outcome]


def test_nothing_is_written_in_observe_mode(space: StaffedSpace) -> None:
    space.choose(Mode.OBSERVE)
    space.enrol(1)
    space.work()
    assert space.ends()["note"] == [("held", Reason.OBSERVE)]
    assert space.source.session.written == []
    with reading(space.engine) as connection:
        body = connection.scalars(select(copies.c.body).order_by(copies.c.action_id)).first()
    assert body == b"Person 1 has a place on Freelance Finance\n"


HEAD = "version: 1\nrules:\n  - {name: a, event: enrolled, action: nexudus-"


@pytest.mark.parametrize(
    ("rest", "mistake"),
    [
        ("note}", "text: this key is missing; the action nexudus-note needs it"),
        ("note, text: 'Hello {nam}'}", "text: there is no {nam}; expected {member}, {course} or"),
        ("note, text: 'Hello {'}", "text: expected a } for every {"),
        (f"note, text: {'a' * 501}}}", "text: expected at most 500 characters"),
        ("note, text: 'a {lesson}'}", "text: {lesson} is known only with the events course_comp"),
        ("note, text: a, responsible: 1}", "responsible: the action nexudus-note has no such key"),
        ("task, text: a}", "responsible: this key is missing; the action nexudus-task needs it"),
        ("task, text: a, responsible: ana}", "responsible: expected the Id of a user at Nexudus"),
        ("note, text: a, endpoint: crm}", "endpoint: the action nexudus-note has no such key"),
        ("note, text: a, to: host}", "to: expected member; the action nexudus-note reaches no"),
    ],
)
def test_a_mistake_in_a_rule_has_its_line(rest: str, mistake: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_rules(HEAD + rest, "rules.yaml", actions=kinds_for_rules())
    [said] = caught.value.mistakes
    assert said.startswith("rules.yaml:3:")
    assert f"rules[0].{mistake}" in said


ANA = 1_416_010_001
RECORD = StaffRecord(
    NOTE, ANA, note_fields("Hello", "Coursebell 0123"), "Coursebell 0123", datetime.now(UTC)
)


@dataclass
class Meeting:
    """The real client and the stand-in that it writes to."""

    line: Line
    sandbox: Running

    def write(self, record: StaffRecord = RECORD) -> tuple[int | None, bool]:
        return write_once(self.line.source().session, record, lambda: None)

    def kept(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.sandbox.get("/sandbox/staff-records").json()
        return found

    def fault(self, status: int) -> None:
        path = f"/api/{NOTE.path}"
        self.sandbox.post("/sandbox/faults", kind="answer", path=path, status=status)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as found:
        yield found


@pytest.fixture
def meeting(tmp_path: Path, sandbox: Running) -> Iterator[Meeting]:
    sandbox.post("/sandbox/reset")
    with sqlite_ledger(tmp_path) as engine, line_to(sandbox.addresses["api"], engine) as line:
        yield Meeting(line, sandbox)
    sandbox.post("/sandbox/reset")


def test_the_stand_in_takes_a_note_once(meeting: Meeting) -> None:
    record_id, is_new = meeting.write()
    assert is_new
    assert meeting.write() == (record_id, False)
    other = replace(RECORD, marker="Coursebell 4567", fields=note_fields("Hi", "Coursebell 4567"))
    assert meeting.write(other)[1]
    assert [one["Notes"] for one in meeting.kept()] == [
        "Hello\n\n[Coursebell 0123]",
        "Hi\n\n[Coursebell 4567]",
    ]
    session = StaffSession()
    assert [write_once(session, RECORD, lambda: None)[1] for _ in range(2)] == [True, False]


def test_the_roles_for_notes_and_tasks_are_checked_without_writing(meeting: Meeting) -> None:
    questions = Questions(meeting.line.source(), meeting.line.clock)
    found = [(one.name, one.verdict) for one in staff_checks(questions, (NOTE, TASK))]
    assert found == [
        ("CoworkerNote-List", "ok"),
        ("CoworkerNote-Create", "ok"),
        ("CoworkerTask-List", "ok"),
        ("CoworkerTask-Create", "ok"),
    ]
    assert meeting.kept() == []
    meeting.fault(401)
    roles = staff_checks(questions, (NOTE,))
    assert [one.verdict for one in roles] == ["problem", "problem"]
    assert roles[1].fix == (
        "In Nexudus, give our user the role CoworkerNote-Create, or switch these rules off."
    )


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [("CoworkerId", 1, "There is no such Coworker."), ("Notes", " ", "Notes is a required field.")],
)
def test_what_the_stand_in_refuses_is_refused_with_its_words(
    meeting: Meeting, field: str, value: object, why: str
) -> None:
    whose = value if isinstance(value, int) else ANA
    fields = {**RECORD.fields, field: value} if field == "Notes" else RECORD.fields
    with pytest.raises(SourceRefused, match=why):
        meeting.write(replace(RECORD, coworker_id=whose, fields=fields))
    assert meeting.kept() == []


def test_a_note_is_found_although_the_clock_of_nexudus_is_behind_ours() -> None:
    session = StaffSession()
    session.created_at = RECORD.since - timedelta(hours=20)
    assert [write_once(session, RECORD, lambda: None)[1] for _ in range(2)] == [True, False]


def test_a_note_is_found_behind_many_others_and_not_written_if_they_do_not_end() -> None:
    session = StaffSession()
    another = (NOTE.path, {"CoworkerId": ANA, "Notes": "of another rule"})
    assert write_once(session, RECORD, lambda: None) == (1, True)
    session.written += [another] * 150
    assert write_once(session, RECORD, lambda: None) == (1, False)
    session.written += [another] * 2_000
    with pytest.raises(SourceUnavailable, match="does not end"):
        write_once(session, RECORD, lambda: None)
    assert len(session.written) == 2_151


class Ignoring(StaffSession):
    """Ignores the filter by coworker, as the source does with one it does not know."""

    def get_json(self, path: str, query: Any) -> object:  # noqa: ANN401 - as the double
        del query
        rows = [{"Id": 9, "CoworkerId": 2, "Notes": "of another"}]
        return {"Records": rows, "HasNextPage": False, "TotalItems": 1, "path": path}


class Partial(StaffSession):
    """Lists rows without their text, which only the record itself has."""

    def get_json(self, path: str, query: Any) -> object:  # noqa: ANN401 - as the double
        if path.endswith("/7"):
            return {"Id": 7, "CoworkerId": ANA, "Notes": "x [Coursebell 0123]"}
        del query
        return {
            "Records": [{"Id": 7, "CoworkerId": ANA}],
            "HasNextPage": False,
            "TotalItems": 1,
        }


def test_a_list_that_ignored_the_filter_proves_nothing() -> None:
    session = Ignoring()
    with pytest.raises(SourceRefused, match="ignored the filter by coworker"):
        write_once(session, RECORD, lambda: None)
    assert session.written == []


def test_a_row_without_its_text_is_read() -> None:
    assert write_once(Partial(), RECORD, lambda: None) == (7, False)


def test_without_a_connection_to_nexudus_nothing_is_written() -> None:
    with pytest.raises(Exception, match="there is no connection to Nexudus here"):
        Checkpoints().lend()
