"""`init`: writes the file of settings for a new installation, with fresh secrets."""

import base64
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from schemas.settings import SETTINGS
from service.command.common import command_clock, settings_now
from service.command.private_file import may_replace, write_private

STANDARD_OUTPUT = "-"

# Beside this module once installed, in the folder `deploy` of a working tree.
_EXAMPLES = (
    Path(__file__).parent / "env.example",
    Path(__file__).parents[2] / "deploy" / "env.example",
)
_FRESH = ("COURSEBELL_RELAY_TOKENS", "COURSEBELL_HOOK_SECRETS", "COURSEBELL_SECRET_KEY")
_SECRET_BYTES = 32
_ASSIGNMENT = re.compile(r"#?(COURSEBELL_[A-Z_]+)=")
# In single quotes, every reader of such files takes these values alike: see deploy/env.example.
_QUOTABLE = re.compile(r"[^'\x00-\x1f\x7f]+")
_COMPOSE = """
# The password of the database in deploy/compose.yaml. Coursebell itself does not read it.
POSTGRES_PASSWORD='{password}'
"""


@click.command()
@click.argument("file", default="coursebell.env")
@click.option(
    "--compose", is_flag=True, help="Add the database password that deploy/compose.yaml needs."
)
@click.option("--yes", is_flag=True, help="Replace an existing file without asking.")
def init(file: str, *, compose: bool, yes: bool) -> None:
    """Write a settings file with fresh secrets.

    FILE is coursebell.env unless given; - prints the settings instead. Settings in the environment
    are copied into it.
    """
    settings_now()
    given, unquotable = _given(os.environ)
    fresh = {name: _new_secret() for name in _FRESH if not {name, f"{name}_FILE"} & given.keys()}
    text = fill_in(_example(), {**fresh, **given})
    if compose:
        text += _COMPOSE.format(password=_new_secret())
    if file == STANDARD_OUTPUT:
        click.echo(text, nl=False)
    else:
        path = Path(file)
        if not yes:
            may_replace(
                path,
                f"coursebell init --yes {shlex.quote(file)}",
                "Its passwords and secrets will be lost.",
            )
        write_private(path, text)
        click.echo(f"Wrote {file}, readable only by you.", err=True)
    _print_next_steps(file, fresh, given, unquotable)


def fill_in(example: str, values: Mapping[str, str]) -> str:
    """Return the example settings with these values in place of the commented defaults.

    `values` maps `NAME` or `NAME_FILE` to text without a single quote.
    """
    lines = []
    for line in example.splitlines():
        assignment = _ASSIGNMENT.match(line)
        names = (assignment[1], f"{assignment[1]}_FILE") if assignment else ()
        set_here = [f"{name}='{values[name]}'" for name in names if name in values]
        lines += set_here or [line]
    return "".join(f"{line}\n" for line in lines)


def _given(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the settings of the environment, and the names of those that cannot be written."""
    names = [name for doc in SETTINGS for name in (doc.name, f"{doc.name}_FILE")]
    given = {name: environ[name] for name in names if environ.get(name)}
    unquotable = [name for name, value in given.items() if not _QUOTABLE.fullmatch(value)]
    return {name: value for name, value in given.items() if name not in unquotable}, unquotable


def _new_secret() -> str:
    secret = command_clock().random_bytes(_SECRET_BYTES)
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode("ascii")


def _example() -> str:
    path = next((path for path in _EXAMPLES if path.exists()), _EXAMPLES[0])
    return path.read_text(encoding="utf-8")


def _print_next_steps(
    file: str, fresh: Mapping[str, str], given: Mapping[str, str], unquotable: list[str]
) -> None:
    if fresh:
        click.echo(f"Fresh secrets: {', '.join(fresh)}.", err=True)
    if given:
        click.echo(f"Copied from the environment: {', '.join(given)}.", err=True)
    if unquotable:
        click.echo(
            f"Not copied, as they contain a quote or a line break: {', '.join(unquotable)}.",
            err=True,
        )
    where = "the file" if file == STANDARD_OUTPUT else file
    click.echo(
        f"Next: fill in the Nexudus user, the mail server and the zone in {where}.", err=True
    )
    if file != STANDARD_OUTPUT:
        path = shlex.quote(file if "/" in file else f"./{file}")
        click.echo(f"Then load it: set -a; . {path}; set +a; coursebell config show", err=True)
