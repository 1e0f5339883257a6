"""What the commands share: settings, the open ledger, confirmation, times and printing."""

import getpass
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import click

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.controls import has_known_key
from ledger.engine import Engine, ledger_file, open_engine
from ledger.queries import EmailView
from ledger.revision import check_revision
from schemas.actions import HOST, MEMBER, RECORD, STAFF, endpoint_of, is_to_person
from schemas.checkup import at_nexudus
from schemas.errors import LedgerNotReady, LedgerUnavailable, SourceError
from schemas.fields import MAX_ID
from schemas.settings import Settings, weak_secrets
from workers.actions.registry import number_of
from workers.broker import broker_url_now
from workers.environment import load
from workers.secret_key import checked_secret_key, has_secret_key
from workers.streams import shows_unicode

AS_ROOT = (
    "Coursebell is running as root, which it does not need; run it as its own user, as"
    " deploy/install.sh sets it up."
)
LEDGER_PATIENCE_S = 60.0  # `coursebell migrate` takes seconds on a large ledger
_RETRY_EVERY_S = 0.5

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
show_addresses = click.option(
    "--show-addresses", is_flag=True, help="Print email addresses in full."
)


def settings_now() -> Settings:
    """Return the settings of this process. Raises `ConfigurationError`."""
    return load(os.environ)


def command_clock() -> Clock:
    """Return the clock that the caller passed to the running command as `obj`, or the system's."""
    context = click.get_current_context(silent=True)
    clock = None if context is None else context.find_object(Clock)
    return SYSTEM_CLOCK if clock is None else clock


def with_own_broker(settings: Settings) -> Settings:
    """Return the settings with the address of the broker that `coursebell up` started, if any."""
    return replace(settings, broker_url=broker_url_now(settings))


@contextmanager
def opened_ledger(settings: Settings) -> Iterator[Engine]:
    """Open a ledger that exists and has this version's tables; close it at the end.

    Raises:
        LedgerNotReady: there is none, or it is older; `coursebell migrate` fixes both.
        ConfigurationError: this version must not use it.
        LedgerUnavailable: it cannot be reached.
    """
    file = ledger_file(settings.database_url)
    if file is not None and not file.exists():
        raise LedgerNotReady(
            f"COURSEBELL_DATA_DIR: there is no ledger at {file}; is that the right "
            "folder? `coursebell up` and `coursebell migrate` create one"
        )
    engine = open_engine(settings.database_url)
    try:
        check_revision(engine)
        yield engine
    finally:
        engine.dispose()


def wait_for_ledger(settings: Settings, *, patience_s: float = LEDGER_PATIENCE_S) -> None:
    """Wait until `coursebell migrate` has made the ledger ready.

    A platform may start all processes at once on an empty database, with `migrate` among them. It
    does not wait for a database that is unreachable: each process retries that while it runs.

    Raises:
        LedgerNotReady: it was not ready within `patience_s` seconds.
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
                f"Starting although the ledger is unavailable: {error}. {error.next_step}", err=True
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
            clock.sleep(_RETRY_EVERY_S)


def check_secret_key(settings: Settings, *, signs: bool, verifies: bool = False) -> None:
    """Check that the secret key is the one this ledger belongs to.

    A process that signs makes a key for a ledger that has none. One that only `verifies` what
    others signed needs the key of the ledger, if it has one. Any other needs none, but must not
    have a wrong one. If the ledger is unreachable, processes check it once it can be read.

    Raises:
        ConfigurationError: the key is a different one, or missing.
    """
    if signs or verifies or has_secret_key(settings):
        with suppress(LedgerUnavailable), opened_ledger(settings) as engine:
            if not (signs or has_secret_key(settings) or has_known_key(engine)):
                return
            checked_secret_key(settings, engine, command_clock().now())


def warn_of_weak_secrets(settings: Settings, *names: str) -> None:
    """Print a warning for each of these settings whose secret could be guessed."""
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
    # Escape characters that the terminal cannot show: a replacement would change the value.
    only_ascii = not shows_unicode(sys.stdout)
    return json.dumps(value, default=_plain, ensure_ascii=only_ascii, indent=indent)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(type(value).__name__)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines for people, each as it can be shown."""
    for line in lines:
        click.echo(printable(line))


def shortened(address: str | None) -> str | None:
    """Return an address shortened so that only those who know the person recognise it."""
    if not address:
        return address
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}***@{domain}"


