"""`coursebell user`: accounts of operators for the pages, each with a role."""

from datetime import datetime
from urllib.parse import urlsplit

import click
from marshmallow import ValidationError

from ledger.engine import Connection, reading, writing
from ledger.identities import invite
from ledger.interventions import AUTOMATIC
from ledger.operators import (
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
from schemas.settings.mail import mail_address
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
@click.option("--email", "address", help="Their address at the sign-in provider; then no link.")
@as_json
def add(name: str, *, role: str, address: str | None, as_json: bool) -> None:
    """Add an account, and print the link to choose its password.

    The roles: look reads, operate also pauses, releases and sends again, engineer also sees how
    each event was decided.

    With --email, who reads that mailbox may sign in at the provider of COURSEBELL_OIDC_ISSUER,
    if the provider verified the address.
    """
    is_usable = name.strip() and len(name.strip()) <= _LONGEST_NAME and is_one_line(name)
    if not is_usable or name_key(name) == AUTOMATIC:
        raise click.UsageError(
            f"The name is one line of at most {_LONGEST_NAME} characters, and not {AUTOMATIC}."
        )
    settings, now = settings_now(), command_clock().now()
    wanted = None if address is None else _invitable(settings, address)
    with opened_ledger(settings) as engine, writing(engine) as connection:
        operator, token = add_operator(connection, name, Role(role), who_decides(), now), None
        if operator is not None and wanted is not None:
            _invite(connection, operator, wanted, now)
        elif operator is not None:
            token = new_link(connection, operator, now)
    if operator is None:
        click.echo(printable(f"There is an account {name.strip()!r} already."), err=True)
        click.echo(f"To let them choose a new password: coursebell user link {name!r}", err=True)
        raise SystemExit(NOT_DONE)
    if token is None:
        _print_invitation(settings, name.strip(), as_json=as_json)
    else:
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

    It works once, for 24 hours, and replaces earlier links. Once it is used, who had the account
    before can no longer sign in. A closed account is open again.
    """
    settings, now = settings_now(), command_clock().now()
    with opened_ledger(settings) as engine, writing(engine) as connection:
        token = new_link(connection, _known(connection, name), now)
    _print_link(settings, name, token, as_json=as_json)


@user.command()
@click.argument("name")
@click.argument("address")
@as_json
def email(name: str, address: str, *, as_json: bool) -> None:
    """Let an account be used from a mailbox at the sign-in provider.

    Who had it before is signed out at once: password, links and connection no longer work.
    """
    settings, now = settings_now(), command_clock().now()
    wanted = _invitable(settings, address)
    with opened_ledger(settings) as engine, writing(engine) as connection:
        operator = _known(connection, name)
        if operator.closed_at is not None:
            click.echo(printable(f"The account {name!r} is closed."), err=True)
            click.echo(f"To open it again: coursebell user link {name!r}", err=True)
            raise SystemExit(NOT_DONE)
        _invite(connection, operator, wanted, now)
    _print_invitation(settings, operator.name, as_json=as_json)


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
        issuer = settings.oidc_issuer
        if has_operators(connection, passwords=settings.passwords, issuer=issuer):
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
    return f"{_base_of(settings)}/welcome/{token}"


def _base_of(settings: Settings) -> str:
    is_local = is_loopback(urlsplit(settings.public_url).hostname or "")
    return Address(settings.listen).url if is_local else settings.public_url


def _invitable(settings: Settings, address: str) -> str:
    """Return the address, if there is a provider that can say whose it is."""
    if settings.oidc_issuer is None:
        raise click.UsageError("--email and addresses need COURSEBELL_OIDC_ISSUER, which is unset.")
    try:
        return mail_address(address).address
    except ValidationError:
        raise click.UsageError("An address is expected, such as rita@example.org.") from None


def _invite(connection: Connection, operator: Operator, address: str, now: datetime) -> None:
    if not invite(connection, operator, address, who_decides(), now):
        click.echo("Another account has this address. Nothing was changed.", err=True)
        raise SystemExit(NOT_DONE)


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


def _print_invitation(settings: Settings, name: str, *, as_json: bool) -> None:
    address = f"{_base_of(settings)}/sign-in"
    if as_json:
        print_json({"name": name, "sign_in": address})
        return
    click.echo(printable(f"{name} can now sign in at the provider. Tell them to open:"))
    click.echo(address)


def _state(one: Operator) -> str:
    if one.closed_at is not None:
        return f"  closed since {local(one.closed_at)}"
    if one.identity is not None:
        return "  signs in at the provider"
    if one.email is not None:
        return "  may sign in at the provider, and has not yet"
    return "" if one.has_signed_in else "  has not chosen a password yet"


def _plain(one: Operator) -> dict[str, object]:
    return {
        "name": one.name,
        "role": one.role,
        "made_at": one.made_at,
        "made_by": one.made_by,
        "has_password": one.has_password,
        "is_connected": one.identity is not None,
        "is_invited": one.email is not None,
        "closed_at": one.closed_at,
    }
