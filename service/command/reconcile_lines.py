"""A comparison with Nexudus as lines for people: what differs, and what to do about it."""

from collections.abc import Iterator, Sequence

from schemas.entity import Entity
from service.command.common import local
from service.command.why import explained
from workers.check.reconcile import MOST_GONE, Comparison, Difference, How, Scope, Way
from workers.check.reconcile.doubting import counted

_MOST_SHOWN = 20  # of each kind; --json has them all

_HEADS = {
    Way.MISSING: "Missing here",
    Way.GONE: "Here, gone there",
    Way.DIFFERENT: "Different here",
}


def found_lines(found: Comparison) -> Iterator[str]:
    """Return what was compared, and what differs."""
    compared = " and ".join(counted(kind.rows, kind.entity) for kind in found.kinds)
    yield f"Compared {compared} with Nexudus."
    for way in Way:
        yield from _of_one_way(_HEADS[way], found.of(way))
    under_way = sum(kind.under_way for kind in found.kinds)
    if under_way:
        yield f"About to be read in any case: {under_way}"
    unplaced = sum(kind.unplaced for kind in found.kinds)
    if unplaced:
        yield f"Of a course that could not be told, and so left out: {unplaced}. Run it for all."
    if found.doubt is not None:
        yield f"! {found.doubt}"


def _of_one_way(head: str, differences: Sequence[Difference]) -> Iterator[str]:
    if not differences:
        return
    yield f"{head}: {len(differences)}"
    for one in differences[:_MOST_SHOWN]:
        yield f"  {_line(one)}"
    if len(differences) > _MOST_SHOWN:
        yield f"  and {len(differences) - _MOST_SHOWN} more; --json has them all"


def _line(one: Difference) -> str:
    when = local(one.at) if one.at is not None else "at a time not known"
    who = one.person or f"coworker {one.references.coworker_id or 'not known'}"
    course = one.course or f"course {one.references.course_id or 'not known'}"
    if one.entity is Entity.COMPLETED_LESSON:
        what = f"finished {one.lesson or f'lesson {one.references.lesson_id}'}"
    else:
        what = "enrolment"
    line = f"{when}  {who}  {what}  ({course})  Id {one.record_id}"
    return line if one.reason is None else f"{line}: {explained(one.reason)}"


def next_lines(found: Comparison, how: How, brought: int) -> Iterator[str]:
    """Return what was done about it, and what to do next."""
    differing = sum(len(found.of(way)) for way in Way)
    if not differing:
        if found.doubt is None:
            yield f"Nothing{' else' * any(kind.under_way for kind in found.kinds)} differs."
        return
    if how is How.NOTHING:
        options = options_of(found.scope)
        yield f"Bring this in without sending? coursebell reconcile{options} --import"
        return
    quietly = ", and nobody is written to about what happened until now"
    yield f"Brought in {brought}: each is read and decided on{quietly * (how is How.IMPORT)}."
    if brought < differing:
        yield f"At most {MOST_GONE:,} that are gone are read at once; run it again for the rest."
    yield "See what comes of it: coursebell tail"


def options_of(scope: Scope) -> str:
    """Return how this scope is typed."""
    since = "" if scope.since is None else f" --since {scope.since:%Y-%m-%dT%H:%MZ}"
    courses = "".join(f" --course {one}" for one in sorted(scope.course_ids or ()))
    return f"{since}{courses}{' --accept-gone' * scope.accept_gone}"