_AT_NEXUDUS = {RECORD: "their record at Nexudus", STAFF: "the staff at Nexudus"}


def to_others(audience: str | None, address: str | None = None) -> str:
    """Return such as `, to the host`, with the address if it is to one; "" for the member."""
    if audience is None:
        return ""
    endpoint = endpoint_of(audience)
    if endpoint is not None:
        return f", to the endpoint {endpoint}"
    if not is_to_person(audience):
        return f", to {_AT_NEXUDUS[audience]}"
    whom = "the host" if audience == HOST else "a fixed address"
    return f", to {whom}{f' <{address}>' if address else ''}"


def audience_word(audience: str | None) -> str:
    """Return `member`, `host`, `address` or such as `endpoint:team-chat`, for programs."""
    if audience is None or audience == HOST:
        return audience or MEMBER
    return "address" if is_to_person(audience) else audience


def local(moment: datetime, zone: tzinfo | None = None) -> str:
    """Return a time in a zone, or this machine's, with the zone's name."""
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def printable(line: str) -> str:
    """Return a line without terminal control characters, since names are other people's text."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )


def number_of_people(count: int) -> str:
    """Return `1 person`, or `5 people`."""
    return "1 person" if count == 1 else f"{count} people"


def number_of_emails(count: int) -> str:
    """Return `1 email`, or `5 emails`."""
    return "1 email" if count == 1 else f"{count} emails"


def number_of_these(emails: Collection[EmailView]) -> str:
    """Return `5 emails`, or `5 messages` if some are posts or notes."""
    return number_of(len(emails), {one.kind for one in emails})


class EmailId(click.IntRange):
    """An argument that takes the ID of an email."""

    name = "email ID"

    def __init__(self) -> None:
        """Take the IDs that an email can have."""
        super().__init__(1, MAX_ID)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature: text, or an already converted value
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - same
        """Return the number.

        Raises:
            click.BadParameter: it is none; the message says which commands print IDs.
        """
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(
                f"{value!r} is not the ID of an email, which is a number; these print IDs:"
                " coursebell held, coursebell why, coursebell tail",
                param,
                ctx,
            )


NEEDS_YES = 3


def needs_confirmation(command: str) -> None:
    """Exit if there is no terminal to ask at. `command` is the command that does not ask.

    Raises:
        SystemExit: with code 3, after a message.
    """
    if not sys.stdin.isatty():
        click.echo(f"There is no terminal to ask at, so this needs --yes: {command}", err=True)
        raise SystemExit(NEEDS_YES)


def who_decides() -> str:
    """Return the name of the user who runs this command, for the log of decisions."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers often run as a user without a name
        return f"uid {os.getuid()}"


def is_confirmed(question: str) -> bool:
    """Ask on standard error and return whether the answer was yes."""
    return click.confirm(question, err=True)


_AGO = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_MISTAKE = "expected how long ago, such as 30m, 3h or 7d, or a date such as 2026-03-01"


class Moment(click.ParamType[datetime]):
    """An option that takes a past moment; the command gets it as aware UTC.

    `30m`, `3h` and `7d` mean that long ago. A date means the start of that day. A date or time
    without a zone is in COURSEBELL_ZONE.
    """

    name = "moment"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature: text, or an already converted value
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        """Parse the text.

        Raises:
            click.BadParameter: it is not a moment.
            ConfigurationError: it needs COURSEBELL_ZONE, and the settings are wrong.
        """
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            ago = _AGO.fullmatch(text)
            if ago is not None:
                return command_clock().now() - int(ago[1]) * _UNITS[ago[2]]
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=ZoneInfo(settings_now().zone))
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(_MISTAKE, param, ctx)


OUT_OF_REACH = 4


@contextmanager
def reporting_outages(what: str, consequence: str = "") -> Iterator[None]:
    """Turn a source error into a message with the next step, and exit code 4.

    `what` is the sentence on what could not be done; `consequence` is printed after the error.
    """
    try:
        yield
    except SourceError as error:
        click.echo(f"{what}: {reason_given(error)}", err=True)
        next_step = "Run `coursebell doctor` to find the cause, then try again."
        click.echo(f"{consequence} {next_step}".lstrip(), err=True)
        raise SystemExit(OUT_OF_REACH) from None


def reason_given(error: Exception) -> str:
    """Return the source's error as a text without a full stop at its end."""
    return at_nexudus(error).rstrip(". ")


def stop_on_signals() -> threading.Event:
    """Return an event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
