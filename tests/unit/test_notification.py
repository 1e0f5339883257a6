"""Parsing deliveries on both routes, and how every invalid one is refused."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.entity import Entity, followed_entity
from schemas.errors import Unreadable
from schemas.notification import MAX_NAMED_ERRORS, Notification, Statements, parse_hook, parse_relay
from schemas.records import SCHEMAS

LARGEST = 2**63 - 1
MEMBER, LESSON = Entity.COURSE_MEMBER, Entity.COMPLETED_LESSON

GOOD_IDS: list[tuple[str, int]] = [
    ("1", 1),
    ("1416023860", 1416023860),
    (str(LARGEST), LARGEST),
    ('"7"', 7),  # relays turn numbers into text
    ('"007"', 7),
    (f'"{LARGEST}"', LARGEST),
]
BAD_IDS = [
    "null",
    "0",
    "-1",
    '"0"',
    '"-7"',
    '"+7"',
    '""',
    "7.0",
    "7.5",
    '"7.0"',
    "1e3",
    "1e400",
    "NaN",
    "Infinity",
    "true",
    "false",
    '"seven"',
    '"\u0667"',  # an Arabic seven
    '"\u00b2"',
    '"\uff17"',
    '" 7 "',
    '"7\\n"',
    '"7_0"',
    '"0x7"',
    '"\\ud800"',  # half a surrogate pair
    '"7\\u0000"',
    str(2**63),
    f'"{2**63}"',
    "9" * 4000,  # more than any number, and few enough digits for Python to read it
    f'"{"9" * 5000}"',
    f'"{"0" * 5000}7"',
    "[]",
    "[7]",
    "{}",
    '{"Id": 7}',
]
NOT_JSON = [
    b"",
    b" \n",
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbf\xef\xbb\xbf{}",
    b"Id=7",
    b"{'Id': 7}",
    b'{"Id": 7',
    b'{"Id": 7}{"Id": 8}',
    b'{"Id": 07}',
    b'{"Id": "7\n"}',
    b'\xff\xfe{"Id": 7}',
    '{"Id": 7}'.encode("utf-16"),
    b'{"Id": 7, "Name": "\xe9"}',  # Latin-1
    b'{"Id": 7, "Name": "\xed\xa0\x80"}',  # half a surrogate pair in bytes
    b'{"Id": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"Id":' * 100_000,
    b'{"Id":' * 100_000 + b"1" + b"}" * 100_000,
]
NOT_OBJECTS: list[tuple[bytes, dict[Any, Any]]] = [
    (b"7", {0: ["Not an object."]}),
    (b"null", {0: ["Not an object."]}),
    (b"NaN", {0: ["Not an object."]}),
    (b'"{}"', {0: ["Not an object."]}),
    (b"[[]]", {0: ["Not an object."]}),
    (b'[[{"Id": 7}]]', {0: ["Not an object."]}),
    (b'[{"Id": 7}, 8, {"Id": 9}, null]', {1: ["Not an object."], 3: ["Not an object."]}),
]


def read_hook(body: bytes | str) -> Statements:
    content = body.encode() if isinstance(body, str) else body
    return parse_hook(content, MEMBER, recognise=False)


def hook(body: bytes | str) -> list[Notification]:
    said = read_hook(body)
    assert (said.unreadable, said.errors) == (0, {})
    return said.notifications


@pytest.mark.parametrize(("written", "record_id"), GOOD_IDS)
def test_a_valid_id_is_read_on_both_routes(written: str, record_id: int) -> None:
    expected = [Notification(MEMBER, record_id)]
    assert hook(f'[{{"Id": {written}}}]') == expected
    said = parse_relay(f'{{"entity": "CourseMember", "id": {written}}}'.encode())
    assert (said.notifications, said.unreadable) == (expected, 0)


@pytest.mark.parametrize("written", BAD_IDS, ids=range(len(BAD_IDS)))
def test_an_invalid_id_is_refused_on_both_routes(written: str) -> None:
    from_hook = read_hook(f'{{"Id": {written}}}')
    assert list(from_hook.errors) == [0]
    assert list(from_hook.errors[0]) == ["Id"]
    from_relay = parse_relay(f'{{"entity": "CourseMember", "id": {written}}}'.encode())
    assert list(from_relay.errors[0]) == ["id"]
    assert from_hook.notifications == from_relay.notifications == []
    inner = written.strip('"[]{}')
    if len(inner) > 6:  # shorter ones stand in any sentence by chance
        assert inner not in f"{from_hook.errors}"


@pytest.mark.parametrize("row", ["{}", '{"id": 7}', '{"ID": 7}', '{"Id ": 7}'])
def test_a_missing_id_is_reported_as_missing(row: str) -> None:
    assert read_hook(f'[{{"Id": 1}}, {row}]').errors == {1: {"Id": ["Missing."]}}


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_not_json_is_unreadable(body: bytes) -> None:
    for parse in (read_hook, parse_relay):
        with pytest.raises(Unreadable, match="not JSON") as caught:
            parse(body)
        assert caught.value.fields == {"body": ["Not valid JSON."]}


def test_an_empty_list_is_unreadable() -> None:
    for parse in (read_hook, parse_relay):
        with pytest.raises(Unreadable, match="empty") as caught:
            parse(b"[]")
        assert caught.value.fields == {"body": ["Holds no notification."]}


@pytest.mark.parametrize(("body", "fields"), NOT_OBJECTS)
def test_a_row_that_is_no_object_is_reported_by_position(
    body: bytes, fields: dict[Any, Any]
) -> None:
    said = read_hook(body)
    assert (said.errors, said.unreadable, said.is_plain) == (fields, len(fields), False)
    refused = parse_relay(body)
    assert {place: refused.errors[place] for place in fields} == fields


def test_a_byte_order_mark_before_json_is_tolerated() -> None:
    assert hook(b'\xef\xbb\xbf{"Id": 7}') == [Notification(MEMBER, 7)]


def test_an_object_and_a_list_of_it_say_the_same() -> None:
    assert hook('{"Id": 7}') == hook('[{"Id": 7}]') == [Notification(MEMBER, 7)]


def test_other_fields_may_hold_anything() -> None:
    deep = "[" * 300 + "]" * 300
    assert hook(f'{{"Id": 7, "Name": "\\ud800", "More": {deep}, "N": NaN}}') == [
        Notification(MEMBER, 7)
    ]


def test_the_readable_rows_are_accepted_and_each_other_is_named() -> None:
    said = read_hook('[{"Id": 0}, {"Id": 7}, {}, {"Id": 8}]')
    assert said.notifications == [Notification(MEMBER, 7), Notification(MEMBER, 8)]
    assert (sorted(said.errors), said.unreadable) == ([0, 2], 2)


def test_all_rows_of_a_body_are_accepted_and_only_some_errors_named() -> None:
    rows = [{"entity": "CourseMember", "id": number} for number in range(1, 20_001)]
    assert len(parse_relay(json.dumps(rows).encode()).notifications) == 20_000
    said = read_hook(json.dumps([None] * 20_000))
    assert (len(said.errors), said.unreadable) == (MAX_NAMED_ERRORS, 20_000)


WHOLE_MEMBER = {
    "Id": 7,
    "UniqueId": "7f90bd59-e5da-4194-b15d-75985abb7b54",
    "CourseId": 1,
    "CourseTitle": "Ceramics",
    "CoworkerId": 2,
    "CoworkerFullName": "Zoë Ångström",
    "LastAccess": None,
    "Approved": True,
    "CustomFields": None,
}


@pytest.mark.parametrize("row", [WHOLE_MEMBER, {"Id": 7}])
def test_a_body_with_plain_values_in_known_fields_is_plain(row: object) -> None:
    assert read_hook(json.dumps(row)).is_plain
    assert read_hook(json.dumps([row, WHOLE_MEMBER])).is_plain


@pytest.mark.parametrize(
    "row",
    [
        {**WHOLE_MEMBER, "AccessPincode": "1234"},
        {**WHOLE_MEMBER, "CustomFields": "door 1234"},
        {**WHOLE_MEMBER, "LocalizationDetails": {"pin": "1234"}},
        {**WHOLE_MEMBER, "CourseTitle": {"pin": "1234"}},
        {**WHOLE_MEMBER, "CourseTitle": ["1234"]},
        {"Id": None, "CourseId": 1},
        "1234",
    ],
)
def test_one_row_with_other_content_makes_a_body_not_plain(row: object) -> None:
    for rows in ([row], [WHOLE_MEMBER, row], [row, WHOLE_MEMBER]):
        assert not read_hook(json.dumps(rows)).is_plain


def test_a_field_given_twice_hides_a_value_so_the_body_is_not_plain() -> None:
    assert not read_hook('{"Id": 7, "CourseTitle": {"pin": 1}, "CourseTitle": "x"}').is_plain
    assert not parse_relay(b'{"entity": "1234", "entity": "CourseMember", "id": 7}').is_plain


def test_a_record_of_a_kind_we_do_not_follow_is_not_plain() -> None:
    assert not parse_hook(b'{"Id": 7}', None, recognise=False).is_plain


def test_every_field_that_we_read_of_a_record_is_known_to_be_one_of_it() -> None:
    for entity in (MEMBER, LESSON):
        names = {field.data_key for field in SCHEMAS[entity].fields.values()}
        row = {str(name): 7 for name in names if name != "CustomFields"}
        assert parse_hook(json.dumps(row).encode(), entity, recognise=False).is_plain


@pytest.mark.parametrize(
    ("fields", "entity"),
    [
        ({"CourseId": 1, "CoworkerId": 2}, MEMBER),
        ({"CourseLessonId": 1, "CourseMemberId": 2}, LESSON),
        ({"CourseId": 1}, None),  # a CourseLesson has it too
        ({"CourseMemberId": 2}, None),
        ({}, None),
        ({"FullName": "Ana"}, None),
    ],
)
def test_the_entity_is_recognised_by_its_fields_only_where_nothing_named_it(
    fields: dict[str, int], entity: Entity | None
) -> None:
    body = json.dumps([{"Id": 7, **fields}]).encode()
    found = [
        parse_hook(body, named, recognise=recognise).notifications
        for named, recognise in ((None, True), (None, False), (LESSON, True))
    ]
    assert found == [[Notification(one, 7)] for one in (entity, None, LESSON)]


@pytest.mark.parametrize(
    ("name", "entity"),
    [
        ("CourseMember", MEMBER),
        ("coursemembers", MEMBER),
        (" course_member ", MEMBER),
        ("COURSE-COMPLETED-LESSONS", LESSON),
        ("CourseCompletedLesson", LESSON),
        ("Course", None),
        ("Coworker", None),
        ("CourseMemberss", None),
        ("", None),
    ],
)
def test_an_entity_has_several_spellings(name: str, entity: Entity | None) -> None:
    assert followed_entity(name) is entity


def test_a_relay_may_report_several_records_of_both_kinds() -> None:
    body = json.dumps([{"entity": "coursemembers", "id": 7}, {"entity": LESSON, "id": "8"}])
    said = parse_relay(body.encode())
    assert said.notifications == [Notification(MEMBER, 7), Notification(LESSON, 8)]
    assert said.is_plain


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"id": 7}, {"entity"}),
        ({"entity": None, "id": 7}, {"entity"}),
        ({"entity": ["CourseMember"], "id": 7}, {"entity"}),
        ({"entity": "Booking", "id": 7}, {"entity"}),
        ({"entity": "CourseMember"}, {"id"}),
        ({"entity": "CourseMember", "id": 7, "kind": "x"}, {"kind"}),
        ({"entity": "CourseMember", "id": 7, "\ud800": 1}, {"\ud800"}),
        ({"Entity": "CourseMember", "Id": 0}, {"entity", "id", "Entity", "Id"}),
    ],
)
def test_a_relay_gets_every_mistake_by_field(row: dict[str, Any], fields: set[str]) -> None:
    good = {"entity": "CourseMember", "id": 1}
    said = parse_relay(json.dumps([good, row]).encode())
    assert said.notifications == [Notification(MEMBER, 1)]
    assert set(said.errors) == {1}
    assert set(said.errors[1]) == fields


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["Id", "id", "entity", "x"]) | st.text(), inner)
    ),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"\xff")
@example(b'{"Id": ' + b"[" * 5000)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    for parse in (read_hook, parse_relay):
        try:
            said = parse(body)
        except Unreadable:
            continue
        assert said.notifications or said.unreadable
        assert all(1 <= one.record_id <= LARGEST for one in said.notifications)
