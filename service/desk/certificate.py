"""Whether anything was missed: what the comparisons with Nexudus of the last nights found."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response

from ledger.checks import CheckKind, Run, last_run, runs
from ledger.engine import reading
from schemas.entity import Entity
from service.desk.visit import Visit
from service.desk.wording import explained

_SHOWN_FOR = timedelta(days=14)
_DIFFERENCES = ("missing", "gone", "different")


@dataclass(frozen=True, slots=True)
class ComparisonShown:
    """One comparison with Nexudus: what it has, how many records differed, and in which way."""

    begun_at: datetime
    enrolments: int
    lessons: int
    differing: int
    outcome: str
    is_whole: bool = True

    @property
    def is_well(self) -> bool:
        """Whether nothing differed, and the lists of Nexudus were whole."""
        return self.is_whole and not self.differing


def show(visit: Visit) -> Response:
    """Show the comparisons of the last two weeks, the newest first."""
    with reading(visit.pages.engine) as connection:
        last = last_run(connection, [CheckKind.RECONCILE], None)
        found = runs(connection, [CheckKind.RECONCILE], visit.now - _SHOWN_FOR)
    newest = None if last is None else shown_comparison(visit, last)
    return visit.page(
        "certificate.html",
        newest=newest,
        compared=[shown_comparison(visit, one) for one in found if one.entity is None],
    )


def shown_comparison(visit: Visit, run: Run) -> ComparisonShown:
    """Return in words what a comparison found."""
    report = run.report or {}
    members, lessons = (
        report.get(one.value, {}) for one in (Entity.COURSE_MEMBER, Entity.COMPLETED_LESSON)
    )
    differing = sum(one.get(way, 0) for one in (members, lessons) for way in _DIFFERENCES)
    is_whole = run.ended_at is not None and not report.get("doubt")
    return ComparisonShown(
        run.begun_at,
        members.get("rows", 0),
        lessons.get("rows", 0),
        differing,
        _outcome(visit, run, (members, lessons)),
        is_whole,
    )


def _outcome(visit: Visit, run: Run, kinds: tuple[Mapping[str, int], ...]) -> str:
    say, say_n = visit.language.say, visit.language.say_n
    if run.ended_at is None:
        why = explained(visit.times, run.reason)
        unfinished = say("It has not finished.")
        return f"{unfinished} {why}".strip()
    missing, gone, different = (sum(one.get(way, 0) for one in kinds) for way in _DIFFERENCES)
    said = []
    if missing:
        said.append(say_n("{number} was not known here.", "{number} were not known here.", missing))
    if different:
        said.append(say_n("{number} had changed.", "{number} had changed.", different))
    if gone:
        said.append(say_n("{number} was deleted there.", "{number} were deleted there.", gone))
    if said:
        said.append(say("All of these were read again."))
    elif not (run.report or {}).get("doubt"):
        said.append(say("Nothing was missing."))
    if (run.report or {}).get("doubt"):
        said.append(say("The list of Nexudus was not whole, so nothing was taken as deleted."))
    return " ".join(said)
