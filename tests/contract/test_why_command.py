"""`coursebell why`: finding people here and at Nexudus, and forecasts for held emails."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
import structlog
from click.testing import CliRunner, Result

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import Engine, open_engine, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.migrate import migrate
from ledger.people import accept_person
from ledger.records import mark_gone
from ledger.tables import checks, lookups, metadata, notifications, people, records
from schemas.actions import Mode
from schemas.entity import Entity
from schemas.notification import Notification
from service.cli.common import opened_ledger, settings_now
from service.cli.main import commands
from service.cli.source_access import open_sync
from tests.contract.ledger_rig import BOTH, rows
from tests.contract.source_rig import HandClock, answer
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from tests.servers.ready_ledgers import quick_engine
from workers.sync.poll import poll_all
from workers.sync.rows import SyncContext

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

NO_GATHERING = SHIPPED.replace("gather: 30m\n    gather_at_most: 3h", "gather: none").replace(
    "quiet_hours: 20:00-08:00", "quiet_hours: none"
)

TWO_COURSES = """
version: 1
timing: {quiet_hours: none}
rules:
  - {name: green, event: enrolled, action: email, template: welcome,
     where: {course: [Freelance Finance, Pricing], team: green}}
  - {name: red, event: enrolled, action: email, template: welcome, where: {not: {team: blue}}}
  - {name: switched-off, event: enrolled, action: email, template: welcome, enabled: false}
