"""Checks that everything belonging to an event or action exists; reports what is missing. Pure.

Findings that one missing row explains are reported once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ledger.outages import OUTAGE_REASONS
from ledger.outcomes import LedgerAction, LedgerEvent
from schemas.actions import ActionState, event_key_of
from schemas.entity import Entity
from schemas.events import EventKind, course_completed_key, course_started_key
from schemas.reasons import Reason
from schemas.records import CompletedLesson
from workers.sync.evidence import Evidence
from workers.sync.listed_rows import ListRow
from workers.sync.row_outcomes import EventLinks, Finding, FindingKind, finding

_ENROLMENTS = frozenset({EventKind.ENROLLED, EventKind.ENROLMENT_REQUESTED})
# Each of these final states is stored together with its attempt.
_TRACED = frozenset(
    {
        ActionState.DONE,
        ActionState.HELD,
        ActionState.FAILED,
        ActionState.UNKNOWN,
        ActionState.SKIPPED,
    }
)
# Reasons with which an attempt may end before the action is final.
_AGAIN = OUTAGE_REASONS | {
    Reason.MAIL_TEMPORARY,
    Reason.DELIVERY_LATER,
    Reason.HANDOVER_UNKNOWN,
}


@dataclass(slots=True)
class Audit:
    """Checks `scope`: the events of the window, and those that its rows led to.

    `reported` are the keys of events already found missing; `rows` says which row of the source
    shows an event, by its key.
    """

    evidence: Evidence
    chains: EventLinks
    scope: Mapping[str, LedgerEvent]
    reported: set[str]
    rows: Mapping[str, ListRow]
    findings: list[Finding] = field(default_factory=list)
    _unlinked: set[str] = field(default_factory=set)  # keys of events without action or reason
    _missing: set[int] = field(default_factory=set)  # missing actions already reported
    _done: dict[int, dict[int, datetime | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.evidence.known.values():
            record = None if one.stored is None else one.stored.record
            if one.stored is not None and isinstance(record, CompletedLesson):
                # A record that is gone still shows its event, but completes no course.
                counts = one.stored.is_decided and one.stored.gone_at is None
                done = self._done.setdefault(record.course_member_id, {})
                if counts or record.lesson_id not in done:
                    done[record.lesson_id] = record.created_at if counts else None

    def all(self) -> list[Finding]:
        """Return what is missing."""
        in_order = sorted(self.scope.values(), key=lambda event: (event.happened_at, event.key))
        for event in in_order:
            self._record(event)
            self._outcome(event)
        self._milestones(in_order)
        for effect in sorted(self.evidence.effects.values(), key=lambda one: one.action_id):
            for cause in self._causes(effect):
                self._report(effect, FindingKind.NO_CAUSE, cause)
            trace = missing_trace(effect, traced_since=self.evidence.traced_since)
            if trace is not None:
                self._report(effect, FindingKind.NO_TRACE, trace)
        return self.findings

    def _record(self, event: LedgerEvent) -> None:
        if event.kind in _ENROLMENTS:
            is_shown = (
                self.evidence.stored((Entity.COURSE_MEMBER, event.course_member_id)) is not None
            )
        elif event.kind == EventKind.LESSON_COMPLETED:
            is_shown = event.lesson_id in self._done.get(event.course_member_id, {})
        else:
            return
        if not is_shown and event.key not in self.reported:
            self._report(event, FindingKind.NO_RECORD)

    def _outcome(self, event: LedgerEvent) -> None:
        linked = self.chains.actions.get(event.event_id, ())
        if not linked and event.reason is None:
            self._unlinked.add(event.key)
            self._report(event, FindingKind.NO_OUTCOME)
        for action_id in linked:
            if action_id in self.evidence.effects or action_id in self._missing:
                continue
            self._missing.add(action_id)
            self._report(event, FindingKind.NO_ACTION, f"Action {action_id} is missing here")

    def _milestones(self, events: Iterable[LedgerEvent]) -> None:
        """Check the starts and completions of courses that lessons of the window led to."""
        for event in events:
            whose = (event.course_id, event.coworker_id)
            is_lesson = event.kind == EventKind.LESSON_COMPLETED
            if not is_lesson or not self.evidence.window.holds(event.happened_at):
                continue
            if event.happened_at == self.evidence.first_lessons.get(whose):
                self._must_exist(event, course_started_key(*whose), "The start of the course")
            if self._was_superseded(event) or self._has_finished(event):
                self._must_exist(
                    event, course_completed_key(*whose), "The completion of the course"
                )

    def _was_superseded(self, event: LedgerEvent) -> bool:
        """Return whether its email was replaced by the one about the completed course.

        That happens only if such an email was planned, so the completion existed.
        """
        effects = self.chains.effects(event)
        return Reason.SUPERSEDED in {event.reason, *(one.reason for one in effects)}

    def _must_exist(self, event: LedgerEvent, key: str, what: str) -> None:
        if key not in self.evidence.events and key not in self.reported:
            self.reported.add(key)
            self._report(event, FindingKind.NO_EVENT, f"{what} is missing here")

    def _has_finished(self, event: LedgerEvent) -> bool:
        """Return whether this lesson certainly completed the course as it was at that time."""
        school = self.evidence.course_lessons.get(event.course_id)
        done = self._done.get(event.course_member_id, {})
        if school is None or len(done) < len(school.counting):
            return False
        moments = [done.get(one.record_id) for one in school.counting]
        ends = [moment for moment in moments if moment is not None]
        if not ends or len(ends) < len(moments):
            return False
        effects, rules = self.chains.effects(event), self.evidence.rules
        same_rules = bool(effects) and all(one.rules_version == rules for one in effects)
        is_last = done.get(event.lesson_id or 0) == max(ends)
        return is_last and same_rules and school.unchanged_since < event.happened_at

    def _causes(self, effect: LedgerAction) -> Iterator[str]:
        """Yield what is missing among the events of an action."""
        there, events = self.evidence.event_ids, self.evidence.events
        linked = self.chains.events.get(effect.action_id, ())
        first_key = event_key_of(effect.key)
        lost = sum(one not in there for one in linked)
        missing = lost - self._explained(effect, first_key) if lost else 0
        for _ in range(missing):
            yield f"Action {effect.action_id} is about an event that is missing here"
        first = events.get(first_key)
        if missing > 0 or first_key in self.reported or first_key in self._unlinked:
            return
        if first is None and not lost:
            yield f"Action {effect.action_id} was planned for an event that is missing here"
        elif first is not None and first.event_id not in linked:
            yield f"Action {effect.action_id} is not linked to the event it was planned for"

    def _explained(self, effect: LedgerAction, first_key: str) -> int:
        """Return how many missing events of this action may have been reported already."""
        start = f"{effect.event_kind}:{effect.course_member_id}:"
        return sum(
            key not in self.evidence.events and (key == first_key or key.startswith(start))
            for key in self.reported
        )

    def _report(
        self, about: LedgerEvent | LedgerAction, kind: FindingKind, detail: str | None = None
    ) -> None:
        row = None
        if isinstance(about, LedgerEvent):
            row = self.rows.get(about.key)
            if row is None and about.kind in _ENROLMENTS:
                row = ListRow(Entity.COURSE_MEMBER, about.course_member_id, about.happened_at)
        self.findings.append(finding(self.evidence, kind, about, row, detail))


def missing_trace(effect: LedgerAction, *, traced_since: datetime) -> str | None:
    """Return what is missing in an action's history; None if nothing is.

    A missing line shows only by the action's final state and number of attempts. Attempts of
    actions planned before `traced_since` may have been deleted by retention.
    """
    outcomes = [outcome for outcome, _ in effect.tries]
    reasons = [reason for _, reason in effect.tries]
    state = ActionState(effect.state)
    if state is ActionState.DONE and not effect.has_receipt:
        return f"Action {effect.action_id} was sent, but its receipt is missing here"
    if effect.planned_at < traced_since:
        return None
    if state in _TRACED and state not in outcomes and effect.reason != Reason.SUPERSEDED:
        return f"Action {effect.action_id} is {state}, but the attempt is missing here"
    waits = state is ActionState.WAITING and effect.reason not in {None, Reason.GATHERING}
    if waits and effect.reason not in reasons:
        return f"Action {effect.action_id} waits ({effect.reason}), but the attempt is missing here"
    begun = effect.attempts - (state is ActionState.PERFORMING)
    if sum(_was_begun(*one) for one in effect.tries) < begun:
        return f"Action {effect.action_id} was tried more often than there are attempts here"
    return None


def _was_begun(outcome: str, reason: str | None) -> bool:
    if outcome in {ActionState.DONE, ActionState.UNKNOWN}:
        return True
    # A refusal before the hand-over looks the same; counting one too many is harmless.
    refused = (outcome, reason) in {
        (ActionState.FAILED, Reason.MAIL_REJECTED),
        (ActionState.FAILED, Reason.MAIL_TOO_LARGE),
        (ActionState.FAILED, Reason.DELIVERY_REFUSED),
        (ActionState.SKIPPED, Reason.NO_EMAIL),
    }
    return refused or reason in _AGAIN
