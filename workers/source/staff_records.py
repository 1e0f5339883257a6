"""Writes notes and tasks for the staff at Nexudus, each once, and checks the roles for it.

A write has no key that would let Nexudus recognise a repeat (contract, section 6). So each record
carries a marker of its action, and the list of the coworker is searched for it before every write.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.checkup import Check, Topic
from schemas.errors import RecordUnreadable, SourceRefused, SourceUnavailable
from schemas.records.answers import load_page
from workers.actions.base import SourceSession
from workers.source.answers import AccessDenied, Missing, WriteDenied
from workers.source.client import Source
from workers.source.doctor_rights import Questions, ReplyKind

_PAGE_SIZE = 100
_MOST_PAGES = 20
_CLOCKS_DIFFER = timedelta(days=1)  # by no more; a longer list is only slower to search
_ADDED_BY = "Coursebell"


@dataclass(frozen=True, slots=True)
class StaffKind:
    """A kind of record for the staff: its name and its path below /api (contract, section 6)."""

    name: str
    path: str


NOTE = StaffKind("CoworkerNote", "spaces/coworkernotes")
TASK = StaffKind("CoworkerTask", "crm/coworkertasks")
# What each kind of action writes, by its name in rules.
OF_ACTIONS = {"nexudus-note": NOTE, "nexudus-task": TASK}


@dataclass(frozen=True, slots=True)
class StaffRecord:
    """A note or a task about a coworker. `fields` are the others; `Notes` ends with the marker.

    It cannot have been written before `since`.
    """

    kind: StaffKind
    coworker_id: int
    fields: Mapping[str, object]
    marker: str
    since: datetime


def note_fields(text: str, marker: str) -> dict[str, object]:
    """Return the fields of a note."""
    return {"Notes": f"{text}\n\n[{marker}]", "AddedBy": _ADDED_BY}


def task_fields(text: str, marker: str, location_id: int, responsible: int) -> dict[str, object]:
    """Return the fields of a task, which the responsible user of the location gets."""
    return {
        "BusinessId": location_id,
        "Name": text,
        "ResponsibleId": responsible,
        "Notes": f"[{marker}]",
    }


def write_once(
    session: SourceSession, record: StaffRecord, before_write: Callable[[], None]
) -> tuple[int | None, bool]:
    """Write a record unless it is there already; return its Id, if it is known, and if it is new.

    `before_write` is called right before it is written.

    Raises:
        SourceRefused: not written; a `WriteDenied` or `AccessDenied` if a role is missing.
        SourceThrottled: not written; carries `retry_after_s`.
        SourceUnavailable: it is unknown whether it was written; call this again later.
        RecordUnreadable: the list cannot be searched; nothing was written.
    """
    existing = _find(session, record)
    if existing is not None:
        return existing, False
    before_write()
    value = {"CoworkerId": record.coworker_id, **record.fields}
    written = session.send("POST", record.kind.path, value)
    record_id = written.get("Id") if isinstance(written, Mapping) else None
    return (record_id if isinstance(record_id, int) else None), True


def _find(session: SourceSession, record: StaffRecord) -> int | None:
    """Return the Id of the record with this marker; None if there is none."""
    for row in _rows(session, record):
        if row.get("CoworkerId") != record.coworker_id:
            raise SourceRefused(f"the list of {record.kind.name} ignored the filter by coworker")
        text = row["Notes"] if "Notes" in row else _whole(session, record.kind, row).get("Notes")
        if isinstance(text, str) and record.marker in text and isinstance(row.get("Id"), int):
            found: int = row["Id"]
            return found
    return None


def _rows(session: SourceSession, record: StaffRecord) -> Iterator[dict[str, Any]]:
    """Yield the records of the coworker that may be the one, the newest first."""
    since = (record.since - _CLOCKS_DIFFER).astimezone(UTC)
    query = {
        f"{record.kind.name}_Coworker": str(record.coworker_id),
        f"from_{record.kind.name}_CreatedOn": f"{since:%Y-%m-%dT%H:%M}",
        "orderBy": "CreatedOn",
        "dir": "-1",
        "size": str(_PAGE_SIZE),
    }
    for number in range(1, _MOST_PAGES + 1):
        answer = session.get_json(record.kind.path, {**query, "page": str(number)})
        if isinstance(answer, Missing):
            raise SourceUnavailable(f"the source did not show its list of {record.kind.name}")
        page = load_page(answer)
        yield from page.rows
        if not page.has_next:
            return
    raise SourceUnavailable(f"the list of {record.kind.name} does not end")


def _whole(session: SourceSession, kind: StaffKind, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the record of a row that lacks its text."""
    found = session.get_json(f"{kind.path}/{row.get('Id')}", {})
    if isinstance(found, Missing):
        return {}  # deleted meanwhile
    if not isinstance(found, Mapping):
        raise RecordUnreadable(f"{kind.name}: the answer is not a record")
    return found


def staff_checks(questions: Questions, kinds: Collection[StaffKind]) -> list[Check]:
    """Check the roles to list and to create these kinds of record. Nothing is written.

    Whether one may be created shows in the answer to an empty one, which cannot be: it lacks what
    Nexudus requires.
    """
    checks = []
    for kind in kinds:
        for way, ask in (("List", _list), ("Create", _create_nothing)):
            reply = questions.read(lambda source, ask=ask, kind=kind: ask(source, kind))  # type: ignore[misc]  # mypy infers no type for bound defaults
            name = f"{kind.name}-{way}"
            if reply.kind is ReplyKind.VALUE:
                found = "can be listed" if way == "List" else "an empty one is refused as empty"
                checks.append(Topic.RIGHTS.ok(name, found))
            elif reply.kind is ReplyKind.NO_RIGHT:
                fix = f"In Nexudus, give our user the role {name}, or switch these rules off."
                checks.append(Topic.RIGHTS.problem(name, reply.sentence, fix))
            else:
                again = "Run `coursebell doctor` again in a minute."
                checks.append(Topic.RIGHTS.note(name, f"not checked: {reply.sentence}", again))
    return checks


def _list(source: Source, kind: StaffKind) -> object:
    return source.session.get_json(kind.path, {"page": "1", "size": "1"})


def _create_nothing(source: Source, kind: StaffKind) -> object:
    try:
        return source.session.send("POST", kind.path, {})
    except WriteDenied as error:
        raise AccessDenied(str(error)) from None
    except SourceRefused:
        return True  # for its content, not for our rights
