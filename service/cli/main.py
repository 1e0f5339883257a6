"""The command `coursebell`: its commands by name, safe standard streams, and exit codes.

A command's module is imported when the command is used, since importing all takes over a second.
No character and no closed stream ends in a traceback.
"""

import codecs
import io
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn, TextIO, cast

import click

from schemas.errors import ConfigurationError, CoursebellError, LedgerUnavailable
from workers.logs import UnfailingStream

_ASCII = "coursebell-ascii"


def prepare_streams() -> None:
    """Replace characters that the terminal cannot show, and open a stand-in for closed streams.

    Call it once, before anything is printed. A closed standard input reads as empty. Printing to a
    closed standard output raises `OSError`, as on a full disk. Failures to write to standard error
    are ignored.
    """
    # In this order each gets its own standard number back, so that no other file can get it.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole process
    if sys.stdout is None:
        sys.stdout = _open_null(os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _open_null(os.O_WRONLY)
    codecs.register(_plain_ascii)
    _substitute(sys.stdin, "replace")
    _substitute(sys.stdout, "replace")
    _substitute(sys.stderr, "backslashreplace")
    sys.stderr = cast("TextIO", UnfailingStream(sys.stderr))


def shows_unicode(stream: TextIO) -> bool:
    """Return whether every character can be written to this stream."""
    return codecs.lookup(stream.encoding or "ascii").name.startswith("utf")


def exit_discarding(output: TextIO, code: int) -> NoReturn:
    """Exit and discard buffered output, which Python would otherwise try to write again."""
    with suppress(OSError, ValueError):  # the output may be a stand-in without a file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, output.fileno())
        os.close(null)
    sys.exit(code)


def _open_null(flags: int) -> TextIO:
    number = os.open(os.devnull, flags)
    os.set_inheritable(number, True)  # noqa: FBT003 - takes no keyword; a child must not reuse the number
    return os.fdopen(number, "w", encoding="utf-8")


def _substitute(stream: TextIO, errors: str) -> None:
    if isinstance(stream, io.TextIOWrapper):
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        stream.reconfigure(encoding=_ASCII if is_ascii else stream.encoding, errors=errors)


def _plain_ascii(name: str) -> codecs.CodecInfo | None:
    """Return the ASCII codec under another name: click writes UTF-8 to streams named ASCII."""
    if name.replace("_", "-") != _ASCII:
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(
        plain.encode,
        plain.decode,
        plain.streamreader,
        plain.streamwriter,
        plain.incrementalencoder,
        plain.incrementaldecoder,
        name=_ASCII,
    )


_NO_LIMIT = 10_000  # click's default cuts summaries at 45 characters


class Commands(click.Group):
    """A group whose help prints each command's whole summary, wrapped if needed."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the section of commands."""
        found = [self.get_command(ctx, name) for name in sorted(self.list_commands(ctx))]
        rows = [
            (command.name or "", command.get_short_help_str(limit=_NO_LIMIT))
            for command in found
            if command is not None and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class LazyCommands(Commands):
    """A group that imports a command's module when the command is used."""

    def __init__(
        self,
        places: Mapping[str, str],
        checks: Mapping[str, Callable[[], None]],
        **settings: Any,  # noqa: ANN401 - click's own
    ) -> None:
        """`places` has each command's `module:attribute`; `checks` run before an import."""
        super().__init__(**settings)
        self._places = places
        self._checks = checks

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, or None if there is none."""
        if cmd_name in self._places and cmd_name not in self.commands:
            module, _, attribute = self._places[cmd_name].partition(":")
            self.add_command(getattr(import_module(module), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that these words name, after its check."""
        if args and args[0] in self._checks:
            self._checks[args[0]]()
        return super().resolve_command(ctx, args)


WRONG_USAGE = 2  # also: wrong settings
TROUBLE = 4  # the ledger or Nexudus cannot be reached, or output cannot be written
UNREAD = 141  # the shell's exit code for a program that wrote to a closed pipe
# The module and attribute of each command.
_PLACES = {
    "up": "service.cli.up:up",
    "serve": "service.cli.serving:serve",
    "worker": "service.cli.serving:worker",
    "scheduler": "service.cli.serving:scheduler",
    "clock": "service.cli.serving:clock",
    "migrate": "service.cli.serving:migrate",
    "demo": "service.cli.demo:demo",
    "doctor": "service.cli.doctor:doctor",
    "login": "service.cli.login:login",
    "hooks": "service.cli.hooks:hooks",
    "mode": "service.cli.controls:mode",
    "status": "service.cli.status:status",
    "why": "service.cli.why:why",
    "tail": "service.cli.show:tail",
    "show": "service.cli.show:show",
    "held": "service.cli.controls:held",
    "release": "service.cli.controls:release",
    "skip": "service.cli.controls:skip",
    "resend": "service.cli.resend:resend",
    "reconcile": "service.cli.reconcile:reconcile",
    "backfill": "service.cli.backfill:backfill",
    "certify": "service.cli.certify:certify",
    "backup": "service.cli.backup:backup",
    "restore": "service.cli.restore:restore",
    "move": "service.cli.backup:move",
    "init": "service.cli.config:init",
    "config": "service.cli.config:config",
}


def check_demo_packages() -> None:
    """Check that the packages that only the demo needs are installed.

    Raises:
        ClickException: one is missing; the message says how to get it.
    """
    if find_spec("sandbox") is None:
        raise click.ClickException(
            "This installation does not include the stand-in Nexudus that the demo needs.\n"
            "Run `make demo` in the source folder instead."
        )
    if find_spec("aiosmtpd") is None:
        raise click.ClickException(
            "The demo needs the package aiosmtpd, which is not installed.\n"
            f"Install it, then run the demo again: {sys.executable} -m pip install aiosmtpd"
        )


commands = LazyCommands(
    _PLACES,
    {"demo": check_demo_packages},
    name="coursebell",
    help="Watches the courses of a Nexudus space and sends each email once.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands = click.version_option(package_name="coursebell")(commands)


def main() -> None:
    """Run the command line. Every failure ends with a message and an exit code, not a traceback.

    Exit codes: 0 success, 1 a problem was found, 2 wrong usage or settings, 3 needs --yes, 4
    something cannot be reached or written, 141 the reader of the output has gone.
    """
    prepare_streams()
    output = sys.stdout
    try:
        commands.main(prog_name="coursebell")
    except SystemExit:
        # On a closed pipe click wraps the output and exits with 1, which has another meaning here.
        is_unread = getattr(sys.stdout, "wrapped", None) is output
        if is_unread:
            exit_discarding(output, UNREAD)
        raise
    except BrokenPipeError:
        exit_discarding(output, UNREAD)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        click.echo(f"A file or the output could not be read or written: {reason}.", err=True)
        exit_discarding(output, TROUBLE)
    except ConfigurationError as error:
        for mistake in error.mistakes:
            click.echo(mistake, err=True)
        click.echo(error.closing, err=True)
        sys.exit(WRONG_USAGE)
    except LedgerUnavailable as error:
        click.echo(f"The ledger cannot be used: {error}.", err=True)
        click.echo(error.next_step, err=True)
        sys.exit(TROUBLE)
    except CoursebellError as error:
        click.echo(f"{error}", err=True)
        click.echo("To find the cause: coursebell config show, coursebell doctor", err=True)
        sys.exit(TROUBLE)
