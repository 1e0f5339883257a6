"""Reads from the source what it has in a window: lists only, and none that does not add up."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from schemas.entity import FOLLOWED, Entity
from schemas.errors import SourceUnavailable
from schemas.records import Course
from workers.certify.values import Member, Place, Ref, SourceRow, Window
from workers.check.rows import version_of_row
from workers.source.reads import BurstReads
from workers.source.records import Changed, Changes

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # before that there was no source


@dataclass(slots=True)
class Listed:
    """What the lists showed: the rows of the window, and every record, also just outside of it.

    `stated` is how many rows of the window a list says it has: its total, less those outside of it.
    """

    rows: list[SourceRow] = field(default_factory=list)
    refs: set[Ref] = field(default_factory=set)
    stated: dict[Entity, int] = field(default_factory=dict)


def listed_in(source: BurstReads, window: Window) -> Listed:
    """Return what was created at the source in the window, and is there now.

    Raises:
        SourceUnavailable: also, a list changed while it was read, or shows more or fewer rows than
            it says it has; nothing can be certified then.
        Otherwise as `Source.created_between`.
    """
    found = Listed()
    for entity in FOLLOWED:
        pages = source.created_between(entity, window.since, window.until)
        listed, total = _checked(entity, pages)
        outside = 0
        for changed in listed:
            found.refs.add((entity, changed.record_id))
            row = _row(entity, changed)
            if window.holds(row.created_at):
                found.rows.append(row)
            else:
                outside += 1
        if total is not None:
            found.stated[entity] = total - outside
    return found


def all_members(source: BurstReads, now: datetime) -> dict[int, Member]:
    """Return every enrolment that the source has, by Id. Raises as `Source.created_between`.

    This is only for saying whose a completion is, so it may change meanwhile.
    """
    entity = Entity.COURSE_MEMBER
    pages = source.created_between(entity, _EARLIEST, now)
    rows = [_row(entity, changed) for page in pages for changed in page.rows]
    return {
        row.record_id: Member(row.course_id, row.coworker_id, person=row.person) for row in rows
    }


def all_courses(source: BurstReads) -> dict[int, Place]:
    """Return every course that the source has, and where. Raises as `Source.all_of`."""
    return places(one for one in source.all_of(Entity.COURSE) if isinstance(one, Course))


def places(courses: Iterable[Course]) -> dict[int, Place]:
    """Return where these courses are offered, by their Ids."""
    return {one.record_id: Place(one.title, one.business_id, one.business_name) for one in courses}


def _checked(entity: Entity, pages: Iterable[Changes]) -> tuple[Collection[Changed], int | None]:
    """Return the rows of a list, each once, and how many it says it has."""
    met: dict[int, Changed] = {}
    total: int | None = None
    for number, page in enumerate(pages):
        total = page.total if number == 0 else total
        for changed in page.rows:
            before = met.setdefault(changed.record_id, changed)
            if before.row != changed.row or before.at != changed.at:
                raise SourceUnavailable(f"the list of {entity} changed while it was read")
    if total is not None and total != len(met):
        raise SourceUnavailable(
            f"the list of {entity} says that it has {total} rows, and shows {len(met)}"
        )
    return met.values(), total


def _row(entity: Entity, changed: Changed) -> SourceRow:
    seen = version_of_row(entity, changed.record_id, changed.at, changed.row)
    return SourceRow(
        entity,
        changed.record_id,
        changed.at,
        seen.course_id,
        seen.coworker_id,
        seen.course_member_id,
        seen.lesson_id,
        _text(changed, "CoworkerFullName", "CourseMemberCoworkerFullName"),
        _text(changed, "CourseLessonTitle"),
    )


def _text(changed: Changed, *fields: str) -> str | None:
    found = (changed.row.get(name) for name in fields)
    return next((text for text in found if isinstance(text, str) and text), None)
