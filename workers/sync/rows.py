"""What a poll, backfill and comparison share: their context, lookups, and interleaved lists."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger.clock import Clock
from ledger.engine import Connection, Engine
from ledger.intake import Origin, store_notifications
from ledger.records import SeenVersion, note_seen
from schemas.entity import Entity
from schemas.notification import Notification
from schemas.reasons import Reason
from workers.source.lists import Changes
from workers.source.reads import Lend


@dataclass(frozen=True, slots=True)
class SyncContext:
    """What a poll, backfill or comparison works with. `source` lends a client to one thread.

    `every_s` is the time between polls; after `lease_s` without a renewal another worker takes a
    poll over.
    """

    engine: Engine
    source: Lend
    clock: Clock
    every_s: float = 300.0
    lease_s: float = 60.0


def note_changes(  # noqa: PLR0913, PLR0917 - what, its origin, and whether emails are suppressed
    connection: Connection,
    sync: SyncContext,
    entity: Entity,
    seen: Sequence[SeenVersion],
    origin: Origin,
    suppressed: Reason | None = None,
) -> None:
    """Store these versions as seen and request lookups of them, in the caller's transaction.

    With `suppressed` they are read as well, but no email is sent about what happened so far.
    """
    now = sync.clock.now()
    note_seen(connection, entity, seen, now, suppressed)
    request_lookups(connection, sync, entity, [one.record_id for one in seen], origin)


def request_lookups(
    connection: Connection,
    sync: SyncContext,
    entity: Entity,
    record_ids: Iterable[int],
    origin: Origin,
) -> None:
    """Request lookups of these records, as a notification would."""
    notifications = [Notification(entity, record_id) for record_id in record_ids]
    store_notifications(connection, notifications, origin, sync.clock.now())


@dataclass(slots=True)
class ListProgress:
    """Up to when a list was read, by the times of its rows.

    A list that ignores the requested order may show earlier rows at its end, so nothing of it
    counts as read beyond `since` before it ends.
    """

    since: datetime
    reached: datetime = field(init=False)
    is_ordered: bool = True

    def __post_init__(self) -> None:
        self.reached = self.since

    def note(self, page: Changes) -> None:
        """Note that a page was read."""
        moments = [row.at for row in page.rows]
        if moments != sorted(moments) or (moments and moments[-1] < self.reached):
            self.is_ordered, self.reached = False, self.since
        elif moments and self.is_ordered:
            # The next page repeats the whole minute in which this one ended.
            minute = moments[-1].replace(second=0, microsecond=0)
            self.reached = max(self.reached, minute)


@dataclass(slots=True)
class ListCursor:
    """One list of the source, and up to when it was read."""

    entity: Entity
    since: datetime
    pages: Iterator[Changes]
    progress: ListProgress = field(init=False)
    ended: bool = False

    def __post_init__(self) -> None:
        self.progress = ListProgress(self.since)


def interleave(cursors: Collection[ListCursor]) -> Iterator[tuple[ListCursor, Changes]]:
    """Yield the pages of all lists, always from the one that is furthest behind.

    Raises as the lists do.
    """
    while unfinished := [cursor for cursor in cursors if not cursor.ended]:
        cursor = min(unfinished, key=lambda one: one.progress.reached)
        page = next(cursor.pages, None)
        if page is None:
            cursor.ended = True
            continue
        yield cursor, page
        cursor.progress.note(page)  # the caller has stored this page when it asks for the next


def reached_by(cursors: Collection[ListCursor], until: datetime) -> datetime:
    """Return up to when all lists were read; `until` if all ended."""
    return min(
        (until if cursor.ended else min(cursor.progress.reached, until) for cursor in cursors),
        default=until,
    )
