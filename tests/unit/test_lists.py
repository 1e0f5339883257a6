"""Reading lists to their end, and refusing those that ignored the request."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from schemas.entity import Entity
from schemas.errors import RecordUnreadable, SourceRefused, SourceUnavailable
from workers.source.answers import Missing
from workers.source.lists import Lists, Row

NOON = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
FILTER = "from_CourseMember_UpdatedOn"


def row(record_id: int, at: datetime, **more: object) -> Row:
    written = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"Id": record_id, "UpdatedOn": written, "CreatedOn": written, **more}


class Table:
    """A list as the source answers it. `size` is what it cuts pages to, whatever was asked for."""

    def __init__(self, *rows: Row, size: int = 3) -> None:
        self.rows = list(rows)
        self.size = size
        self.asked: list[dict[str, str]] = []
        self.keeps_filter = True
        self.keeps_order = True
        self.says_total = True
        self.says_next: bool | None = None
        self.between: Callable[[], None] = lambda: None  # happens after each answer

    def get_json(self, path: str, query: Mapping[str, str]) -> object | Missing:
        assert path == "content/coursemembers"
        self.asked.append(dict(query))
        rows = self.rows
        if self.keeps_filter and FILTER in query:
            rows = [one for one in rows if one["UpdatedOn"][:16] >= query[FILTER]]
        if self.keeps_order and query.get("orderBy"):
            rows = sorted(rows, key=lambda one: (one["UpdatedOn"], str(one.get("Id"))))
        first = (int(query["page"]) - 1) * self.size
        shown = rows[first : first + self.size]
        answer: dict[str, Any] = {
            "Records": list(shown),
            "HasNextPage": first + self.size < len(rows)
            if self.says_next is None
            else self.says_next,
            "TotalItems": len(rows) if self.says_total else None,
        }
        self.between()
        return answer


def since(table: Table, moment: datetime = NOON) -> list[int]:
    pages = Lists(table).since(Entity.COURSE_MEMBER, moment)
    return [one.record_id for page in pages for one in page.rows]


def test_all_changes_come_once_and_in_order() -> None:
    rows = [row(one, NOON + timedelta(minutes=one)) for one in range(1, 21)]
    assert since(Table(*reversed(rows))) == list(range(1, 21))


def test_the_request_is_spelled_as_the_contract_says() -> None:
    table = Table(row(1, NOON))
    since(table, NOON + timedelta(seconds=59))
    assert table.asked == [
        {
            FILTER: "2026-03-03T12:00",
            "orderBy": "UpdatedOn",
            "dir": "1",
            "page": "1",
            "size": "1000",
        }
    ]


def test_completions_are_requested_by_creation_time() -> None:
    asked: list[Mapping[str, str]] = []

    class Empty:
        def get_json(self, path: str, query: Mapping[str, str]) -> object:
            assert path == "content/coursecompletedlessons"
            asked.append(query)
            return {"Records": [], "HasNextPage": False}

    assert not [
        page.rows for page in Lists(Empty()).since(Entity.COMPLETED_LESSON, NOON) if page.rows
    ]
    assert "from_CourseCompletedLesson_CreatedOn" in asked[0]
    assert asked[0]["orderBy"] == "CreatedOn"


def test_rows_of_the_whole_minute_come_because_the_filter_has_no_seconds() -> None:
    table = Table(row(1, NOON + timedelta(seconds=5)), row(2, NOON - timedelta(seconds=5)))
    assert since(table, NOON + timedelta(seconds=30)) == [1]


@pytest.mark.parametrize("keeps_order", [True, False])
def test_a_filter_that_is_ignored_is_refused_instead_of_read_as_everything(
    keeps_order: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    table = Table(row(1, NOON + timedelta(hours=1)), row(2, NOON - timedelta(days=900)))
    table.keeps_filter, table.keeps_order = False, keeps_order
    with pytest.raises(SourceRefused, match="ignored the filter"):
        since(table)


def test_a_row_that_changes_while_the_list_is_read_hides_no_other() -> None:
    table = Table(*[row(one, NOON + timedelta(minutes=one)) for one in range(1, 10)])

    def touch_the_first() -> None:
        table.between = lambda: None
        table.rows[0] = row(1, NOON + timedelta(hours=1))

    table.between = touch_the_first
    found = since(table)
    assert set(found) == set(range(1, 10))
    assert found.count(1) == 2  # as it was, and as it is


def test_more_rows_of_one_minute_than_a_page_holds_are_all_read() -> None:
    crowd = [row(one, NOON + timedelta(seconds=one)) for one in range(1, 12)]
    table = Table(*crowd, row(99, NOON + timedelta(minutes=5)))
    assert sorted(since(table)) == [*range(1, 12), 99]


def test_an_order_that_is_ignored_still_gives_every_row() -> None:
    table = Table(*[row(one, NOON + timedelta(minutes=50 - one)) for one in range(1, 12)])
    table.keeps_order = False
    assert sorted(since(table)) == list(range(1, 12))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_rows_in_an_order_that_looks_right_at_first_are_all_read(size: int) -> None:
    by_id = [(1, 1), (2, 5), (3, 2), (4, 6), (5, 3), (6, 9)]
    table = Table(*[row(one, NOON + timedelta(minutes=at)) for one, at in by_id], size=size)
    table.keeps_order = False
    assert set(since(table)) == {1, 2, 3, 4, 5, 6}
    table.rows.sort(key=lambda one: str(one["UpdatedOn"]), reverse=True)
    assert set(since(table)) == {1, 2, 3, 4, 5, 6}


def test_without_a_total_pages_are_read_by_their_numbers() -> None:
    by_id = [(1, 1), (2, 5), (3, 2), (4, 6), (5, 3)]
    table = Table(*[row(one, NOON + timedelta(minutes=at)) for one, at in by_id], size=2)
    table.keeps_order = table.says_total = False
    assert sorted(since(table)) == [1, 2, 3, 4, 5]


def test_an_endless_list_is_abandoned() -> None:
    table = Table(*[row(one, NOON) for one in range(1, 8)])
    table.says_next = True
    with pytest.raises(SourceUnavailable, match="does not end"):
        since(table)
    assert len(table.asked) < 8
    table.asked.clear()
    with pytest.raises(SourceUnavailable, match="does not end"):
        Lists(table).whole(Entity.COURSE_MEMBER)
    assert len(table.asked) < 8


def test_a_page_has_the_total_of_rows() -> None:
    table = Table(*[row(one, NOON) for one in range(1, 8)])
    pages = list(Lists(table).since(Entity.COURSE_MEMBER, NOON))
    assert pages[0].total == 7


def test_a_whole_list_is_read_page_by_page_with_each_row_once() -> None:
    table = Table(*[row(one, NOON) for one in range(1, 11)])
    assert [one["Id"] for one in Lists(table).whole(Entity.COURSE_MEMBER)] == list(range(1, 11))
    assert [one["page"] for one in table.asked] == ["1", "2", "3", "4"]


def test_a_row_that_moves_between_two_pages_does_not_look_deleted() -> None:
    table = Table(*[row(one, NOON) for one in range(1, 9)])

    def delete_the_first() -> None:
        table.between = lambda: None
        del table.rows[0]

    table.between = delete_the_first
    with pytest.raises(SourceUnavailable, match="changed while it was read"):
        Lists(table).whole(Entity.COURSE_MEMBER)


def test_a_row_that_is_listed_twice_hides_no_other() -> None:
    table = Table(*[row(one, NOON) for one in range(1, 8)])

    def show_a_row_again() -> None:
        table.between = lambda: None
        table.rows[3:4] = [row(3, NOON)]

    table.between = show_a_row_again
    with pytest.raises(SourceUnavailable, match="changed while it was read"):
        Lists(table).whole(Entity.COURSE_MEMBER)


def test_a_row_that_is_on_one_page_twice_is_returned_once() -> None:
    table = Table(row(1, NOON), row(1, NOON))
    assert len(Lists(table).whole(Entity.COURSE_MEMBER)) == 1


def test_a_page_shorter_than_its_total_is_refused() -> None:
    table = Table(row(1, NOON), row(2, NOON))
    table.says_next = False
    table.size = 1
    with pytest.raises(SourceUnavailable, match="changed while it was read"):
        Lists(table).whole(Entity.COURSE_MEMBER)
    table.says_total = False
    assert len(Lists(table).whole(Entity.COURSE_MEMBER)) == 1


def test_a_list_below_a_parent_is_refused_if_a_row_has_another_parent() -> None:
    table = Table(row(1, NOON, CourseId=7), row(2, NOON, CourseId=8))
    with pytest.raises(SourceRefused, match="ignored the filter Course"):
        Lists(table).below(Entity.COURSE_MEMBER, "Course", "CourseId", 7)
    del table.rows[1]
    found = Lists(table).below(Entity.COURSE_MEMBER, "Course", "CourseId", 7)
    assert [one["Id"] for one in found] == [1]
    assert table.asked[0]["CourseMember_Course"] == "7"


WITHOUT_ID: list[Row] = [{}, {"Id": None}, {"Id": "7"}, {"Id": 0}]


@pytest.mark.parametrize("odd", WITHOUT_ID)
def test_a_row_without_an_id_hides_no_other(odd: Row) -> None:
    table = Table(row(1, NOON), {"UpdatedOn": "2026-03-03T12:01:00Z", **odd})
    table.rows += [row(one, NOON + timedelta(minutes=one)) for one in range(2, 6)]
    with capture_logs() as logs:
        assert since(table) == [1, 2, 3, 4, 5]
    said = {"event": "list.row-unreadable", "log_level": "warning"}
    assert logs == [{**said, "entity": "CourseMember", "rows": 1}]
    assert len(table.asked) == 3  # it came too, so nothing is looked for by numbers
    with pytest.raises(RecordUnreadable, match="no Id"):
        Lists(table).whole(Entity.COURSE_MEMBER)


@pytest.mark.parametrize("odd", [*WITHOUT_ID, {"Id": 1, "UpdatedOn": "yesterday"}])
def test_a_page_without_one_row_that_can_be_read_is_unreadable(odd: Row) -> None:
    table = Table({"UpdatedOn": "2026-03-03T12:00:00Z", **odd})
    with pytest.raises(RecordUnreadable, match="no row of the list of CourseMember has an Id"):
        since(table)


@pytest.mark.parametrize("odd", [None, "yesterday", "01/02/2030 10:00", 7])
def test_a_row_without_a_time_gets_that_of_the_row_before(odd: object) -> None:
    class Shown:
        def __init__(self, *rows: Row) -> None:
            self.rows = list(rows)

        def get_json(self, path: str, query: Mapping[str, str]) -> object:
            assert path
            assert query
            return {"Records": self.rows, "HasNextPage": False, "TotalItems": len(self.rows)}

    timeless: Row = {"Id": 7, "UpdatedOn": odd}
    last = row(2, NOON + timedelta(minutes=9))
    before = row(1, NOON + timedelta(minutes=2))
    [page] = Lists(Shown(before, timeless, last)).since(Entity.COURSE_MEMBER, NOON)
    assert [(one.record_id, one.at.minute) for one in page.rows] == [(1, 2), (7, 2), (2, 9)]
    [page] = Lists(Shown(timeless, last)).since(Entity.COURSE_MEMBER, NOON)
    assert (page.rows[0].record_id, page.rows[0].at) == (7, NOON)
    early = row(3, NOON - timedelta(days=9))
    with pytest.raises(SourceRefused, match="ignored the filter"):
        list(Lists(Shown(timeless, early)).since(Entity.COURSE_MEMBER, NOON))
    # Also one that has no Id, and so tells of the filter all the same.
    del early["Id"]
    with pytest.raises(SourceRefused, match="ignored the filter"):
        list(Lists(Shown(before, early)).since(Entity.COURSE_MEMBER, NOON))


def test_a_missing_list_is_not_an_empty_list() -> None:
    class Nowhere:
        def get_json(self, path: str, query: Mapping[str, str]) -> Missing:
            assert path
            assert query
            return Missing(certain=True)

    with pytest.raises(SourceUnavailable, match="no answer for the list"):
        Lists(Nowhere()).whole(Entity.COURSE)
