"""The source's records: what is taken, what is tolerated, and what is refused by its field."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.entity import Entity
from schemas.errors import RecordUnreadable
from schemas.records import (
    CompletedLesson,
    Course,
    CourseMember,
    Coworker,
    Lesson,
    dump_record,
    load_record,
)
from schemas.records.page import load_page
from schemas.records.token import load_token
from schemas.vocabulary import CompletionType, CoworkerKind, UnlockType, Visibility
from tests.builders.source import (
    completed_lesson_json,
    course_json,
    course_member_json,
    coworker_json,
    lesson_json,
)

SAMPLES = Path(__file__).parents[1] / "samples"
LARGEST = 2**63 - 1
MOMENT = datetime(2026, 8, 4, 15, 28, 18, tzinfo=UTC)
BUILDERS: dict[Entity, Callable[..., dict[str, Any]]] = {
    Entity.COURSE_MEMBER: course_member_json,
    Entity.COMPLETED_LESSON: completed_lesson_json,
    Entity.LESSON: lesson_json,
    Entity.COURSE: course_json,
    Entity.COWORKER: coworker_json,
}
IDS = {
    Entity.COURSE_MEMBER: ["Id", "CourseId", "CoworkerId"],
    Entity.COMPLETED_LESSON: ["Id", "CourseLessonId", "CourseMemberId"],
    Entity.LESSON: ["Id", "CourseId"],
    Entity.COURSE: ["Id", "BusinessId"],
    Entity.COWORKER: ["Id"],
}
OTHER_REQUIRED = {
    Entity.COURSE_MEMBER: ["CreatedOn", "UpdatedOn", "Approved", "Blocked"],
    Entity.COMPLETED_LESSON: ["CreatedOn", "UpdatedOn"],
    Entity.LESSON: ["UpdatedOn", "Title", "Active", "CompletionType"],
    Entity.COURSE: ["UpdatedOn", "Title", "Active"],
    Entity.COWORKER: ["UpdatedOn", "FullName"],
}
OPTIONAL = {
    Entity.COURSE_MEMBER: {
        "CourseTitle": "course_title",
        "CoworkerCoworkerType": "coworker_kind",
        "CoworkerFullName": "full_name",
        "CoworkerCompanyName": "company_name",
        "CoworkerTeamNames": "team_names",
        "LastCompletedLessonId": "last_completed_lesson_id",
        "LastAccess": "last_access_at",
    },
    Entity.COMPLETED_LESSON: {
        "CourseLessonTitle": "lesson_title",
        "CourseMemberCoworkerFullName": "full_name",
    },
    Entity.LESSON: {"UniqueId": "unique_id", "SectionId": "section_id"},
    Entity.COURSE: {
        "UniqueId": "unique_id",
        "BusinessName": "business_name",
        "SummaryText": "summary",
        "HostFullName": "host_name",
        "GroupName": "group_name",
        "Visibility": "visibility",
    },
    Entity.COWORKER: {
        "CoworkerType": "kind",
        "GuessedFirstName": "first_name",
        "Email": "email",
        "SimpleTimeZoneId": "time_zone_id",
    },
}
DEFAULTS: dict[Entity, dict[str, tuple[str, object]]] = {
    Entity.COURSE_MEMBER: {},
    Entity.COMPLETED_LESSON: {},
    Entity.LESSON: {
        "SectionDisplayOrder": ("section_order", 0),
        "DisplayOrder": ("order", 0),
        "UnlockType": ("unlock_type", None),
        "UnlockAfterDays": ("unlock_after_days", 0),
    },
    Entity.COURSE: {},
    Entity.COWORKER: {"Active": ("active", True), "Archived": ("archived", False)},
}
FLAGS = [
    (Entity.COURSE_MEMBER, "Approved"),
    (Entity.COURSE_MEMBER, "Blocked"),
    (Entity.LESSON, "Active"),
    (Entity.COURSE, "Active"),
    (Entity.COWORKER, "Active"),
    (Entity.COWORKER, "Archived"),
]
WHOLE_NUMBERS = [
    (Entity.LESSON, "DisplayOrder"),
    (Entity.LESSON, "SectionDisplayOrder"),
    (Entity.LESSON, "UnlockAfterDays"),
    (Entity.LESSON, "UnlockType"),
    (Entity.LESSON, "CompletionType"),
    (Entity.COURSE, "Visibility"),
]


def sample(kind: str, case: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((SAMPLES / kind / case / "body.json").read_bytes())
    return body


def refused(entity: Entity, fields: object) -> RecordUnreadable:
    with pytest.raises(RecordUnreadable) as caught:
        load_record(entity, fields)
    return caught.value


def pairs(table: dict[Entity, Any]) -> list[tuple[Entity, str]]:
    return [(entity, key) for entity, keys in table.items() for key in keys]


def test_the_documented_enrolment_has_ids_that_no_record_has() -> None:
    documented = sample("course_member", "documented")
    error = refused(Entity.COURSE_MEMBER, documented)
    assert str(error) == "CourseMember: unreadable field CourseId, CoworkerId"
    record = load_record(Entity.COURSE_MEMBER, documented | {"CourseId": 12, "CoworkerId": 7})
    assert record == CourseMember(
        record_id=87654321,
        created_at=datetime(2025, 1, 10, 8, tzinfo=UTC),
        updated_at=datetime(2025, 1, 15, 10, 30, tzinfo=UTC),
        course_id=12,
        course_title=None,
        coworker_id=7,
        coworker_kind=None,
        full_name=None,
        company_name=None,
        team_names=None,
        last_completed_lesson_id=None,
        last_access_at=None,
        approved=False,
        blocked=False,
    )


def test_the_documented_completion_has_ids_that_no_record_has() -> None:
    documented = sample("completed_lesson", "documented")
    error = refused(Entity.COMPLETED_LESSON, documented)
    assert str(error) == "CourseCompletedLesson: unreadable field CourseLessonId, CourseMemberId"
    mended = documented | {"CourseLessonId": 5, "CourseMemberId": 9}
    assert load_record(Entity.COMPLETED_LESSON, mended) == CompletedLesson(
        record_id=87654321,
        created_at=datetime(2025, 1, 10, 8, tzinfo=UTC),
        updated_at=datetime(2025, 1, 15, 10, 30, tzinfo=UTC),
        lesson_id=5,
        lesson_title=None,
        course_member_id=9,
        full_name=None,
    )


def test_an_enrolment_with_accents_and_long_fractions_is_read() -> None:
    record = load_record(Entity.COURSE_MEMBER, sample("course_member", "accents"))
    assert isinstance(record, CourseMember)
    assert record.full_name == "Zoë  Ångström-Núñez"
    assert record.team_names == "Équipe Rouge, Team Blau"
    assert record.coworker_kind is CoworkerKind.INDIVIDUAL
    assert record.created_at == datetime(2026, 4, 6, 12, 35, 11, 100_000, tzinfo=UTC)
    # The seventh digit is a tenth of a microsecond, which Python's times do not have.
    assert record.updated_at == datetime(2026, 4, 6, 12, 35, 24, 5_062, tzinfo=UTC)
    assert record.last_access_at == record.updated_at


def test_a_company_of_the_old_days_is_read() -> None:
    record = load_record(Entity.COURSE_MEMBER, sample("course_member", "company"))
    assert isinstance(record, CourseMember)
    assert record.record_id == 2**31
    assert record.coworker_kind is CoworkerKind.COMPANY
    assert record.created_at == datetime(2010, 9, 16, 3, 5, 32, tzinfo=UTC)
    assert record.last_access_at is None
    assert record.approved
    assert record.blocked


@pytest.mark.parametrize(
    ("case", "title", "name"),
    [
        ("emoji", "Cash flow 💸 in one page 👩🏽\u200d💻", "Zoë 🐝"),
        ("right_to_left", "יסודות המימון", "محمد الأمين"),
    ],
)
def test_titles_and_names_of_all_scripts_are_kept_as_they_are(
    case: str, title: str, name: str
) -> None:
    record = load_record(Entity.COMPLETED_LESSON, sample("completed_lesson", case))
    assert isinstance(record, CompletedLesson)
    assert (record.lesson_title, record.full_name) == (title, name)
    assert record.updated_at.utcoffset() == timedelta()


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
def test_what_is_no_time_is_refused(written: object) -> None:
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


@pytest.mark.parametrize("entity", Entity)
def test_unknown_keys_are_the_sources_business_and_are_not_kept(entity: Entity) -> None:
    usual = load_record(entity, BUILDERS[entity]())
    assert load_record(entity, BUILDERS[entity](Brand={"new": [1]}, record_id=5)) == usual


def test_nothing_of_a_coworker_is_kept_but_what_is_listed() -> None:
    coworker = load_record(Entity.COWORKER, coworker_json())
    assert "4711" not in f"{coworker!r} {dump_record(Entity.COWORKER, coworker)}"
    assert isinstance(coworker, Coworker)
    assert (coworker.full_name, coworker.first_name) == ("Ana López", "Ana")


@pytest.mark.parametrize(
    ("entity", "key", "name"),
    [(entity, key, name) for entity, keys in OPTIONAL.items() for key, name in keys.items()],
)
def test_an_optional_field_may_be_missing_null_or_empty(
    entity: Entity, key: str, name: str
) -> None:
    without = BUILDERS[entity]()
    without.pop(key, None)
    for fields in (without, without | {key: None}, without | {key: ""}):
        assert getattr(load_record(entity, fields), name) is None


@pytest.mark.parametrize(("entity", "key"), pairs(DEFAULTS))
def test_a_missing_field_has_its_default(entity: Entity, key: str) -> None:
    fields = BUILDERS[entity]()
    del fields[key]
    name, default = DEFAULTS[entity][key]
    assert getattr(load_record(entity, fields), name) == default


@pytest.mark.parametrize("key", ["SectionDisplayOrder", "DisplayOrder", "UnlockAfterDays"])
def test_a_number_of_a_lesson_may_be_null(key: str) -> None:
    record = load_record(Entity.LESSON, lesson_json(**{key: None}))
    assert getattr(record, DEFAULTS[Entity.LESSON][key][0]) is None


@pytest.mark.parametrize(("entity", "key"), pairs(IDS) + pairs(OTHER_REQUIRED))
def test_a_required_field_is_refused_when_missing_or_null(entity: Entity, key: str) -> None:
    fields = BUILDERS[entity]()
    assert list(refused(entity, fields | {key: None}).fields) == [key]
    del fields[key]
    error = refused(entity, fields)
    assert error.fields == {key: ["Missing data for required field."]}
    assert str(error) == f"{entity}: unreadable field {key}"


@pytest.mark.parametrize(
    "written", [0, -1, 2**63, 10**400, 7.0, float("nan"), True, "7", "", " 7 ", [7], {"Id": 7}]
)
@pytest.mark.parametrize(("entity", "key"), pairs(IDS))
def test_an_id_is_a_whole_number_from_one_and_of_64_bits(
    entity: Entity, key: str, written: object
) -> None:
    assert list(refused(entity, BUILDERS[entity](**{key: written})).fields) == [key]
    load_record(entity, BUILDERS[entity](**{key: LARGEST}))


@pytest.mark.parametrize("written", ["yes", "true", "", 1, 0, 1.0, [], {}])
@pytest.mark.parametrize(("entity", "key"), FLAGS)
def test_a_flag_is_true_or_false_and_nothing_like_it(
    entity: Entity, key: str, written: object
) -> None:
    error = refused(entity, BUILDERS[entity](**{key: written}))
    assert error.fields == {key: ["Not a valid boolean."]}


@pytest.mark.parametrize("written", [True, 1.0, 1.5, float("inf"), "1", [1], {}])
@pytest.mark.parametrize(("entity", "key"), WHOLE_NUMBERS)
def test_a_number_is_whole_and_nothing_like_it(entity: Entity, key: str, written: object) -> None:
    assert list(refused(entity, BUILDERS[entity](**{key: written})).fields) == [key]


@pytest.mark.parametrize("written", [7, True, ["x"], {"a": "b"}])
@pytest.mark.parametrize(
    ("entity", "key"),
    [
        (Entity.COURSE_MEMBER, "CourseTitle"),
        (Entity.COMPLETED_LESSON, "CourseLessonTitle"),
        (Entity.LESSON, "Title"),
        (Entity.COURSE, "Title"),
        (Entity.COWORKER, "FullName"),
    ],
)
def test_a_text_is_a_text(entity: Entity, key: str, written: object) -> None:
    error = refused(entity, BUILDERS[entity](**{key: written}))
    assert error.fields == {key: ["Not a valid string."]}


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


@pytest.mark.parametrize("entity", Entity)
@pytest.mark.parametrize("given_instead", [None, 7, "Not found", [], [{}], True])
def test_what_is_no_object_is_no_record(entity: Entity, given_instead: object) -> None:
    error = refused(entity, given_instead)
    assert str(error) == f"{entity}: not a JSON object"


@pytest.mark.parametrize("entity", Entity)
def test_an_error_names_every_wrong_field_and_no_value(entity: Entity) -> None:
    keys = [*IDS[entity], *OTHER_REQUIRED[entity], *OPTIONAL[entity]]
    wrong = {key: ["sesame-4711"] for key in keys}
    error = refused(entity, BUILDERS[entity](**wrong))
    assert set(error.fields) == set(keys)
    assert "sesame" not in f"{error} {error.fields}"
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_what_postgresql_cannot_store_is_taken_out_of_texts() -> None:
    title = "Fi\x00nance \ud800!"
    course = load_record(Entity.COURSE, course_json(Title=title))
    assert isinstance(course, Course)
    assert "\x00" not in course.title
    assert course.title.encode()
    assert course.title.startswith("Fi")
    assert course.title.endswith("nance ?!")


TEXTS = st.text(st.characters(exclude_categories=()), max_size=8) | st.just("\x00")
RECORD_IDS = st.integers(1, LARGEST)
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
NUMBERS = st.none() | st.integers()
KINDS = st.sampled_from([None, "", "Individual", "Company", 1, 2])


def objects(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"Id": RECORD_IDS, "UpdatedOn": TIMES, **keys})


def choice(*numbers: int | None) -> st.SearchStrategy[int | None]:
    return st.sampled_from(numbers)


SENT = st.one_of(
    st.tuples(
        st.just(Entity.COURSE_MEMBER),
        objects(
            CreatedOn=TIMES,
            CourseId=RECORD_IDS,
            CourseTitle=st.none() | TEXTS,
            CoworkerId=RECORD_IDS,
            CoworkerCoworkerType=KINDS,
            CoworkerFullName=st.none() | TEXTS,
            CoworkerCompanyName=st.none() | TEXTS,
            CoworkerTeamNames=st.none() | TEXTS,
            LastCompletedLessonId=st.none() | RECORD_IDS,
            LastAccess=st.none() | st.just("") | TIMES,
            Approved=st.booleans(),
            Blocked=st.booleans(),
        ),
    ),
    st.tuples(
        st.just(Entity.COMPLETED_LESSON),
        objects(
            CreatedOn=TIMES,
            CourseLessonId=RECORD_IDS,
            CourseLessonTitle=st.none() | TEXTS,
            CourseMemberId=RECORD_IDS,
            CourseMemberCoworkerFullName=st.none() | TEXTS,
        ),
    ),
    st.tuples(
        st.just(Entity.LESSON),
        objects(
            UniqueId=st.none() | TEXTS,
            CourseId=RECORD_IDS,
            SectionId=st.none() | RECORD_IDS,
            SectionDisplayOrder=NUMBERS,
            Title=TEXTS,
            Active=st.booleans(),
            DisplayOrder=NUMBERS,
            UnlockType=choice(1, 2, 3),
            UnlockAfterDays=NUMBERS,
            CompletionType=choice(1, 2, 3, 4),
        ),
    ),
    st.tuples(
        st.just(Entity.COURSE),
        objects(
            UniqueId=st.none() | TEXTS,
            BusinessId=RECORD_IDS,
            BusinessName=st.none() | TEXTS,
            Title=TEXTS,
            SummaryText=st.none() | TEXTS,
            HostFullName=st.none() | TEXTS,
            GroupName=st.none() | TEXTS,
            Active=st.booleans(),
            Visibility=choice(None, 1, 2, 3, 4),
        ),
    ),
    st.tuples(
        st.just(Entity.COWORKER),
        objects(
            CoworkerType=KINDS,
            FullName=TEXTS,
            GuessedFirstName=st.none() | TEXTS,
            Email=st.none() | TEXTS,
            Active=st.booleans(),
            Archived=st.booleans(),
            SimpleTimeZoneId=st.none() | RECORD_IDS,
        ),
    ),
)


@given(SENT)
def test_a_record_comes_back_equal_from_its_json(sent: tuple[Entity, dict[str, Any]]) -> None:
    entity, fields = sent
    record = load_record(entity, fields)
    kept = json.loads(json.dumps(dump_record(entity, record), allow_nan=False))
    assert load_record(entity, kept) == record


def test_every_lesson_field_has_its_own_place() -> None:
    assert load_record(Entity.LESSON, lesson_json()) == Lesson(
        record_id=1416023860,
        unique_id="7f90bd59-e5da-4194-b15d-75985abb7b54",
        updated_at=MOMENT,
        course_id=1234,
        section_id=31,
        section_order=2,
        title="Your first invoice",
        active=True,
        order=3,
        unlock_type=UnlockType.IMMEDIATE,
        unlock_after_days=0,
        completion_type=CompletionType.BUTTON,
    )


def test_a_page_of_a_list_is_read() -> None:
    page = load_page({"Records": [{"Id": 1}, {}], "HasNextPage": True, "TotalItems": 40})
    assert page.rows == [{"Id": 1}, {}]
    assert page.has_next


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "Not found",
        [],
        {},
        {"Records": []},
        {"HasNextPage": False},
        {"Records": None, "HasNextPage": False},
        {"Records": {}, "HasNextPage": False},
        {"Records": [7], "HasNextPage": False},
        {"Records": [], "HasNextPage": "false"},
        {"Records": [], "HasNextPage": 0},
    ],
)
def test_what_is_no_page_is_refused(answer: object) -> None:
    with pytest.raises(RecordUnreadable, match="not a page of a list"):
        load_page(answer)


def test_a_token_is_read_and_never_shown() -> None:
    token = load_token(
        {
            "access_token": "sesame",
            "token_type": "bearer",
            "expires_in": 604_799,
            "refresh_token": "open",
        }
    )
    assert (token.access_token, token.refresh_token, token.expires_in) == (
        "sesame",
        "open",
        604_799,
    )
    assert repr(token) == "Token(expires_in=604799)"


@pytest.mark.parametrize("absent", [{}, {"refresh_token": None}, {"refresh_token": ""}])
def test_a_token_may_come_without_a_second_and_without_its_life(absent: dict[str, Any]) -> None:
    token = load_token({"access_token": "sesame", **absent})
    assert token.refresh_token is None
    assert 60 <= token.expires_in <= 3_600


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "sesame",
        [],
        {},
        {"access_token": ""},
        {"access_token": None},
        {"access_token": 7},
        {"access_token": "sesame", "refresh_token": 7},
        {"access_token": "sesame", "expires_in": "604799"},
        {"access_token": "sesame", "expires_in": 1.5},
        {"access_token": "sesame", "expires_in": True},
        {"access_token": "sesame", "expires_in": None},
        {"access_token": "sesame", "expires_in": 10**400},  # no time could hold its end
    ],
)
def test_what_is_no_token_is_refused_without_repeating_it(answer: object) -> None:
    with pytest.raises(RecordUnreadable) as caught:
        load_token(answer)
    assert str(caught.value) == "not a token"
    assert not caught.value.fields
