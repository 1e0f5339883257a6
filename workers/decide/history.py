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
    """What one decision has to know of that. `kept` are events that led to nothing, by key.

    A person looks at the emails about the records in `reviewed` before they go, and with
    `all_reviewed` at those about everything that this look-up finds.
    """

    quiet: Mapping[tuple[Entity, int], Quiet]
    asked: AbstractSet[tuple[Entity, int]]
    kept: Mapping[str, int]
    reviewed: AbstractSet[tuple[Entity, int]] = frozenset()
    all_reviewed: bool = False

    def quiet_reason(self, event: Event) -> Reason | None:
        """Return why nobody is written to about this, if it was there before we began."""
        found = None if event.record is None else self.quiet.get(event.record)
        return found.reason if found is not None and event.happened_at <= found.upto else None

    def is_asked_for(self, event: Event) -> bool:
        """Say whether a person asked for it, so that neither its age nor our start matters."""
        return event.record in self.asked

    def held_for(self, event: Event) -> Reason | None:
        """Return why emails about this are held from the beginning, if they are."""
        is_reviewed = self.all_reviewed or event.record in self.reviewed
        return Reason.IMPORTED if is_reviewed else None

    def revives(self, event: Event) -> bool:
        """Say whether it is decided on once more: it led to nothing, and a person asks now."""
        return event.key in self.kept and self.is_asked_for(event)
