"""The command `coursebell`: every command by name, and how failures end.

Standard input and output made safe: no character and no closed stream ends in a traceback.

`prepare_streams` is called once, before anything is printed.

Groups of commands: help that is printed whole, and commands that are imported when needed.
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
    """Substitute what the terminal cannot show, and put something in place of closed streams.

    Without standard input there is nothing to read. Without standard output, printing raises
    `OSError`, as on a full disk. Failures to write to standard error are ignored.
    """
    # Opened in this order, each gets the lowest free number, which no file of ours must get.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole process
    if sys.stdout is None:
        sys.stdout = _opened_nowhere(os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _opened_nowhere(os.O_WRONLY)
    codecs.register(_plain_ascii)
    _substitute(sys.stdin, "replace")
    _substitute(sys.stdout, "replace")
    _substitute(sys.stderr, "backslashreplace")
    sys.stderr = cast("TextIO", UnfailingStream(sys.stderr))


def shows_unicode(stream: TextIO) -> bool:
    """Return whether every character can be written to this stream."""
    return codecs.lookup(stream.encoding or "ascii").name.startswith("utf")


def end_without(output: TextIO, code: int) -> NoReturn:
    """End, and throw away what is still to be printed: it would be tried once more, and fail."""
    with suppress(OSError, ValueError):  # what stands in for an output may have no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output.fileno())
        os.close(nowhere)
    sys.exit(code)


def _opened_nowhere(flags: int) -> TextIO:
    number = os.open(os.devnull, flags)
    os.set_inheritable(number, True)  # noqa: FBT003 - takes no keyword; a child must not reuse the number
    return os.fdopen(number, "w", encoding="utf-8")


def _substitute(stream: TextIO, errors: str) -> None:
    if isinstance(stream, io.TextIOWrapper):
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        stream.reconfigure(encoding=_ASCII if is_ascii else stream.encoding, errors=errors)


def _plain_ascii(name: str) -> codecs.CodecInfo | None:
    """Return ASCII under a name of its own: click writes UTF-8 to a stream that is called ASCII."""
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


_NO_LIMIT = 10_000  # click cuts summaries at 45 characters unless told otherwise


class Commands(click.Group):
    """A group whose help prints the summary of each command whole, wrapped where it must be."""

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
    """A group that imports the module of a command when the command is used.

    Importing all of them takes over a second.
    """

    def __init__(
        self,
        places: Mapping[str, str],
        checks: Mapping[str, Callable[[], None]],
        **settings: Any,  # noqa: ANN401 - click's own
    ) -> None:
        """`places` gives each command's `module:attribute`; `checks` is called before an import."""
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
        """Return the command that these words call, once its check has passed."""
        if args and args[0] in self._checks:
            self._checks[args[0]]()
        return super().resolve_command(ctx, args)


WRONG_USAGE = 2  # also: wrong settings
TROUBLE = 4  # what we depend on is out of reach
UNREAD = 141  # what a shell says of a program that wrote where nobody reads
# Where each command is; its module is imported when the command is used.
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
    """Refuse to start without the packages that only the demo needs.

    Raises:
        ClickException: one is missing; the text says how to get it.
    """
    if find_spec("sandbox") is None:
        raise click.ClickException(
            "This installation leaves out the stand-in Nexudus that the demo needs.\n"
            "Run `make demo` in the source folder instead."
        )
    if find_spec("aiosmtpd") is None:
        raise click.ClickException(
            "The demo needs the package aiosmtpd, which is not installed.\n"
            f"Install it, then try again: {sys.executable} -m pip install aiosmtpd"
        )


commands = LazyCommands(
    _PLACES,
    {"demo": check_demo_packages},
    name="coursebell",
    help="Watches the courses of a Nexudus space and writes the right email, once.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands = click.version_option(package_name="coursebell")(commands)


def main() -> None:
    """Run the command line; every failure ends with a sentence and an exit code, not a traceback.

    0 fine, 1 a problem was found, 2 wrong usage or settings, 3 it needs --yes, 4 something is out
    of reach or cannot be written, 141 nobody reads what is printed any more.
    """
    prepare_streams()
    output = sys.stdout
    try:
        commands.main(prog_name="coursebell")
    except SystemExit:
        # Where nobody reads any more, click wraps the output and ends with 1, which is an answer.
        is_unread = getattr(sys.stdout, "wrapped", None) is output
        if is_unread:
            end_without(output, UNREAD)
        raise
    except BrokenPipeError:
        end_without(output, UNREAD)
    except OSError as error:
        said = error.strerror or type(error).__name__
        click.echo(f"Something could not be written or read: {said}.", err=True)
        end_without(output, TROUBLE)
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
        click.echo("Try `coursebell config show` and `coursebell doctor`.", err=True)
        sys.exit(TROUBLE)
