"""What one worker child holds: made after the fork, in the child, and never shared with another."""

from dataclasses import dataclass
from pathlib import Path

from ledger.keys import KeyCheck
from ledger.migrate import RevisionWatch
from schemas.errors import LedgerUnavailable
from schemas.settings import Settings
from workers.clocks import utc_now
from workers.heartbeat import Heartbeat
from workers.shared import Shared
from workers.workshop import Foundation, Workshop, make_workshop


@dataclass(frozen=True, slots=True)
class Child:
    """One process that works."""

    workshop: Workshop
    heartbeat: Heartbeat
    watch: RevisionWatch
    key: KeyCheck
    shared: Shared


_children: list[Child] = []  # none or one: a process is one child


def become_child(settings: Settings, foundation: Foundation, shared: Shared) -> None:
    """Make this process able to work. Called once, after the fork."""
    leave_child()
    workshop = make_workshop(settings, foundation, is_stopping=shared.is_stopping)
    heartbeat = Heartbeat(workshop.engine, "worker", utc_now, Path(settings.data_dir))
    key = KeyCheck(workshop.engine, foundation.secret_key)
    watch = RevisionWatch(workshop.engine)
    _children.append(Child(workshop, heartbeat, watch, key, shared))


def this_child() -> Child:
    """Return what this process works with.

    Raises:
        LedgerUnavailable: the process could not be made ready; its log says why.
        ConfigurationError: the ledger has been upgraded to tables that this code must not use, or
            belongs to another secret key.
    """
    if not _children:
        raise LedgerUnavailable("this worker could not open the ledger when it began")
    child = _children[0]
    child.watch.check()
    child.key.check(utc_now())
    child.heartbeat.begin()
    return child


def leave_child() -> None:
    """Let go of everything, at the end of the process."""
    while _children:
        child = _children.pop()
        child.heartbeat.close()
        child.workshop.close()
