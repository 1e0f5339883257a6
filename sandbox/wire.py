"""How a record is written: one spelling when it is read, another in a list or a delivery.

The same time has no fraction on GET and seven digits in a delivery (contract, section 2.9), so that
a comparison of the texts fails. Switches about records change the spelling further.
"""

import html
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo

from sandbox.misbehaviour.board import Board
from sandbox.misbehaviour.switch import Settings
from sandbox.records import Record
from schemas.entity import CoworkerKind, Entity

# Left out of list and several-by-id rows (contract, section 3; the exact list is not published).
LEFT_OUT_OF_LISTS = frozenset(
    {"LessonContents", "FullDescription", "OverviewText", "SectionContents", "Description"}
)
# Collections are filled on reads by Id only (contract, section 3).
BY_ID_ONLY = frozenset({"Businesses", "Teams"})
_TITLES = frozenset(
    {
        *("Title", "CourseTitle", "SectionTitle", "CourseLessonTitle", "LastCompletedLessonTitle"),
        *("SummaryText", "GroupName", "BusinessName"),
    }
)
_OPTIONAL = frozenset({"CustomFields", "LocalizationDetails", "SystemId", "ToStringText"})

WriteTime = Callable[[datetime], str]
Change = Callable[[Entity, Record, Settings], Record]


def as_read(record: Record) -> Record:
    """Return the record as GET by Id shows it when nothing is switched on."""
    return _spelled(record, _without_fraction)


def shown(board: Board, entity: Entity, record: Record) -> Record:
    """Return the record as GET by Id shows it."""
    return _spelled(_changed(_changes(board), entity, record), _write_time(board))


def row_maker(board: Board, entity: Entity, partial_switch: str) -> Callable[[Record], Record]:
    """Return a function that turns a record into a row of a list."""
    partial = board.about(partial_switch, entity)
    left_out = LEFT_OUT_OF_LISTS if partial is None else LEFT_OUT_OF_LISTS | partial.words("fields")
    changes, write_time = _changes(board), _write_time(board)

    def row(record: Record) -> Record:
        kept = {
            name: None if name in BY_ID_ONLY else value
            for name, value in _changed(changes, entity, record).items()
            if name not in left_out
        }
        return _spelled(kept, write_time)

    return row


def delivery_body(
    board: Board, entity: Entity, record: Record, *, zone: tzinfo = UTC, is_bare: bool = False
) -> str:
    """Return the text of a delivery: an array of this one record (contract, section 5.2).

    Written as Newtonsoft's serialiser does by default: no spaces, and no escapes for accents,
    emoji or other scripts. Times of another zone are marked as UTC all the same; a bare delivery
    has no array.
    """
    changed = _changed(_changes(board), entity, record)
    delivered = _spelled(changed, lambda at: _seven_digits(at, zone) + "Z")
    content = delivered if is_bare else [delivered]
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def as_created(at: datetime) -> str:
    """Return a time as the answer to a write has it: with seven digits (contract, section 2.9)."""
    return _seven_digits(at) + "Z"


def _spelled(record: Record, write_time: WriteTime) -> Record:
    return {
        name: write_time(value) if isinstance(value, datetime) else value
        for name, value in record.items()
    }


def _seven_digits(at: datetime, zone: tzinfo = UTC) -> str:
    # The source counts in tenths of a microsecond and drops trailing zeros: a last digit that is
    # never zero always makes seven.
    there = at.astimezone(zone)
    return there.strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{1 + at.microsecond % 9}"


def _without_fraction(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")[:-6] + "Z"


def _write_time(board: Board) -> WriteTime:
    with_zone = as_created if board.is_on("fractions") else _without_fraction
    return (lambda at: with_zone(at)[:-1]) if board.is_on("no-zone") else with_zone


def _changes(board: Board) -> list[tuple[Change, Settings]]:
    found = ((change, board.now(name)) for name, change in _CHANGES.items())
    return [(change, settings) for change, settings in found if settings is not None]


def _changed(changes: list[tuple[Change, Settings]], entity: Entity, record: Record) -> Record:
    for change, settings in changes:
        record = change(entity, record, settings)
    return record


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
    lacking: Mapping[str, Record] = {
        "account": {"UserId": None, "UserFullName": None, "UserActive": None},
        "email": {"Email": ""},
        "active": {"Active": False},
        "not-archived": {"Archived": True},
    }
    return {**record, **lacking[settings.text("lacks")]} if entity is Entity.COWORKER else record


def _other_fields(_: Entity, record: Record, __: Settings) -> Record:
    known = {name: value for name, value in record.items() if name not in _OPTIONAL}
    return {**known, "AddedLastWeek": {"Deep": [1, None]}, "Ünïcode ✓": 0.09000}


_CHANGES: dict[str, Change] = {
    "kind-as-number": _kind_as_number,
    "html-in-titles": _html_in_titles,
    "salutation": _salutation,
    "no-guessed-name": _no_guessed_name,
    "incomplete-person": _incomplete_person,
    "other-fields": _other_fields,
}
