"""What one value may look like: times, kinds of customer, numbered words, and texts."""

from datetime import UTC, timedelta

import pytest

from schemas.entity import CompletionType, CoworkerKind, Entity, UnlockType, Visibility
from schemas.errors import RecordUnreadable
from schemas.records import Course, CourseMember, Coworker, load_record
from tests.builders.source import BUILDERS, MOMENT, course_json, course_member_json, coworker_json


def refused(entity: Entity, fields: object) -> RecordUnreadable:
    with pytest.raises(RecordUnreadable) as caught:
        load_record(entity, fields)
    return caught.value


@pytest.mark.parametrize(
    ("written", "microseconds"),
    [
        ("2026-08-04T15:28:18Z", 0),
        ("2026-08-04T15:28:18.1Z", 100_000),
        ("2026-08-04T15:28:18.12Z", 120_000),
        ("2026-08-04T15:28:18.123Z", 123_000),
        ("2026-08-04T15:28:18.1234Z", 123_400),
        ("2026-08-04T15:28:18.12345Z", 123_450),
        ("2026-08-04T15:28:18.123456Z", 123_456),
        ("2026-08-04T15:28:18.1234567Z", 123_456),
        ("2026-08-04T15:28:18", 0),
        ("2026-08-04T15:28:18.1234567", 123_456),
        ("2026-08-04T17:28:18+02:00", 0),
        ("2026-08-04T05:28:18.5-10:00", 500_000),
    ],
)
def test_a_time_is_read_as_utc_with_any_fraction_and_any_zone_or_none(
    written: str, microseconds: int
) -> None:
    for key in ("CreatedOn", "UpdatedOn", "LastAccess"):
        record = load_record(Entity.COURSE_MEMBER, course_member_json(**{key: written}))
        assert isinstance(record, CourseMember)
        moments = {
            "CreatedOn": record.created_at,
            "UpdatedOn": record.updated_at,
            "LastAccess": record.last_access_at,
        }
        moment = moments[key]
        assert moment == MOMENT + timedelta(microseconds=microseconds)
        assert moment is not None
        assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "written",
    [
        "yesterday",
        "2026-08-04T25:00:00Z",
        "2026-02-29T00:00:00Z",
        "04/08/2026 15:28",
        "2026-08-04T15:28:18 GMT",
        "0001-01-01T00:00:00+14:00",  # before the first moment in UTC
        "9999-12-31T23:59:59-14:00",
        1785857298,
        True,
        {},
    ],
)
def test_a_value_that_is_no_time_is_refused(written: object) -> None:
    for key in ("CreatedOn", "LastAccess"):
        error = refused(Entity.COURSE_MEMBER, course_member_json(**{key: written}))
        assert error.fields == {key: ["Not a valid datetime."]}


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("Individual", CoworkerKind.INDIVIDUAL),
        ("Company", CoworkerKind.COMPANY),
        ("company ", CoworkerKind.COMPANY),
        (1, CoworkerKind.INDIVIDUAL),
        (2, CoworkerKind.COMPANY),
        ("1", CoworkerKind.INDIVIDUAL),
        ("2", CoworkerKind.COMPANY),
        (None, None),
        ("", None),
    ],
)
def test_the_kind_of_customer_comes_as_word_or_number(
    written: object, kind: CoworkerKind | None
) -> None:
    member = load_record(Entity.COURSE_MEMBER, course_member_json(CoworkerCoworkerType=written))
    assert isinstance(member, CourseMember)
    assert member.coworker_kind is kind
    coworker = load_record(Entity.COWORKER, coworker_json(CoworkerType=written))
    assert isinstance(coworker, Coworker)
    assert coworker.kind is kind


@pytest.mark.parametrize("written", [0, 3, "3", "Robot", True, 1.0, [], {}])
def test_another_kind_of_customer_is_refused(written: object) -> None:
    error = refused(Entity.COWORKER, coworker_json(CoworkerType=written))
    assert error.fields == {"CoworkerType": ['Must be "Individual", "Company", 1 or 2.']}


@pytest.mark.parametrize(
    ("entity", "key", "written", "name", "word"),
    [
        (Entity.LESSON, "CompletionType", 4, "completion_type", CompletionType.VIDEO),
    ],
)
def test_a_numbered_word_is_read_and_another_number_is_refused(
    entity: Entity, key: str, written: int, name: str, word: object
) -> None:
    assert getattr(load_record(entity, BUILDERS[entity](**{key: written})), name) is word
    error = refused(entity, BUILDERS[entity](**{key: 99}))
    assert list(error.fields) == [key]
    assert "99" not in str(error.fields)


@pytest.mark.parametrize(
    ("entity", "key", "written", "name", "word"),
    [
        (Entity.LESSON, "UnlockType", 3, "unlock_type", UnlockType.TIMED),
        (Entity.COURSE, "Visibility", 2, "visibility", Visibility.HIDDEN),
    ],
)
def test_a_number_that_only_refines_may_be_one_we_do_not_know(
    entity: Entity, key: str, written: int, name: str, word: object
) -> None:
    assert getattr(load_record(entity, BUILDERS[entity](**{key: written})), name) is word
    for unknown in (99, None):
        assert getattr(load_record(entity, BUILDERS[entity](**{key: unknown})), name) is None
    for wrong in ("3", True, 1.0):
        assert list(refused(entity, BUILDERS[entity](**{key: wrong})).fields) == [key]


def test_characters_that_postgresql_cannot_store_are_replaced() -> None:
    title = "Fi\x00nance \ud800!"
    course = load_record(Entity.COURSE, course_json(Title=title))
    assert isinstance(course, Course)
    assert "\x00" not in course.title
    assert course.title.encode()
    assert course.title.startswith("Fi")
    assert course.title.endswith("nance ?!")
