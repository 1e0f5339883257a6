"""Files that only their owner may read, written whole, and never over another one unasked."""

import os
from contextlib import suppress
from pathlib import Path

import click

from service.command.common import command_clock
from service.command.consent import agreed, must_be_asked

NOT_REPLACED = 1


def may_replace(path: Path, command: str, warning: str) -> None:
    """Return if there is no file at `path`, or a person agrees to replace it.

    `command` is the one that replaces it without asking; `warning` is what that costs.

    Raises:
        SystemExit: nobody agreed (1), or nobody can be asked (3).
    """
    if not os.path.lexists(path) or path.is_dir():
        return
    must_be_asked(command)
    if not agreed(f"{path} exists. Replace it? {warning}"):
        click.echo("Nothing was written.", err=True)
        raise SystemExit(NOT_REPLACED)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 600, in place of the one that is there.

    Raises:
        BadParameter: it cannot be written there.
    """
    if path.is_dir():
        raise click.BadParameter(f"{path} is a folder; name a file in it.")
    beside = path.with_name(f".{path.name}.{command_clock().new_id()[:8]}")
    try:
        beside.touch(mode=0o600, exist_ok=False)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise click.BadParameter(f"{path} cannot be written: {error.strerror}.") from None
