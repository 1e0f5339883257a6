"""Everything one run of the sandbox has, in one place."""

from dataclasses import dataclass, field

from sandbox.faults import Faults
from sandbox.mailbox import Mailbox
from sandbox.reads import Reads
from sandbox.sender import Sender
from sandbox.story import Story
from sandbox.tenant import Tenant
from sandbox.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Stage:
    """The tenant and all that stands around it. `coursebell_url` is where it may be looked at."""

    sender: Sender
    tokens: Tokens
    coursebell_url: str | None = None
    tenant: Tenant = field(default_factory=Tenant)
    faults: Faults = field(default_factory=Faults)
    reads: Reads = field(default_factory=Reads)
    mailbox: Mailbox = field(default_factory=Mailbox)

    def story(self) -> Story:
        """Return what people can do here."""
        return Story(self.tenant, self.sender)