"""


@pytest.fixture
def space(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Space]:
    (tmp_path / "rules.yaml").write_text(NO_GATHERING, encoding="utf-8")
    for name, text in {
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": ledger_url,
        "RULES": str(tmp_path / "rules.yaml"),
    }.items():
        monkeypatch.setenv(f"COURSEBELL_{name}", text)
    engine = quick_engine(ledger_url)
    with writing(engine) as connection:
        begin_with(
            connection, Mode.OBSERVE, SYSTEM_CLOCK.now() - timedelta(days=30), SYSTEM_CLOCK.new_id()
        )
    yield Space(
        engine, rules_of(NO_GATHERING), HandClock(SYSTEM_CLOCK.now() - timedelta(minutes=10))
    )
    engine.dispose()


def know(engine: Engine, *people: tuple[int, str, str]) -> None:
    with writing(engine) as connection:
        for number, name, email in people:
            accept_person(
                connection, coworker(number, full_name=name, email=email), SYSTEM_CLOCK.now()
            )


def run(*words: str) -> Result:
    return CliRunner().invoke(commands, ["why", *words])


def as_json(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*words, "--json").stdout)
    return found


@pytest.mark.engines(*BOTH)
def test_part_of_an_address_finds_people_and_an_exact_match_comes_first(space: Space) -> None:
    know(
        space.engine,
        (1, "Ana Sousa", "ana@example.org"),
        (2, "Joana Reis", "joana@example.org"),
        (3, "Ana Sousa Pinto", "pinto@example.org"),
        (4, "José Núñez", "josé@example.org"),
    )
    for typed, meant in {
        "ANA@example.org": [1],
        "ana@": [1, 2],
        "oana@exam": [2],
        "pinto": [3],
        "ana sousa": [1],
        "ANA": [1, 3, 2],
        "sousa": [1, 3],
        normalize("NFD", "JOSÉ"): [4],
        normalize("NFD", "josé@ex"): [4],
    }.items():
        assert [one["coworker_id"] for one in as_json(typed)] == meant, typed
    several = run("ana@")
    assert several.exit_code == 1
    assert several.stderr.splitlines() == [
        "Several people match. Use the Id of one of them:",
        "  1  Ana Sousa  a***@example.org",
        "  2  Joana Reis  j***@example.org",
    ]
    assert run("nobody@example.org").exit_code == 1


def test_two_people_with_one_address_are_shown_together(space: Space) -> None:
    know(space.engine, (1, "Ana", "ana@example.org"), (2, "Ana again", "Ana@example.org"))
    shown = run("ana@example.org")
    assert shown.exit_code == 0
    assert [line for line in shown.stdout.splitlines() if line.startswith("Ana")] == [
        "Ana  a***@example.org",
        "Ana again  A***@example.org",
    ]


@pytest.mark.engines(*BOTH)
def test_a_member_from_before_installation_is_found_by_id(space: Space) -> None:
    member = space.enrol(7, reported=False)
    space.clock.time += timedelta(minutes=1)
    poll_all(SyncContext(space.engine, space.lend, space.clock), for_s=60)
    lines = run("7").stdout.splitlines()
    assert lines[0] == "Ana López  (coworker 7; address not read yet)"
    assert lines[1] == (
        "  Enrolled before Coursebell was installed, and nothing is known since then."
    )
    assert lines[2].endswith("  Enrolled  (course 1234)")
    assert lines[3] == "    Before Coursebell was installed; no email was due"
    assert as_json("7")[0]["enrolled_before"][0]["course_member_id"] == member.record_id
    space.finish(member, 1)
    space.work()
    later = run("person7@example.org").stdout
    assert "[before-start]" in later
    assert "Before Coursebell was installed; no email was due" not in later
    assert "Enrolled  (Freelance Finance)" in later
    unknown = run("8")
    assert unknown.exit_code == 1
    assert unknown.stderr.splitlines() == [
        "Coursebell knows no member with this name, address or Id.",
        "Try part of their name or address, or their Id from Nexudus: coursebell why 1234",
    ]


def test_a_member_from_before_installation_is_found_by_name(space: Space) -> None:
    names = {1: "Zoë 🎓 Brandt", 2: normalize("NFD", "José  Núñez"), 3: "Zoë", 5: "Maren"}
    for number, name in names.items():
        space.enrol(number, reported=False, full_name=name)
    space.enrol(2, reported=False, full_name="José  Núñez", record_id=9900)
    space.enrol(4, reported=False, full_name=None)
    space.clock.time += timedelta(minutes=1)
    poll_all(SyncContext(space.engine, space.lend, space.clock), for_s=60)
    know(space.engine, (3, "Zoë Marin", "zoe@example.org"), (6, "Zoë Zimt", "zimt@example.org"))
    with writing(space.engine) as connection:
        mark_gone(connection, Entity.COURSE_MEMBER, 9005, space.clock.now())
    for typed, meant in {
        normalize("NFC", "JOSÉ NÚÑEZ"): [2],
        normalize("NFD", "núñ"): [2],
        "ZOË ": [3, 6, 1],
        "brandt": [1],
        "mar": [3],
        "4": [4],
        "maren": [],  # nothing is there any more, and nothing happened
        "person": [],
    }.items():
        assert [one["coworker_id"] for one in as_json(typed)] == meant, typed
    assert run("mar").exit_code == 0, "Maren is no other match"
    several = run("z")
    assert several.stderr.splitlines()[1:] == [
        "  2  José  Núñez",
        "  3  Zoë Marin  z***@example.org",
        "  6  Zoë Zimt  z***@example.org",
        "  1  Zoë 🎓 Brandt",
    ]
    lines = run("josé").stdout.splitlines()
    assert lines[0] == "José  Núñez  (coworker 2; address not read yet)"
    assert [line.endswith("  Enrolled  (course 1234)") for line in lines[2::2]] == [True, True]
    plain = as_json("brandt")[0]
    assert (plain["name"], plain["email"]) == ("Zoë 🎓 Brandt", None)
    assert len(plain["enrolled_before"]) == 1


def test_it_says_what_sending_would_do_with_held_emails(space: Space) -> None:
    first = space.enrol(1)
    space.work()
    assert "After `coursebell mode sending` it stays held: It happened before" in run("1").stdout
    space.clock.time += timedelta(minutes=1)
    space.choose(Mode.SENDING)
    assert "[observe]" not in run("1").stdout
    assert "[before-start]" in run("1").stdout
    space.choose(Mode.OBSERVE)
    space.clock.time += timedelta(minutes=1)
    space.finish(first, 1, 2)
    space.work()
    told_of_first = run("1").stdout
    assert told_of_first.count("After `coursebell mode sending` it is sent at once") == 2
    [plain] = as_json("1")
    assert set(plain["with_sending"].values()) == {"is sent at once"}
    shown = [action for event in plain["events"] for action in event["actions"]]
    assert all(action["subject"] and "title" not in action for action in shown)
    space.choose(Mode.SENDING)
    assert "After `coursebell mode sending`" not in run("1").stdout


def test_it_says_since_when_nexudus_has_been_down_and_how_often_an_email_was_tried(
    space: Space,
) -> None:
    space.choose(Mode.SENDING)
    space.clock.time += timedelta(minutes=1)
    space.enrol(1)
    space.look_up()
    space.source.be_slow()
    for minutes in (2, 2, 3):
        space.later(minutes=minutes)
    assert "[nexudus-down] (since " in run("1").stdout
    assert "tried 3 times" in run("1").stdout
    [plain] = as_json("1")
    assert [one["tries"] for one in plain["events"][0]["actions"][0]["tries"]] == [3]
    shown = CliRunner().invoke(commands, ["status"]).stdout
    assert "emails wait for Nexudus since " in shown
    assert "tried 3 times" in shown


def told(space: Space, *words: str) -> list[str]:
    """Return the lines about a person after the heading, without indentation."""
    del space
    return [line.strip() for line in run(*words).stdout.splitlines()[1:]]


@pytest.mark.engines(*BOTH)
def test_it_answers_in_one_sentence_first_then_tells_what_happened_and_which_rules_were_tried(
    space: Space,
) -> None:
    space.rules = rules_of(TWO_COURSES)
    space.choose(Mode.SENDING)
    space.clock.time += timedelta(minutes=1)
    ana = space.enrol(1, team_names="Blue, Green")
    space.work()
    lines = told(space, "1")
    assert "Enrolled (Freelance Finance). Email 1 about it was sent at " in lines[0]
    at = next(number for number, line in enumerate(lines) if line.startswith("Decided at "))
    assert lines[at + 1 :] == [
        "rule green: fits",
        "course Freelance Finance, Pricing: yes, it was Freelance Finance",
        "team green: yes, it was Blue, Green",
        "rule red: does not fit",
        "not team blue: no, it was Blue, Green",
        "rule switched-off: off",
    ]
    space.finish(ana, 1)
    space.work()
    lines = told(space, "1")
    assert lines[0].endswith("No email was planned: No rule acts on this [kind-off].")
    assert not any(line.startswith("rule ") for line in lines), "no rule is for the last event"
    assert "rule red: does not fit" in told(space, "1", "--trace")
    assert "rule red: does not fit" in told(space, "1", "--course", "freelance finance", "--trace")
    [plain] = as_json("1")
    red = plain["events"][0]["decision"]["tried"][1]
    assert (red["rule"], red["conditions"][0]["saw"]) == ("red", "Blue, Green")
    assert plain["events"][-1]["decision"] is None


@pytest.mark.engines(*BOTH)
def test_it_answers_about_one_lesson_and_when_nothing_was_reported(space: Space) -> None:
    space.choose(Mode.SENDING)
    space.clock.time += timedelta(minutes=1)
    ana = space.enrol(1)
    space.finish(ana, 1)
    space.work()
    assert "Finished Lesson 1" in told(space, "1", "--lesson", "LESSON 1")[0]
    assert told(space, "1", "--lesson", "lesson 2") == [
        "Nexudus has not reported anything about this, and was not listed successfully yet."
    ]
    poll_all(SyncContext(space.engine, space.lend, space.clock), for_s=60)
    assert told(space, "1", "--lesson", "lesson 2")[0].startswith(
        "Nexudus has not reported anything about this, and the list of finished lessons of "
    )
    assert run("1", "--course", "Pottery").exit_code == 1
    assert (
        "No course known here has the Id or title Pottery" in run("1", "--course", "Pottery").stderr
    )


@pytest.mark.engines(*BOTH)
def test_it_shows_changes_that_were_reported_and_are_not_read_yet(space: Space) -> None:
    ana = space.enrol(1)
    space.work()
    [done] = space.finish(ana, 1, reported=False)
    space.change(ana)
    space.source.be_slow()
    space.look_up()
    shown = told(space, "1")[-1]
    assert shown.startswith(f"An enrolment (Id {ana.record_id}) was reported; it is read at ")
    assert shown.endswith("[nexudus-down]")
    assert [one["record_id"] for one in as_json("1")[0]["unread"]] == [ana.record_id]
    assert done not in [one["record_id"] for one in as_json("1")[0]["unread"]]


def test_a_decision_made_again_replaces_its_trace(space: Space) -> None:
    ana = space.enrol(1, created_at=space.clock.now() - timedelta(days=3_000))
    space.work()
    [before] = as_json("1")[0]["events"]
    assert before["reason"] == "before-start"
    with writing(space.engine) as connection:
        store_notifications(
            connection,
            [Notification(Entity.COURSE_MEMBER, ana.record_id)],
            Origin.PERSON,
            space.clock.now(),
        )
    space.clock.time += timedelta(minutes=1)
    space.work()
    [after] = as_json("1")[0]["events"]
    assert after["reason"] is None
    assert after["decision"]["decided_at"] > before["decision"]["decided_at"]


ADDRESS = "joel.nunez@example.org"


@pytest.fixture
def nexudus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Give a Nexudus with one member, and a place that never looked at it."""
    engine = open_engine(f"sqlite:///{tmp_path}/coursebell.db")
    migrate(engine)
    engine.dispose()
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as sandbox:
        for name, text in {
            "DATA_DIR": str(tmp_path),
            "NEXUDUS_URL": sandbox.addresses["api"],
            "NEXUDUS_USERNAME": USERNAME,
            "NEXUDUS_PASSWORD": PASSWORD,
            "NEXUDUS_LIMITS": "1000/second;100000/hour",
        }.items():
            monkeypatch.setenv(f"COURSEBELL_{name}", text)
        sandbox.enrol("Joël", "Freelance Finance", deliver=False)
        yield sandbox
    structlog.reset_defaults()  # commands set it for their whole process


