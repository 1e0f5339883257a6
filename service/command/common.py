"""What every command shares: opening the ledger, printing data, shortening addresses."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime

import click

from ledger.engine import Engine, open_engine
from schemas.settings import Settings
from workers.environment import load

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
show_addresses = click.option(
    "--show-addresses", is_flag=True, help="Print email addresses in full."
)


def settings_now() -> Settings:
    """Return the settings of this process. Raises `ConfigurationError`."""
    return load(os.environ)


@contextmanager
def opened_ledger(settings: Settings) -> Iterator[Engine]:
    """Give the ledger's engine, and let go of it."""
    engine = open_engine(settings.database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def print_json(value: object) -> None:
    """Print one JSON document; times as ISO 8601 in UTC."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def print_json_line(value: object) -> None:
    """Print one JSON document on one line."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(type(value).__name__)


def shortened(address: str | None) -> str | None:
    """Return an address that tells who is meant to those who know them, and nobody else."""
    if not address:
        return address
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}***@{domain}"


def local(moment: datetime) -> str:
    """Return a time on this machine's wall clock, with its zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def printable(line: str) -> str:
    """Return a line without what would steer a terminal: names are other people's text."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )
