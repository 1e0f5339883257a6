"""What a delivery says changed, on both borders, and how every absurd one is refused."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.entity import Entity, followed_entity
from schemas.errors import TooLarge, Unreadable
from schemas.notification import MOST_NOTIFICATIONS, Notification, parse_hook, parse_relay

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
NOT_ROWS: list[tuple[bytes, dict[Any, Any]]] = [
    (b"7", {0: ["Not an object."]}),
    (b"null", {0: ["Not an object."]}),
    (b"NaN", {0: ["Not an object."]}),
    (b'"{}"', {0: ["Not an object."]}),
    (b"[]", {"body": ["Holds no notification."]}),
    (b"[[]]", {0: ["Not an object."]}),
    (b'[[{"Id": 7}]]', {0: ["Not an object."]}),
    (b'[{"Id": 7}, 8, {"Id": 9}, null]', {1: ["Not an object."], 3: ["Not an object."]}),
]


def hook(body: bytes | str) -> list[Notification]:
    content = body.encode() if isinstance(body, str) else body
    return parse_hook(content, MEMBER, recognise=False)


@pytest.mark.parametrize(("written", "record_id"), GOOD_IDS)
def test_a_good_id_is_read_on_both_borders(written: str, record_id: int) -> None:
    expected = [Notification(MEMBER, record_id)]
    assert hook(f'[{{"Id": {written}}}]') == expected
    assert parse_relay(f'{{"entity": "CourseMember", "id": {written}}}'.encode()) == expected


@pytest.mark.parametrize("written", BAD_IDS, ids=range(len(BAD_IDS)))
def test_a_bad_id_is_refused_on_both_borders(written: str) -> None:
    with pytest.raises(Unreadable) as from_hook:
        hook(f'{{"Id": {written}}}')
    assert list(from_hook.value.fields) == [0]
    assert list(from_hook.value.fields[0]) == ["Id"]
    with pytest.raises(Unreadable) as from_relay:
        parse_relay(f'{{"entity": "CourseMember", "id": {written}}}'.encode())
    assert list(from_relay.value.fields[0]) == ["id"]
    inner = written.strip('"[]{}')
    if len(inner) > 6:  # shorter ones stand in any sentence by chance
        assert inner not in f"{from_hook.value} {from_hook.value.fields}"


@pytest.mark.parametrize("row", ["{}", '{"id": 7}', '{"ID": 7}', '{"Id ": 7}'])
def test_an_id_that_is_missing_is_said_to_be_missing(row: str) -> None:
    with pytest.raises(Unreadable) as caught:
        hook(f'[{{"Id": 1}}, {row}]')
    assert caught.value.fields == {1: {"Id": ["Missing."]}}


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_not_json_is_unreadable(body: bytes) -> None:
    for parse in (hook, parse_relay):
        with pytest.raises(Unreadable, match="not JSON") as caught:
            parse(body)
        assert caught.value.fields == {"body": ["Not valid JSON."]}


@pytest.mark.parametrize(("body", "fields"), NOT_ROWS)
def test_what_is_not_an_object_or_a_list_of_objects_is_unreadable(
    body: bytes, fields: dict[Any, Any]
) -> None:
    for parse in (hook, parse_relay):
        with pytest.raises(Unreadable) as caught:
            parse(body)
        assert caught.value.fields == fields


def test_a_byte_order_mark_before_json_is_tolerated() -> None:
    assert hook(b'\xef\xbb\xbf{"Id": 7}') == [Notification(MEMBER, 7)]


def test_an_object_and_a_list_of_it_say_the_same() -> None:
    assert hook('{"Id": 7}') == hook('[{"Id": 7}]') == [Notification(MEMBER, 7)]


def test_other_fields_may_hold_anything() -> None:
    deep = "[" * 300 + "]" * 300
    assert hook(f'{{"Id": 7, "Name": "\\ud800", "More": {deep}, "N": NaN}}') == [
        Notification(MEMBER, 7)
    ]


def test_one_bad_row_refuses_the_whole_delivery_and_every_bad_one_is_named() -> None:
    with pytest.raises(Unreadable) as caught:
        hook('[{"Id": 0}, {"Id": 7}, {}]')
    assert sorted(caught.value.fields) == [0, 2]


def test_a_thousand_notifications_are_taken_and_one_more_is_too_large() -> None:
    rows = [{"entity": "CourseMember", "id": 1, "Id": 1}] * MOST_NOTIFICATIONS
    assert len(hook(json.dumps(rows))) == MOST_NOTIFICATIONS == 1000
    for parse in (hook, parse_relay):
        with pytest.raises(TooLarge, match="1000"):
            parse(json.dumps([*rows, *rows[:1]]).encode())


def test_a_thousand_and_one_of_anything_are_too_large() -> None:
    with pytest.raises(TooLarge):
        hook(json.dumps([None] * 1001))


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
    assert parse_hook(body, None, recognise=True) == [Notification(entity, 7)]
    assert parse_hook(body, None, recognise=False) == [Notification(None, 7)]
    assert parse_hook(body, LESSON, recognise=True) == [Notification(LESSON, 7)]


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


def test_a_relay_may_tell_of_several_records_of_both_kinds() -> None:
    body = json.dumps([{"entity": "coursemembers", "id": 7}, {"entity": LESSON, "id": "8"}])
    assert parse_relay(body.encode()) == [Notification(MEMBER, 7), Notification(LESSON, 8)]


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
def test_a_relay_is_told_every_mistake_by_field(row: dict[str, Any], fields: set[str]) -> None:
    good = {"entity": "CourseMember", "id": 1}
    with pytest.raises(Unreadable) as caught:
        parse_relay(json.dumps([good, row]).encode())
    assert set(caught.value.fields) == {1}
    assert set(caught.value.fields[1]) == fields


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
def test_whatever_comes_is_read_or_refused_and_nothing_else(body: bytes) -> None:
    for parse in (hook, parse_relay):
        try:
            found = parse(body)
        except (Unreadable, TooLarge):
            continue
        assert found
        assert all(1 <= one.record_id <= LARGEST for one in found)