def enrol_crowd(nexudus: Running) -> None:
    for name in ("Zoë", "Mara", "Siobhán", "Tomasz", "Ada"):
        nexudus.enrol(name, "Freelance Finance", deliver=False)


def test_an_unknown_address_is_looked_up_at_nexudus(nexudus: Running) -> None:
    enrol_crowd(nexudus)
    joel = nexudus.person("Joël")
    shown = run(ADDRESS.upper())
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == [
        "Joël Núñez  j***@example.org",
        (
            "  Enrolled in Nexudus, not known here yet. To read it now: coursebell backfill "
            f"--person {joel}"
        ),
    ]
    [plain] = as_json(ADDRESS, "--show-addresses")
    assert (plain["coworker_id"], plain["email"]) == (joel, ADDRESS)
    unknown = run("nobody@example.org")
    assert unknown.exit_code == 1
    assert unknown.stderr.splitlines() == [
        "Coursebell knows no member with this name, address or Id.",
        "Nexudus has no course member with exactly this address either.",
        "Try part of their name or address, or their Id from Nexudus: coursebell why 1234",
    ]
    answer(nexudus, "/api", 500)
    for part in ("joel.nunez@", "@example.org", "joel.nunez@example", "two words@example.org"):
        assert len(run(part).stderr.splitlines()) == 2, "only a whole address is asked about"
    with opened_ledger(settings_now()) as engine, reading(engine) as connection:
        for table in (checks, lookups, notifications, people, records):
            assert connection.execute(table.select()).all() == [], "asking writes nothing"


