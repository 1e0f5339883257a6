"""`coursebell worker`: the worker processes."""

import os
from contextlib import suppress

import click

from ledger.engine import writing
from ledger.hooks import check_hooks_soon
from ledger.outages import retry_outages_now, retry_refused
from schemas.errors import ConfigurationError, LedgerUnavailable
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
from workers.broker import named_broker
from workers.local.programs import python_program
from workers.queues import WITHOUT_BROKER
from workers.rules_file import read_rules


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
