"""Asking before something is done that cannot be undone; where nobody can be asked, it is not."""

import sys

import click

NEEDS_YES = 3


def must_be_asked(command: str) -> None:
    """Refuse to go on where there is no terminal to ask at; `command` is the one that needs none.

    Raises:
        SystemExit: with code 3, and a sentence.
    """
    if not sys.stdin.isatty():
        click.echo(f"Nobody can be asked here, so it needs --yes: {command}", err=True)
        raise SystemExit(NEEDS_YES)


def agreed(question: str) -> bool:
    """Ask, and say whether the answer was yes. What is printed for programs stays as it is."""
    return click.confirm(question, err=True)
