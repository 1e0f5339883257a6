"""Opens the source for commands. It imports the source client, which most commands do without."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from schemas.settings import Settings
from service.cli.common import command_clock, opened_ledger
from workers.source.budget import make_budget
from workers.source.client import make_sources
from workers.sync.rows import SyncContext


@contextmanager
def open_sync(settings: Settings) -> Iterator[SyncContext]:
    """Open the ledger and the source client, within the limits that all processes share.

    Raises as `opened_ledger`.
    """
    clock = command_clock()
    with (
        opened_ledger(settings) as engine,
        closing(make_budget(settings, clock)) as budget,
        closing(make_sources(settings, engine, clock, budget)) as sources,
    ):
        yield SyncContext(engine, sources.lend, clock)
