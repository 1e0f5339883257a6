"""Asking before something is done that cannot be undone; where nobody can be asked, it is not."""

import getpass
import os
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


def who_decides() -> str:
    """Return who gives this command, for the log of decisions."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers often run as a user without a name
        return f"uid {os.getuid()}"


def agreed(question: str) -> bool:
    """Ask, and say whether the answer was yes. What is printed for programs stays as it is."""
    return click.confirm(question, err=True)
