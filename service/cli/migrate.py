"""`coursebell migrate`, and making the ledger ready."""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import click

from ledger.controls import begin_with
from ledger.engine import open_engine, writing
from ledger.migrate import migrate as bring_up_to_date
from ledger.revision import has_only_other_tables, newest_revision
from schemas.errors import ConfigurationError
from schemas.settings import SETTINGS, Settings, platform_sources
from service.cli.common import (
    as_json,
    command_clock,
    print_json,
    settings_now,
    stop_on_signals,
)

_DEFAULT_DATA_DIR = next(doc.default for doc in SETTINGS if doc.name == "COURSEBELL_DATA_DIR")
# At least one of these is in every data folder of ours.
_OUR_FILES = ("coursebell*", "secret_key", "up.lock", "running.lock", "last_alive")


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
    check_ledger_folder(settings)
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


def check_ledger_folder(settings: Settings) -> None:
    """Check that the default data folder does not hold only files of other programs.

    The default is relative, so started in / it is the system's own /var.

    Raises:
        ConfigurationError: it does.
    """
    folder = Path(settings.data_dir)
    if settings.data_dir != _DEFAULT_DATA_DIR or not folder.is_dir():
        return
    with suppress(OSError):
        is_empty = next(folder.iterdir(), None) is None
        if is_empty or any(next(folder.glob(ours), None) for ours in _OUR_FILES):
            return
    raise ConfigurationError(
        [
            (
                f"COURSEBELL_DATA_DIR: not set, and its default, {settings.data_dir}, is"
                f" {folder.absolute()} here, which holds files of other programs; set it to a"
                " folder of its own, or start Coursebell in the folder where you installed it"
            )
        ]
    )


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


def prepare_ledger(settings: Settings, begun_at: datetime | None = None) -> str:
    """Create or update the tables, store the first values of the controls; return the revision.

    A new ledger begins now, or at `begun_at`.
    """
    engine, clock = open_engine(settings.database_url), command_clock()
    try:
        revision = bring_up_to_date(engine)
        with writing(engine) as connection:
            begin_with(connection, settings.mode, begun_at or clock.now(), clock.new_id())
    finally:
        engine.dispose()
    return revision
