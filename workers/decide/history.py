"""What was said of records before: by those who looked first, and by people who asked."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ledger.quiet import Quiet
from schemas.entity import Entity
from schemas.events import Event
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class History:
    """What one decision has to know of that. `kept` are events that led to nothing, by key."""

    quiet: Mapping[tuple[Entity, int], Quiet]
    asked: AbstractSet[tuple[Entity, int]]
    kept: Mapping[str, int]

    def quiet_reason(self, event: Event) -> Reason | None:
        """Return why nobody is written to about this, if it was there before we began."""
        found = None if event.record is None else self.quiet.get(event.record)
        return found.reason if found is not None and event.happened_at <= found.upto else None

    def is_asked_for(self, event: Event) -> bool:
        """Say whether a person asked for it, so that neither its age nor our start matters."""
        return event.record in self.asked

    def revives(self, event: Event) -> bool:
        """Say whether it is decided on once more: it led to nothing, and a person asks now."""
        return event.key in self.kept and self.is_asked_for(event)
