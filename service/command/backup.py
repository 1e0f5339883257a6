"""`backup`: a copy of the whole ledger in one file, while everything runs."""

import shlex
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import click

from ledger.backup import make_backup
from schemas.errors import BackupUnusable
from schemas.settings import Settings
from service.command.common import as_json, command_clock, opened_ledger, print_json, settings_now
from workers.workshop import SECRET_KEY_FILE

FAILED = 1


@click.command()
@click.argument("target", metavar="FILE_OR_FOLDER", type=click.Path())
@as_json
def backup(target: str, *, as_json: bool) -> None:
    """Copy the whole ledger into one file, while everything runs.

    The secret key of the data folder is in it too, so keep it as private as the ledger. In a
    folder the file is named after the time. It is a SQLite file also where the ledger is on
    PostgreSQL. No file is ever overwritten.
    """
    settings = settings_now()
    now = command_clock().now()
    file = _file_for(target, now)
    key = _own_key(settings)
    with opened_ledger(settings) as engine:
        try:
            made = make_backup(engine, file, key, now)
        except FileExistsError:
            click.echo(f"{file} exists already, and was not overwritten.", err=True)
            raise SystemExit(FAILED) from None
        except BackupUnusable as error:
            click.echo(f"The copy of the ledger {error}, so the ledger may be too.", err=True)
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
    click.echo(f"{file}: {made.people} people, {made.sent} emails sent; checked.")
    if key is not None:
        click.echo("The secret key is in it. Keep the file where only you can read it.")
    elif settings.secret_key is not None:
        click.echo("COURSEBELL_SECRET_KEY is not in it. Keep that too, apart from this file.")
    else:
        click.echo("There is no secret key yet: Coursebell makes one when it first starts.")
    click.echo(f"To go back to it: stop Coursebell, then: coursebell restore {file}")


def _file_for(target: str, now: datetime) -> Path:
    """Return where the backup goes. `target` is text, since a `Path` has no slash at its end."""
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
