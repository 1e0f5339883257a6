"""Looks at each action: is all there that it is about, and all that became of it? Pure.

A line of its history can be missed only where something else tells that it was there: how it ended,
and how often its hand-over was begun.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from ledger.outages import OUTAGE_REASONS
from ledger.stories.certificate import Effect
from schemas.actions import event_key_of
from schemas.reasons import Reason
from schemas.states import ActionState
from workers.certify.chains import Chains
from workers.certify.naming import clean, location_of, person_of, place_of
from workers.certify.values import Difference, Here
from workers.certify.words import Kind

# Each of these ends is written down together with the attempt that led to it.
_TRACED = {
    ActionState.DONE,
    ActionState.HELD,
    ActionState.FAILED,
    ActionState.UNKNOWN,
    ActionState.SKIPPED,
}
# What a hand-over that was begun may come to, before it ends for good.
_AGAIN = OUTAGE_REASONS | {
    Reason.MAIL_TEMPORARY,
    Reason.DELIVERY_LATER,
    Reason.HANDOVER_UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Traces:
    """Looks at the actions. `told` and `unlinked` are the keys of events already found wanting."""

    here: Here
    chains: Chains
    told: Collection[str]
    unlinked: Collection[str]

    def all(self) -> list[Difference]:
        """Return what is missing."""
        found, since = [], self.here.traced_since
        for effect in sorted(self.here.effects.values(), key=lambda one: one.action_id):
            found += [
                self._difference(effect, Kind.NO_CAUSE, missing) for missing in self._causes(effect)
            ]
            trace = missing_trace(effect, traced_since=since)
            if trace is not None:
                found.append(self._difference(effect, Kind.NO_TRACE, trace))
        return found

    def _causes(self, effect: Effect) -> Iterator[str]:
        linked = self.chains.events.get(effect.action_id, set())
        first_key = event_key_of(effect.key)
        missing = len(linked - self.here.event_ids) - self._explained(effect, first_key)
        for _ in range(missing):
            yield f"Action {effect.action_id} is about an event that is not here"
        first = self.here.events.get(first_key)
        if missing > 0 or first_key in self.told or first_key in self.unlinked:
            return
        if first is None and linked <= self.here.event_ids:
            yield f"Action {effect.action_id} was planned for an event that is not here"
        elif first is not None and first.event_id not in linked:
            yield f"Action {effect.action_id} is not tied to the event it was planned for"

    def _explained(self, effect: Effect, first_key: str) -> int:
        """Return how many events this action may be about that others told to be missing."""
        start = f"{effect.event_kind}:{effect.course_member_id}:"
        return sum(
            1
            for key in self.told
            if key not in self.here.events and (key == first_key or key.startswith(start))
        )

    def _difference(self, effect: Effect, kind: Kind, detail: str) -> Difference:
        place = place_of(self.here, effect.course_id)
        return Difference(
            kind,
            self.here.window.day(effect.happened_at),
            location_of(place),
            clean(place.title),
            person_of(self.here, effect.coworker_id),
            None,
            None,
            None,
            detail,
        )


def missing_trace(effect: Effect, *, traced_since: datetime) -> str | None:
    """Say which line of an action's history is missing; None: none that could be missed.

    Of actions planned before `traced_since` the attempts may have been deleted for their age.
    """
    outcomes = {outcome for outcome, _ in effect.tries}
    reasons = {reason for _, reason in effect.tries}
    state = ActionState(effect.state)
    if state is ActionState.DONE and not effect.has_receipt:
        return f"Action {effect.action_id} was sent, and its receipt is not here"
    if effect.planned_at < traced_since:
        return None
    if state in _TRACED and state not in outcomes and effect.reason != Reason.SUPERSEDED:
        return f"Action {effect.action_id} is {state}, and the attempt is not here"
    waits = state is ActionState.WAITING and effect.reason not in {None, Reason.GATHERING}
    if waits and effect.reason not in reasons:
        return f"Action {effect.action_id} waits ({effect.reason}), and the attempt is not here"
    begun = effect.attempts - (state is ActionState.PERFORMING)
    if sum(1 for one in effect.tries if _was_begun(one)) < begun:
        return f"Action {effect.action_id} was tried more often than there are attempts here"
    return None


def _was_begun(one: tuple[str, str | None]) -> bool:
    outcome, reason = one
    if outcome in {ActionState.DONE, ActionState.UNKNOWN}:
        return True
    # Refused while it was written, before it was begun, looks the same: one too many is harmless.
    refused = (outcome, reason) in {
        (ActionState.FAILED, Reason.MAIL_REJECTED),
        (ActionState.FAILED, Reason.DELIVERY_REFUSED),
        (ActionState.SKIPPED, Reason.NO_EMAIL),
    }
    return refused or reason in _AGAIN
