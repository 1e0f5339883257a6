"""`coursebell serve`, `worker`, `scheduler` and `migrate`: one process each, as in the Procfile."""

import os
import resource
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name

import click
import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from ledger.controls import begin_with
from ledger.engine import open_engine, writing
from ledger.hooks import check_hooks_soon
from ledger.migrate import migrate as bring_up_to_date
from ledger.outages import retry_outages_now, retry_refused
from ledger.revision import has_only_other_tables, newest_revision
from schemas.errors import ConfigurationError, LedgerUnavailable
from schemas.settings import Settings, platform_sources
from service.cli.common import (
    as_json,
    check_secret_key,
    command_clock,
    opened_ledger,
    print_json,
    settings_now,
    wait_for_ledger,
    warn_of_weak_secrets,
)
from service.cli.listening import Address, free_address, reserve
from workers.app import named_broker
from workers.context import read_rules
from workers.local.programs import python_program
from workers.logs import set_up_logs
from workers.queues import WITHOUT_BROKER
from workers.scheduler import Scheduler
from workers.wakeup import Wakeup

_MOST_CONNECTIONS = 2048
_OTHER_FILES = 128  # open files of the web process besides connections
_HEAD_DEADLINE_MS = 5_000  # also the longest time that an idle connection is kept
_CONNECTION_BUFFER = 64 * 1024  # bytes; the request head must fit
# Granian's own log lines use our log set-up.
_SERVER_LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}

AS_ROOT = (
    "Coursebell is running as root, which it does not need; run it as its own user, as"
    " deploy/install.sh sets it up."
)

_log = structlog.get_logger("web")


@click.command()
def serve() -> None:
    """Run the web server: hooks and health."""
    settings = settings_now()
    read_rules(settings)
    address = free_address(settings)
    reserved = reserve(address)
    wait_for_ledger(settings)
    check_secret_key(settings, signs=False)
    warn_of_weak_secrets(settings, "COURSEBELL_HOOK_SECRETS", "COURSEBELL_RELAY_TOKENS")
    set_up_logs("web")
    with reserved:
        run_web_server(address, "service.rsgi:front")


def run_web_server(address: Address, target: str) -> None:
    """Run the web server whose application is `target`, as module:name, until it is stopped."""
    # The process that Granian starts must not import from the working folder.
    os.environ["PYTHONSAFEPATH"] = "1"
    listen = address.listen
    server = Granian(
        target,
        address=listen.host,
        port=listen.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEAD_DEADLINE_MS, max_buffer_size=_CONNECTION_BUFFER
        ),
        workers=1,
        backlog=_MOST_CONNECTIONS,
        backpressure=_most_connections(),
        respawn_failed_workers=True,
        log_access=False,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=_SERVER_LOGS,
    )
    server.on_startup(
        lambda: _log.info(
            "web.listening", host=listen.host, port=listen.port, resolved=address.resolved
        )
    )
    # Granian's own loader would put the working folder first on the import path.
    server.serve(target_loader=resolve_name)


def _most_connections() -> int:
    """Raise the limit of open files, and return how many connections may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - _OTHER_FILES)
    return _MOST_CONNECTIONS


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
    # A new interpreter, so that the children are forked from one without the web server's modules.
    argv = python_program("workers.entry", *([WITHOUT_BROKER] if without_broker else []))
    os.execv(argv[0], argv)  # noqa: S606 - no shell reads it


def _check_without_broker(settings: Settings) -> None:
    if settings.broker_url is not None:
        raise ConfigurationError(
            [f"COURSEBELL_BROKER_URL: cannot be used with {WITHOUT_BROKER}; remove one of them"]
        )


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


@click.command()
@click.option(
    "--stay",
    is_flag=True,
    help="Then wait for Ctrl-C or SIGTERM, for process managers that stop everything"
    " when one process ends.",
)
@as_json
def migrate(*, stay: bool, as_json: bool) -> None:
    """Create or update the ledger's tables."""
    stop = stop_on_signals() if stay else None
    settings = settings_now()
    check_platform(settings, os.environ)
    revision = prepare_ledger(settings)
    if as_json:
        print_json({"revision": revision})
    else:
        newer = revision > newest_revision()
        own = newest_revision()
        note = f", newer than this version's ({own}) but compatible with it" if newer else ""
        click.echo(f"The ledger is at revision {revision}{note}.")
    if stop is not None:
        stop.wait()


def stop_on_signals() -> threading.Event:
    """Return an event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def check_platform(settings: Settings, environ: Mapping[str, str]) -> None:
    """Print which settings come from a platform's variables; refuse another program's database.

    `DATABASE_URL` may be set for another application, so tables are not created beside those of
    another program unless COURSEBELL_DATABASE_URL names that database.

    Raises:
        ConfigurationError: the database of `DATABASE_URL` has tables, and none of them are ours.
        LedgerUnavailable: it could not be read.
    """
    sources = platform_sources(environ)
    for name, variable in sources.items():
        click.echo(f"{name} is not set; {variable} is used instead.", err=True)
    if "COURSEBELL_DATABASE_URL" not in sources:
        return
    engine = open_engine(settings.database_url)
    try:
        is_taken = has_only_other_tables(engine)
    finally:
        engine.dispose()
    if is_taken:
        raise ConfigurationError(
            [
                (
                    "DATABASE_URL: the database has tables of another program; set"
                    " COURSEBELL_DATABASE_URL to the ledger's own database, or to this one if it"
                    " may hold the ledger's tables too"
                )
            ]
        )


def prepare_ledger(settings: Settings) -> str:
    """Create or update the tables, store the first values of the controls; return the revision."""
    engine = open_engine(settings.database_url)
    try:
        revision = bring_up_to_date(engine)
        with writing(engine) as connection:
            begin_with(connection, settings.mode, command_clock().now(), command_clock().new_id())
    finally:
        engine.dispose()
    return revision
