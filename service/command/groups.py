"""Groups of commands: help that is printed whole, and commands that are imported when needed."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import click

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
