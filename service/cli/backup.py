"""`coursebell backup` copies the ledger to a file; `coursebell move` copies it to PostgreSQL."""

import shlex
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import click
from marshmallow import ValidationError

from ledger.backup import copy_ledger, is_unchanged_copy, make_backup, row_counts, was_used
from ledger.controls import MOVED_AT, set_value
from ledger.engine import Engine, ledger_file, open_engine, reading, writing
from ledger.interventions import log_decision
from ledger.migrate import migrate
from schemas.errors import BackupUnusable, ConfigurationError, LedgerUnavailable
from schemas.settings import Settings
from schemas.settings.addresses import database_url
from service.cli.common import (
    as_json,
    command_clock,
    number_of_emails,
    number_of_people,
    opened_ledger,
    print_json,
    settings_now,
    who_decides,
)
from service.cli.restore import stopped
from workers.secret_key import SECRET_KEY_FILE

FAILED = 1


@click.command()
@click.argument("target", metavar="FILE_OR_FOLDER", type=click.Path())
@as_json
def backup(target: str, *, as_json: bool) -> None:
    """Copy the whole ledger into one file, while everything runs.

    The file includes the secret key of the data folder, so keep it as private as the ledger. In a
    folder it is named after the time. It is a SQLite file even if the ledger is on PostgreSQL. An
    existing file is never overwritten.
    """
    settings = settings_now()
    now = command_clock().now()
    file = _file_for(target, now)
    key = _own_key(settings)
    with opened_ledger(settings) as engine:
        try:
            made = make_backup(engine, file, key, now)
        except FileExistsError:
            click.echo(f"{file} already exists and was not overwritten.", err=True)
            raise SystemExit(FAILED) from None
        except BackupUnusable as error:
            click.echo(f"The copy of the ledger {error}. Check the ledger itself.", err=True)
            raise SystemExit(FAILED) from None
    if as_json:
        print_json(
            {
                "file": str(file),
                "made_at": now,
                "people": made.people,
                "emails_sent": made.sent,
                "secret_key": key is not None,
            }
        )
        return
    click.echo(
        f"{file}: {number_of_people(made.people)}, {number_of_emails(made.sent)} sent; checked."
    )
    if key is not None:
        click.echo("It includes the secret key. Store it where only you can read it.")
    elif settings.secret_key is not None:
        click.echo("It does not include COURSEBELL_SECRET_KEY. Store that too, in another place.")
    else:
        click.echo("There is no secret key yet: Coursebell creates one when it first starts.")
    click.echo(f"To restore it: stop Coursebell, then run: coursebell restore {file}")


def _file_for(target: str, now: datetime) -> Path:
    """Return the backup's path. `target` is text, as a `Path` would drop a slash at its end."""
    is_folder = target.endswith("/") or Path(target).is_dir()
    file = Path(target) / f"coursebell-{now:%Y%m%dT%H%M%SZ}.db" if is_folder else Path(target)
    if not file.parent.is_dir():
        raise click.UsageError(
            f"There is no folder {file.parent}. Create it, readable only by you: "
            f"mkdir -p -m 700 {shlex.quote(str(file.parent))}"
        )
    return file.absolute()


def _own_key(settings: Settings) -> str | None:
    """Return the secret key of the data folder, if that is the one in use."""
    if settings.secret_key is None:
        with suppress(OSError, UnicodeError):
            path = Path(settings.data_dir) / SECRET_KEY_FILE
            return path.read_text(encoding="ascii").strip() or None
    return None


NOT_DONE = 1
TROUBLE = 4
_OWN_URL = "COURSEBELL_DATABASE_URL"  # error texts name it; `move` replaces it by the target's URL


@click.command()
@click.option("--to", "url", metavar="URL", help="The PostgreSQL database, which must be empty.")
@click.option(
    "--to-file",
    "url_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="A file with the URL, or - for standard input; keeps it out of the shell history.",
)
@as_json
def move(url: str | None, *, url_file: str | None, as_json: bool) -> None:
    """Copy the SQLite ledger into an empty PostgreSQL database.

    Stop Coursebell first. The SQLite file stays and is no longer used. Without --to and --to-file,
    it prompts for the URL without showing it.
    """
    settings = settings_now()
    source_file = ledger_file(settings.database_url)
    if source_file is None:
        raise click.UsageError("The ledger is already on PostgreSQL: see COURSEBELL_DATABASE_URL.")
    target_url = _target(url, url_file)
    with stopped(settings), opened_ledger(settings) as source:
        target = open_engine(target_url)
        try:
            copied = _moved(source, target)
        except ConfigurationError as error:
            click.echo(f"The database to move to: {error}", err=True)
            raise SystemExit(NOT_DONE) from None
        except LedgerUnavailable as error:
            click.echo(f"Nothing was moved: {error}.", err=True)
            click.echo(error.next_step.replace(_OWN_URL, "the URL to move to"), err=True)
            raise SystemExit(TROUBLE) from None
        finally:
            target.dispose()
    if as_json:
        print_json({"from": str(source_file), "rows": copied})
        return
    click.echo(f"Copied and counted: {sum(copied.values())} rows of {len(copied)} tables.")
    click.echo("Next: set COURSEBELL_DATABASE_URL to that database for every process, then start.")
    if settings.secret_key is None:
        key = Path(settings.data_dir) / "secret_key"
        click.echo(f"On other machines, set COURSEBELL_SECRET_KEY to the content of {key}")
    click.echo(f"{source_file} stays as it is; Coursebell no longer starts with it.")


def _target(url: str | None, url_file: str | None) -> str:
    if url is not None and url_file is not None:
        raise click.UsageError("Give --to or --to-file, not both.")
    if url is None and url_file is not None:
        try:
            with click.open_file(url_file, encoding="utf-8") as file:
                url = file.read()
        except (OSError, UnicodeError):
            raise click.UsageError(f"--to-file: {url_file} cannot be read.") from None
    if url is None:
        url = click.prompt("URL of the PostgreSQL database", hide_input=True, err=True)
    try:
        parsed = database_url(url.strip())
    except ValidationError as error:
        raise click.UsageError(f"--to: {'; '.join(map(str, error.messages))}") from None
    if ledger_file(parsed) is not None:
        raise click.UsageError("--to: expected postgresql://user:password@host/name")
    return parsed


def _moved(source: Engine, target: Engine) -> dict[str, int]:
    """Copy everything in one transaction, and mark the file as moved once that is committed.

    If an earlier run was killed between the two, the copy is complete: only the mark is set.
    """
    migrate(target)
    now, who = command_clock().now(), who_decides()
    with writing(source) as rows:
        with reading(target) as connection:
            is_used = was_used(connection)
            is_copied = is_used and is_unchanged_copy(rows, connection)
            copied = row_counts(connection) if is_copied else {}
        if is_used and not is_copied:
            raise ConfigurationError(
                [
                    (
                        "it already holds a ledger; give an empty one. If it is a copy from an"
                        " earlier `coursebell move`, and Coursebell has not run on it, empty it"
                        " with DROP SCHEMA public CASCADE; CREATE SCHEMA public; and move again"
                    )
                ]
            )
        if not is_copied:
            with writing(target) as new:
                copied = copy_ledger(rows, new)
                log_decision(new, "move", who, now, {"rows": sum(copied.values())})
        set_value(rows, MOVED_AT, now.isoformat(), who, now)
    return copied
