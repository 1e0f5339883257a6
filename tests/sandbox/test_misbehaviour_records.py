"""The switches about what records hold, and when they can be read."""

import re
from typing import Any

import pytest

from schemas.entity import Entity
from schemas.records import load_record
from tests.sandbox.sandbox_rig import Running
from tests.sandbox.switch_rig import COURSES, COWORKERS, LESSONS, MEMBERS, rows, switched


@pytest.fixture(scope="module")
def member_id(shared: Running) -> int:
    return shared.enrol("Mara", "Ceramics")


def _read(sandbox: Running, path: str, record_id: int) -> dict[str, Any]:
    found: dict[str, Any] = sandbox.get(f"{path}/{record_id}").json()
    return found


def test_a_new_record_can_be_late_for_some_reads(shared: Running) -> None:
    with switched(shared, "late-links", reads=2):
        made = f"{MEMBERS}/{shared.enrol('Joël', 'Finance')}"
        course = f"{COURSES}/{shared.course('Finance')}"
        assert [shared.get(made).status_code for _ in range(4)] == [404, 404, 200, 200]
        assert shared.get(course).status_code == 200
        with switched(shared, "late-links", entity="Course", reads=1):
            assert [shared.get(course).status_code for _ in range(2)] == [404, 200]


def test_a_new_record_can_be_late_for_some_seconds(shared: Running, member_id: int) -> None:
    with switched(shared, "late-links", reads=None, seconds=600):
        made = shared.enrol("Zoë", "Finance")
        assert [shared.get(f"{MEMBERS}/{made}").status_code for _ in range(4)] == [404] * 4
        assert shared.get(f"{MEMBERS}/{member_id}").status_code == 200
    assert shared.get(f"{MEMBERS}/{made}").status_code == 200


def test_a_kind_can_be_a_word_or_a_number(shared: Running, member_id: int) -> None:
    assert _read(shared, MEMBERS, member_id)["CoworkerCoworkerType"] == "Company"
    with switched(shared, "kind-as-number"):
        assert _read(shared, MEMBERS, member_id)["CoworkerCoworkerType"] == 2
        assert {row["CoworkerCoworkerType"] for row in rows(shared, MEMBERS)} <= {1, 2}


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["fractions"], r".{19}\.\d{7}Z"),
        (["no-zone"], r".{19}"),
        (["fractions", "no-zone"], r".{19}\.\d{7}"),
    ],
)
def test_times_can_be_written_in_other_ways(
    shared: Running, member_id: int, names: list[str], pattern: str
) -> None:
    plain = _read(shared, MEMBERS, member_id)["CreatedOn"]
    for name in names:
        shared.post("/sandbox/misbehaviours", name=name)
    found = _read(shared, MEMBERS, member_id)["CreatedOn"]
    in_a_row = rows(shared, MEMBERS, CourseMember_Id=member_id)[0]["CreatedOn"]
    shared.web.delete(shared.addresses["api"] + "/sandbox/misbehaviours", timeout=20)
    assert re.fullmatch(pattern, found)
    assert found == in_a_row
    assert found[:19] == plain[:19]
    with switched(shared, "fractions"), switched(shared, "no-zone"):
        pass


def test_titles_can_carry_markup(shared: Running, member_id: int) -> None:
    with switched(shared, "html-in-titles"):
        assert "<script>" in _read(shared, MEMBERS, member_id)["CourseTitle"]
        assert "<script>" in rows(shared, LESSONS)[0]["Title"]


def test_people_can_lack_names_accounts_and_addresses(shared: Running) -> None:
    joel = shared.person("Joël")
    with switched(shared, "no-guessed-name"):
        assert "GuessedFirstName" not in _read(shared, COWORKERS, joel)
    for lacks, field, value in (
        ("account", "UserId", None),
        ("email", "Email", ""),
        ("active", "Active", False),
        ("not-archived", "Archived", True),
    ):
        with switched(shared, "incomplete-person", lacks=lacks):
            assert _read(shared, COWORKERS, joel)[field] == value


def test_a_salutation_can_be_a_title_or_a_name(shared: Running) -> None:
    siobhan = shared.person("Siobhán")
    with switched(shared, "salutation", holds="title"):
        assert _read(shared, COWORKERS, siobhan)["Salutation"] == "Dr"
    with switched(shared, "salutation", holds="first-name"):
        assert _read(shared, COWORKERS, siobhan)["Salutation"] == "Siobhán"


def test_records_can_have_undocumented_fields(shared: Running, member_id: int) -> None:
    with switched(shared, "other-fields"):
        found = _read(shared, MEMBERS, member_id)
    assert "AddedLastWeek" in found
    assert "CustomFields" not in found
    load_record(Entity.COURSE_MEMBER, found)


def test_new_ids_can_be_larger_than_32_bits(shared: Running) -> None:
    with switched(shared, "large-ids"):
        made = shared.enrol("ليلى", "Finance")
    assert made > 2**32
    assert shared.get(f"{MEMBERS}/{made}").status_code == 200
    assert shared.enrol("נועה", "Finance") < 2**31


def test_coworkers_can_be_at_the_path_of_one_document(shared: Running) -> None:
    there = f"/api/sys/coworkers/{shared.person('Joël')}"
    assert shared.get(there).status_code == 404
    with switched(shared, "sys-coworkers"):
        assert shared.get(there).status_code == shared.get(COWORKERS).status_code == 200
    with switched(shared, "sys-coworkers", only=True):
        assert shared.get(there).status_code == 200
        assert shared.get(COWORKERS).status_code == 404


def test_webhook_actions_can_include_courses(shared: Running) -> None:
    asked = "/api/utils/enums?name=eWebhookAction"
    items = shared.get(asked).json()
    assert len(items) == 90
    assert items[44] == {"Id": 45, "Name": "HelDeskMessageCreated"}
    assert shared.get("/api/utils/enums?name=eDog").status_code == 404
    with switched(shared, "course-actions"):
        names = [item["Name"] for item in shared.get(asked).json()]
    assert names[-2:] == ["CourseMemberCreate", "CourseCompletedLessonCreate"]
