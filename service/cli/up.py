"""`coursebell up`: runs everything on one machine: broker, web server, workers and scheduler."""

import fcntl
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click

from ledger.controls import sending_of
from ledger.engine import ledger_file, reading
from ledger.source_state import sign_in_of
from schemas.actions import Mode
from schemas.errors import ConfigurationError, CoursebellError
from schemas.settings import Settings
from service.cli.common import (
    AS_ROOT,
    check_secret_key,
    command_clock,
    local,
    opened_ledger,
    settings_now,
    stop_on_signals,
)
from service.cli.listening import Address, announcement, free_address
from service.cli.migrate import check_ledger_folder, check_platform, prepare_ledger
from service.cli.user import first_account_lines
from workers.broker import BrokerUrlFile, choose_broker
from workers.local.programs import RestartPolicy, python_program
from workers.local.server import RunningBroker, start_broker
from workers.local.supervisor import ChildCommand, FailingFile, FailingProgram, Supervisor
from workers.queues import WITHOUT_BROKER
from workers.rules_file import read_rules

# Commands of ours, started in this order.
PROGRAMS = (("serve",), ("worker",), ("clock",))
PROGRAMS_WITHOUT_BROKER = (("serve",), ("worker", WITHOUT_BROKER))
# Time to finish sending an email: a minute for the message, and 45 s for the server's answer.
PACES = {"worker": RestartPolicy(stop_wait_s=130.0), "serve": RestartPolicy(longest_delay_s=5.0)}
_STORED = "Deliveries are still accepted and stored,"
MEANWHILE = {
    "serve": "No delivery is accepted until it runs; polling finds what was missed.",
    "worker": f"{_STORED} but nothing is read and no email is sent until it runs.",
    "clock": f"{_STORED} but work that becomes due is not started until it runs.",
}
_LOOK_EVERY_S = 2.0
_REFUSED = (
    "Nexudus refuses the sign-in, so nothing can be read. Check COURSEBELL_NEXUDUS_USERNAME and"
    " COURSEBELL_NEXUDUS_PASSWORD, then restart. `coursebell doctor` shows the answer of Nexudus."
)
STOP_ORDER = ("clock", "worker", "serve")  # the scheduler first, so that it wakes no workers


@click.command()
def up() -> None:
    """Run everything on this machine until Ctrl-C."""
    settings = settings_now()
    read_rules(settings)
    check_ledger_folder(settings)
    check_platform(settings, os.environ)
    with ExitStack() as stack:
        for lock in lock_files(settings):
            stack.enter_context(held(lock))
        _run(settings, free_address(settings))
    click.echo("Stopped.")


def _run(settings: Settings, address: Address) -> None:
    stop = stop_on_signals()
    data_dir = Path(settings.data_dir)
    broker_address, failing = BrokerUrlFile(data_dir), FailingFile(data_dir)
    with (
        running_broker(settings, broker_address, click.echo) as broker,
        Supervisor(_say, closings=(ConfigurationError.closing, AS_ROOT)) as supervisor,
    ):
        failing.remove()
        prepare_ledger(settings)
        check_secret_key(settings, signs=True)
        start_programs(supervisor, broker, os.environ, log_dir=None)
        lines = [*opening_lines(settings), *first_account_lines(settings)]
        announce = announcement(address, click.echo, then=lines)
        tell_refusal = refusal_notice(settings, _say)
        follow = broker_follower(supervisor, broker, broker_address, os.environ, log_dir=None)

        def watch() -> None:
            if announce():
                supervisor.finish_startup()
                tell_refusal()
            failing.update(_failing(supervisor, broker))

        try:
            supervisor.wait(stop, [follow, watch])
        finally:
            failing.remove()
        click.echo("Stopping.")
        for name, one in _failing(supervisor, broker).items():
            _say(f"{name} was failing since {local(one.since)}. {one.why}")
        supervisor.stop(STOP_ORDER)


def _failing(supervisor: Supervisor, broker: RunningBroker) -> dict[str, FailingProgram]:
    failing = supervisor.failing()
    return failing if broker.failing is None else failing | {"broker": broker.failing}


def opening_lines(settings: Settings) -> list[str]:
    """Return the mode, where emails go, and what to do next. Raises as `opened_ledger`."""
    with opened_ledger(settings) as engine, reading(engine) as connection:
        mode = sending_of(connection).mode
    effect = "emails are sent" if mode is Mode.SENDING else "emails are written and held"
    server, sender = settings.smtp, settings.mail_from
    if server is None:
        mail = "No mail server is set (COURSEBELL_SMTP_URL): no email can be sent."
    else:
        host = f"[{server.host}]" if ":" in server.host else server.host
        mail = f"Mail server: {host}:{server.port}"
    if settings.nexudus_username is None:
        next_step = (
            "set COURSEBELL_NEXUDUS_USERNAME and COURSEBELL_NEXUDUS_PASSWORD and restart; until"
            " then nothing can be read from Nexudus."
        )
    elif mode is Mode.SENDING:
        next_step = "`coursebell doctor` checks Nexudus, `coursebell tail` shows what happens."
    elif server is None or sender is None:
        next_step = (
            "watch it with `coursebell tail`. To send, set COURSEBELL_SMTP_URL and"
            " COURSEBELL_MAIL_FROM, restart, then `coursebell mode sending`."
        )
    else:
        next_step = "watch it with `coursebell tail`. To send: `coursebell mode sending`"
    return [f"Mode: {mode}; {effect}.", mail, f"Next: {next_step}"]


