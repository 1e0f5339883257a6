"""`coursebell config` shows settings and accepts a new secret key; `coursebell init` writes a file.

Files with secrets are readable only by their owner, written atomically, and never replace another
file without confirmation.
"""

import base64
import os
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import click

from ledger.controls import accept_key, count_choices
from ledger.engine import reading, writing
from schemas.errors import ConfigurationError
from schemas.settings import SETTINGS, SettingLine, describe
from service.cli.common import (
    as_json,
    command_clock,
    is_confirmed,
    needs_confirmation,
    opened_ledger,
    print_json,
    settings_now,
    who_decides,
)
from service.cli.main import WRONG_USAGE, Commands
from workers.actions.email.branding import replaced_colour
from workers.environment import load
from workers.rules_file import read_rules
from workers.secret_key import secret_key

_COLOUR = "COURSEBELL_SPACE_COLOUR"


@click.group(cls=Commands)
def config() -> None:
    """Show the settings, or accept another secret key for the ledger."""


@config.command()
@as_json
def show(*, as_json: bool) -> None:
    """Show every setting with its value and origin. Secrets are not printed.

    Settings that cannot be used are marked, and the exit code is then 2.
    """
    lines, mistakes = _settings_lines(os.environ)
    if as_json:
        print_json([asdict(line) for line in lines])
    else:
        width = max(len(line.name) for line in lines)
        for line in lines:
            unquoted = ", quotes around it were removed" if line.unquoted else ""
            click.echo(f"{line.name:<{width}}  {line.value}  ({line.origin}{unquoted})")
        for line in lines:
            if line.warning is not None:
                click.echo(f"! {line.warning}")
    for mistake in mistakes:
        click.echo(f"! {mistake}", err=True)
    if mistakes:
        raise SystemExit(WRONG_USAGE)


def _settings_lines(environ: Mapping[str, str]) -> tuple[list[SettingLine], list[str]]:
    """Return a line for each setting, and the mistakes of those that cannot be used.

    Each mistake about a setting begins with its name.
    """
    mistakes: list[str] = []
    wrong: set[str] = set()
    usable = dict(environ)
    try:
        settings = load(environ)
    except ConfigurationError as error:
        mistakes += error.mistakes
        wrong = {mistake.partition(":")[0] for mistake in mistakes}
        wrong |= {name.removesuffix("_FILE") for name in wrong}
        usable = {
            name: text
            for name, text in environ.items()
            if not {ascii(name)[1:-1], name.removesuffix("_FILE")} & wrong
        }
        settings = load(usable)
    try:
        read_rules(settings)
    except ConfigurationError as error:
        mistakes += error.mistakes
        wrong.add("COURSEBELL_RULES")
    lines = [
        replace(line, value="cannot be used", origin="see below", read=False)
        if line.name in wrong
        else replace(line, warning=replaced_colour(settings))
        if line.name == _COLOUR
        else line
        for line in describe(settings, usable)
    ]
    return lines, mistakes


@config.command("accept-key")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def accept_secret_key(*, yes: bool) -> None:
    """Let the ledger use the secret key that is set here."""
    settings = settings_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            kept = count_choices(connection)
        if not yes:
            needs_confirmation("coursebell config accept-key --yes")
            click.echo(
                "Certificates signed with the previous key can then no longer be verified, and "
                f"{kept} email preferences of members, such as to get no email, are lost.",
                err=True,
            )
            if not is_confirmed("Use the key that is set here from now on?"):
                return
        key = secret_key(settings)
        with writing(engine) as connection:
            accept_key(connection, key, who_decides(), command_clock().now())
    click.echo("The ledger now uses this secret key. Restart every process that has another one.")


NOT_REPLACED = 1


def may_replace(path: Path, command: str, warning: str) -> None:
    """Return if there is no file at `path` or the operator agrees to replace it.

    `command` replaces it without asking; `warning` says what is lost.

    Raises:
        SystemExit: the answer was no (1), or there is no terminal to ask at (3).
    """
    if not os.path.lexists(path) or path.is_dir():
        return
    needs_confirmation(command)
    if not is_confirmed(f"{path} exists. Replace it? {warning}"):
        click.echo("Nothing was written.", err=True)
        raise SystemExit(NOT_REPLACED)


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file of mode 600, replacing an existing one.

    Raises:
        BadParameter: it cannot be written.
    """
    if path.is_dir():
        raise click.BadParameter(f"{path} is a folder; name a file in it.")
    beside = path.with_name(f".{path.name}.{command_clock().new_id()[:8]}")
    try:
        beside.touch(mode=0o600, exist_ok=False)
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise click.BadParameter(f"{path} cannot be written: {error.strerror}.") from None


STANDARD_OUTPUT = "-"

# Beside this module in an installed package, in the folder `deploy` of a source tree.
_EXAMPLES = (
    Path(__file__).parent / "env.example",
    Path(__file__).parents[2] / "deploy" / "env.example",
)
_FRESH = ("COURSEBELL_RELAY_TOKENS", "COURSEBELL_HOOK_SECRETS", "COURSEBELL_SECRET_KEY")
_SECRET_BYTES = 32
_ASSIGNMENT = re.compile(r"#?(COURSEBELL_[A-Z_]+)=")
# In single quotes, all readers of such files agree on these values: see deploy/env.example.
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

    FILE is coursebell.env by default; - prints the settings instead. Settings of the environment
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
        f"Next: fill in the Nexudus user, the mail server and the zone in {where}, and remove the #"
        " at the start of each of these lines.",
        err=True,
    )
    if file != STANDARD_OUTPUT:
        path = shlex.quote(file if "/" in file else f"./{file}")
        click.echo(f"Then load it: set -a; . {path}; set +a; coursebell config show", err=True)
