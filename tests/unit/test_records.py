"""Which fields each kind of record has: what is needed, what may be missing, what is refused."""

from typing import Any

import pytest

from schemas.entity import CompletionType, Entity, UnlockType
from schemas.errors import RecordUnreadable
from schemas.records import SCHEMAS, Lesson, dump_record, is_whole, load_record
from tests.builders.source import BUILDERS, MOMENT, lesson_json

LARGEST = 2**63 - 1
IDS = {
    Entity.COURSE_MEMBER: ["Id", "CourseId", "CoworkerId"],
    Entity.COMPLETED_LESSON: ["Id", "CourseLessonId", "CourseMemberId"],
    Entity.LESSON: ["Id", "CourseId"],
    Entity.COURSE: ["Id", "BusinessId"],
    Entity.COWORKER: ["Id"],
    Entity.SECTION: ["Id", "CourseId"],
    Entity.BUSINESS: ["Id"],
    Entity.USER: ["Id"],
    Entity.LANGUAGE: ["Id"],
    Entity.TIME_ZONE: ["Id"],
    Entity.WEB_HOOK: ["Id", "BusinessId"],
    Entity.MESSAGE: ["Id", "CoworkerId"],
}
OTHER_REQUIRED = {
    Entity.COURSE_MEMBER: ["CreatedOn", "UpdatedOn", "Approved", "Blocked"],
    Entity.COMPLETED_LESSON: ["CreatedOn", "UpdatedOn"],
    Entity.LESSON: ["UpdatedOn", "Title", "Active", "CompletionType"],
    Entity.COURSE: ["UpdatedOn", "Title", "Active"],
    Entity.COWORKER: ["UpdatedOn", "FullName"],
    Entity.SECTION: ["UpdatedOn", "Title", "Active"],
    Entity.BUSINESS: ["UpdatedOn", "Name"],
    Entity.USER: ["UpdatedOn"],
    Entity.LANGUAGE: ["UpdatedOn"],
    Entity.TIME_ZONE: ["UpdatedOn", "Name"],
    Entity.WEB_HOOK: ["UpdatedOn", "Action", "Active"],
    Entity.MESSAGE: ["CreatedOn", "UpdatedOn"],
}
# None when missing, null or empty
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
    Entity.LESSON: {
        "UniqueId": "unique_id",
        "SectionId": "section_id",
        "UnlockType": "unlock_type",
    },
    Entity.COURSE: {
        "UniqueId": "unique_id",
        "BusinessName": "business_name",
        "SummaryText": "summary",
        "HostId": "host_id",
        "HostFullName": "host_name",
        "GroupName": "group_name",
        "Visibility": "visibility",
        "DisplayOrder": "order",
    },
    Entity.COWORKER: {
        "CoworkerType": "kind",
        "GuessedFirstName": "first_name",
        "Email": "email",
        "SimpleTimeZoneId": "time_zone_id",
        "UserId": "user_id",
        "InvoicingBusinessId": "home_business_id",
    },
    Entity.SECTION: {"UnlockType": "unlock_type"},
    Entity.BUSINESS: {
        "WebAddress": "web_address",
        "RootLocationId": "root_location_id",
        "SimpleTimeZoneId": "time_zone_id",
        "SpaceWebsiteLanguageId": "language_id",
        "SpaceWebsiteLanguageCulture": "culture",
    },
    Entity.USER: {"PreferredLanguageId": "preferred_language_id"},
    Entity.LANGUAGE: {"Name": "name", "Culture": "culture"},
    Entity.TIME_ZONE: {},
    Entity.WEB_HOOK: {
        "Name": "name",
        "URL": "url",
        "LastError": "last_error",
        "LastTrigger": "last_trigger_at",
    },
    Entity.MESSAGE: {"ReminderUniqueId": "reminder_id"},
}
# Something else than None when missing
DEFAULTS: dict[Entity, dict[str, tuple[str, object]]] = {
    Entity.LESSON: {
        "SectionDisplayOrder": ("section_order", 0),
        "DisplayOrder": ("order", 0),
        "UnlockAfterDays": ("unlock_after_days", 0),
    },
    Entity.COWORKER: {"Active": ("active", True), "Archived": ("archived", False)},
    Entity.SECTION: {
        "DisplayOrder": ("order", 0),
        "UnlockAfterDays": ("unlock_after_days", 0),
    },
    Entity.BUSINESS: {"Suspended": ("suspended", False)},
    Entity.USER: {"Active": ("active", True)},
    Entity.WEB_HOOK: {"ErrorCount": ("error_count", 0)},
    Entity.MESSAGE: {"Incoming": ("incoming", False)},
}
FLAGS = [
    (Entity.COURSE_MEMBER, "Approved"),
    (Entity.COURSE_MEMBER, "Blocked"),
    (Entity.LESSON, "Active"),
    (Entity.COURSE, "Active"),
    (Entity.COWORKER, "Active"),
    (Entity.COWORKER, "Archived"),
    (Entity.SECTION, "Active"),
    (Entity.BUSINESS, "Suspended"),
    (Entity.USER, "Active"),
    (Entity.WEB_HOOK, "Active"),
    (Entity.MESSAGE, "Incoming"),
]
NUMBERS_OR_NULL = [
    (Entity.LESSON, "SectionDisplayOrder"),
    (Entity.LESSON, "DisplayOrder"),
    (Entity.LESSON, "UnlockAfterDays"),
    (Entity.SECTION, "DisplayOrder"),
    (Entity.SECTION, "UnlockAfterDays"),
    (Entity.WEB_HOOK, "ErrorCount"),
]
WHOLE_NUMBERS = [
    *NUMBERS_OR_NULL,
    (Entity.LESSON, "UnlockType"),
    (Entity.LESSON, "CompletionType"),
    (Entity.COURSE, "Visibility"),
    (Entity.COURSE, "DisplayOrder"),
    (Entity.SECTION, "UnlockType"),
    (Entity.WEB_HOOK, "Action"),
]
REQUIRED_TEXTS = [
    (Entity.LESSON, "Title"),
    (Entity.COURSE, "Title"),
    (Entity.COWORKER, "FullName"),
    (Entity.SECTION, "Title"),
    (Entity.BUSINESS, "Name"),
    (Entity.TIME_ZONE, "Name"),
]


