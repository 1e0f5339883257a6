"""`coursebell reconcile`: compares Nexudus's lists with the ledger and imports what differs.

It only plans lookups; the workers read the records and decide.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import click
import structlog

from ledger.courses import courses_of_enrolments
from ledger.engine import reading
from ledger.records import records_of
from schemas.entity import Entity
from schemas.fields import MAX_ID
from service.cli.common import (
    Moment,
    as_json,
    is_confirmed,
    local,
    needs_confirmation,
    print_json,
    printable,
    reporting_outages,
    settings_now,
    with_own_broker,
)
from service.cli.history_lines import explained
from service.cli.source_access import open_sync
from workers.source.limits import Patience, Urgency
from workers.sync.compare import Comparison, Difference, DifferenceKind, Scope, compare
from workers.sync.listed_rows import counted
from workers.sync.reconcile import MOST_GONE, ReconcileMode, request_differences
from workers.sync.rows import SyncContext

DIFFERS = 1
_LONGEST_S = 3_600.0  # a large space with a low request limit takes long
_COURSE = click.IntRange(1, MAX_ID)
_MOST_SHOWN = 20  # of each kind; --json has them all

_HEADS = {
    DifferenceKind.MISSING: "Missing here",
    DifferenceKind.GONE: "Here, gone at Nexudus",
    DifferenceKind.DIFFERENT: "Different here",
}


@click.command()
@click.option("--since", type=Moment(), help="Only what changed since then: 7d, or 2026-03-01.")
@click.option(
    "--course", "courses", type=_COURSE, multiple=True, help="Only this course, by its Id."
)
@click.option("--import", "importing", is_flag=True, help="Import what differs; send no emails.")
@click.option("--send", "sending", is_flag=True, help="Import what differs and send emails on it.")
@click.option("--accept-gone", is_flag=True, help="Accept that many records were deleted.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation; for --send.")
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

    Without --import or --send it only reports. With --import no email is sent about what happened
    until now. Exit code 1: something differs.
    """
    if importing and sending:
        raise click.UsageError("Give --import or --send, not both.")
    scope = Scope(since, frozenset(courses) or None, accept_gone)
    if sending and not yes:
        needs_confirmation(f"coursebell reconcile{options_of(scope)} --send --yes")
    # Log lines of the source client would mix with the lines printed for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    how = (
        ReconcileMode.IMPORT
        if importing
        else ReconcileMode.SEND
        if sending
        else ReconcileMode.NOTHING
    )
    with open_sync(with_own_broker(settings_now())) as sync:
        found = _compared(sync, scope)
        _print([] if as_json else found_lines(found))
        if how is ReconcileMode.SEND and not yes and not _is_send_confirmed(found):
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
    with reporting_outages("The comparison with Nexudus failed", "Nothing was changed."):
        found = compare(sync, scope, patience)
        unknown = _unknown(sync, found, patience)
    if unknown:
        named = ", ".join(str(one) for one in unknown)
        raise click.UsageError(f"Neither Nexudus nor the ledger has a course with this Id: {named}")
    return found


def _unknown(sync: SyncContext, found: Comparison, patience: Patience) -> list[int]:
    """Return which of the requested courses neither side knows. Raises as `compare`."""
    requested = found.scope.course_ids or frozenset()
    known = {one.row.references.course_id for one in found.of(*DifferenceKind)}
    if not requested <= known:
        with reading(sync.engine) as connection:
            known |= records_of(connection, Entity.COURSE, requested).keys()
            known |= set(courses_of_enrolments(connection).values())
    if not requested <= known:
        with sync.source(patience) as source:
            known |= {one.record_id for one in source.all_of(Entity.COURSE)}
    return sorted(requested - known)


def _is_send_confirmed(found: Comparison) -> bool:
    """Ask whether to send emails, if there is anything to send them about."""
    number = len(found.of(DifferenceKind.MISSING, DifferenceKind.DIFFERENT))
    these = "this record" if number == 1 else f"these {number} records"
    return not number or is_confirmed(f"Send emails about {these}?")


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
        **row.references._asdict(),
    }


def found_lines(found: Comparison) -> Iterator[str]:
    """Yield what was compared, and what differs."""
    compared = " and ".join(counted(kind.rows, kind.entity) for kind in found.kinds)
    yield f"Compared {compared} with Nexudus."
    for way in DifferenceKind:
        yield from _of_one_way(_HEADS[way], found.of(way))
    under_way = sum(kind.under_way for kind in found.kinds)
    if under_way:
        yield f"To be read anyway, as a lookup is due: {under_way}"
    unplaced = sum(kind.unplaced for kind in found.kinds)
    if unplaced:
        yield f"Left out, as their course is not known: {unplaced}. Run it without --course."
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
    """Yield what was done about the differences, and what to do next."""
    differing = len(found.of(*DifferenceKind))
    if not differing:
        if found.doubt is None:
            yield f"Nothing{' else' * any(kind.under_way for kind in found.kinds)} differs."
        return
    if how is ReconcileMode.NOTHING:
        options = options_of(found.scope)
        yield f"To import this without sending emails: coursebell reconcile{options} --import"
        return
    is_silent = how is ReconcileMode.IMPORT
    silently = "; no email is sent about what happened until now" * is_silent
    yield f"Imported {brought}: workers read each and decide{silently}."
    if brought < differing:
        yield f"At most {MOST_GONE:,} deleted records are read per run; run it again for the rest."
    yield "To watch the results: coursebell tail"


def options_of(scope: Scope) -> str:
    """Return the options that select this scope, as they are typed."""
    since = "" if scope.since is None else f" --since {scope.since:%Y-%m-%dT%H:%MZ}"
    courses = "".join(f" --course {one}" for one in sorted(scope.course_ids or ()))
    return f"{since}{courses}{' --accept-gone' * scope.accept_gone}"