def refusal_notice(settings: Settings, say: Callable[[str], None]) -> Callable[[], None]:
    """Return a function to call repeatedly, which says once if Nexudus refuses the sign-in.

    It stops looking once a sign-in has succeeded. A refusal of an earlier start does not count,
    since the password may have been corrected.
    """
    clock = command_clock()
    with opened_ledger(settings) as engine, reading(engine) as connection:
        before = sign_in_of(connection)
    next_look_at = [clock.monotonic()]

    def tell() -> None:
        if clock.monotonic() < next_look_at[-1]:
            return
        next_look_at[-1] = clock.monotonic() + _LOOK_EVERY_S
        with (
            suppress(CoursebellError),
            opened_ledger(settings) as engine,
            reading(engine) as connection,
        ):
            found = sign_in_of(connection)
            if found.version != before.version:
                next_look_at[-1] = math.inf
            elif found.refused_until not in {None, before.refused_until}:
                next_look_at[-1] = math.inf
                say(_REFUSED)

    return tell


def lock_files(settings: Settings) -> list[Path]:
    """Return the files that one `up` at a time locks, for the data folder and the SQLite file."""
    data_dir, file = Path(settings.data_dir), ledger_file(settings.database_url)
    locks = [data_dir / "up.lock"]
    if file is not None and file.parent != data_dir.absolute():
        locks.append(file.with_name(f"{file.name}.up.lock"))
    return locks


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold a lock for this process. The kernel releases it whenever the process ends.

    Raises:
        ConfigurationError: another process holds it, or the file cannot be created.
    """
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii")
    except OSError as error:
        raise ConfigurationError(
            [f"COURSEBELL_DATA_DIR: cannot create {lock}: {error.strerror}"]
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
def running_broker(
    settings: Settings, address: BrokerUrlFile, say: Callable[[str], None]
) -> Iterator[RunningBroker]:
    """Use the configured broker, or run one of our own until the end of the block.

    Its address is written to the data folder for other processes. The caller must own that folder.
    """
    data_dir = Path(settings.data_dir)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            [f"COURSEBELL_DATA_DIR: cannot create {data_dir}: {error.strerror}"]
        ) from None
    choice = choose_broker(settings.broker_url, data_dir)
    for line in (*choice.skipped, f"{choice.description} {choice.loses}"):
        say(line)
    with start_broker(choice, data_dir, say=_say) as broker:
        if broker.is_none:
            address.remove_left_behind()
            yield broker
            return
        address.write(broker.url)
        try:
            yield broker
        finally:
            address.remove()


def start_programs(
    supervisor: Supervisor,
    broker: RunningBroker,
    environ: Mapping[str, str],
    *,
    log_dir: Path | None,
) -> None:
    """Start web, worker and scheduler as processes; without a broker the last two are one."""
    for words in PROGRAMS_WITHOUT_BROKER if broker.is_none else PROGRAMS:
        supervisor.start(_program(words, broker, environ, log_dir))


def broker_follower(
    supervisor: Supervisor,
    broker: RunningBroker,
    address: BrokerUrlFile,
    environ: Mapping[str, str],
    *,
    log_dir: Path | None,
) -> Callable[[], None]:
    """Return a function to call repeatedly, which keeps the broker alive.

    When the broker gets another port, worker and scheduler are restarted with it. The web process
    looks the address up itself, so it keeps accepting deliveries.
    """
    used = [broker.url]

    def follow() -> None:
        broker.restart_if_dead()
        address.keep()
        if not broker.is_up or broker.url == used[-1]:
            return
        used.append(broker.url)
        try:
            address.write(broker.url)
        except ConfigurationError as error:
            _say(f"{error}. The web process and commands cannot find the broker until you restart.")
        for words in PROGRAMS[1:]:
            supervisor.replace(_program(words, broker, environ, log_dir))

    return follow


def _program(
    words: tuple[str, ...], broker: RunningBroker, environ: Mapping[str, str], log_dir: Path | None
) -> ChildCommand:
    name = words[0]
    environment = dict(environ)
    if broker.is_ours:
        # The web process looks the address up in the data folder, since it may change.
        for one in ("COURSEBELL_BROKER_URL", "COURSEBELL_BROKER_URL_FILE"):
            environment.pop(one, None)
        if name != "serve":
            environment["COURSEBELL_BROKER_URL"] = broker.url
    log = None if log_dir is None else log_dir / f"{name}.log"
    argv = python_program("service", *words)
    return ChildCommand(name, argv, environment, log, PACES.get(name), MEANWHILE[name])


def _say(line: str) -> None:
    click.echo(line, err=True)
