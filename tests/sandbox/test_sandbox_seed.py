"""Worlds from a file: what they hold, what is wrong with a bad one, and what a restart keeps."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from sandbox.world import InvalidSeed, Seed, built_in_world, read_seed, seed_of
from tests.sandbox.sandbox_rig import Running, running
from tests.sandbox.switch_rig import COMPLETED, COURSES, COWORKERS, LESSONS, MEMBERS, rows
from tests.servers import forking

GOOD = """
locations:
  - {id: 501, name: Werkhof, language: de-DE}
  - {id: 502, name: Marsa, time_zone: Arabian Standard Time, language: ar, parent: Werkhof}
people:
  - {id: 601, name: Joël Núñez, email: joel@example.org, language: en-GB}
  - {name: Kontor, kind: company, account: false, location: Marsa, archived: true}
courses:
  - id: 701
    title: Freelance Finance
    location: Marsa
    sections: [{id: 801, title: Basics}, {id: 802, title: Old, active: false}]
    lessons:
      - {id: 901, title: What you keep, completion: visited, section: Basics}
      - {id: 902, title: Your day rate, section: 801}
      - {id: 903, title: Cash books, section: Old}
enrolments:
  - {id: 1001, person: Joël Núñez, course: Freelance Finance, at: 2026-01-05T10:00:00Z}
completions:
  - {id: 1101, enrolment: 1001, lesson: What you keep, at: "2026-01-05T12:00:00+01:00"}
misbehaviours:
  - fractions
  - {name: throttle, times: 1, path: /api/content/courses}