@pytest.mark.parametrize("others", [False, True])
def test_the_answer_of_a_nexudus_that_ignores_the_filter_is_refused(
    nexudus: Running,
    others: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    nexudus.post("/sandbox/misbehaviours", name="ignore-filters", entity="CourseMember")
    if others:
        enrol_crowd(nexudus)
    shown = run("zoe.brandt@example.org")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.splitlines()[1] == (
        "Nexudus could not be asked: the list of CourseMember ignored the filter by address."
        " To find the cause: coursebell doctor"
        if others
        else "Nexudus has no course member with exactly this address either."
    )
    assert run(ADDRESS).exit_code == int(others), "a few are read one by one"


@pytest.mark.parametrize("away", ["no answer", "no sign-in", "refused"])
def test_why_reports_that_nexudus_could_not_be_asked(
    nexudus: Running, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    if away == "no answer":
        monkeypatch.setenv("COURSEBELL_NEXUDUS_URL", "http://127.0.0.1:9")
    elif away == "no sign-in":
        monkeypatch.delenv("COURSEBELL_NEXUDUS_USERNAME")
        monkeypatch.delenv("COURSEBELL_NEXUDUS_PASSWORD")
    else:
        answer(nexudus, "/api/spaces", 403, body={"Message": "no"})
    shown = run(ADDRESS, "--json")
    assert (shown.exit_code, shown.stdout) == (1, "[]\n")
    lines = shown.stderr.splitlines()
    assert lines[0] == "Coursebell knows no member with this name, address or Id."
    assert lines[1].startswith("Nexudus could not be asked: ")
    assert ADDRESS not in shown.stderr


@pytest.mark.usefixtures("nexudus")
def test_a_member_from_before_installation_is_found_by_address() -> None:
    with open_sync(settings_now()) as sync:
        poll_all(sync, for_s=60)
    shown = run(ADDRESS, "--show-addresses").stdout.splitlines()
    assert shown[0] == f"Joël Núñez  {ADDRESS}"
    assert "  Enrolled  (course " in shown[2]
    assert shown[3] == "    Before Coursebell was installed; no email was due"
    with opened_ledger(settings_now()) as engine:
        know(engine, (1, "Another", f"x{ADDRESS}"))
        assert run(ADDRESS).stdout.startswith("Joël Núñez"), "who has it is meant before a part"
        know(engine, (2, "Known Here", ADDRESS))
        assert run(ADDRESS).stdout.startswith("Known Here"), "Nexudus is not asked about these"


def asked_lines(who: str) -> list[str]:
    lines = [line.strip() for line in run(who, "--ask").stdout.splitlines()]
    return lines[next(at for at, line in enumerate(lines) if line.startswith("Nexudus has ")) :]


def test_with_ask_it_says_what_differs_from_nexudus_now(nexudus: Running) -> None:
    with open_sync(settings_now()) as sync:
        poll_all(sync, for_s=60)
        joel = nexudus.person("Joël")
        assert asked_lines(str(joel)) == [
            "Nexudus has 1 enrolment and 0 finished lessons: the same as here"
        ]
        [[member]] = [[one["course_member_id"] for one in as_json(str(joel))[0]["enrolled_before"]]]
        nexudus.post("/sandbox/finish-lesson", course_member_id=member, deliver=False)
        before = [rows(sync.engine, table) for table in metadata.sorted_tables]
        first, lesson, last = asked_lines(str(joel))
        assert first == (
            "Nexudus has 1 enrolment and 1 finished lesson. It differs from what is known here:"
        )
        assert "  finished lesson " in lesson
        assert lesson.endswith(": Nexudus has it, and it is not known here")
        assert last.endswith(f"coursebell backfill --person {joel}")
        [plain] = as_json(str(joel), "--ask")
        [differs] = plain["nexudus"]["differences"]
        assert (differs["way"], differs["entity"]) == ("missing", "CourseCompletedLesson")
        after = [rows(sync.engine, table) for table in metadata.sorted_tables]
        assert after == before, "asking changes nothing"
        nexudus.post("/sandbox/delete", entity="CourseMember", id=member)
        first, gone, _ = asked_lines(str(joel))
        assert first.startswith("Nexudus has 0 enrolments and 0 finished lessons. It differs")
        assert gone.endswith(": it is known here, and Nexudus no longer has it")


def test_with_ask_it_exits_with_4_if_nexudus_cannot_be_asked(nexudus: Running) -> None:
    with open_sync(settings_now()) as sync:
        poll_all(sync, for_s=60)
    joel = str(nexudus.person("Joël"))
    answer(nexudus, "/api/content", 403, body={"Message": "no"})
    shown = run(joel, "--ask")
    assert shown.exit_code == 4
    assert "Nexudus could not be asked: " in shown.stdout
    assert as_json(joel)[0]["nexudus"] is None
