"""`coursebell restore`: restores a backup, and holds emails that may have been sent since."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click

from ledger.backup import (
    Contents,
    is_in_use,
    make_backup,
    open_restored_gap,
    opened_file,
    put_in_place,
    put_into,
    stage,
    was_used,
)
from ledger.controls import is_key_of
from ledger.engine import (
    Connection,
    Engine,
    ledger_file,
    lock_decisions,
    open_engine,
    reading,
    writing,
)
from ledger.heartbeats import (
    SILENT_AFTER_S,
    Gap,
    heartbeats_ahead,
    last_heartbeats,
    open_gap,
)
from ledger.migrate import migrate
from ledger.revision import current_revision
from schemas.errors import BackupUnusable, ConfigurationError
from schemas.settings import Settings
from service.cli.common import (
    Moment,
    as_json,
    command_clock,
    is_confirmed,
    local,
    needs_confirmation,
    number_of_emails,
    number_of_people,
    opened_ledger,
    print_json,
    settings_now,
    who_decides,
)
from service.cli.up import held, lock_files
from workers.heartbeat import EVERY_S, exclusive_lock, read_last_alive
from workers.local.programs import private_folder
from workers.secret_key import SECRET_KEY_FILE, has_secret_key, secret_key

NOT_DONE = 1
_FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class _Restored:
    """The result. `kept` is where the replaced ledger is now."""

    at: datetime
    held: int
    kept: Path | None
    key: str


@click.command()
@click.argument("file", required=False, type=_FILE)
@click.option(
    "--declare-gap",
    "since",
    type=Moment(),
    metavar="FROM",
    help="You set the ledger back to this time by other means: 3h, or 2026-03-01T12:00.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@as_json
def restore(file: Path | None, *, since: datetime | None, yes: bool, as_json: bool) -> None:
    """Restore a backup, and hold what may have been sent since.

    FILE is a backup made by `coursebell backup`, or any copy of a SQLite ledger.

    Stop Coursebell first. The current ledger is kept under another name. Emails that may have been
    sent since the backup are held as `restored` until you release or skip them.
    """
    settings = settings_now()
    if (file is None) == (since is None):
        raise click.UsageError("Give a backup file or --declare-gap.")
    if file is not None and not file.is_file():
        raise click.UsageError(f"There is no file {file}.")
    if not yes:
        given = file if since is None else f"--declare-gap {since.isoformat()}"
        needs_confirmation(f"coursebell restore {given} --yes")
    with stopped(settings):
        pass  # fail before any question
    if file is None:
        _declare(settings, since, yes=yes, as_json=as_json)
        return
    try:
        _restore(settings, file, yes=yes, as_json=as_json)
    except BackupUnusable as error:
        click.echo(f"{error}. Nothing was changed.", err=True)
        raise SystemExit(NOT_DONE) from None


def _restore(settings: Settings, file: Path, *, yes: bool, as_json: bool) -> None:
    target = ledger_file(settings.database_url)
    folder = Path(settings.data_dir) if target is None else target.parent
    # Beside the ledger, since an atomic rename needs the same file system.
    with private_folder(folder, ".restoring-") as beside:
        staged = beside / "ledger.db"
        contents = stage(file, staged)
        for line in _explained(settings, file, contents):
            click.echo(line, err=True)
        behind = _clock_is_behind(settings, contents)
        if behind is not None:
            click.echo(behind, err=True)
        if behind is not None and yes:
            click.echo("Nothing was changed. To restore now, confirm without --yes.", err=True)
            raise SystemExit(NOT_DONE)
        if not yes and not is_confirmed("Restore it?"):
            click.echo("Nothing was changed.", err=True)
            raise SystemExit(NOT_DONE)
        with stopped(settings):
            done = _put(settings, staged, contents)
    if as_json:
        print_json(
            {
                "file": str(file),
                "made_at": contents.made_at,
                "restored_at": done.at,
                "held": done.held,
                "kept": None if done.kept is None else str(done.kept),
                "secret_key": done.key,
            }
        )
        return
    click.echo(
        f"Restored: {number_of_people(contents.people)}, {number_of_emails(contents.sent)} sent."
    )
    if done.kept is not None:
        click.echo(f"The replaced ledger is now {done.kept}")
    click.echo(_KEYS[done.key])
    _print_next(done.held, contents.made_at)


def _put(settings: Settings, staged: Path, contents: Contents) -> _Restored:
    now = command_clock().now()
    with opened_file(staged) as copy:
        last = read_last_alive(Path(settings.data_dir))
        held = open_restored_gap(
            copy,
            contents.made_at,
            who_decides(),
            now,
            last_alive=None if last is None else last.at,
        )
        with reading(copy) as connection:
            is_ours = is_key_of(connection, secret_key(settings)) if _has_key(settings) else None
    target = ledger_file(settings.database_url)
    if target is not None:
        kept = put_in_place(staged, target, now)
    else:
        kept = _put_on_server(settings, staged, now)
    if contents.secret_key is None:
        key = "missing" if is_ours is None else "same" if is_ours else "different"
    else:
        key = _put_key(settings, contents.secret_key, now)
    return _Restored(now, held, kept, key)


def _put_on_server(settings: Settings, staged: Path, now: datetime) -> Path | None:
    kept = None
    engine = open_engine(settings.database_url)
    try:
        migrate(engine)
        with reading(engine) as connection:
            is_used = was_used(connection)
        if is_used:
            kept = Path(settings.data_dir).absolute() / f"ledger.before-{now:%Y%m%dT%H%M%S.%fZ}.db"
            make_backup(engine, kept, None, now)
        put_into(engine, staged, _refuse_if_alive)
    except BaseException:
        if kept is not None:
            kept.unlink(missing_ok=True)  # nothing was replaced
        raise
    finally:
        engine.dispose()
    return kept


def _has_key(settings: Settings) -> bool:
    """Return whether there is a usable secret key here, so that none is created."""
    with suppress(ConfigurationError):
        return has_secret_key(settings) and bool(secret_key(settings))
    return False


def _put_key(settings: Settings, key: str, now: datetime) -> str:
    """Put the backup's key into the data folder; return what was done, as a key of `_KEYS`."""
    path = Path(settings.data_dir) / SECRET_KEY_FILE
    if settings.secret_key is not None:
        return "same" if settings.secret_key == key else "different"
    with suppress(FileNotFoundError):
        if path.read_text(encoding="ascii").strip() == key:
            return "same"
        path.rename(path.with_name(f"{path.name}.before-{now:%Y%m%dT%H%M%S.%fZ}"))
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    with fresh.open("w", encoding="ascii") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return "restored"


