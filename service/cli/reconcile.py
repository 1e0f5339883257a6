"""`reconcile`: compares what Nexudus lists with what the ledger knows, and brings in what differs.

It compares as the workers do, and leaves the reading and deciding to them.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

import click
import structlog

from ledger.engine import reading
from ledger.record_queries import courses_of_enrolments
from ledger.records import records_of
from schemas.entity import Entity
from schemas.fields import MAX_ID
from service.cli.common import (
    Moment,
    as_json,
    checking_now,
    is_confirmed,
    local,
    needs_confirmation,
    print_json,
    printable,
    reporting_outages,
    settings_now,
    with_own_broker,
)
from service.cli.why import explained
from workers.source.limits import Patience, Urgency
from workers.sync.compare import Comparison, Difference, DifferenceKind, Scope, compare
from workers.sync.listing import counted
from workers.sync.reconcile import MOST_GONE, ReconcileMode, request_differences
from workers.sync.rows import SyncContext

DIFFERS = 1
_LONGEST_S = 3_600.0  # a large space at a low limit takes its time
_COURSE = click.IntRange(1, MAX_ID)
_MOST_SHOWN = 20  # of each kind; --json has them all

_HEADS = {
    DifferenceKind.MISSING: "Missing here",
    DifferenceKind.GONE: "Here, gone there",
    DifferenceKind.DIFFERENT: "Different here",
}


@click.command()
@click.option("--since", type=Moment(), help="Only what changed since then: 7d, or 2026-03-01.")
@click.option(
    "--course", "courses", type=_COURSE, multiple=True, help="Only this course, by its Id."
)
@click.option("--import", "importing", is_flag=True, help="Bring in what differs, and stay quiet.")
@click.option("--send", "sending", is_flag=True, help="Bring in what differs, and write about it.")
@click.option("--accept-gone", is_flag=True, help="Believe that much was deleted on purpose.")
@click.option("--yes", is_flag=True, help="Do not ask whether you mean it; for --send.")
@as_json
def reconcile(  # noqa: PLR0913 - one for each option
    *,
    since: datetime | None,
    courses: tuple[int, ...],
    importing: bool,
    sending: bool,
    accept_gone: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Compare all enrolments and finished lessons with Nexudus.

    It only reports, unless told to --import (nobody is written to about what happened until now)
    or to --send. Exit code 1: something differs.
    """
    if importing and sending:
        raise click.UsageError("--import and --send exclude each other.")
    scope = Scope(since, frozenset(courses) or None, accept_gone)
    if sending and not yes:
        needs_confirmation(f"coursebell reconcile{options_of(scope)} --send --yes")
    # What the source client logs would stand between the lines for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    how = (
        ReconcileMode.IMPORT
        if importing
        else ReconcileMode.SEND
        if sending
        else ReconcileMode.NOTHING
    )
    with checking_now(with_own_broker(settings_now())) as sync:
        found = _compared(sync, scope)
        _print([] if as_json else found_lines(found))
        if how is ReconcileMode.SEND and not yes and not _is_meant(found):
            how = ReconcileMode.NOTHING
        brought = request_differences(sync, found, how)
    if as_json:
        differences = [_plain(one) for way in DifferenceKind for one in found.of(way)]
        print_json({**found.report(), "brought_in": brought, "differences": differences})
    _print([] if as_json else next_lines(found, how, brought))
    if found.doubt is not None or (found.differs and how is ReconcileMode.NOTHING):
        raise SystemExit(DIFFERS)


def _compared(sync: SyncContext, scope: Scope) -> Comparison:
    patience = Patience(Urgency.WORK, sync.clock.monotonic() + _LONGEST_S, lambda: None)
    with reporting_outages("Nexudus could not be compared with", "Nothing was changed."):
        found = compare(sync, scope, patience)
        unknown = _unknown(sync, found, patience)
    if unknown:
        named = ", ".join(str(one) for one in unknown)
        raise click.UsageError(f"Neither Nexudus nor the ledger has a course with this Id: {named}")
    return found


def _unknown(sync: SyncContext, found: Comparison, patience: Patience) -> list[int]:
    """Return which of the courses asked for nobody knows. Raises as `compare`."""
    asked = found.scope.course_ids or frozenset()
    met = {one.row.references.course_id for one in found.of(*DifferenceKind)}
    if not asked <= met:
        with reading(sync.engine) as connection:
            met |= records_of(connection, Entity.COURSE, asked).keys()
            met |= set(courses_of_enrolments(connection).values())
    if not asked <= met:
        with sync.source(patience) as source:
            met |= {one.record_id for one in source.all_of(Entity.COURSE)}
    return sorted(asked - met)


def _is_meant(found: Comparison) -> bool:
    """Ask whether people are to be written to, if there is anything to write about."""
    number = len(found.of(DifferenceKind.MISSING, DifferenceKind.DIFFERENT))
    these = "this one" if number == 1 else f"these {number}"
    return not number or is_confirmed(f"Write about {these}?")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(printable(line))


def _plain(one: Difference) -> dict[str, object]:
    row = one.row
    return {
        "way": one.way,
        "entity": row.entity,
        "id": row.record_id,
        "at": row.at,
        "person": row.person,
        "course": row.course,
        "lesson": row.lesson,
        "reason": one.reason,
        **asdict(row.references),
    }


def found_lines(found: Comparison) -> Iterator[str]:
    """Return what was compared, and what differs."""
    compared = " and ".join(counted(kind.rows, kind.entity) for kind in found.kinds)
    yield f"Compared {compared} with Nexudus."
    for way in DifferenceKind:
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
    row, ids = one.row, one.row.references
    who = row.person or f"coworker {ids.coworker_id or 'not known'}"
    course = row.course or f"course {ids.course_id or 'not known'}"
    what = "enrolment"
    if row.entity is Entity.COMPLETED_LESSON:
        what = f"finished {row.lesson or f'lesson {ids.lesson_id}'}"
    line = f"{local(row.at)}  {who}  {what}  ({course})  Id {row.record_id}"
    return line if one.reason is None else f"{line}: {explained(one.reason)}"


def next_lines(found: Comparison, how: ReconcileMode, brought: int) -> Iterator[str]:
    """Return what was done about it, and what to do next."""
    differing = len(found.of(*DifferenceKind))
    if not differing:
        if found.doubt is None:
            yield f"Nothing{' else' * any(kind.under_way for kind in found.kinds)} differs."
        return
    if how is ReconcileMode.NOTHING:
        options = options_of(found.scope)
        yield f"Bring this in without sending? coursebell reconcile{options} --import"
        return
    is_import = how is ReconcileMode.IMPORT
    quietly = ", and nobody is written to about what happened until now" * is_import
    yield f"Brought in {brought}: each is read and decided on{quietly}."
    if brought < differing:
        yield f"At most {MOST_GONE:,} that are gone are read at once; run it again for the rest."
    yield "See what comes of it: coursebell tail"


def options_of(scope: Scope) -> str:
    """Return how this scope is typed."""
    since = "" if scope.since is None else f" --since {scope.since:%Y-%m-%dT%H:%MZ}"
    courses = "".join(f" --course {one}" for one in sorted(scope.course_ids or ()))
    return f"{since}{courses}{' --accept-gone' * scope.accept_gone}"
