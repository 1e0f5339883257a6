"""The switches about lists."""

import pytest

from tests.sandbox.sandbox_rig import Running
from tests.sandbox.switch_rig import COMPLETED, COURSES, COWORKERS, LESSONS, MEMBERS, rows, switched


def test_filters_can_all_be_ignored(shared: Running) -> None:
    asked: dict[str, str | int] = {"CourseLesson_Course": shared.course("Ceramics")}
    assert len(rows(shared, LESSONS, **asked)) == 3
    with switched(shared, "ignore-filters", entity="Course"):
        assert len(rows(shared, LESSONS, **asked)) == 3
    with switched(shared, "ignore-filters"):
        assert len(rows(shared, LESSONS, **asked)) == 12
        assert len(rows(shared, LESSONS, from_CourseLesson_UpdatedOn="2099-01-01T00:00")) == 12
    assert len(rows(shared, LESSONS, **asked)) == 3


def _ids(sandbox: Running, **question: str | int) -> list[int]:
    return [row["Id"] for row in rows(sandbox, COURSES, **question)]


def test_a_direction_may_be_understood_as_a_word_only(shared: Running) -> None:
    up = _ids(shared)
    assert _ids(shared, orderBy="Id", dir=-1) == up[::-1]
    with switched(shared, "words-for-direction"):
        assert _ids(shared, orderBy="Id", dir=-1) == up
        assert _ids(shared, orderBy="Id", dir="Descending") == up[::-1]


def test_an_order_can_be_ignored(shared: Running) -> None:
    with switched(shared, "ignore-order"):
        found = shared.get(COURSES, params={"orderBy": "Title", "dir": "Descending"}).json()
    ids = [row["Id"] for row in found["Records"]]
    assert ids == sorted(ids)
    assert (found["CurrentOrderField"], found["CurrentSortDirection"]) == ("Id", 1)


def test_a_page_can_be_shorter_than_asked_for(shared: Running) -> None:
    with switched(shared, "cut-size", rows=2):
        found = shared.get(COURSES, params={"size": 1000}).json()
    assert (len(found["Records"]), found["CurrentPageSize"], found["HasNextPage"]) == (2, 2, True)


def test_a_list_can_be_endless(shared: Running) -> None:
    with switched(shared, "never-ending-list", entity="Course"):
        far = shared.get(COURSES, params={"page": 900, "size": 2}).json()
        assert (far["HasNextPage"], len(far["Records"]), far["CurrentPage"]) == (True, 1, 900)
    with switched(shared, "never-ending-list", repeat=False):
        far = shared.get(COURSES, params={"page": 900, "size": 2}).json()
        assert (far["HasNextPage"], far["Records"]) == (True, [])
    assert not shared.get(COURSES, params={"page": 900}).json()["HasNextPage"]


@pytest.mark.parametrize(("way", "seen"), [("repeat", 12), ("skip", 9)])
def test_pages_can_shift_while_they_are_read(shared: Running, way: str, seen: int) -> None:
    found: list[int] = []
    with switched(shared, "shifting-pages", entity="CourseLesson", way=way):
        for page in range(1, 20):
            answer = shared.get(LESSONS, params={"page": page, "size": 3}).json()
            found += [row["Id"] for row in answer["Records"]]
            if not answer["HasNextPage"]:
                break
    assert len(set(found)) == seen
    assert (len(found) > len(set(found))) == (way == "repeat")


def test_rows_can_leave_out_more(shared: Running) -> None:
    [first, *_] = rows(shared, LESSONS)
    many = {"id": f"[{first['Id']}]"}
    with switched(shared, "partial-rows", entity="CourseLesson", fields="CourseId, Active"):
        assert not {"CourseId", "Active"} & set(rows(shared, LESSONS)[0])
        assert "CourseId" in shared.get(f"{LESSONS}/", params=many).json()[0]
        assert "Active" in rows(shared, COURSES)[0]
        assert shared.get(f"{LESSONS}/{first['Id']}").json()["Active"] is True
    with switched(shared, "partial-many"):
        assert "CourseId" not in shared.get(f"{LESSONS}/", params=many).json()[0]
        assert "CourseId" in rows(shared, LESSONS)[0]


def test_requests_for_several_ids_can_be_unknown(shared: Running) -> None:
    many = {"id": f"[{shared.person('Joël')}]"}
    with switched(shared, "many-by-id-off"):
        assert shared.get(f"{COWORKERS}/", params=many).json()["TotalItems"] == 12
    with switched(shared, "many-by-id-off", way="404"):
        assert shared.get(f"{COWORKERS}/", params=many).status_code == 404
        assert shared.get(COWORKERS).status_code == 200
    assert len(shared.get(f"{COWORKERS}/", params=many).json()) == 1


def test_lists_can_lag_behind_what_is_read_by_id(shared: Running) -> None:
    member = shared.enrol("Joël", "Finance")
    done = shared.post("/sandbox/finish-lesson", course_member_id=member)
    asked = {"CourseCompletedLesson_CourseMember": member}
    with switched(shared, "lagging-lists", entity="CourseCompletedLesson", seconds=600):
        assert rows(shared, COMPLETED, **asked) == []
        assert shared.get(f"{COMPLETED}/?id=[{done['completed_lesson_id']}]").json() == []
        assert shared.get(f"{COMPLETED}/{done['completed_lesson_id']}").status_code == 200
        assert [row["Id"] for row in rows(shared, MEMBERS)] == [member]
    with switched(shared, "lagging-lists", seconds=0):
        assert len(rows(shared, COMPLETED, **asked)) == 1
