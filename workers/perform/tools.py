"""What actions are performed with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ledger.actions import ClaimedAction, renew_action
from ledger.engine import Engine, writing
from workers.actions.base import Action
from workers.clocks import Clock
from workers.lease import Lease, Overtaken
from workers.lookup.once import Once
from workers.perform.truth import Standpoint


def never() -> bool:
    """Return False: for a process that is not asked to stop."""
    return False


class Stopping(Overtaken):
    """The worker has been asked to stop, and this action has not begun."""


@dataclass(frozen=True, slots=True)
class Performing:
    """With what actions are performed.

    `lease_s` is for how long a worker holds an action, in seconds, before it renews that.
    `is_stopping` says whether the worker has been asked to stop; no action is begun then.
    """

    engine: Engine
    actions: Mapping[str, Action]
    stand: Standpoint
    clock: Clock
    lease_s: float
    once: Once = field(default_factory=Once)
    is_stopping: Callable[[], bool] = never

    def lease_of(self, claimed: ClaimedAction) -> Lease:
        """Return the lease of an action that was claimed, to be kept while it is worked on."""

        def renew() -> bool:
            with writing(self.engine) as connection:
                return renew_action(connection, claimed, self.clock.now(), lease_s=self.lease_s)

        return Lease(renew, self.clock, self.lease_s)
