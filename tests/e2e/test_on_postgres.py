"""The same on PostgreSQL, also behind a transaction pooler: the same code, the same emails."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.house import House, open_house
from tests.servers.pooler import stand_in
from tests.servers.programs import wait_until

pytestmark = pytest.mark.postgres


@pytest.fixture(params=["direct", "pooled"])
def house(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_database_url: str
) -> Iterator[House]:
    with contextlib.ExitStack() as stack:
        url = postgres_database_url
        if request.param == "pooled":
            url = stack.enter_context(stand_in(url)).url
        found = stack.enter_context(open_house(tmp_path, COURSEBELL_DATABASE_URL=url))
        yield found
        for name in list(found.processes):
            found.end(name)


def _counted(house: House) -> dict[str, dict[str, int]]:
    with contextlib.suppress(json.JSONDecodeError):
        found: dict[str, dict[str, int]] = json.loads(house.run("status", "--json").stdout)
        return found
    return {}


def test_a_whole_course_gives_its_emails_once(house: House) -> None:
    member = house.sandbox.enrol("Zoë", "Freelance Finance")
    house.wait_mails("zoe", 1)
    completed = house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    house.wait_mails("zoe", 2)
    house.sandbox.post("/sandbox/finish-course", course_member_id=member)
    house.sandbox.post(
        "/sandbox/deliver",
        entity="CourseCompletedLesson",
        id=completed["completed_lesson_id"],
        times=10,
    )
    wait_until(lambda: any("finished “F" in one for one in house.subjects("zoe")), "the last email")
    wait_until(
        lambda: (
            set(_counted(house).get("lookups", {})) == {"done"}
            and not {"planned", "waiting", "performing"} & set(_counted(house)["actions"])
        ),
        "everything done",
    )
    subjects = house.subjects("zoe")
    assert len(subjects) == len(set(subjects))
    assert subjects.count("You finished “Freelance Finance”") == 1
    people = json.loads(house.run("why", "zoe.brandt@example.org", "--json").stdout)
    assert {event["kind"] for event in people[0]["events"]} == {
        "enrolled",
        "course_started",
        "lesson_completed",
        "course_completed",
    }
