"""`rules check`, `rules plan` and `simulate` as a person gives them."""

import json
from pathlib import Path

import pytest

from ledger.engine import reading
from ledger.tables import actions, attempts, control_log, events, notifications
from schemas.errors import ConfigurationError
from tests.contract.desk_rig import Desk
from tests.contract.study_rig import rules_of
from tests.e2e.house import RULES

pytestmark = pytest.mark.engines("sqlite")
WELCOME = "  - {name: welcome, event: enrolled, action: email, template: welcome}\n"
NOTICE = "  - {name: tell, event: enrolled, action: email, template: notice, to: host}\n"
PUBLIC = "https://courses.harbour.example"
NO_LINK = (
    "emails of welcome have no link to stop them, because COURSEBELL_PUBLIC_URL is not the https"
    " address at which members reach this service"
)
FILE = "version: 1\ntiming: {quiet_hours: none, flood: none}\nrules:\n"


@pytest.fixture(autouse=True)
def public_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSEBELL_PUBLIC_URL", PUBLIC)


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "new.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def rows(desk: Desk) -> list[int]:
    with reading(desk.space.engine) as connection:
        return [
            len(connection.execute(table.select()).all())
            for table in (actions, attempts, control_log, events, notifications)
        ]


def test_a_good_file_is_said_to_be_good(desk: Desk, tmp_path: Path) -> None:
    file = write(tmp_path, FILE + WELCOME)
    checked = desk.run("rules", "check", file)
    assert (checked.exit_code, checked.stdout) == (
        0,
        f"{file} can be used: 1 rule, 1 of them on.\n",
    )
    assert desk.run("rules", "check").stdout.startswith(f"{RULES} can be used")
    assert desk.as_json("rules", "check", file)["warnings"] == []


