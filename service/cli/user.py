"""`coursebell user`: accounts of operators for the pages, each with a role."""

from datetime import datetime
from urllib.parse import urlsplit

import click

from ledger.engine import Connection, reading, writing
from ledger.interventions import AUTOMATIC
from ledger.operators import (
    CLOSED,
    LINK_LASTS,
    Operator,
    add_operator,
    all_operators,
    change_role,
    close_operator,
    has_operators,
    make_link,
    name_key,
    operator_named,
)
from schemas.roles import Role
from schemas.settings import Settings, is_loopback
from schemas.text import is_one_line
from service.cli.common import (
    as_json,
    command_clock,
    is_confirmed,
    local,
    needs_confirmation,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    who_decides,
)
from service.cli.listening import Address
from service.cli.main import Commands

NOT_DONE = 1
_LONGEST_NAME = 64
_TOKEN_BYTES = 24
_role = click.Choice([role.value for role in Role])


@click.group(cls=Commands)
def user() -> None:
    """Add, list and close accounts of operators for the pages."""


@user.command()
@click.argument("name")
@click.option("--role", type=_role, default=Role.OPERATE.value, show_default=True)
@as_json
def add(name: str, *, role: str, as_json: bool) -> None:
    """Add an account, and print the link to choose its password.

    The roles: look reads, operate also pauses, releases and sends again, engineer also sees how
    each event was decided.
    """
    is_usable = name.strip() and len(name.strip()) <= _LONGEST_NAME and is_one_line(name)
    if not is_usable or name_key(name) == AUTOMATIC:
        raise click.UsageError(
            f"The name is one line of at most {_LONGEST_NAME} characters, and not {AUTOMATIC}."
        )
    settings, now = settings_now(), command_clock().now()
    with opened_ledger(settings) as engine, writing(engine) as connection:
        operator = add_operator(connection, name, Role(role), who_decides(), now)
        token = None if operator is None else new_link(connection, operator, now)
    if token is None:
        click.echo(printable(f"There is an account {name.strip()!r} already."), err=True)
        click.echo(f"To let them choose a new password: coursebell user link {name!r}", err=True)
        raise SystemExit(NOT_DONE)
    _print_link(settings, name.strip(), token, as_json=as_json)


@user.command(name="list")
@as_json
def list_(*, as_json: bool) -> None:
    """List the accounts."""
    with opened_ledger(settings_now()) as engine, reading(engine) as connection:
        every = all_operators(connection)
    if as_json:
        print_json([_plain(one) for one in every])
        return
    for one in every:
        click.echo(printable(f"{one.name}  {one.role}{_state(one)}"))
    if not every:
        click.echo("There is no account yet. To add one: coursebell user add NAME")


@user.command()
@click.argument("name")
@as_json
def link(name: str, *, as_json: bool) -> None:
    """Print a new link to choose the password of an account.

    It works once, for 24 hours, and replaces earlier links. A closed account is open again.
    """
    settings, now = settings_now(), command_clock().now()
    with opened_ledger(settings) as engine, writing(engine) as connection:
        token = new_link(connection, _known(connection, name), now)
    _print_link(settings, name, token, as_json=as_json)


@user.command()
@click.argument("name")
@click.argument("role", type=_role)
def role(name: str, role: str) -> None:
    """Change the role of an account."""
    with opened_ledger(settings_now()) as engine, writing(engine) as connection:
        operator = _known(connection, name)
        change_role(connection, operator, Role(role), who_decides(), command_clock().now())
    click.echo(printable(f"{operator.name} now has the role {role}."))


@user.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def close(name: str, *, yes: bool) -> None:
    """Close an account: its owner is signed out everywhere at once."""
    with opened_ledger(settings_now()) as engine:
        with reading(engine) as connection:
            operator = _known(connection, name)
        if not yes:
            needs_confirmation(f"coursebell user close {name!r} --yes")
            if not is_confirmed(f"Close the account of {operator.name}?"):
                click.echo("Nothing was changed.", err=True)
                raise SystemExit(NOT_DONE)
        with writing(engine) as connection:
            close_operator(connection, operator, who_decides(), command_clock().now())
    click.echo(printable(f"{operator.name} can no longer sign in."))


def new_link(connection: Connection, operator: Operator, now: datetime) -> str:
    """Store a new one-time link of an account, and return its token."""
    token = command_clock().random_bytes(_TOKEN_BYTES).hex()
    make_link(connection, operator, token, who_decides(), now)
    return token


def first_account_lines(settings: Settings) -> list[str]:
    """Return the link for the first account as lines to print; empty once someone can sign in.

    Raises as `opened_ledger`.
    """
    now = command_clock().now()
    with opened_ledger(settings) as engine, writing(engine) as connection:
        if has_operators(connection):
            return []
        who = who_decides()
        operator = add_operator(connection, who, Role.ENGINEER, who, now)
        operator = operator or operator_named(connection, who)
        if operator is None or operator.closed_at is not None:
            return []  # it was closed on purpose: `coursebell user link` opens it again
        token = new_link(connection, operator, now)
    hours = round(LINK_LASTS.total_seconds() / 3600)
    return [f"To open the pages, once within {hours} hours: {link_of(settings, token)}"]


def link_of(settings: Settings, token: str) -> str:
    """Return the address of a one-time link, at the public address if others can open it."""
    is_local = is_loopback(urlsplit(settings.public_url).hostname or "")
    base = Address(settings.listen).url if is_local else settings.public_url
    return f"{base}/welcome/{token}"


def _known(connection: Connection, name: str) -> Operator:
    operator = operator_named(connection, name)
    if operator is None:
        click.echo(printable(f"There is no account {name!r}."), err=True)
        click.echo("`coursebell user list` lists them.", err=True)
        raise SystemExit(NOT_DONE)
    return operator


def _print_link(settings: Settings, name: str, token: str, *, as_json: bool) -> None:
    address = link_of(settings, token)
    if as_json:
        print_json({"name": name, "link": address, "hours": LINK_LASTS.total_seconds() / 3600})
        return
    hours = round(LINK_LASTS.total_seconds() / 3600)
    click.echo(printable(f"Give this link to {name}. It works once, for {hours} hours:"))
    click.echo(address)


def _state(one: Operator) -> str:
    if one.closed_at is not None:
        return f"  closed since {local(one.closed_at)}"
    return "" if one.password_hash not in {None, CLOSED} else "  has not chosen a password yet"


def _plain(one: Operator) -> dict[str, object]:
    return {
        "name": one.name,
        "role": one.role,
        "made_at": one.made_at,
        "made_by": one.made_by,
        "has_password": one.password_hash is not None,
        "closed_at": one.closed_at,
    }
