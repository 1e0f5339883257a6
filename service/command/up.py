"""`up`: everything on one machine, in one command: broker, web, workers and clock."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from schemas.errors import ConfigurationError
from schemas.settings import Settings
from service.command.common import BROKER_ADDRESS, settings_now
from service.command.listening import announcement, free_address
from service.command.serving import check_platform, prepare_ledger, stop_on_signals
from workers.broker import RunningBroker, choose, start
from workers.supervisor import ChildCommand, Supervisor, python_program
from workers.workshop import read_rules, secret_key

PROGRAMS = ("serve", "worker", "clock")  # each a command of ours, started in this order
STOP_ORDER = ("clock", "worker", "serve")  # nothing is rung once nobody answers


@click.command()
def up() -> None:
    """Run everything on this machine until Ctrl-C."""
    settings = settings_now()
    read_rules(settings)
    address = free_address(settings)
    check_platform(settings, os.environ)
    stop = stop_on_signals()
    with running_broker(settings, click.echo) as broker, Supervisor(_say) as supervisor:
        prepare_ledger(settings)
        secret_key(settings)
        environment = {**os.environ, "COURSEBELL_BROKER_URL": broker.url}
        environment.pop("COURSEBELL_BROKER_URL_FILE", None)
        start_programs(supervisor, environment, log_dir=None)
        supervisor.wait(stop, [broker.revive, announcement(address, click.echo)])
        click.echo("Stopping.")
        supervisor.stop(STOP_ORDER)
    click.echo("Stopped.")


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
    say(f"{choice.description} {choice.loses}")
    with start(choice, data_dir) as broker:
        address = data_dir / BROKER_ADDRESS
        address.touch(mode=0o600)
        address.write_text(broker.url, encoding="ascii")
        try:
            yield broker
        finally:
            address.unlink(missing_ok=True)


def start_programs(
    supervisor: Supervisor, environment: Mapping[str, str], *, log_dir: Path | None
) -> None:
    """Start web, worker and clock as processes of their own."""
    for name in PROGRAMS:
        log = None if log_dir is None else log_dir / f"{name}.log"
        supervisor.start(ChildCommand(name, python_program("service", name), environment, log))


def _say(line: str) -> None:
    click.echo(line, err=True)
