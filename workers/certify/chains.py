"""From an event to its actions: what became of it, by what links the two. Pure."""

from collections import defaultdict
from dataclasses import dataclass, field

from ledger.stories.certificate import Effect, Happened
from schemas.states import ActionState
from workers.certify.values import Here
from workers.certify.words import Fate

# Of several emails about one event, the first of these says what became of it.
_WEIGHT = (
    Fate.WRITTEN,
    Fate.UNKNOWN,
    Fate.FAILED,
    Fate.HELD,
    Fate.WAITING,
    Fate.SKIPPED,
)
FATES = {
    ActionState.DONE: Fate.WRITTEN,
    ActionState.SKIPPED: Fate.SKIPPED,
    ActionState.WAITING: Fate.WAITING,
    ActionState.PLANNED: Fate.WAITING,
    ActionState.PERFORMING: Fate.WAITING,
    ActionState.HELD: Fate.HELD,
    ActionState.FAILED: Fate.FAILED,
    ActionState.UNKNOWN: Fate.UNKNOWN,
}


@dataclass(slots=True)
class Chains:
    """The links between events and actions, both ways; ids lead also to what is not there."""

    here: Here
    actions: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    events: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        for link in self.here.links:
            self.actions[link.event_id].add(link.action_id)
            self.events[link.action_id].add(link.event_id)

    def effects(self, event: Happened) -> list[Effect]:
        """Return the actions about an event that are there."""
        ids = sorted(self.actions.get(event.event_id, ()))
        return [self.here.effects[one] for one in ids if one in self.here.effects]

    def fate(self, event: Happened) -> tuple[Fate, str | None]:
        """Return what became of an event, and the reason."""
        found = self.effects(event)
        if found:
            fates = [(fate_of(effect), effect.reason) for effect in found]
            return min(fates, key=lambda fate: _WEIGHT.index(fate[0]))
        if self.actions.get(event.event_id) or event.reason is None:
            return Fate.UNACCOUNTED, None
        return Fate.UNWRITTEN, event.reason


def fate_of(effect: Effect) -> Fate:
    """Return what became of what an action is about."""
    return FATES[ActionState(effect.state)]
