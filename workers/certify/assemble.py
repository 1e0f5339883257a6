"""Brings rows of the source and the ledger together into a certificate. Pure: reads nothing.

Each row gets one fate and each event one, and only then are they counted. Whether that is all of
them is told by sums that were counted elsewhere: see `workers.certify.sums`.
"""

from collections.abc import Iterable, Sequence
from datetime import date

from workers.certify.audit import Audit
from workers.certify.chains import Chains, fate_of
from workers.certify.fates import Judge, Judged
from workers.certify.naming import clean, location_of, of_row, place_of, whose_row
from workers.certify.sums import Assembled, sums_of
from workers.certify.traces import Traces
from workers.certify.values import Certificate, Difference, Here, Line, Ref, SourceRow
from workers.certify.words import Kind

_Lines = dict[tuple[int | None, date], Line]


def assemble(rows: Sequence[SourceRow], here: Here) -> Certificate:
    """Return the certificate for these rows, which are all that the source has in the window."""
    chains = Chains(here)
    judge = Judge(here, chains)
    judged = judge.all(rows)
    only_here = _only_here(here)
    scope = {key: one for key, one in here.events.items() if here.window.holds(one.happened_at)}
    scope |= {one.event.key: one.event for one in judged if one.event is not None}
    audit = Audit(here, chains, scope, judge.told, _shown_by(judged))
    found = judge.differences + audit.all()
    found += Traces(here, chains, audit.told, audit.unlinked).all()
    found += [
        of_row(here, row, Kind.MISSING_THERE, "The ledger has it, and Nexudus does not list it")
        for row in only_here
    ]
    lines: _Lines = {}
    _count_rows(lines, here, judged, only_here)
    _count_events(lines, here, chains)
    carried_over = _count_emails(lines, here)
    in_order = sorted(lines.values(), key=lambda one: (one.location, one.course, one.day))
    totals = _total(in_order, here)
    not_here = sum(not one.is_here for one in judged)
    made = Assembled(here, rows, judged, len(only_here), not_here, carried_over, totals)
    return Certificate(
        here.window,
        in_order,
        totals,
        carried_over,
        not_here,
        len(only_here),
        _in_order(found),
        sums_of(made),
        here.traced_since if here.window.since < here.traced_since else None,
    )


def _only_here(here: Here) -> list[SourceRow]:
    """Return, as rows, the records of the window that the source does not list."""
    found = []
    for (entity, record_id), kept in sorted(here.kept.items()):
        record = kept.record
        created_at = getattr(record, "created_at", None)
        if (
            kept.gone_at is None
            and (entity, record_id) not in here.listed
            and created_at is not None
            and here.window.holds(created_at)
        ):
            found.append(
                SourceRow(
                    entity,
                    record_id,
                    created_at,
                    getattr(record, "course_id", None),
                    getattr(record, "coworker_id", None),
                    getattr(record, "course_member_id", None),
                    getattr(record, "lesson_id", None),
                    getattr(record, "full_name", None),
                    getattr(record, "lesson_title", None),
                )
            )
    return found


def _shown_by(judged: Iterable[Judged]) -> dict[str, Ref]:
    return {one.event.key: one.row.ref for one in judged if one.event is not None}


def _line(lines: _Lines, here: Here, course_id: int | None, day: date) -> Line:
    found = lines.get((course_id, day))
    if found is None:
        place = place_of(here, course_id)
        found = Line(location_of(place), place.location_id, clean(place.title), course_id, day)
        lines[course_id, day] = found
    return found


def _count_rows(
    lines: _Lines, here: Here, judged: Iterable[Judged], only_here: Iterable[SourceRow]
) -> None:
    for one in judged:
        day = here.window.day(one.row.created_at)
        line = _line(lines, here, whose_row(here, one.row)[0], day)
        line.at_source[one.row.entity] += 1
        line.here[one.row.entity] += one.is_here
        line.fates[one.fate, one.reason] += 1
    for row in only_here:
        line = _line(lines, here, whose_row(here, row)[0], here.window.day(row.created_at))
        line.here[row.entity] += 1


def _count_events(lines: _Lines, here: Here, chains: Chains) -> None:
    for event in here.events.values():
        if here.window.holds(event.happened_at):
            line = _line(lines, here, event.course_id, here.window.day(event.happened_at))
            line.events[event.kind] += 1
            line.event_fates[chains.fate(event)] += 1


def _count_emails(lines: _Lines, here: Here) -> int:
    """Count each action on the day of its first event; return how many are of other days."""
    carried_over = 0
    for effect in here.effects.values():
        if here.window.holds(effect.happened_at):
            line = _line(lines, here, effect.course_id, here.window.day(effect.happened_at))
            line.emails[fate_of(effect), effect.reason] += 1
        else:
            carried_over += 1
    return carried_over


def _total(lines: Iterable[Line], here: Here) -> Line:
    total = Line("", None, "", None, here.window.last)
    for line in lines:
        total.at_source += line.at_source
        total.here += line.here
        total.fates += line.fates
        total.events += line.events
        total.event_fates += line.event_fates
        total.emails += line.emails
    return total


def _in_order(found: Iterable[Difference]) -> list[Difference]:
    return sorted(
        found,
        key=lambda one: (
            one.day,
            one.location,
            one.course,
            one.person,
            one.record_id or 0,
            one.kind,
            one.detail,
        ),
    )