def refused(entity: Entity, fields: object) -> RecordUnreadable:
    with pytest.raises(RecordUnreadable) as caught:
        load_record(entity, fields)
    return caught.value


def pairs(table: dict[Entity, Any]) -> list[tuple[Entity, str]]:
    return [(entity, key) for entity, keys in table.items() for key in keys]


def test_the_tables_above_have_every_field_once() -> None:
    for entity in Entity:
        named = [
            *IDS[entity],
            *OTHER_REQUIRED[entity],
            *OPTIONAL[entity],
            *DEFAULTS.get(entity, {}),
        ]
        read = [field.data_key for field in SCHEMAS[entity].fields.values()]
        assert sorted(named) == sorted(map(str, read))


@pytest.mark.parametrize("entity", Entity)
def test_unknown_keys_are_ignored(entity: Entity) -> None:
    usual = load_record(entity, BUILDERS[entity]())
    assert load_record(entity, BUILDERS[entity](Brand={"new": [1]}, record_id=5)) == usual


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


@pytest.mark.parametrize(("entity", "key"), NUMBERS_OR_NULL)
def test_a_number_that_only_refines_may_be_null(entity: Entity, key: str) -> None:
    record = load_record(entity, BUILDERS[entity](**{key: None}))
    assert getattr(record, DEFAULTS[entity][key][0]) is None


@pytest.mark.parametrize(("entity", "key"), pairs(IDS) + pairs(OTHER_REQUIRED))
def test_a_required_field_is_refused_when_missing_or_null(entity: Entity, key: str) -> None:
    fields = BUILDERS[entity]()
    assert list(refused(entity, fields | {key: None}).fields) == [key]
    del fields[key]
    error = refused(entity, fields)
    assert error.fields == {key: ["Missing data for required field."]}
    assert str(error) == f"{entity}: unreadable field {key}"


