"""The command `coursebell`: its commands by name, and exit codes.

A command's module is imported when the command is used, since importing all takes over a second.
So the list of commands has its summaries from a table here.
"""

import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import click

from schemas.errors import ConfigurationError, CoursebellError, LedgerUnavailable
from workers.celery_environment import let_actions_finish
from workers.queues import WITHOUT_BROKER
from workers.streams import exit_discarding, prepare_streams

_NO_LIMIT = 10_000  # click's default cuts summaries at 45 characters


class Commands(click.Group):
    """A group whose help prints each command's whole summary, wrapped if needed."""

    def summary_of(self, ctx: click.Context, name: str) -> str:
        """Return the summary of one of the commands."""
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(limit=_NO_LIMIT)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that these words name. A mistyped name fails with the nearest one."""
        if args and args[0] not in self.list_commands(ctx):
            for near in get_close_matches(args[0], self.list_commands(ctx), n=1):
                ctx.fail(f"No such command {args[0]!r}; did you mean {near}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the section of commands."""
        rows = [(name, self.summary_of(ctx, name)) for name in sorted(self.list_commands(ctx))]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class LazyCommands(Commands):
    """A group that imports a command's module when the command is used, not for its own help."""

    def __init__(
        self,
        places: Mapping[str, tuple[str, str]],
        preparations: Mapping[str, Callable[[Sequence[str]], None]],
        **settings: Any,  # noqa: ANN401 - click's own
    ) -> None:
        """Hold the commands by name.

        `places` has each one's `module:attribute` and its summary, the first sentence of its help.
        `preparations` are called before the import, with the words after the command.
        """
        super().__init__(**settings)
        self._places = places
        self._preparations = preparations

    def summary_of(self, ctx: click.Context, name: str) -> str:
        """Return the summary of one of the commands, without importing its module."""
        del ctx
        return self._places[name][1]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, or None if there is none."""
        if cmd_name in self._places and cmd_name not in self.commands:
            module, _, attribute = self._places[cmd_name][0].partition(":")
            self.add_command(getattr(_imported(module), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that these words name, after its preparation."""
        if args and args[0] in self._preparations:
            self._preparations[args[0]](args[1:])
        return super().resolve_command(ctx, args)


def _imported(module: str) -> ModuleType:
    """Import a module without the garbage collector, which takes a fifth of the time.

    What is imported stays, so the collector need not visit it later either: not in forked
    processes, which share its memory, and not when the program ends.
    """
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


WRONG_USAGE = 2  # also: wrong settings
TROUBLE = 4  # the ledger or Nexudus cannot be reached, or output cannot be written
UNREAD = 141  # the shell's exit code for a program that wrote to a closed pipe
# The module and attribute of each command, and the first sentence of its help.
_PLACES = {
    "up": ("service.cli.up:up", "Run everything on this machine until Ctrl-C."),
    "serve": ("service.cli.serve:serve", "Run the web server: hooks, health, email preferences."),
    "worker": ("service.cli.worker:worker", "Run the workers that read records, decide and send."),
    "scheduler": (
        "service.cli.scheduler:scheduler",
        "Run the scheduler that wakes workers when work is due.",
    ),
    "clock": (
        "service.cli.scheduler:clock",
        "Run the scheduler; an alias of `coursebell scheduler`.",
    ),
    "migrate": ("service.cli.migrate:migrate", "Create or update the ledger's tables."),
    "demo": ("service.cli.demo:demo", "Play a short course story and show the emails it causes."),
    "doctor": (
        "service.cli.doctor:doctor",
        "Check Nexudus and the mail server, and say how to fix problems.",
    ),
    "login": (
        "service.cli.login:login",
        "Sign in at Nexudus with a code; workers keep the sign-in alive.",
    ),
    "hooks": (
        "service.cli.hooks:hooks",
        "List, enable and register the webhooks that call Coursebell.",
    ),
    "webhook": (
        "service.cli.webhook:webhook",
        "List the endpoints that rules post to, or send one a test.",
    ),
    "user": (
        "service.cli.user:user",
        "Add, list and close accounts of operators for the pages.",
    ),
    "mode": ("service.cli.mode:mode", "Show or change the mode: observe or sending."),
    "pause": ("service.cli.pauses:pause", "Hold all emails, or some, until you resume."),
    "resume": ("service.cli.pauses:resume", "End a pause, and send what waited if still right."),
    "status": (
        "service.cli.status:status",
        "Show what needs a person, what was sent, what waits and why.",
    ),
    "why": (
        "service.cli.why:why",
        "Show what happened to a person, which emails they got, and why.",
    ),
    "preferences": (
        "service.cli.preferences:preferences",
        "Show or change the email preferences of a member.",
    ),
    "bounces": (
        "service.cli.bounces:bounces",
        "List addresses that bounced, and allow emails to one again.",
    ),
    "tail": ("service.cli.show:tail", "Show events and the emails about them as they happen."),
    "show": ("service.cli.show:show", "Show an email as text, as it was sent or would be."),
    "held": (
        "service.cli.held:held",
        "List the held emails that wait for a decision, and why.",
    ),
    "hold": ("service.cli.held:hold", "Hold emails that wait, until you release or skip them."),
    "release": ("service.cli.held:release", "Send held emails, by ID or by reason."),
    "skip": ("service.cli.held:skip", "Drop held emails for good, by ID or by reason."),
    "resend": (
        "service.cli.resend:resend",
        "Send emails again, by ID or all that failed for one reason.",
    ),
    "log": ("service.cli.log:log", "Show who changed the mode, paused, released or skipped."),
    "preview": (
        "service.cli.emails:preview",
        "Write an email as a member would get it now; nothing is sent.",
    ),
    "test": ("service.cli.emails:test", "Send an email of a member, marked as a test, to you."),
    "templates": ("service.cli.emails:templates", "Check the texts of emails."),
    "rules": ("service.cli.rules:rules", "Check a rules file, and show what it would change."),
    "simulate": (
        "service.cli.simulate:simulate",
        "Play the past, or one event, by given rules; nothing is sent.",
    ),
    "reports": (
        "service.cli.reports:reports",
        "List the alerts, summaries and digests, or preview one.",
    ),
    "reconcile": (
        "service.cli.reconcile:reconcile",
        "Compare all enrolments and finished lessons with Nexudus.",
    ),
    "backfill": (
        "service.cli.backfill:backfill",
        "Ask Nexudus now about a window of time or one person.",
    ),
    "certify": (
        "service.cli.certify:certify",
        "Prove that nothing was missed: every row and its result.",
    ),
    "backup": (
        "service.cli.backup:backup",
        "Copy the whole ledger into one file, while everything runs.",
    ),
    "restore": (
        "service.cli.restore:restore",
        "Restore a backup, and hold what may have been sent since.",
    ),
    "move": (
        "service.cli.backup:move",
        "Copy the SQLite ledger into an empty PostgreSQL database.",
    ),
    "init": ("service.cli.config:init", "Write a settings file with fresh secrets."),
    "config": (
        "service.cli.config:config",
        "Show the settings, or accept another secret key for the ledger.",
    ),
}


def check_demo_packages(_: Sequence[str]) -> None:
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


def _prepare_worker(words: Sequence[str]) -> None:
    """Set what SIGTERM does to the worker; without a broker it waits for every running task."""
    if WITHOUT_BROKER not in words:
        let_actions_finish(os.environ)


commands = LazyCommands(
    _PLACES,
    {"demo": check_demo_packages, "worker": _prepare_worker},
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
