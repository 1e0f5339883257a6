"""`reconcile`: what Nexudus lists against what is known here, and what to do about it.

It looks with the eyes of the workers, and leaves the reading and deciding to them.
"""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

import click
import structlog

from schemas.entity import Entity
from schemas.errors import RecordUnreadable, SourceRefused, SourceThrottled, SourceUnavailable
from service.command.common import (
    as_json,
    checking_now,
    local,
    print_json,
    printable,
    settings_now,
    with_own_broker,
)
from service.command.moments import Moment
from service.command.why import explained
from workers.check.reconcile import (
    MOST_GONE,
    Comparison,
    Difference,
    How,
    Scope,
    Way,
    bring_in,
    compare,
)
from workers.check.reconcile.doubting import counted
from workers.source.budget import Patience, Urgency

DIFFERS = 1
OUT_OF_REACH = 4
_LONGEST_S = 3_600.0  # a large space at a low limit takes its time
_MOST_SHOWN = 20  # of each kind; --json has them all

_HEADS = {
    Way.MISSING: "Missing here",
    Way.GONE: "Here, gone there",
    Way.DIFFERENT: "Different here",
}


@click.command()
@click.option("--since", type=Moment(), help="Only what changed since then: 7d, or 2026-03-01.")
@click.option("--course", "courses", type=int, multiple=True, help="Only this course, by its Id.")
@click.option("--import", "importing", is_flag=True, help="Bring in what differs, and stay quiet.")
@click.option("--send", "sending", is_flag=True, help="Bring in what differs, and write about it.")
@click.option("--accept-gone", is_flag=True, help="Believe that much was deleted on purpose.")
@as_json
def reconcile(  # noqa: PLR0913 - one for each option
    *,
    since: datetime | None,
    courses: tuple[int, ...],
    importing: bool,
    sending: bool,
    accept_gone: bool,
    as_json: bool,
) -> None:
    """Compare all enrolments and finished lessons with Nexudus.

    It only reports, unless told to --import (nobody is written to about what happened until now)
    or to --send. Exit code 1: something differs.
    """
    if importing and sending:
        raise click.UsageError("--import and --send exclude each other.")
    # What the source client logs would stand between the lines for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    how = How.IMPORT if importing else How.SEND if sending else How.NOTHING
    found, brought = _done(Scope(since, frozenset(courses) or None, accept_gone), how)
    if as_json:
        differences = [_plain(one) for way in Way for one in found.of(way)]
        print_json({**found.report(), "brought_in": brought, "differences": differences})
    else:
        for line in _lines(found, how, brought):
            click.echo(printable(line))
    if found.doubt is not None or (found.differs and how is How.NOTHING):
        raise SystemExit(DIFFERS)


def _done(scope: Scope, how: How) -> tuple[Comparison, int]:
    """Compare, and bring in what somebody chose; return what was found and how much came in."""
    patience = Patience(Urgency.WORK, time.monotonic() + _LONGEST_S, lambda: None)
    with checking_now(with_own_broker(settings_now())) as checking:
        try:
            found = compare(checking, scope, patience)
        except (SourceThrottled, SourceUnavailable, SourceRefused, RecordUnreadable) as error:
            click.echo(f"Nexudus could not be compared with: {error}", err=True)
            click.echo("Nothing was changed. Try `coursebell doctor`, then again.", err=True)
            sys.exit(OUT_OF_REACH)
        return found, bring_in(checking, found, how)


def _plain(one: Difference) -> dict[str, object]:
    return {
        "way": one.way,
        "entity": one.entity,
        "id": one.record_id,
        "at": one.at,
        "person": one.person,
        "course": one.course,
        "lesson": one.lesson,
        "reason": one.reason,
        **asdict(one.references),
    }


def _lines(found: Comparison, how: How, brought: int) -> Iterator[str]:
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
    yield from _next(found, how, brought)


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


def _next(found: Comparison, how: How, brought: int) -> Iterator[str]:
    differing = sum(len(found.of(way)) for way in Way)
    if not differing:
        if found.doubt is None:
            yield f"Nothing{' else' * any(kind.under_way for kind in found.kinds)} differs."
        return
    if how is How.NOTHING:
        options = _options(found.scope)
        yield f"Bring this in without sending? coursebell reconcile{options} --import"
        return
    quietly = ", and nobody is written to about what happened until now"
    yield f"Brought in {brought}: each is read and decided on{quietly * (how is How.IMPORT)}."
    if brought < differing:
        yield f"At most {MOST_GONE:,} that are gone are read at once; run it again for the rest."
    yield "See what comes of it: coursebell tail"


def _options(scope: Scope) -> str:
    since = "" if scope.since is None else f" --since {scope.since:%Y-%m-%dT%H:%MZ}"
    courses = "".join(f" --course {one}" for one in sorted(scope.course_ids or ()))
    return f"{since}{courses}{' --accept-gone' * scope.accept_gone}"