_KEYS = {
    "missing": (
        "The backup has no secret key. Before you start Coursebell, set the key that this ledger"
        " had: COURSEBELL_SECRET_KEY, or the file secret_key in the data folder."
    ),
    "same": "The secret key set here is the key of this ledger.",
    "different": (
        "The secret key set here, as COURSEBELL_SECRET_KEY or in the file secret_key, is not the"
        " key of this ledger. Set the key it had before you start Coursebell."
    ),
    "restored": "The secret key of the backup is in the data folder.",
}


def _declare(settings: Settings, since: datetime | None, *, yes: bool, as_json: bool) -> None:
    now = command_clock().now()
    if since is None or since > now:
        raise click.UsageError("--declare-gap: expected a time in the past.")
    if not yes:
        click.echo(
            f"This declares that what this ledger did since {local(since)} is lost. Emails that it"
            " may have sent since then are held.",
            err=True,
        )
        if not is_confirmed("Declare it?"):
            click.echo("Nothing was changed.", err=True)
            raise SystemExit(NOT_DONE)
    with (
        stopped(settings),
        opened_ledger(settings) as engine,
        writing(engine) as connection,
    ):
        lock_decisions(connection)
        last = read_last_alive(Path(settings.data_dir))
        until = now if last is None else max(now, last.at)
        held = open_gap(connection, Gap(since, until, "declared"), who_decides())
    if as_json:
        print_json({"since": since, "until": now, "held": held})
    else:
        _print_next(held, since)


