"""Records are found by their relations, also after they changed."""

import pytest

from sandbox.listing import relation_asked
from sandbox.tenant import Table, Tenant
from schemas.entity import Entity


def test_a_table_follows_its_records_from_one_relation_to_another() -> None:
    table = Table(("CourseId",), [{"Id": 1, "CourseId": 7}, {"Id": 2, "CourseId": 7}])
    table.put({"Id": 1, "CourseId": 8})
    table.put({"Id": 3, "CourseId": ["not", "an", "Id"]})
    assert [row["Id"] for row in table.having("CourseId", 7) or ()] == [2]
    assert [row["Id"] for row in table.having("CourseId", 8) or ()] == [1]
    table.pop(2)
    table.pop(3)
    assert table.having("CourseId", 7) == table.having("CourseId", 9) == []
    assert table.having("CoworkerId", 7) is None
    assert [row["Id"] for row in table.rows()] == [1]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ({"coursecompletedlesson_coursemember": "7"}, ("CourseMemberId", 7)),
        ({"CourseCompletedLesson_CourseLesson": " 7 "}, ("CourseLessonId", 7)),
        ({"CourseCompletedLesson_CourseMemberId": "7"}, None),
        ({"CourseMember_CourseMember": "7"}, None),
        ({"CourseCompletedLesson_CourseMember": "07"}, None),
        ({"CourseCompletedLesson_CourseMember": ""}, None),
    ],
)
def test_a_filter_by_relation_uses_an_index(
    question: dict[str, str], found: tuple[str, int] | None
) -> None:
    assert relation_asked(Entity.COMPLETED_LESSON, question) == found


def test_returned_records_do_not_change_afterwards() -> None:
    tenant = Tenant()
    [course, *_] = tenant.rows(Entity.COURSE)
    [person, *_] = tenant.rows(Entity.COWORKER)
    member = tenant.enrol(course["Id"], person["Id"], approved=False)
    tenant.change(Entity.COURSE_MEMBER, member["Id"], {"Approved": True})
    tenant.finish_lesson(member["Id"])
    assert (member["Approved"], member["LastCompletedLessonId"]) == (False, None)
    now = tenant.find(Entity.COURSE_MEMBER, member["Id"])
    assert now is not None
    assert now["Approved"] is True
    assert now["LastCompletedLessonId"] is not None
