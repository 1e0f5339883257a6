"""What commands share: settings, the opened ledger, questions, times and printing.

What every command shares: opening the ledger, printing data, shortening addresses.

Asking before something is done that cannot be undone; where nobody can be asked, it is not.

A moment as a person writes it: `7d` back from now, or a date or time of day.

Not for spans that lie ahead. What names no zone is meant in COURSEBELL_ZONE, as days of the
business are.

What commands say when Nexudus is out of reach. Not for a ledger that is.
"""

import getpass
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.engine import Engine, ledger_file, open_engine
from ledger.migrate import check_revision
from schemas.checkup import at_nexudus
from schemas.errors import LedgerNotReady, LedgerUnavailable, SourceError
from schemas.settings import Settings, weak_secrets
from service.cli.main import shows_unicode
from workers.broker import broker_url_now
from workers.context import checked_secret_key, has_secret_key, make_budget, make_sources
from workers.environment import load
from workers.sync.rows import SyncContext

LEDGER_PATIENCE_S = 60.0  # a release step on a large ledger takes seconds
_LOOK_EVERY_S = 0.5

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
show_addresses = click.option(
    "--show-addresses", is_flag=True, help="Print email addresses in full."
)


def settings_now() -> Settings:
    """Return the settings of this process. Raises `ConfigurationError`."""
    return load(os.environ)


def command_clock() -> Clock:
    """Return the clock that the running command was invoked with (`obj`), or the system's."""
    context = click.get_current_context(silent=True)
    given = None if context is None else context.find_object(Clock)
    return SYSTEM_CLOCK if given is None else given


def with_own_broker(settings: Settings) -> Settings:
    """Return the settings with the address of the broker that `up` started here, if it did."""
    return replace(settings, broker_url=broker_url_now(settings))