def _print_next(held: int, since: datetime | None) -> None:
    after = "" if since is None else f" after {local(since)}"
    click.echo(
        f"{number_of_emails(held)} {'is' if held == 1 else 'are'} held now. Others that may have "
        f"been sent{after} are held once polls find their records again."
    )
    click.echo("Next: start Coursebell, wait some minutes, then: coursebell held --reason restored")


def _explained(settings: Settings, file: Path, contents: Contents) -> Iterator[str]:
    made = "an unknown time" if contents.made_at is None else local(contents.made_at)
    people, emails = number_of_people(contents.people), number_of_emails(contents.sent)
    yield f"{file} is from {made}: {people}, {emails} sent."
    target = ledger_file(settings.database_url)
    if target is not None and target.exists():
        yield f"It replaces the ledger at {target}, which is kept beside it under another name."
    elif target is None:
        yield "It replaces the PostgreSQL ledger, of which a copy is kept in the data folder."


def _clock_is_behind(settings: Settings, contents: Contents) -> str | None:
    """Return a warning if this machine's clock seems behind: too many emails would be held."""
    now, last = command_clock().now(), read_last_alive(Path(settings.data_dir))
    moments = (contents.made_at, contents.used_until, None if last is None else last.at)
    known = [at for at in moments if at is not None]
    if not known or max(known) <= now:
        return None
    return (
        f"Check the clock of this machine: it shows {local(now)}, but the ledger was in use at "
        f"{local(max(known))}. If the clock is behind, set it right before you restore. If you "
        "restore now, emails about anything that happens before the later time are held."
    )


@contextmanager
def stopped(settings: Settings) -> Iterator[None]:
    """Make sure that no Coursebell process uses this ledger, and that none starts meanwhile.

    Raises:
        SystemExit: one is running, after a message.
    """
    with ExitStack() as stack:
        running = None
        try:
            for lock in lock_files(settings):
                stack.enter_context(held(lock))
        except ConfigurationError:
            running = f"`coursebell up` is running on {settings.data_dir}"
        if running is None and not stack.enter_context(exclusive_lock(Path(settings.data_dir))):
            running = f"Coursebell is running with the data folder {settings.data_dir}"
        running = running or _running(settings)
        if running is not None:
            _refuse(running)
        yield


def _refuse(running: str) -> NoReturn:
    click.echo(f"{running}. Nothing was changed. Stop it, then try again.", err=True)
    raise SystemExit(NOT_DONE)


def _running(settings: Settings) -> str | None:
    target = ledger_file(settings.database_url)
    if target is not None:
        return f"The ledger {target} is open in another process" if is_in_use(target) else None
    engine = open_engine(settings.database_url)
    try:
        if current_revision(engine) is None:
            return None
        return _running_on_server(engine)
    finally:
        engine.dispose()


def _refuse_if_alive(connection: Connection) -> None:
    """Refuse the restore if a process started on the database in the meantime."""
    alive = _alive(connection)
    if alive is not None:
        _refuse(alive)


def _alive(connection: Connection) -> str | None:
    now = command_clock().now()
    for kind, at in sorted(last_heartbeats(connection, now).items()):
        silent_s = (now - at).total_seconds()
        if silent_s < SILENT_AFTER_S:
            return f"A {kind} of Coursebell was alive on this ledger {max(silent_s, 0):.0f} s ago"
    return None


def _running_on_server(engine: Engine) -> str | None:
    now = command_clock().now()
    with reading(engine) as connection:
        running, ahead = _alive(connection), heartbeats_ahead(connection, now)
    if running is None and ahead:
        # Written with a clock that is or was ahead. If it still changes, the process is alive.
        command_clock().sleep(2 * EVERY_S)
        with reading(engine) as connection:
            fresh = [one for one in heartbeats_ahead(connection, now) if one not in ahead]
        if fresh:
            running = f"A {fresh[0].kind} of Coursebell uses this ledger: {fresh[0].process}"
    return running
