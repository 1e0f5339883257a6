"""Everything one run of the sandbox has, in one place."""

from dataclasses import dataclass, field

from sandbox.clock import WorldClock
from sandbox.faults import Faults
from sandbox.hook import ROUTES, Hook
from sandbox.mailbox import Mailbox
from sandbox.misbehaviour.board import Board
from sandbox.quota import WINDOWS_S, Limits, Quota
from sandbox.reads import Reads
from sandbox.refused import Refused
from sandbox.sender import Sender
from sandbox.story import Story
from sandbox.tenant import Tenant
from sandbox.tokens import Tokens
from sandbox.webhooks import HOOK_IDS, hook_record, state_of
from schemas.entity import Entity


@dataclass(frozen=True, slots=True)
class Stage:
    """The tenant and all that stands around it. `coursebell_url` is where it may be looked at."""

    sender: Sender
    tokens: Tokens
    board: Board
    tenant: Tenant
    clock: WorldClock
    mailbox: Mailbox
    coursebell_url: str | None = None
    faults: Faults = field(default_factory=Faults)
    reads: Reads = field(default_factory=Reads)
    quota: Quota = field(default_factory=Quota)

    def set_up_hooks(self) -> None:
        """Let our webhooks have records, which follow what they do from now on."""
        self._add_hooks()
        if self.sender.aim.deliver_to is not None:
            self.sender.watch(self._note)

    def story(self) -> Story:
        """Return what people can do here."""
        return Story(self.tenant, self.sender)

    def limits(self) -> Limits | None:
        """Return how often a client may ask, by window; None when no limit is kept."""
        found = self.board.now("quota")
        return None if found is None else {name: found.maybe_whole(name) for name in WINDOWS_S}

    def is_dead(self, entity: Entity, record_id: int) -> bool:
        """Whether this missing Id should answer 500."""
        found = self.board.now("dead-id-500")
        is_dead = (
            found is not None
            and found.is_about(entity)
            and found.maybe_whole("id") in {None, record_id}
        )
        return is_dead or self.faults.is_dead(entity, record_id)

    def clear(self) -> None:
        """Switch all misbehaviour off, and let go what waits."""
        self.board.clear()
        self.faults.clear()

    def begin_again(self) -> None:
        """Be as at the beginning, but for what was delivered: that cannot be taken back."""
        self.board.begin_again()
        self.faults.clear()
        self.clock.run()
        self.tokens.forget()
        self.sender.begin_again()
        self.tenant.begin_again()
        self.reads.reset()
        self.quota.reset()
        self.mailbox.begin_again()
        self._add_hooks()

    def _add_hooks(self) -> None:
        if self.sender.aim.deliver_to is None:
            return
        for entity in ROUTES:
            url = self.sender.aim.url_of(entity)
            self.tenant.add(Entity.WEB_HOOK, hook_record(self.tenant.opened_at, entity, url))

    def _note(self, hook: Hook) -> None:
        try:
            self.tenant.change(Entity.WEB_HOOK, HOOK_IDS[hook.entity], state_of(hook))
        except Refused:
            # Somebody deleted the record; the hook itself does not mind.
            return