@contextmanager
def opened_ledger(settings: Settings) -> Iterator[Engine]:
    """Give the engine of a ledger that is there and of this version, and let go of it.

    Raises:
        LedgerNotReady: there is none, or it is older; `coursebell migrate` makes it ready.
        ConfigurationError: this version must not use it.
        LedgerUnavailable: it cannot be reached.
    """
    file = ledger_file(settings.database_url)
    if file is not None and not file.exists():
        raise LedgerNotReady(
            f"COURSEBELL_DATA_DIR: there is no ledger at {file}; is that the right "
            "folder? `coursebell up` and `coursebell migrate` make one"
        )
    engine = open_engine(settings.database_url)
    try:
        check_revision(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def checking_now(settings: Settings) -> Iterator[SyncContext]:
    """Give what the source is looked at with, within the limits that all processes share.

    Raises as `opened_ledger`.
    """
    clock = command_clock()
    with (
        opened_ledger(settings) as engine,
        closing(make_budget(settings, clock)) as budget,
        closing(make_sources(settings, engine, clock, budget)) as sources,
    ):
        yield SyncContext(engine, sources.lend, clock)


def wait_for_ledger(settings: Settings, *, patience_s: float = LEDGER_PATIENCE_S) -> None:
    """Return once `coursebell migrate` has made the ledger ready.

    A platform may start every process at once, on an empty database, with `migrate` among them.
    A database that is away is not waited for: each process retries it while it runs.

    Raises:
        LedgerNotReady: it was not made ready within `patience_s` seconds.
        LedgerUnavailable: it refuses us until a person changes something.
        ConfigurationError: this version must not use it.
    """
    clock = command_clock()
    give_up_at = clock.monotonic() + patience_s
    waiting = False
    while True:
        try:
            with opened_ledger(settings):
                return
        except LedgerUnavailable as error:
            if error.needs_person:
                raise
            click.echo(
                f"Starting without the ledger, for now: {error}. {error.next_step}", err=True
            )
            return
        except LedgerNotReady:
            if clock.monotonic() >= give_up_at:
                raise
            if not waiting:
                waiting = True
                click.echo(
                    f"The ledger is not ready; waiting up to {patience_s:g} s for "
                    "`coursebell migrate`.",
                    err=True,
                )
            clock.sleep(_LOOK_EVERY_S)


def check_secret_key(settings: Settings, *, signs: bool) -> None:
    """Refuse a secret key that the ledger does not belong to.

    A process that does not sign needs none; if it has one, it must be the right one. A ledger that
    is away is checked by the workers once it can be read.

    Raises:
        ConfigurationError: the key is another, or missing.
    """
    if signs or has_secret_key(settings):
        with suppress(LedgerUnavailable), opened_ledger(settings) as engine:
            checked_secret_key(settings, engine, command_clock().now())


def warn_of_weak_secrets(settings: Settings, *names: str) -> None:
    """Print a sentence for each of these settings whose secret might be guessed."""
    for weak in weak_secrets(settings):
        if weak.setting in names:
            click.echo(weak.sentence, err=True)


def print_json(value: object) -> None:
    """Print one JSON document; times as ISO 8601 in UTC."""
    click.echo(_json(value, indent=2))


def print_json_line(value: object) -> None:
    """Print one JSON document on one line."""
    click.echo(_json(value, indent=None))


def _json(value: object, indent: int | None) -> str:
    # Where a character cannot be shown it is escaped: a substitute would be another value.
    only_ascii = not shows_unicode(sys.stdout)
    return json.dumps(value, default=_plain, ensure_ascii=only_ascii, indent=indent)


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


NEEDS_YES = 3


def needs_confirmation(command: str) -> None:
    """Refuse to go on where there is no terminal to ask at; `command` is the one that needs none.

    Raises:
        SystemExit: with code 3, and a sentence.
    """
    if not sys.stdin.isatty():
        click.echo(f"Nobody can be asked here, so it needs --yes: {command}", err=True)
        raise SystemExit(NEEDS_YES)


def who_decides() -> str:
    """Return who gives this command, for the log of decisions."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers often run as a user without a name
        return f"uid {os.getuid()}"


def is_confirmed(question: str) -> bool:
    """Ask, and say whether the answer was yes. What is printed for programs stays as it is."""
    return click.confirm(question, err=True)


_BACK = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_MISTAKE = "expected a time back from now such as 30m, 3h or 7d, or a date such as 2026-03-01"


class Moment(click.ParamType[datetime]):
    """An option that takes a moment; the command gets it aware, in UTC.

    `30m`, `3h` and `7d` are so long ago. A date is the beginning of that day, and a time without a
    zone is meant, in COURSEBELL_ZONE.
    """

    name = "moment"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature: a text, or what it was turned into
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Return the moment that this text means.

        Raises:
            click.BadParameter: it means none.
            ConfigurationError: it is meant in COURSEBELL_ZONE, and the settings are wrong.
        """
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            back = _BACK.fullmatch(text)
            if back is not None:
                return command_clock().now() - int(back[1]) * _UNITS[back[2]]
            meant = datetime.fromisoformat(text)
            if meant.tzinfo is None:
                meant = meant.replace(tzinfo=ZoneInfo(settings_now().zone))
            return meant.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(_MISTAKE, param, ctx)


OUT_OF_REACH = 4


@contextmanager
def reporting_outages(what: str, so: str = "") -> Iterator[None]:
    """End with a sentence, what to do next, and exit code 4, if the source gave no usable answer.

    `what` could not be done, and `so` is what that means.
    """
    try:
        yield
    except SourceError as error:
        click.echo(f"{what}: {reason_given(error)}", err=True)
        click.echo(f"{so} Try `coursebell doctor`, then again.".lstrip(), err=True)
        raise SystemExit(OUT_OF_REACH) from None


def reason_given(error: Exception) -> str:
    """Return what the source said, without the full stop that some of its sentences end with."""
    return at_nexudus(error).rstrip(". ")
