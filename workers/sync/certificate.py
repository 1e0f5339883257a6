"""The completeness certificate: proves, row by row, that nothing the source has was missed.

Each row and each event gets exactly one outcome, and then they are counted. Sums from independent
counts show that none was left out: the totals of the source's lists, and counts by the database.
"""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime

from schemas.entity import FOLLOWED, Entity
from schemas.rules import Rules
from workers.source.limits import Patience, Urgency
from workers.sync.audit import Audit
from workers.sync.evidence import GATHERED, Evidence, Progress, Window, gather
from workers.sync.listed_rows import WORDS, ListRow, clean, row_of_record
from workers.sync.row_outcomes import (
    EventLinks,
    Finding,
    FindingKind,
    JudgedRow,
    RowJudge,
    RowOutcome,
    finding,
    location_of,
    outcome_of_effect,
    place_of,
)
from workers.sync.rows import SyncContext

_FOR_S = 900.0  # that one certificate may wait for requests to the source

Counts = Counter[tuple[str, str | None]]  # an outcome or state, and its reason


@dataclass(slots=True)
class Line:
    """One course on one day.

    Rows and outcomes are those of records created on that day. An email is counted once, on the
    day of its first event.
    """

    location: str
    location_id: int | None
    course: str
    course_id: int | None
    day: date
    at_source: Counter[Entity] = field(default_factory=Counter)
    here: Counter[Entity] = field(default_factory=Counter)
    outcomes: Counts = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    event_outcomes: Counts = field(default_factory=Counter)
    emails: Counts = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Sum:
    """One number twice: counted independently, and as the sum of the lines."""

    what: str
    counted: int
    shown: int

    @property
    def closes(self) -> bool:
        """Return whether the two are equal."""
        return self.counted == self.shown


@dataclass(frozen=True, slots=True)
class Certificate:
    """The whole certificate.

    `carried_over` emails are also about this window but counted on other days. `not_here` rows of
    the source are not in the ledger (yet); `only_here` records are not listed by the source.
    `traced_since` is set if attempts of the window may have been deleted by retention: for emails
    planned before, the attempts were not checked.
    """

    window: Window
    lines: Sequence[Line]
    totals: Line
    carried_over: int
    not_here: int
    only_here: int
    findings: Sequence[Finding]
    sums: Sequence[Sum]
    traced_since: datetime | None = None

    @property
    def closes(self) -> bool:
        """Return whether every sum is equal both ways, and each row is accounted for."""
        unaccounted = RowOutcome.UNACCOUNTED, None
        lost = self.totals.outcomes[unaccounted] + self.totals.event_outcomes[unaccounted]
        return not lost and all(one.closes for one in self.sums)

    @property
    def is_clean(self) -> bool:
        """Return whether nothing was missed."""
        return not self.findings and self.closes


def certify(
    sync: SyncContext, window: Window, rules: Rules, progress: Progress = lambda _: None
) -> Certificate:
    """Return the certificate of this window. Only lists are read, and nothing is written.

    Raises:
        SourceError: the source could not be read, or its lists are inconsistent.
        LedgerUnavailable: the ledger could not be read.
    """
    patience = Patience(Urgency.WORK, sync.clock.monotonic() + _FOR_S, lambda: None)
    with _without_collector():
        found = gather(sync, window, rules, patience, progress)
        progress(GATHERED)
        return assemble(*found)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the garbage collector, which would visit millions of objects that all stay in use."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def assemble(rows: Sequence[ListRow], evidence: Evidence) -> Certificate:
    """Return the certificate for these rows, which are all rows of the source in the window."""
    chains, window = EventLinks(evidence), evidence.window
    judge = RowJudge(evidence, chains)
    judged = judge.all(rows)
    only_here = _only_here(evidence)
    scope = {key: one for key, one in evidence.events.items() if window.holds(one.happened_at)}
    scope |= {one.event.key: one.event for one in judged if one.event is not None}
    shown_by = {one.event.key: one.row for one in judged if one.event is not None}
    findings = judge.findings + Audit(evidence, chains, scope, judge.reported, shown_by).all()
    findings += [finding(evidence, FindingKind.MISSING_THERE, row) for row in only_here]
    tables = _Tables(evidence)
    tables.count(judged, only_here, chains)
    lines = sorted(tables.lines.values(), key=lambda one: (one.location, one.course, one.day))
    totals = _total(lines, window.last)
    not_here = sum(not one.is_here for one in judged)
    return Certificate(
        window,
        lines,
        totals,
        tables.carried_over,
        not_here,
        len(only_here),
        sorted(findings, key=_order),
        [
            *_sums_of_rows(evidence, totals, len(rows), len(only_here), not_here),
            *_sums_of_records(evidence, totals, judged),
            *_other_sums(evidence, totals, tables.carried_over),
        ],
        evidence.traced_since if window.since < evidence.traced_since else None,
    )


