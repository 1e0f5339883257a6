"""The help of every group prints each summary whole, at every terminal width."""

from collections.abc import Iterator

import click
import pytest

from service.cli.main import commands
from tests.house.source_tree import commands_in


def groups(group: click.Group = commands) -> Iterator[click.Group]:
    yield group
    for command in commands_in(group):
        if isinstance(command, click.Group):
            yield from groups(command)


def help_of(group: click.Group, columns: int) -> str:
    # Two columns of a terminal stay empty.
    return group.get_help(click.Context(group, info_name="coursebell", terminal_width=columns - 2))


@pytest.mark.parametrize("columns", [80, 60, 40])
def test_no_summary_is_cut(columns: int) -> None:
    for group in groups():
        printed = help_of(group, columns).partition("Commands:\n")[2]
        assert "..." not in printed
        for command in commands_in(group):
            assert command.get_short_help_str(limit=1_000) in " ".join(printed.split())


def test_the_table_of_commands_has_the_summary_of_each() -> None:
    context = click.Context(commands)
    for command in commands_in(commands):
        assert command.name is not None
        assert commands.summary_of(context, command.name) == command.get_short_help_str(limit=1_000)


def test_in_80_columns_each_summary_is_one_line() -> None:
    for group in groups():
        listed = help_of(group, 80).partition("Commands:\n")[2].splitlines()
        assert len(listed) == len(commands_in(group))
