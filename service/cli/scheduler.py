"""`coursebell scheduler`: wakes workers when work is due."""

from pathlib import Path

import click

from ledger.engine import open_engine
from service.cli.common import (
    check_secret_key,
    command_clock,
    settings_now,
    stop_on_signals,
    wait_for_ledger,
)
from workers.logs import set_up_logs
from workers.scheduler import Scheduler
from workers.wakeup import Wakeup


@click.command()
def scheduler() -> None:
    """Run the scheduler that wakes workers when work is due."""
    settings = settings_now()
    wait_for_ledger(settings)
    check_secret_key(settings, signs=False)
    set_up_logs("clock")
    stop = stop_on_signals()
    wakeup = Wakeup(settings.broker_url, command_clock())
    engine = open_engine(settings.database_url)
    Scheduler(
        engine,
        wakeup,
        command_clock(),
        check_every_s=settings.check_every_s,
        lease_s=settings.lease_s,
        data_folder=Path(settings.data_dir),
    ).run(stop)
    wakeup.close()
    engine.dispose()


clock = click.Command(
    "clock",
    callback=scheduler.callback,
    help="Run the scheduler; an alias of `coursebell scheduler`.",
)