@pytest.mark.parametrize(("entity", "key"), pairs(IDS))
def test_an_id_is_a_whole_number_from_one_and_of_64_bits(entity: Entity, key: str) -> None:
    for written in (0, -1, 2**63, 10**400, 7.0, float("nan"), True, "7", "", " 7 ", [7], {"Id": 7}):
        error = refused(entity, BUILDERS[entity](**{key: written}))
        assert list(error.fields) == [key], written
    load_record(entity, BUILDERS[entity](**{key: LARGEST}))


@pytest.mark.parametrize(("entity", "key"), FLAGS)
def test_a_flag_is_only_true_or_false(entity: Entity, key: str) -> None:
    others: list[object] = ["yes", "true", "", 1, 0, 1.0, [], {}]
    for written in others:
        error = refused(entity, BUILDERS[entity](**{key: written}))
        assert error.fields == {key: ["Not a valid boolean."]}, written


@pytest.mark.parametrize(("entity", "key"), WHOLE_NUMBERS)
def test_a_number_is_only_a_whole_number(entity: Entity, key: str) -> None:
    others: list[object] = [True, 1.0, 1.5, float("inf"), "1", [1], {}]
    for written in others:
        error = refused(entity, BUILDERS[entity](**{key: written}))
        assert list(error.fields) == [key], written


@pytest.mark.parametrize("written", [7, True, ["x"], {"a": "b"}])
@pytest.mark.parametrize(
    ("entity", "key"),
    [
        *REQUIRED_TEXTS,
        (Entity.COURSE_MEMBER, "CourseTitle"),
        (Entity.COMPLETED_LESSON, "CourseLessonTitle"),
        (Entity.LANGUAGE, "Culture"),
        (Entity.WEB_HOOK, "URL"),
    ],
)
def test_a_text_is_a_text(entity: Entity, key: str, written: object) -> None:
    error = refused(entity, BUILDERS[entity](**{key: written}))
    assert error.fields == {key: ["Not a valid string."]}


@pytest.mark.parametrize(("entity", "key"), REQUIRED_TEXTS)
def test_a_required_text_may_be_empty(entity: Entity, key: str) -> None:
    assert dump_record(entity, load_record(entity, BUILDERS[entity](**{key: ""})))[key] == ""


@pytest.mark.parametrize("entity", Entity)
def test_a_value_that_is_no_object_is_no_record(entity: Entity) -> None:
    others: list[object] = [None, 7, "Not found", [], [{}], True]
    for written in others:
        assert str(refused(entity, written)) == f"{entity}: not a JSON object", written


@pytest.mark.parametrize("entity", Entity)
def test_an_error_names_every_wrong_field_and_no_value(entity: Entity) -> None:
    keys = [*IDS[entity], *OTHER_REQUIRED[entity], *OPTIONAL[entity]]
    wrong = {key: ["sesame-4711"] for key in keys}
    error = refused(entity, BUILDERS[entity](**wrong))
    assert set(error.fields) == set(keys)
    assert "sesame" not in f"{error} {error.fields}"
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize(
    ("entity", "key"),
    [
        (entity, key)
        for entity in Entity
        for key in dump_record(entity, load_record(entity, BUILDERS[entity]()))
    ],
)
def test_a_row_that_lacks_any_field_we_read_is_not_whole(entity: Entity, key: str) -> None:
    row = BUILDERS[entity]()
    assert is_whole(entity, row)
    assert is_whole(entity, row | {key: None})  # null is said; missing is not
    del row[key]
    assert not is_whole(entity, row)


@pytest.mark.parametrize("entity", Entity)
def test_a_row_is_complete_without_fields_that_we_do_not_read(entity: Entity) -> None:
    read = dump_record(entity, load_record(entity, BUILDERS[entity]()))
    assert is_whole(entity, read)
    assert not is_whole(entity, {})


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
