"""`coursebell certify`: proves that nothing was missed on some days, or names what was.

`workers.sync.certificate` makes the figures; this module prints, signs and verifies them.
"""

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import structlog

from schemas.errors import ConfigurationError
from schemas.settings import Settings
from service.cli.certificate_view import lines_of, page_of
from service.cli.common import (
    as_json,
    check_secret_key,
    command_clock,
    print_json,
    printable,
    reporting_outages,
    settings_now,
    with_own_broker,
)
from service.cli.source_access import open_sync
from workers.rules_file import read_rules
from workers.secret_key import secret_key
from workers.sync import certificate
from workers.sync.document import (
    Document,
    Issuer,
    Verdict,
    document_of,
    signed,
    signed_page,
    verify,
)
from workers.sync.evidence import Progress, Window, window_of

DIFFERS = 1
_DAY = click.DateTime(formats=["%Y-%m-%d"])
_EARLIEST = date(2000, 1, 1)  # earlier than any Nexudus record
_STANDARD_OUTPUT = Path("-")
_VERDICTS = {
    Verdict.GENUINE: "Genuine: this installation made it, and it is unchanged.",
    Verdict.CHANGED: "Changed, or made by another installation: its signature does not match.",
    Verdict.NO_CERTIFICATE: "This is not a certificate.",
}


@click.command()
@click.option("--from", "first", type=_DAY, help="The first day, such as 2026-03-01.")
@click.option("--to", "last", type=_DAY, help="The last day, included. Without both: yesterday.")
@as_json
@click.option(
    "--html",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write a page to print, to this file; - is standard output.",
)
@click.option(
    "--verify",
    "verified",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Only check whether this file is an unchanged certificate of this installation.",
)
def certify(
    *,
    first: datetime | None,
    last: datetime | None,
    as_json: bool,
    html: Path | None,
    verified: Path | None,
) -> None:
    """Prove that nothing was missed: every row and its result.

    Days are in COURSEBELL_ZONE. Exit code 1: something is not accounted for; 4: Nexudus could not
    be read or its lists are inconsistent, so there is no certificate.
    """
    if as_json and html == _STANDARD_OUTPUT:
        raise click.UsageError("Give --json or --html -, not both: each uses standard output.")
    settings = with_own_broker(settings_now())
    if verified is not None:
        _print_verdict(settings, verified, as_json=as_json)
        return
    # Log lines of the source client would mix with the lines printed for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    check_secret_key(settings, signs=True)
    document = _made(settings, _window(settings, first, last))
    if html is not None:
        _write(html, signed_page(page_of(document), secret_key(settings)))
    if as_json:
        print_json(document)
    elif html != _STANDARD_OUTPUT:
        for line in lines_of(document, _width()):
            click.echo(printable(line))
    if not document["complete"]:
        raise SystemExit(DIFFERS)


def _window(settings: Settings, first: datetime | None, last: datetime | None) -> Window:
    zone, now = ZoneInfo(settings.zone), command_clock().now()
    yesterday = now.astimezone(zone).date() - timedelta(days=1)
    begin = _day(first) or _day(last) or yesterday
    end = _day(last) or max(begin, yesterday)
    if end < begin:
        raise click.UsageError("--to is before --from.")
    if begin < _EARLIEST or end > now.astimezone(zone).date() + timedelta(days=1):
        raise click.UsageError(f"Give days from {_EARLIEST} to tomorrow.")
    window = window_of(begin, end, zone, now)
    if window.until <= window.since:
        raise click.UsageError(
            "These days have only just begun, and changes take some minutes to be read. Try again"
            " later."
        )
    return window


def _width() -> int | None:
    """Return the terminal's width in characters; None if output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _day(chosen: datetime | None) -> date | None:
    return None if chosen is None else chosen.date()


def _made(settings: Settings, window: Window) -> Document:
    """Return the signed document."""
    rules = read_rules(settings)
    with (
        open_sync(settings) as sync,
        reporting_outages("The certificate could not be made", "There is no result."),
        _shown_progress() as progress,
    ):
        found = certificate.certify(sync, window, rules, progress)
    maker = Issuer(settings.nexudus_url, version("coursebell"), rules.digest, command_clock().now())
    return signed(document_of(found, maker), secret_key(settings))


@contextmanager
def _shown_progress() -> Iterator[Progress]:
    """Yield what shows the progress, on standard error and only on a terminal."""
    is_hidden = not sys.stderr.isatty()
    with click.progressbar(
        length=100, label="Certifying", file=sys.stderr, hidden=is_hidden
    ) as bar:
        yield lambda share: bar.update(round(100 * share) - bar.pos)
        bar.update(100 - bar.pos)


def _write(path: Path, page: str) -> None:
    if path == _STANDARD_OUTPUT:
        click.echo(page.encode(), nl=False)  # the signature is over UTF-8, whatever the locale
        return
    try:
        path.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None


def _print_verdict(settings: Settings, path: Path, *, as_json: bool) -> None:
    has_key = settings.secret_key or (Path(settings.data_dir) / "secret_key").exists()
    if not has_key:
        # A new key would match no certificate.
        raise ConfigurationError(
            ["COURSEBELL_DATA_DIR: there is no secret key in it; is that the right folder?"]
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None
    verdict = verify(content, secret_key(settings))
    if as_json:
        print_json({"verdict": verdict.name.lower().replace("_", "-")})
    else:
        click.echo(_VERDICTS[verdict], err=verdict is not Verdict.GENUINE)
    if verdict is not Verdict.GENUINE:
        raise SystemExit(verdict.value)