quota: {per_100ms: null, per_minute: 1000}
first_new_id: 2000
"""


def _written(folder: Path, text: str) -> Path:
    path = folder / "seed.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _everything(sandbox: Running) -> list[dict[str, Any]]:
    sandbox.sign_in()
    paths = (COWORKERS, COURSES, LESSONS, MEMBERS, COMPLETED, "/api/sys/users")
    return [row for path in paths for row in rows(sandbox, path, size=1000)]


def test_a_file_describes_people_and_what_they_did(tmp_path: Path) -> None:
    seed = str(_written(tmp_path, GOOD))
    with running("--no-deliver", "--seed", seed) as sandbox:
        assert sandbox.get("/sandbox/people").json()[0]["id"] == 601
        on = [line["name"] for line in sandbox.get("/sandbox/misbehaviours").json() if line["on"]]
        assert on == ["quota", "throttle", "fractions"]
        sandbox.web.headers["Authorization"] = f"Bearer {sandbox.sign_in()['access_token']}"
        assert [sandbox.get(COURSES).status_code for _ in range(2)] == [409, 200]
        [course] = rows(sandbox, COURSES)
        assert (course["BusinessId"], course["BusinessName"]) == (502, "Marsa")
        [member] = rows(sandbox, MEMBERS)
        assert (member["Id"], member["LastCompletedLessonId"]) == (1001, 901)
        assert member["UpdatedOn"].startswith("2026-01-05T11:00:00.000000")
        [done] = rows(sandbox, COMPLETED, CourseCompletedLesson_CourseMember=1001)
        assert (done["Id"], done["CreatedOn"]) == (1101, member["UpdatedOn"])
        lessons = sandbox.get("/sandbox/courses").json()[0]["lessons"]
        assert [one["counts"] for one in lessons] == [True, True, False]
        left = sandbox.post("/sandbox/finish-course", course_member_id=1001)
        assert left == {"completed_lesson_ids": [2000], "lesson_ids": [902]}


def test_a_killed_sandbox_has_the_same_records_after_a_restart(tmp_path: Path) -> None:
    text = "crowd: {people: 20, courses: 2, lessons: 3, enrolments: 30, completions: 60}"
    seed = str(_written(tmp_path, text))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with running("--no-deliver", "--seed", seed, "--port", "0") as sandbox:
        before = _everything(sandbox)
    words = ("--secret", "s", "--no-deliver", "--seed", seed, "--port", port)
    reader, writer = os.pipe()
    with os.fdopen(reader) as printed, os.fdopen(writer, "wb") as output:
        process = forking.start("sandbox", *words, env=os.environ, stdout=output, stderr=2)
        assert printed.readline()
        process.kill()
        process.wait(20)
    with running("--no-deliver", "--seed", seed, "--port", port) as sandbox:
        assert sandbox.addresses["api"].endswith(port)
        after = _everything(sandbox)
    assert after == before
    assert len([row for row in after if "CourseLessonTitle" in row]) == 60


def test_a_crowd_has_the_requested_size_and_no_repeated_completion() -> None:
    wanted = {"people": 200, "courses": 10, "lessons": 12, "enrolments": 200, "completions": 1000}
    world = seed_of({"people": [], "courses": [], "crowd": wanted}).world
    kinds = (world.people, world.courses, world.enrolments, world.completions)
    assert [len(kind) for kind in kinds] == [200, 10, 200, 1000]
    pairs = {(one["person"], one["course"]) for one in world.enrolments}
    done = {(one["enrolment"], one["lesson"]) for one in world.completions}
    assert (len(pairs), len(done)) == (200, 1000)
    assert seed_of({"crowd": {**wanted, "random_seed": 8}}).world != world


@pytest.mark.parametrize(("people", "courses"), [(6, 4), (3, 4), (4, 4), (1, 7)])
def test_a_full_crowd_enrols_every_person_once_in_every_course(people: int, courses: int) -> None:
    full = people * courses
    wanted = {"people": people, "courses": courses, "enrolments": full, "completions": 0}
    world = seed_of({"people": [], "courses": [], "crowd": wanted}).world
    assert len({(one["person"], one["course"]) for one in world.enrolments}) == full


def test_a_missing_part_is_the_built_in_one() -> None:
    assert seed_of({}) == Seed(built_in_world())
    assert seed_of({"misbehaviours": ["fractions"]}).world == built_in_world()
    assert seed_of({"people": []}).world.courses == built_in_world().courses


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("people: [{name: 7}]", "people[0].name: Not a valid string."),
        ("people: [{nmae: X}]", "people[0].nmae: Unknown field."),
        ("people: [{}]", "people[0].name: Missing data for required field."),
        ("people: [{name: X, language: fr}]", "people[0].language: Must be one of: en-GB"),
        ("people: [{name: X, location: Y}]", "people[0].location: There is no 'Y' here."),
        (
            "courses: [{title: A, lessons: [{title: B, completion: magic}]}]",
            "courses[0].lessons[0].completion: Must be one of: none, visited, button, video.",
        ),
        (
            "courses: [{title: A, lessons: [{title: B, section: C}]}]",
            "courses[0].lessons[0].section: There is no 'C' here.",
        ),
        ("enrolments: [{person: X, course: 1}]", "enrolments[0].person: There is no 'X' here."),
        ("completions: [{enrolment: 5, lesson: 1}]", "completions[0].enrolment: There is no 5"),
        ("enrolments: [{person: 1, course: 1, at: soon}]", "enrolments[0].at: Must be a time"),
        ("people: [{name: A, id: 5}, {name: B, id: 5}]", "people: The Id 5 stands here more"),
        ("people: [{name: A, id: 0}]", "people[0].id: Must be between 1 and 2^63-1."),
        ("misbehaviours: [kindness]", "misbehaviours[0]: There is no misbehaviour called"),
        ("misbehaviours: [{name: throttle, times: x}]", "misbehaviours[0]: times must be"),
        ("quota: {per_second: 1}", "quota: quota has no parameter per_second; it has: per_100ms"),
        ("crowd: {people: 1, courses: 1, enrolments: 2}", "crowd.enrolments: There are more"),
        ("locations: []", "locations: Shorter than minimum length 1."),
        ("dogs: 1", "dogs: Unknown field."),
        ("[1]", "The file must be one object."),
        ("a: [", "The file is not YAML: while parsing"),
    ],
)
def test_a_mistake_is_reported_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidSeed) as caught:
        read_seed(_written(tmp_path, text))
    assert any(mistake.startswith(said) for mistake in caught.value.mistakes)


def test_the_program_prints_all_mistakes_and_ends_with_2(tmp_path: Path) -> None:
    seed = str(_written(tmp_path, "people: [{name: 7}]\nquota: often\n"))
    words = ("--secret", "s", "--no-deliver", "--seed")
    ended = forking.run("sandbox", *words, seed, env=os.environ, timeout=20)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "people[0].name: Not a valid string.",
        "quota: Must be true, false or an object.",
    ]
    assert ended.stdout == ""
    missing = str(tmp_path / "missing.yaml")
    ended = forking.run("sandbox", *words, missing, env=os.environ, timeout=20)
    assert (ended.returncode, ended.stderr) == (
        2,
        "The file cannot be read: No such file or directory.\n",
    )
