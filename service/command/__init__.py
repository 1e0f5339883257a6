"""The command `coursebell`: everything a person does with the service, by name."""

import sys

import click

from schemas.errors import ConfigurationError, CoursebellError, LedgerUnavailable
from service.command.backfill import backfill
from service.command.backup import backup
from service.command.certify import certify
from service.command.common import Commands
from service.command.configuring import config
from service.command.demo import demo
from service.command.doctor import doctor
from service.command.held import held, release, skip
from service.command.hooks import hooks
from service.command.init import init
from service.command.login import login
from service.command.mode import mode
from service.command.move import move
from service.command.reconcile import reconcile
from service.command.restore import restore
from service.command.serving import clock, migrate, serve, worker
from service.command.status import status
from service.command.tail import tail
from service.command.terminal import end_without, prepare_streams
from service.command.up import up
from service.command.why import why

WRONG_USAGE = 2  # also: wrong settings
TROUBLE = 4  # what we depend on is out of reach
UNREAD = 141  # what a shell says of a program that wrote where nobody reads


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="coursebell")
def commands() -> None:
    """Watches the courses of a Nexudus space and writes the right email, once."""


for command in (
    up,
    serve,
    worker,
    clock,
    migrate,
    demo,
    doctor,
    login,
    hooks,
    mode,
    status,
    why,
    tail,
    held,
    release,
    skip,
    reconcile,
    backfill,
    certify,
    backup,
    restore,
    move,
    init,
    config,
):
    commands.add_command(command)


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
        click.echo("Nothing was started. `coursebell config show` lists every setting.", err=True)
        sys.exit(WRONG_USAGE)
    except LedgerUnavailable as error:
        click.echo(f"The ledger cannot be used: {error}.", err=True)
        click.echo(error.next_step, err=True)
        sys.exit(TROUBLE)
    except CoursebellError as error:
        click.echo(f"{error}", err=True)
        click.echo("Try `coursebell config show` and `coursebell doctor`.", err=True)
        sys.exit(TROUBLE)
