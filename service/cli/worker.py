"""`coursebell worker`: the worker processes.

With `--without-broker` it runs workers and scheduler in one process, which needs no broker.
"""

import os
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click
import structlog

from ledger.engine import open_engine, writing
from ledger.heartbeats import NO_BROKER
from ledger.hooks import check_hooks_soon
from ledger.outages import retry_outages_now, retry_refused
from ledger.sending_rate import end_turns
from schemas.errors import ConfigurationError, LedgerUnavailable, frames_of
from schemas.settings import Settings
from service.cli.common import (
    AS_ROOT,
    check_secret_key,
    command_clock,
    opened_ledger,
    settings_now,
    wait_for_ledger,
    warn_of_weak_secrets,
)
from workers.app import make_worker_app, run_worker
from workers.broker import IN_MEMORY, named_broker
from workers.queues import WITHOUT_BROKER
from workers.rules_file import read_rules
from workers.scheduler import Scheduler
from workers.wakeup import Wakeup

_log = structlog.get_logger("clock")


@click.command()
@click.option(
    WITHOUT_BROKER,
    is_flag=True,
    help="Run workers and scheduler in this one process, which needs no broker.",
)
def worker(*, without_broker: bool) -> None:
    """Run the workers that read records, decide and send."""
    settings = settings_now()
    if without_broker:
        _check_without_broker(settings)
    else:
        named_broker(settings)
    read_rules(settings)
    wait_for_ledger(settings)
    check_secret_key(settings, signs=True)
    warn_of_weak_secrets(settings, "COURSEBELL_SECRET_KEY")
    if os.geteuid() == 0:
        click.echo(AS_ROOT, err=True)
    with (
        suppress(LedgerUnavailable),
        opened_ledger(settings) as engine,
        writing(engine) as connection,
    ):
        retry_refused(connection, command_clock().now())
        check_hooks_soon(connection, command_clock().now())
        retry_outages_now(connection, command_clock().now())
        if settings.mail_rate is None:
            end_turns(connection, command_clock().now())
    if without_broker:
        raise SystemExit(_work_without_broker(replace(settings, broker_url=IN_MEMORY)))
    raise SystemExit(run_worker(make_worker_app(settings)))


def _check_without_broker(settings: Settings) -> None:
    if settings.broker_url is not None:
        raise ConfigurationError(
            [f"COURSEBELL_BROKER_URL: cannot be used with {WITHOUT_BROKER}; remove one of them"]
        )


def _work_without_broker(settings: Settings) -> int:
    """Run the workers in this thread and the scheduler in another; return the exit code."""
    app = make_worker_app(settings)
    clock = command_clock()
    stop, failed = threading.Event(), threading.Event()
    engine, wakeup = open_engine(settings.database_url), Wakeup(settings.broker_url, clock)
    scheduler = Scheduler(
        engine,
        wakeup,
        clock,
        check_every_s=settings.check_every_s,
        lease_s=settings.lease_s,
        kinds=("clock", NO_BROKER),
        data_folder=Path(settings.data_dir),
    )

    def tick() -> None:
        try:
            scheduler.run(stop)
        except Exception as error:  # noqa: BLE001 - workers without a scheduler would do nothing
            _log.error("clock.fault", error=frames_of(error))
            failed.set()
            signal.raise_signal(signal.SIGTERM)

    thread = threading.Thread(target=tick, name="clock", daemon=True)
    thread.start()
    code = run_worker(app)
    stop.set()
    thread.join()
    wakeup.close()
    engine.dispose()
    return 1 if failed.is_set() else code