@pytest.mark.parametrize(
    ("rule", "address", "warnings"),
    [
        (WELCOME, "http://127.0.0.1:8000", [NO_LINK]),
        (WELCOME, "http://courses.harbour.example", [NO_LINK]),
        (WELCOME, PUBLIC, []),
        (WELCOME.replace("}", ", enabled: false}"), "http://127.0.0.1:8000", []),
        (NOTICE, "http://127.0.0.1:8000", []),
    ],
)
def test_emails_to_members_without_a_link_to_stop_them_are_a_warning(
    desk: Desk, tmp_path: Path, rule: str, address: str, warnings: list[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSEBELL_PUBLIC_URL", address)
        found = desk.as_json("rules", "check", write(tmp_path, FILE + rule))
    assert found["warnings"] == warnings


def test_every_mistake_is_said_with_its_line(desk: Desk, tmp_path: Path) -> None:
    file = write(tmp_path, FILE + "  - {name: A, event: enroled, action: email}\n")
    refused = desk.run("rules", "check", file).exception
    assert isinstance(refused, ConfigurationError)
    places = [one.removeprefix(f"{file}:").split(": ")[:2] for one in refused.mistakes]
    assert places == [
        ["4:5", "rules[0].template"],
        ["4:12", "rules[0].name"],
        ["4:22", "rules[0].event"],
    ]
    checked = desk.run("rules", "check", file, "--json")
    assert checked.exit_code == 2
    assert json.loads(checked.stdout) == {"mistakes": refused.mistakes}


@pytest.mark.parametrize(
    ("rules", "warning"),
    [
        (
            WELCOME + WELCOME.replace("name: welcome", "name: again"),
            "rules welcome and again: both act on enrolled, so a member may get two emails",
        ),
        (
            WELCOME.replace("}", ", where: {team: Red, not: {team: [red, blue]}}}"),
            "rule welcome: it never applies, because everything in where.team is also",
        ),
        (
            WELCOME.replace("}", ", where: {course: Sales}}")
            + "courses: [{course: sales, off: welcome}]\n",
            "rule welcome: it never applies, because it is off for the course Sales",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(
    desk: Desk, tmp_path: Path, rules: str, warning: str
) -> None:
    checked = desk.run("rules", "check", write(tmp_path, FILE + rules))
    assert checked.exit_code == 0
    assert f"warning: {warning}" in checked.stdout


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("where: {course: A}", "where: {course: B}"),
        ("where: {course: A}", "where: {not: {course: a}}"),
        ("where: {completion: 0-49}", "where: {completion: 50-100}"),
        ("where: {coworker_type: individual}", "where: {coworker_type: company}"),
    ],
)
def test_rules_for_different_members_are_no_warning(
    desk: Desk, tmp_path: Path, one: str, other: str
) -> None:
    first = WELCOME.replace("}", f", {one}}}")
    second = WELCOME.replace("name: welcome", "name: other").replace("}", f", {other}}}")
    checked = desk.as_json("rules", "check", write(tmp_path, FILE + first + second))
    assert checked["warnings"] == []


def test_only_rules_that_both_apply_to_a_course_are_said_to_both_write(
    desk: Desk, tmp_path: Path
) -> None:
    own = WELCOME.replace("name: welcome", "name: own").replace("}", ", where: {course: Sales}}")
    text = FILE + WELCOME + own
    instead = desk.as_json(
        "rules", "check", write(tmp_path, text + "courses: [{course: Sales, off: welcome}]\n")
    )
    assert instead["warnings"] == []
    never = desk.as_json(
        "rules", "check", write(tmp_path, text + "courses: [{course: Sales, off: own}]\n")
    )
    assert never["warnings"] == [
        "rule own: it never applies, because it is off for the course Sales"
    ]


def test_a_plan_says_what_changes_for_waiting_emails_and_in_the_past(
    desk: Desk, tmp_path: Path
) -> None:
    for number in (1, 2):
        desk.space.enrol(number)
    desk.space.work()
    desk.space.enrol(3)
    desk.space.look_up()
    before = rows(desk)
    off = write(tmp_path, FILE + WELCOME.replace("}", ", enabled: false}"))
    planned = desk.run("rules", "plan", off)
    assert planned.exit_code == 0, planned.output
    assert "1 email that waits or is held would be treated in another way" in planned.stdout
    assert (
        "  3: now it is sent at once; then it is not sent: No rule acts on this" in planned.stdout
    )
    assert "welcome: 3 sent" in planned.stdout
    found = desk.as_json("rules", "plan", off)
    assert [one["action_id"] for one in found["waiting"]] == [3]
    assert found["past"]["before"]["by_rule"] == {"welcome": {"sent": 3}}
    assert found["past"]["after"]["by_rule"] == {}
    assert rows(desk) == before


def test_the_past_is_played_by_other_rules_and_compared_with_what_was_sent(
    desk: Desk, tmp_path: Path
) -> None:
    members = [desk.space.enrol(number) for number in (1, 2, 3)]
    desk.space.work()
    desk.space.later(hours=1)
    desk.space.finish(members[0], 1)
    desk.space.work()
    desk.space.later(hours=4)
    desk.space.change(members[2], blocked=True)
    desk.space.work()
    before = rows(desk)
    same = desk.as_json("simulate")
    assert same["by_rule"]["welcome"] == {"sent": 2, "blocked": 1}
    # Records are those of today, so the member who is blocked now would not have been welcomed.
    assert same["fewer_than_sent"]["number"] == 1
    assert same["more_than_sent"]["number"] == 0
    other = write(tmp_path, FILE + WELCOME.replace("name: welcome", "name: hello"))
    played = desk.run("simulate", "--rules", other, "--since", "7d")
    assert "hello: 2 sent, not sent: 1 blocked" in played.stdout
    assert "Compared with what was sent: 2 emails more, 4 emails fewer" in played.stdout
    lines = played.stdout.splitlines()
    assert "  + hello: 2 emails" in lines
    assert "    + hello: Person 1  (Freelance Finance)" in lines
    assert "  - congratulate-lesson: 1 email" in lines
    assert rows(desk) == before


def test_a_plan_compares_what_a_release_would_do_with_held_emails(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flooded = FILE + WELCOME.replace("}", ", flood: 1/10m}")
    in_force = tmp_path / "in-force.yaml"
    in_force.write_text(flooded, encoding="utf-8")
    monkeypatch.setenv("COURSEBELL_RULES", str(in_force))
    desk.space.rules = rules_of(flooded)
    for number in (1, 2, 3):
        desk.space.enrol(number)
    desk.space.work()
    assert desk.space.outcomes() == [("held", "flood-guard")] * 3
    planned = desk.run("rules", "plan", write(tmp_path, FILE + WELCOME))
    assert planned.stdout.startswith("No email that waits or is held would be treated in another")


def test_an_imagined_event_meets_the_pause_and_the_mode_of_now(desk: Desk) -> None:
    desk.space.enrol(1)
    desk.space.work()
    imagine = ("simulate", "--event", "course_completed", "--person", "1")
    desk.run("pause", "--all")
    assert desk.run(*imagine).stdout.startswith("congratulate-course: held: Sending is paused")
    desk.run("mode", "observe")
    assert "[observe]" in desk.run(*imagine).stdout


def test_an_imagined_lesson_is_the_next_that_is_not_finished(desk: Desk, tmp_path: Path) -> None:
    member = desk.space.enrol(1)
    desk.space.finish(member, 1)
    desk.space.work()
    desk.space.later(hours=5)
    by_button = write(
        tmp_path,
        f"{FILE}  - {{name: button, event: lesson_completed, action: email,"
        " template: lesson-finished, where: {completion_type: [visited, button, video]}}\n",
    )
    words = ("simulate", "--event", "lesson_completed", "--person", "1", "--rules", by_button)
    assert desk.run(*words).stdout.startswith("button: sent at ")


def test_a_brake_without_a_forecast_names_the_command_that_accepts_one_for_this_file(
    desk: Desk, tmp_path: Path
) -> None:
    braked = write(tmp_path, FILE + WELCOME.replace("}", ", brake: 2x}"))
    [warning] = desk.as_json("rules", "check", braked)["warnings"]
    assert f"`coursebell simulate --rules {braked} --accept` makes one" in warning
    desk.run("simulate", "--rules", braked, "--accept", "--yes")
    assert desk.as_json("rules", "check", braked)["warnings"] == []


def test_an_email_that_was_resent_counts_as_sent(desk: Desk) -> None:
    desk.refuse(1)
    assert desk.as_json("simulate")["more_than_sent"]["by_rule"] == {"welcome": 1}
    desk.run("resend", "--failed", "mail-rejected", "--yes")
    desk.space.mailer.accept("person1@example.org")
    desk.space.later(minutes=1)
    assert desk.space.outcomes()[-1] == ("done", None)
    again = desk.as_json("simulate")
    assert (again["more_than_sent"]["number"], again["fewer_than_sent"]["number"]) == (0, 0)


def test_one_imagined_event_says_what_would_follow(desk: Desk, tmp_path: Path) -> None:
    desk.space.enrol(1)
    desk.space.work()
    said = desk.run("simulate", "--event", "course_completed", "--person", "1")
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("congratulate-course: sent at ")
    night = write(
        tmp_path,
        "version: 1\ntiming: {cap_per_day: 1, spread: none}\nrules:\n"
        "  - {name: end, event: course_completed, action: email, template: course-finished,"
        " quiet_hours: none}\n",
    )
    capped = desk.run("simulate", "--event", "course_completed", "--person", "1", "--rules", night)
    assert "They reached the limit of emails for one day [cap-day]" in capped.stdout
    nobody = desk.run("simulate", "--event", "enrolled", "--person", "nobody@example.org")
    assert nobody.exit_code == 1
    assert desk.run("simulate", "--event", "enrolled").exit_code == 2
