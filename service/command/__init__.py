"""The command `coursebell`: everything a person does with the service, by name."""

import sys
from importlib.util import find_spec

import click

from schemas.errors import ConfigurationError, CoursebellError, LedgerUnavailable
from service.command.groups import LazyCommands
from service.command.terminal import end_without, prepare_streams

WRONG_USAGE = 2  # also: wrong settings
TROUBLE = 4  # what we depend on is out of reach
UNREAD = 141  # what a shell says of a program that wrote where nobody reads
# Where each command is; its module is imported when the command is used.
_PLACES = {
    "up": "service.command.up:up",
    "serve": "service.command.serving:serve",
    "worker": "service.command.serving:worker",
    "scheduler": "service.command.serving:scheduler",
    "clock": "service.command.serving:clock",
    "migrate": "service.command.serving:migrate",
    "demo": "service.command.demo:demo",
    "doctor": "service.command.doctor:doctor",
    "login": "service.command.login:login",
    "hooks": "service.command.hooks:hooks",
    "mode": "service.command.mode:mode",
    "status": "service.command.status:status",
    "why": "service.command.why:why",
    "tail": "service.command.tail:tail",
    "show": "service.command.show:show",
    "held": "service.command.held:held",
    "release": "service.command.held:release",
    "skip": "service.command.held:skip",
    "resend": "service.command.resend:resend",
    "reconcile": "service.command.reconcile:reconcile",
    "backfill": "service.command.backfill:backfill",
    "certify": "service.command.certify:certify",
    "backup": "service.command.backup:backup",
    "restore": "service.command.restore:restore",
    "move": "service.command.move:move",
    "init": "service.command.init:init",
    "config": "service.command.configuring:config",
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