def _order(one: Finding) -> tuple[object, ...]:
    whose = (one.day, one.location, one.course, one.person)
    return *whose, one.record_id or 0, one.kind, one.detail


def _only_here(evidence: Evidence) -> list[ListRow]:
    """Return, as rows, the records of the window that the source does not list."""
    found = []
    for ref, known in sorted(evidence.known.items()):
        if known.stored is not None and known.stored.gone_at is None and ref not in evidence.listed:
            created_at = getattr(known.stored.record, "created_at", None)
            if evidence.window.holds(created_at):
                found.append(row_of_record(*ref, known.stored.record, created_at))
    return found


@dataclass(slots=True)
class _Tables:
    """The lines of a certificate while they are counted.

    `carried_over`: how many actions have their first event on other days.
    """

    evidence: Evidence
    lines: dict[tuple[int | None, date], Line] = field(default_factory=dict)
    carried_over: int = 0

    def count(
        self, judged: Iterable[JudgedRow], only_here: Iterable[ListRow], chains: EventLinks
    ) -> None:
        """Count each row, each event, and each action on the day of its first event."""
        for one in judged:
            line = self._of_row(one.row)
            line.at_source[one.row.entity] += 1
            line.here[one.row.entity] += one.is_here
            line.outcomes[one.outcome, one.reason] += 1
        for row in only_here:
            self._of_row(row).here[row.entity] += 1
        holds = self.evidence.window.holds
        for event in self.evidence.events.values():
            if holds(event.happened_at):
                line = self._line(event.course_id, event.happened_at)
                line.events[event.kind] += 1
                line.event_outcomes[chains.outcome(event)] += 1
        for effect in self.evidence.effects.values():
            if holds(effect.happened_at):
                line = self._line(effect.course_id, effect.happened_at)
                line.emails[outcome_of_effect(effect), effect.reason] += 1
            else:
                self.carried_over += 1

    def _of_row(self, row: ListRow) -> Line:
        return self._line(self.evidence.names.course_of(row), row.at)

    def _line(self, course_id: int | None, at: datetime) -> Line:
        day = self.evidence.window.day(at)
        found = self.lines.get((course_id, day))
        if found is None:
            place = place_of(self.evidence, course_id)
            names = location_of(place), place.location_id, clean(place.title)
            found = self.lines[course_id, day] = Line(*names, course_id, day)
        return found


def _total(lines: Iterable[Line], day: date) -> Line:
    total = Line("", None, "", None, day)
    for line in lines:
        total.at_source += line.at_source
        total.here += line.here
        total.outcomes += line.outcomes
        total.events += line.events
        total.event_outcomes += line.event_outcomes
        total.emails += line.emails
    return total


def _sums_of_rows(
    evidence: Evidence, totals: Line, rows: int, only_here: int, not_here: int
) -> Iterator[Sum]:
    for entity, stated in evidence.stated.items():
        yield Sum(f"{WORDS[entity][1]} at Nexudus", stated, totals.at_source[entity])
    yield Sum("outcomes of rows", rows, totals.outcomes.total())
    yield Sum("rows there or here", rows + only_here, totals.here.total() + not_here)


def _sums_of_records(
    evidence: Evidence, totals: Line, judged: Sequence[JudgedRow]
) -> Iterator[Sum]:
    # What the database counts: records that were created in the window and are not gone.
    in_stock = {
        ref
        for ref, known in evidence.known.items()
        if known.stored is not None
        and known.stored.gone_at is None
        and evidence.window.holds(getattr(known.stored.record, "created_at", None))
    }
    rows = {one.row.ref for one in judged}
    here = {one.row.ref for one in judged if one.is_here}
    for entity in FOLLOWED:
        apart = sum(ref[0] is entity for ref in here - in_stock)
        beside = sum(ref[0] is entity for ref in (in_stock & evidence.listed) - rows)
        shown = totals.here[entity] - apart + beside
        counted = evidence.counts.records.get(entity, 0)
        yield Sum(f"{WORDS[entity][1]} here", counted, shown)


def _other_sums(evidence: Evidence, totals: Line, carried_over: int) -> Iterator[Sum]:
    yield Sum("events here", evidence.counts.events, totals.events.total())
    yield Sum("outcomes of events", totals.events.total(), totals.event_outcomes.total())
    yield Sum("emails here", evidence.counts.actions, totals.emails.total())
    emails = totals.emails.total() + carried_over
    yield Sum("emails of these and other days", len(evidence.effects), emails)
