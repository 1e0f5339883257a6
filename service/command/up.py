"""`up`: everything on one machine, in one command: broker, web, workers and clock."""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from ledger.controls import sending_of
from ledger.engine import ledger_file, reading
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.states import Mode
from service.command.common import BROKER_ADDRESS, check_secret_key, opened_ledger, settings_now
from service.command.listening import Address, announcement, free_address
from service.command.serving import check_platform, prepare_ledger, stop_on_signals
from workers.broker import RunningBroker, choose, start
from workers.names import WITHOUT_BROKER
from workers.supervisor import ChildCommand, Supervisor, python_program
from workers.workshop import read_rules

# Each a command of ours, started in this order.
PROGRAMS = (("serve",), ("worker",), ("clock",))
PROGRAMS_WITHOUT_BROKER = (("serve",), ("worker", WITHOUT_BROKER))
# An email that is being handed over is finished: a minute to its last dot, and 45 s for the answer.
WORKER_STOP_S = 120.0
STOP_ORDER = ("clock", "worker", "serve")  # nothing is rung once nobody answers


@click.command()
def up() -> None:
    """Run everything on this machine until Ctrl-C."""
    settings = settings_now()
    read_rules(settings)
    check_platform(settings, os.environ)
    with ExitStack() as stack:
        for lock in lock_files(settings):
            stack.enter_context(held(lock))
        _run(settings, free_address(settings))
    click.echo("Stopped.")


def _run(settings: Settings, address: Address) -> None:
    stop = stop_on_signals()
    with running_broker(settings, click.echo) as broker, Supervisor(_say) as supervisor:
        prepare_ledger(settings)
        check_secret_key(settings, signs=True)
        start_programs(supervisor, broker, os.environ, log_dir=None)
        announce = announcement(address, click.echo, then=opening_lines(settings))
        supervisor.wait(stop, [broker.revive, announce])
        click.echo("Stopping.")
        supervisor.stop(STOP_ORDER)


def opening_lines(settings: Settings) -> list[str]:
    """Return the mode, where emails go, and what to do next. Raises as `opened_ledger`."""
    with opened_ledger(settings) as engine, reading(engine) as connection:
        mode = sending_of(connection).mode
    leaves = "emails are sent" if mode is Mode.SENDING else "emails are written and kept"
    server, sender = settings.smtp, settings.mail_from
    if server is None:
        goes = "No mail server is set (COURSEBELL_SMTP_URL): emails stay here."
    else:
        host = f"[{server.host}]" if ":" in server.host else server.host
        goes = f"Mail server: {host}:{server.port}"
    if settings.nexudus_username is None:
        next_step = (
            "set COURSEBELL_NEXUDUS_USERNAME and COURSEBELL_NEXUDUS_PASSWORD and start again;"
            " until then nothing can be read from Nexudus."
        )
    elif mode is Mode.SENDING:
        next_step = "`coursebell doctor` checks Nexudus, `coursebell tail` shows what happens."
    elif server is None or sender is None:
        next_step = (
            "look with `coursebell tail`. To send, set COURSEBELL_SMTP_URL and"
            " COURSEBELL_MAIL_FROM, start again, then `coursebell mode sending`."
        )
    else:
        next_step = "look with `coursebell tail`. To send: `coursebell mode sending`"
    return [f"Mode: {mode}; {leaves}.", goes, f"Next: {next_step}"]


def lock_files(settings: Settings) -> list[Path]:
    """Return the files that one `up` at a time locks, for the data folder and the SQLite file."""
    data_dir, file = Path(settings.data_dir), ledger_file(settings.database_url)
    locks = [data_dir / "up.lock"]
    if file is not None and file.parent != data_dir.absolute():
        locks.append(file.with_name(f"{file.name}.up.lock"))
    return locks


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold a lock for this process alone. The kernel releases it when the process ends, however.

    Raises:
        ConfigurationError: another process holds it, or the file cannot be made.
    """
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii")
    except OSError as error:
        raise ConfigurationError(
            [f"COURSEBELL_DATA_DIR: cannot make {lock}: {error.strerror}"]
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                [
                    (
                        f"COURSEBELL_DATA_DIR: `coursebell up` already runs on {lock.parent} "
                        f"(process {file.read(20).strip()}); stop it, or choose another folder"
                    )
                ]
            ) from None
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def running_broker(settings: Settings, say: Callable[[str], None]) -> Iterator[RunningBroker]:
    """Give a broker: the one that was named, or one of our own for as long as this lasts."""
    data_dir = Path(settings.data_dir)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            [f"COURSEBELL_DATA_DIR: cannot make {data_dir}: {error.strerror}"]
        ) from None
    choice = choose(settings.broker_url, data_dir)
    for line in (*choice.skipped, f"{choice.description} {choice.loses}"):
        say(line)
    with start(choice, data_dir) as broker:
        if broker.is_none:
            yield broker
            return
        address = data_dir / BROKER_ADDRESS
        address.touch(mode=0o600)
        address.write_text(broker.url, encoding="ascii")
        try:
            yield broker
        finally:
            address.unlink(missing_ok=True)


def start_programs(
    supervisor: Supervisor,
    broker: RunningBroker,
    environ: Mapping[str, str],
    *,
    log_dir: Path | None,
) -> None:
    """Start web, worker and clock as processes of their own; the last two as one without broker."""
    environment = {
        name: text for name, text in environ.items() if name != "COURSEBELL_BROKER_URL_FILE"
    }
    if not broker.is_none:
        environment["COURSEBELL_BROKER_URL"] = broker.url
    for words in PROGRAMS_WITHOUT_BROKER if broker.is_none else PROGRAMS:
        name = words[0]
        log = None if log_dir is None else log_dir / f"{name}.log"
        stop_wait_s = WORKER_STOP_S if name == "worker" else None
        argv = python_program("service", *words)
        supervisor.start(ChildCommand(name, argv, environment, log, stop_wait_s))


def _say(line: str) -> None:
    click.echo(line, err=True)
