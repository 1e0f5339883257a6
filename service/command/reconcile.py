"""`reconcile`: what Nexudus lists against what is known here, and what to do about it.

It looks with the eyes of the workers, and leaves the reading and deciding to them.
"""

import logging
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

import click
import structlog

from ledger.engine import reading
from ledger.record_queries import courses_of_enrolments
from ledger.records import records_of
from schemas.entity import Entity
from schemas.fields import LARGEST_ID
from service.command.common import (
    as_json,
    checking_now,
    command_clock,
    print_json,
    printable,
    settings_now,
    with_own_broker,
)
from service.command.consent import agreed, must_be_asked
from service.command.moments import Moment
from service.command.reach import told_if_out_of_reach
from service.command.reconcile_lines import found_lines, next_lines, options_of
from workers.check.reconcile import (
    Comparison,
    Difference,
    How,
    Scope,
    Way,
    bring_in,
    compare,
)
from workers.check.tools import Checking
from workers.source.limits import Patience, Urgency

DIFFERS = 1
_LONGEST_S = 3_600.0  # a large space at a low limit takes its time
_COURSE = click.IntRange(1, LARGEST_ID)


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
        must_be_asked(f"coursebell reconcile{options_of(scope)} --send --yes")
    # What the source client logs would stand between the lines for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    how = How.IMPORT if importing else How.SEND if sending else How.NOTHING
    with checking_now(with_own_broker(settings_now())) as checking:
        found = _compared(checking, scope)
        _print([] if as_json else found_lines(found))
        if how is How.SEND and not yes and not _is_meant(found):
            how = How.NOTHING
        brought = bring_in(checking, found, how)
    if as_json:
        differences = [_plain(one) for way in Way for one in found.of(way)]
        print_json({**found.report(), "brought_in": brought, "differences": differences})
    _print([] if as_json else next_lines(found, how, brought))
    if found.doubt is not None or (found.differs and how is How.NOTHING):
        raise SystemExit(DIFFERS)


def _compared(checking: Checking, scope: Scope) -> Comparison:
    patience = Patience(Urgency.WORK, command_clock().monotonic() + _LONGEST_S, lambda: None)
    with told_if_out_of_reach("Nexudus could not be compared with", "Nothing was changed."):
        found = compare(checking, scope, patience)
        unknown = _unknown(checking, found, patience)
    if unknown:
        named = ", ".join(str(one) for one in unknown)
        raise click.UsageError(f"Neither Nexudus nor the ledger has a course with this Id: {named}")
    return found


def _unknown(checking: Checking, found: Comparison, patience: Patience) -> list[int]:
    """Return which of the courses asked for nobody knows. Raises as `compare`."""
    asked = found.scope.course_ids or frozenset()
    met = {one.references.course_id for way in Way for one in found.of(way)}
    if not asked <= met:
        with reading(checking.engine) as connection:
            met |= records_of(connection, Entity.COURSE, asked).keys()
            met |= set(courses_of_enrolments(connection).values())
    if not asked <= met:
        with checking.source(patience) as source:
            met |= {one.record_id for one in source.all_of(Entity.COURSE)}
    return sorted(asked - met)


def _is_meant(found: Comparison) -> bool:
    """Ask whether people are to be written to, if there is anything to write about."""
    number = len(found.of(Way.MISSING)) + len(found.of(Way.DIFFERENT))
    these = "this one" if number == 1 else f"these {number}"
    return not number or agreed(f"Write about {these}?")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(printable(line))


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
