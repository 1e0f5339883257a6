"""What a record looks like when the switches about records are on."""

import html
from collections.abc import Callable
from functools import partial

from sandbox.misbehaviour.board import Board
from sandbox.misbehaviour.switch import Settings
from sandbox.wire import BY_ID_ONLY, LEFT_OUT_OF_LISTS, MOMENTS, Moment, Record, spelled
from schemas.entity import Entity
from schemas.vocabulary import CoworkerKind

_TITLES = frozenset(
    {
        *("Title", "CourseTitle", "SectionTitle", "CourseLessonTitle", "LastCompletedLessonTitle"),
        *("SummaryText", "GroupName", "BusinessName"),
    }
)
_OPTIONAL = frozenset({"CustomFields", "LocalizationDetails", "SystemId", "ToStringText"})

Way = Callable[[Entity, Record, Settings], Record]


def shown(board: Board, entity: Entity, record: Record) -> Record:
    """Return the record as GET by Id shows it."""
    return spelled(changed(board, entity, record), _moment(board))


def row_maker(board: Board, entity: Entity, partial_switch: str) -> Callable[[Record], Record]:
    """Return what makes a row of a list, or one of several by Id, out of a record."""
    found = board.now(partial_switch)
    left_out = LEFT_OUT_OF_LISTS
    if found is not None and found.is_about(entity):
        left_out = left_out | found.words("fields")
    return partial(_row, entity, left_out, _moment(board), _ways_on(board))


def changed(board: Board, entity: Entity, record: Record) -> Record:
    """Return the record as it would be if the source wrote it so."""
    return _changed(_ways_on(board), entity, record)


def _ways_on(board: Board) -> list[tuple[Way, Settings]]:
    found = ((way, board.now(name)) for name, way in _WAYS.items())
    return [(way, settings) for way, settings in found if settings is not None]


def _changed(ways: list[tuple[Way, Settings]], entity: Entity, record: Record) -> Record:
    for way, settings in ways:
        record = way(entity, record, settings)
    return record


def _row(
    entity: Entity,
    left_out: frozenset[str],
    moment: Moment,
    ways: list[tuple[Way, Settings]],
    record: Record,
) -> Record:
    kept = {
        name: None if name in BY_ID_ONLY else value
        for name, value in _changed(ways, entity, record).items()
        if name not in left_out
    }
    return spelled(kept, moment)


def _moment(board: Board) -> Moment:
    digits = "fractions" if board.now("fractions") is not None else "none"
    return MOMENTS[digits, board.now("no-zone") is None]


def _kind_as_number(entity: Entity, record: Record, _: Settings) -> Record:
    kind = str(record.get("CoworkerCoworkerType")).upper()
    if entity is not Entity.COURSE_MEMBER or kind not in CoworkerKind.__members__:
        return record
    return {**record, "CoworkerCoworkerType": CoworkerKind[kind].value}


def _html_in_titles(_: Entity, record: Record, __: Settings) -> Record:
    marked = {
        name: f'<b onclick="alert(1)">{html.escape(text)}</b><script>alert("hello")</script>'
        for name, text in record.items()
        if name in _TITLES and isinstance(text, str)
    }
    return {**record, **marked}


def _no_guessed_name(_: Entity, record: Record, __: Settings) -> Record:
    return {name: value for name, value in record.items() if not name.startswith("Guessed")}


def _salutation(entity: Entity, record: Record, settings: Settings) -> Record:
    if entity is not Entity.COWORKER:
        return record
    first_name = record["GuessedFirstName"] or str(record["FullName"]).split(maxsplit=1)[0]
    holds_title = settings.text("holds") == "title"
    return {**record, "Salutation": "Dr" if holds_title else first_name}


def _incomplete_person(entity: Entity, record: Record, settings: Settings) -> Record:
    if entity is not Entity.COWORKER:
        return record
    lacking: dict[str, Record] = {
        "account": {"UserId": None, "UserFullName": None, "UserActive": None},
        "email": {"Email": ""},
        "active": {"Active": False},
        "not-archived": {"Archived": True},
    }
    return {**record, **lacking[settings.text("lacks")]}


def _other_fields(_: Entity, record: Record, __: Settings) -> Record:
    known = {name: value for name, value in record.items() if name not in _OPTIONAL}
    return {**known, "AddedLastWeek": {"Deep": [1, None]}, "Ünïcode ✓": 0.09000}


_WAYS: dict[str, Way] = {
    "kind-as-number": _kind_as_number,
    "html-in-titles": _html_in_titles,
    "salutation": _salutation,
    "no-guessed-name": _no_guessed_name,
    "incomplete-person": _incomplete_person,
    "other-fields": _other_fields,
}
