"""What a check works with, and how it makes news of what it found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.clock import Clock
from ledger.engine import Connection, Engine
from ledger.intake import Origin, keep_notifications
from ledger.records import SeenVersion, note_seen
from schemas.entity import Entity
from schemas.notification import Notification
from schemas.reasons import Reason
from workers.source.reads import Lend


@dataclass(frozen=True, slots=True)
class Checking:
    """With what the source is looked at. `source` lends a way there, for one thread at a time.

    `every_s` is how often, in seconds, it is checked; `lease_s` for how long one worker may be at a
    check before another takes it over.
    """

    engine: Engine
    source: Lend
    clock: Clock
    every_s: float = 300.0
    lease_s: float = 60.0


def make_news(  # noqa: PLR0913, PLR0917 - what, from where, and whether anybody is written to
    connection: Connection,
    checking: Checking,
    entity: Entity,
    seen: Sequence[SeenVersion],
    origin: Origin,
    quiet: Reason | None = None,
) -> None:
    """Have these records read and decided on, in one transaction with keeping them as seen.

    With `quiet` they are read all the same, and nobody is written to about what happened so far.
    """
    now = checking.clock.now()
    note_seen(connection, entity, seen, now, quiet)
    ask_about(connection, checking, entity, [one.record_id for one in seen], origin)


def ask_about(
    connection: Connection,
    checking: Checking,
    entity: Entity,
    record_ids: Iterable[int],
    origin: Origin,
) -> None:
    """Have these records read and decided on, as if somebody had told us of them."""
    said = [Notification(entity, record_id) for record_id in record_ids]
    keep_notifications(connection, said, origin, checking.clock.now())
